"""``soundsearch.train``: a head of one's own for a library, from labelled clips of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.files import expanded

from .. import __version__
from ..clips import Clips
from ..errors import ArgumentError
from ..labels.head import HeadSpec, write_head
from ..vectors import unit
from .adapt import coral, target_sounds
from .bags import Bags, balanced_weights
from .calibrate import Calibration
from .data import LabelsOf, Material, material, numbered
from .fitting import Fitted, Recipe, common_step, fit, validated
from .folds import check_folds, dealt
from .growth import growth
from .models import Model
from .rehearing import Reheard, reheard
from .report import HeldOut, Report, held_out, measures, report
from .sounds import CHANGES

__all__ = ["Trained", "Training", "check_output", "how_made", "train", "trained"]

OnStep = Callable[[str], None]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Training:
    """A trained head, and what is known of it.

    Attributes
    ----------
    head : HeadSpec
        What `save` writes; `head.made` says how it was made.
    report : Report or None
        How well it does with clips that were held back; None if none were.
    without : dict of str to float
        The same measures without augmentation; empty if there was none.
    warnings : tuple of str
        What was left out, or ended early.
    was_stopped : bool
        Whether a Ctrl-C ended it: the head is the best one until then.
    """

    head: HeadSpec
    report: Report | None
    without: dict[str, float]
    warnings: tuple[str, ...]
    was_stopped: bool

    def __repr__(self) -> str:
        return f"<Training, {len(self.head.names)} classes: {self.report!r}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head's file; what is there is replaced once all is written.

        Raises
        ------
        ArgumentError
            The file cannot be written.
        """
        target = check_output(path)
        write_head(target, self.head)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the weights."""
        return {
            "classes": list(self.head.names),
            "made": dict(self.head.made),
            "report": None if self.report is None else self.report.to_dict(),
            "warnings": list(self.warnings),
        }


def train(
    clips: Clips,
    labels: LabelsOf,
    *,
    groups: Mapping[str, Any] | None = None,
    folds: int | Mapping[str, Any] = 5,
    model: str = "logistic",
    pooling: str = "mean",
    balanced: bool = True,
    augment: Iterable[str] = (),
    adapt: Iterable[str | os.PathLike[str]] = (),
    ontology: bool = False,
    min_clips: int = 1,
    seed: int = 0,
    on_step: OnStep = lambda _text: None,
) -> Training:
    """Train a head on the embeddings of labelled clips.

    Models are trained with all folds but one, and measured and calibrated with the one that was
    held back; the head is then trained with all clips. A Ctrl-C ends this early with the best of
    these models. The same call gives the same head.

    Parameters
    ----------
    clips : Clips
        A library, or a selection of one.
    labels : mapping of uri to class, or to classes
        If the classes of any clip come in a collection, each clip may have several, or none, and
        scores are independent (sigmoid). Else each clip has one, and scores sum to 1 (softmax).
        What AudioSet has a class for, by name in any case or id, is that class; others are own
        classes.
    groups : mapping of uri to group, optional
        What a clip was cut from, such as its recording: no group is in two folds. A clip without
        one is its own group.
    folds : int or mapping of uri to fold
        How many, or which. 0 holds nothing back: nothing is measured or calibrated.
    model : str
        ``logistic``, or ``network``, one of 128 hidden units, which needs ``pip install
        'soundsearch[learn]'``.
    pooling : str
        How a clip is made of its segments: ``mean``, or for the logistic model ``max`` or
        ``attention``; see `HeadSpec`.
    balanced : bool
        Whether classes count alike in training, whatever their numbers of clips.
    augment : iterable of str
        ``mixup``, ``shuffle``, ``drop``, made of the embeddings, see `soundsearch.learn.augment`;
        ``noise``, ``gain``, ``stretch``, ``pitch``, ``reverb``, for which the clips' files are
        heard again, see `soundsearch.learn.sounds`. Each adds as many clips as there are.
    adapt : iterable of path
        Unlabelled sound files of the kind that the head is for, if the labelled ones are of
        another; see `soundsearch.learn.adapt`.
    ontology : bool
        Whether all classes must be AudioSet's.
    min_clips : int
        Classes with fewer clips are left out.
    seed : int
    on_step : callable
        Called with what is done next.

    Returns
    -------
    Training

    Raises
    ------
    ArgumentError
        Labels, groups or folds do not fit each other, an argument cannot be, or no clip can be
        heard again.
    MissingExtra
        A network is wanted, and scikit-learn is not installed; or sound is to be changed, and
        audiomentations is not.
    KeyboardInterrupt
        It came before there was any model.
    """
    recipe = Recipe("softmax", model, pooling, tuple(augment), seed)
    targets = list(adapt)
    on_step("reading the clips")
    read = material(
        clips,
        labels,
        ontology_only=ontology,
        min_clips=min_clips,
        whole=recipe.whole and not targets,
    )
    recipe = replace(recipe, output="softmax" if read.one_label else "sigmoid")
    fold_of = _folds(read, groups, folds, seed)
    sounds = target_sounds(clips._session, targets, on_step) if targets else None
    made = {
        "encoder": clips._session.store.settings.encoder,
        "groups": int(numbered(read.uris, groups)[0].max()) + 1,
        "balanced": balanced,
    }
    weights = balanced_weights(read.bags.targets, one_label=read.one_label)
    bags = recipe.prepared(replace(read.bags, weights=weights) if balanced else read.bags)
    heard: Reheard | None = None
    unheard: tuple[str, ...] = ()
    if {*recipe.augment} & {*CHANGES}:
        heard, unheard = reheard(
            clips, read, recipe.augment, seed, whole=recipe.whole, on_step=on_step
        )
        heard = replace(heard, bags=recipe.prepared(heard.bags))
        made["heard again"] = len(heard.origins)
    done = trained(recipe, bags, fold_of, on_step, heard)
    final = done.model
    if sounds is not None:
        target = unit(sounds.vectors) if recipe.normalised else sounds.vectors
        final = final.reading(*coral(read.bags.vectors, target.astype(np.float64)))
        made["adapted"] = {"files": sounds.files, "segments": len(sounds.vectors)}
    found, was_stopped = None, done.was_stopped
    if done.held_out is not None:
        fewer: list[tuple[int, dict[str, float]]] = []
        if fold_of is not None and not done.was_stopped:
            groups_of, _ = numbered(read.uris, groups)
            fewer, was_stopped = growth(recipe, bags, fold_of, groups_of, on_step, heard)
        found = report(
            done.held_out,
            read.classes,
            done.folds,
            recipe.settings,
            done.step,
            fewer,
            one_label=read.one_label,
        )
    warnings = (*read.warnings, *unheard, *(sounds.warnings if sounds else ()))
    if was_stopped:
        warnings += ("training was stopped: this is the best head so far",)
    return Training(
        HeadSpec(
            space=clips._session.store.settings.space,
            layers=tuple((_small(weight), _small(bias)) for weight, bias in final.layers),
            names=read.classes,
            output=recipe.output,
            pooling=pooling,
            normalised=recipe.normalised,
            attention=None if final.attention is None else _small(final.attention),
            made={**made, **how_made(recipe, read, done, found)},
        ),
        found,
        done.without,
        warnings,
        was_stopped,
    )


def _folds(
    read: Material, groups: Mapping[str, Any] | None, folds: int | Mapping[str, Any], seed: int
) -> Ints | None:
    """The fold of each clip, checked; None if nothing is to be held back."""
    numbers, names = numbered(read.uris, groups)
    if isinstance(folds, Mapping):
        if missing := [uri for uri in read.uris if folds.get(uri) is None]:
            raise ArgumentError(
                f"folds: expected one for every labelled clip, got none for {missing[0]} "
                f"({len(missing)} clips have none)"
            )
        fold_of, fold_names = numbered(read.uris, folds)
        check_folds(
            read.bags.targets,
            numbers,
            fold_of,
            classes=read.classes,
            group_names=names,
            fold_names=fold_names,
        )
        return fold_of
    if folds == 0:
        return None
    if folds < 2:
        raise ArgumentError(f"folds: expected at least 2, or 0 to hold nothing back, got {folds}")
    for column, name in enumerate(read.classes):
        there = np.flatnonzero(read.bags.targets[:, column])
        if len(np.unique(numbers[there])) < 2:
            of = "clip" if groups is None else "group"
            raise ArgumentError(
                f"labels: expected at least two {of}s of every class, as one is held back to "
                f"measure with, got one of {name!r}; label more, leave classes of few clips out "
                "(min_clips), or hold nothing back (folds 0)"
            )
    return dealt(read.bags.targets, numbers, folds, seed)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What training came to.

    Attributes
    ----------
    model : Model
        Calibrated, where clips were held back.
    step : int
        At which it stopped, from 0.
    folds : list of Fitted
        Of each fold that was held back.
    held_out : HeldOut or None
        How these were scored.
    calibration : Calibration or None
    without : dict of str to float
        Measures without augmentation, if there was any.
    was_stopped : bool
        Whether a Ctrl-C ended it.
    """

    model: Model
    step: int
    folds: list[Fitted]
    held_out: HeldOut | None
    calibration: Calibration | None
    without: dict[str, float]
    was_stopped: bool


