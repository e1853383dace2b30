"""A head for sound from elsewhere, of which no labels are known: CORAL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.discover import discover, expand
from soundsearch_ingest.logmel import SILENT

from ..asking.questions import Sound
from ..errors import ArgumentError, AudioError
from ..session import Session

__all__ = ["TargetSounds", "coral", "target_sounds"]

Floats = NDArray[np.float64]

# Of the mean variance, added to all: few segments do not tell all directions.
_SHRINKAGE = 0.1
_FEWEST = 20


@dataclass(frozen=True, slots=True, eq=False)
class TargetSounds:
    """Unlabelled sound of the kind that a head is for.

    Attributes
    ----------
    vectors : float32 [n, dimension]
        Embeddings of segments that are not near-silent.
    files : int
        How many they are from.
    warnings : tuple of str
        Of files that could not be heard.
    """

    vectors: NDArray[np.float32]
    files: int
    warnings: tuple[str, ...]


def target_sounds(
    session: Session,
    targets: Iterable[str | os.PathLike[str]],
    on_step: Callable[[str], None],
) -> TargetSounds:
    """Embed files and folders with the encoder of a library; nothing is stored.

    Raises
    ------
    ArgumentError
        There is hardly any sound in them.
    """
    hop = session.store.settings.hop
    listener = session.listener(pipeline.available_cores())
    parts: list[NDArray[np.float32]] = []
    failed: list[str] = []
    named = [os.fspath(target) for target in targets]
    for found in discover(expand(named)):
        on_step(f"hearing {found.uri}")
        try:
            heard = listener.hear(Sound(found.uri), hop)
        except AudioError as error:
            failed.append(str(error))
            continue
        parts.append(heard.vectors[heard.levels >= SILENT])
    segments = sum(map(len, parts))
    if segments < _FEWEST:
        reason = f"; {failed[0]}" if failed else ""
        raise ArgumentError(
            f"adapt: expected sound in {', '.join(named)}, at least {_FEWEST} segments that are "
            f"not near-silent, got {segments}{reason}"
        )
    warnings = []
    if failed:
        warnings.append(f"{len(failed):,} files to adapt to could not be heard: {failed[0]}")
    return TargetSounds(np.concatenate(parts), len(parts), tuple(warnings))


def coral(source: Floats, target: Floats, shrinkage: float = _SHRINKAGE) -> tuple[Floats, Floats]:
    """The map that gives embeddings of the target the mean and covariance of the source.

    Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation (2016). They colour the
    source like the target and train with that; here the target is coloured like the source, so
    that a trained model stays as it is and the map goes into its first layer.

    Parameters
    ----------
    source, target : float64 [n, dimension], [m, dimension]
    shrinkage : float
        Of each covariance, how much of its mean variance is added to its diagonal.

    Returns
    -------
    matrix : float64 [dimension, dimension]
    offset : float64 [dimension]
        `matrix` @ x + `offset` for an embedding x of the target.
    """
    whitened = _power(target, -0.5, shrinkage)
    matrix = _power(source, 0.5, shrinkage) @ whitened
    return matrix, source.mean(0) - matrix @ target.mean(0)


def _power(vectors: Floats, power: float, shrinkage: float) -> Floats:
    """A power of the covariance of embeddings, which is symmetric."""
    centred = vectors - vectors.mean(0)
    covariance = centred.T @ centred / len(centred)
    covariance += shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, axes = np.linalg.eigh(covariance)
    result: Floats = (axes * values**power) @ axes.T
    return result
