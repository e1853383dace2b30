"""A head for a library in any space, from a teacher's labels for sound that nobody labelled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.discover import discover, expand
from soundsearch_ingest.encoders import SideBySide
from soundsearch_ingest.logmel import SILENT

from .. import __version__
from ..asking.questions import Sound
from ..clips import Clips
from ..errors import ArgumentError, AudioError
from ..hearing import Listener
from ..labels.head import Head, HeadSpec, head_of
from .training import Training

__all__ = ["TEACHERS", "Moments", "distilled", "logits_of"]

Floats = NDArray[np.float64]

TEACHERS = ("mini", "yamnet")

# Of the penalty on squared weights: chosen by files that are held back.
_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
# Every so many files one is held back, until there are so many segments.
_HELD, _MOST_HELD = 5, 20_000
_FEWEST = 100
_TOP = 5
# Logits beyond say no more than that it is certain.
_CERTAIN = 12.0


class Moments:
    """Sums from which a ridge regression is solved, in memory that does not grow with the rows.

    Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems (1970).

    Parameters
    ----------
    dimension, outputs : int
    """

    def __init__(self, dimension: int, outputs: int) -> None:
        self.count = 0
        self._inputs = np.zeros(dimension)
        self._outputs = np.zeros(outputs)
        self._squares = np.zeros((dimension, dimension))
        self._products = np.zeros((dimension, outputs))

    def add(self, inputs: Floats, outputs: Floats) -> None:
        """Take in rows, float64 [n, dimension] and [n, outputs]."""
        self.count += len(inputs)
        self._inputs += inputs.sum(0)
        self._outputs += outputs.sum(0)
        self._squares += inputs.T @ inputs
        self._products += inputs.T @ outputs

    def solved(self, strength: float) -> tuple[Floats, Floats]:
        """Weights, float64 [outputs, dimension], and biases [outputs].

        Parameters
        ----------
        strength : float
            Of the penalty on squared weights of standardised inputs, for the mean squared error.
        """
        mean, mean_output = self._inputs / self.count, self._outputs / self.count
        covariance = self._squares / self.count - np.outer(mean, mean)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        deviation = np.maximum(deviation, max(1e-3 * deviation.max(), 1e-12))
        correlation = covariance / np.outer(deviation, deviation)
        right = (self._products / self.count - np.outer(mean, mean_output)) / deviation[:, None]
        inside = np.linalg.solve(correlation + strength * np.eye(len(mean)), right)
        weight = (inside / deviation[:, None]).T
        return weight, mean_output - weight @ mean


def distilled(
    clips: Clips,
    audio: Iterable[str | os.PathLike[str]],
    teacher: str = TEACHERS[0],
    *,
    on_step: Callable[[str], None] = lambda _text: None,
) -> Training:
    """Train a head that says of the library's embeddings what a teacher says of the same sound.

    Both encoders hear the sound, and a ridge regression from the embeddings of one to the logits of
    the other's labels is the head: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural
    Network (2015), with logits as targets. Every fifth file is held back and says how much both
    agree. A Ctrl-C ends the hearing, and what was heard until then is learnt from.

    Parameters
    ----------
    clips : Clips
        A library, for whose space the head is. Its clips are not looked at.
    audio : iterable of path
        Sound files and folders; nothing is stored of them.
    teacher : str
        Of `TEACHERS`: an encoder that comes with a head.
    on_step : callable
        Called with what is done next.

    Returns
    -------
    Training
        Without a report; ``head.made["agreement"]`` says of the segments held back how often the
        teacher's best label is among the head's five best, and how many of five both share.

    Raises
    ------
    ArgumentError
        The library has the teacher's own space, or there is hardly any sound.
    EncoderError
        The teacher is not installed.
    SpaceMismatch
    """
    session = clips._session
    settings = session.store.settings
    threads = pipeline.available_cores()
    session.listener(threads)  # refuses an encoder of another version than the library's
    if teacher not in TEACHERS:
        raise ArgumentError(f"teacher: expected {' or '.join(TEACHERS)}, got {teacher!r}")
    model = encoders.load(teacher, threads)
    head = head_of(teacher, model.space)
    if head is None or head.space == settings.space:
        raise ArgumentError(
            f"teacher: expected one of another space than the library's, got {teacher}, whose "
            "head reads the library's embeddings as it is"
        )
    both = SideBySide(encoders.load(settings.encoder, threads), model)
    listener = Listener(both, head, settings.dimension)
    columns = [head.vocabulary.index(*pair) for pair in _classes(head)]
    trained, held = (Moments(settings.dimension, len(columns)) for _ in range(2))
    kept: list[tuple[Floats, Floats]] = []
    failed: list[str] = []
    files, was_stopped = 0, False
    try:
        for found in discover(expand([os.fspath(path) for path in audio])):
            on_step(f"hearing {found.uri}")
            try:
                heard = listener.hear(Sound(found.uri), settings.hop)
            except AudioError as error:
                failed.append(str(error))
                continue
            sounds = heard.levels >= SILENT
            inputs = heard.vectors[sounds].astype(np.float64)
            logits = logits_of(head.scores(heard.head_vectors[sounds])[:, columns])
            files += 1
            is_held = files % _HELD == 0 and held.count < _MOST_HELD
            (held if is_held else trained).add(inputs, logits)
            if is_held:
                kept.append((inputs, logits))
    except KeyboardInterrupt:
        was_stopped = True
    if trained.count < _FEWEST or not held.count:
        reason = f"; {failed[0]}" if failed else ""
        raise ArgumentError(
            f"audio: expected sound in at least {_HELD} files, and {_FEWEST} segments that are not "
            f"near-silent, got {files} and {trained.count + held.count}{reason}"
        )
    inputs, logits = (np.concatenate(part) for part in zip(*kept, strict=True))
    best = max(
        (_agreement(inputs, logits, *trained.solved(strength)), strength) for strength in _STRENGTHS
    )
    (shared, top), strength = best
    weight, bias = trained.solved(strength)
    warnings = []
    if failed:
        warnings.append(f"{len(failed):,} files could not be heard: {failed[0]}")
    if was_stopped:
        warnings.append("hearing was stopped: this is the head of what was heard until then")
    made = {
        "soundsearch": __version__,
        "numpy": np.__version__,
        "encoder": settings.encoder,
        "teacher": {"encoder": teacher, "space": head.space},
        "files": files,
        "segments": trained.count,
        "held_out": held.count,
        "step": strength,
        "stopped": was_stopped,
        "agreement": {"best_in_five": top, "of_five": shared},
    }
    spec = HeadSpec(
        space=settings.space,
        layers=((weight.astype(np.float32), bias.astype(np.float32)),),
        names=head.spec.names,
        mids=head.spec.mids,
        pooling=head.spec.pooling,
        made=made,
    )
    return Training(spec, None, {}, tuple(warnings), was_stopped)


def _classes(head: Head) -> list[tuple[str, str]]:
    return list(zip(head.spec.names, head.spec.mids, strict=True))


def logits_of(scores: NDArray[np.float32]) -> Floats:
    """The logits of scores in [0, 1], float64 of any shape; near-certain ones are cut at 12."""
    least = 1 / (1 + np.exp(_CERTAIN))
    inside = np.clip(scores.astype(np.float64), least, 1 - least)
    logits: Floats = np.log(inside / (1 - inside))
    return logits


def _agreement(inputs: Floats, logits: Floats, weight: Floats, bias: Floats) -> tuple[float, float]:
    """How many of five labels both share, and how often the best one is among the five."""
    found = np.argsort(-(inputs @ weight.T + bias), axis=1)[:, :_TOP]
    wanted = np.argsort(-logits, axis=1)[:, :_TOP]
    shared = (found[:, :, None] == wanted[:, None, :]).any(1)
    return float(shared.mean()), float(shared[:, 0].mean())