def trained(
    recipe: Recipe,
    bags: Bags,
    fold_of: Ints | None,
    on_step: OnStep,
    heard: Reheard | None = None,
) -> Trained:
    """Train with all folds but one in turn, then with all clips; of these alone without folds.

    `heard` has more clips, made of the sound of those. A Ctrl-C ends it with the best model so
    far; where there is none, KeyboardInterrupt goes on.
    """
    more = None if heard is None else heard.of(bags, np.arange(len(bags)))
    if fold_of is None:
        only = fit(recipe, bags, None, more=more)
        return Trained(only.model, only.step, [], None, None, {}, only.was_stopped)
    fitted, held = validated(recipe, bags, fold_of, on_step, heard)
    best = min(fitted, key=lambda each: each.curve[each.step][1])
    stopped = fitted[-1].was_stopped
    without: dict[str, float] = {}
    if not stopped:
        try:
            on_step("all clips")
            final = fit(recipe, bags, None, common_step(fitted), more)
            stopped = final.was_stopped
            best = best if stopped else final
            if recipe.augment and not stopped:
                on_step("without augmentation, to compare")
                plain = validated(replace(recipe, augment=()), bags, fold_of, on_step)
                if not (stopped := plain[0][-1].was_stopped):
                    found, _ = held_out(*plain)
                    without = measures(found, one_label=recipe.output == "softmax")
        except KeyboardInterrupt:
            stopped = True
    found, calibration = held_out(fitted, held)
    return Trained(
        calibration.of(best.model),
        best.step,
        fitted,
        found,
        calibration,
        without,
        stopped,
    )


def _small(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return array.astype(np.float32)


def how_made(
    recipe: Recipe, read: Material, trained: Trained, found: Report | None
) -> dict[str, Any]:
    """How a head was made, as JSON for `HeadSpec.made`."""
    counts = read.bags.targets.sum(0).astype(int).tolist()
    made: dict[str, Any] = {
        "soundsearch": __version__,
        "numpy": np.__version__,
        "model": recipe.model,
        "augment": list(recipe.augment),
        "seed": recipe.seed,
        "folds": len(trained.folds),
        "step": recipe.settings[trained.step],
        "stopped": trained.was_stopped,
        "clips": len(read.uris),
        "classes": dict(zip(read.classes, counts, strict=True)),
    }
    if trained.calibration is not None:
        made["calibration"] = trained.calibration.to_dict()
    if found is not None:
        made["measures"] = found.measures
    if trained.without:
        made["measures without augmentation"] = trained.without
    return made


def check_output(path: str | os.PathLike[str]) -> Path:
    """The path of a head that is to be written, made sure of before training.

    Raises
    ------
    ArgumentError
        It cannot be written.
    """
    target = expanded(path)
    if target.is_dir():
        raise ArgumentError(f"{target}: expected the name of a file to write, got a folder")
    probe = target.with_name(f"{target.name}.tmp")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ArgumentError(
            f"{target}: cannot be written ({error.strerror or error}); name another file"
        ) from error
    return target
