"""``train``: a head of one's own from labelled clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from soundsearch_ingest.files import expanded
from soundsearch_ingest.urls import basename, folder

import soundsearch

from ..errors import ArgumentError
from ..hints import command
from .layout import columns, cut, padded
from .options import EXIT_INTERRUPTED, json_option, library_option, where_option
from .printing import counted, print_json, print_warning, say, shown
from .progress import step_progress
from .tables import as_name, class_column, column, matched, read_table

if TYPE_CHECKING:
    from ..learn.report import Report
    from ..learn.training import Training

__all__ = ["train"]

# `soundsearch.learn` has these too, but needs NumPy; a test holds the two together.
MODELS = ("logistic", "network")
POOLINGS = ("mean", "max", "attention")
AUGMENTATIONS = ("mixup", "shuffle", "drop", "noise", "gain", "stretch", "pitch", "reverb")
TEACHERS = ("mini", "yamnet")

_SHOWN = 10
_NAME = 30


@click.command()
@library_option
@click.option("--out", required=True, type=click.Path(), metavar="FILE", help="The head to write.")
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(),
    help="A table with the class of each clip, as `tag` reads them.",
)
@click.option("--class", "class_name", metavar="COLUMN", help="The column of the class.")
@click.option("--folders", is_flag=True, help="The folder of a clip is its class.")
@click.option("--tag", "tag", metavar="KEY", help="The tag that is the class.")
@click.option("--human", is_flag=True, help="The labels that people gave are the classes.")
@click.option(
    "--several",
    metavar="SEPARATOR",
    help="A clip may have several classes, with this between them in its cell or tag: rain|wind.",
)
@click.option("--ontology", is_flag=True, help="Refuse classes that are none of AudioSet's.")
@click.option(
    "--min-clips",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Leave out classes with fewer clips.",
)
@click.option(
    "--group",
    metavar="COLUMN",
    help="The column or tag of what a clip was cut from: it is not in two folds.",
)
@click.option(
    "--folds",
    default="5",
    show_default=True,
    metavar="N|COLUMN",
    help="Parts to hold back in turn, to measure with: how many (0 for none), or the column or tag "
    "that says which.",
)
@where_option
@click.option(
    "--model",
    default=MODELS[0],
    show_default=True,
    type=click.Choice(MODELS),
    help="Logistic regression, or a network of 128 hidden units.",
)
@click.option(
    "--pooling",
    default=POOLINGS[0],
    show_default=True,
    type=click.Choice(POOLINGS),
    help="How a clip is made of its segments.",
)
@click.option(
    "--augment",
    metavar="KINDS",
    default="",
    help=f"More clips to learn from, of {','.join(AUGMENTATIONS[:3])}; or made of the sound of "
    f"files that are heard again: {','.join(AUGMENTATIONS[3:])}.",
)
@click.option(
    "--unbalanced", is_flag=True, help="Classes of more clips count more, as in the clips."
)
@click.option(
    "--adapt",
    multiple=True,
    metavar="PATH",
    help="Unlabelled sound of the kind that the head is for, if the labelled is of another.",
)
@click.option(
    "--teacher",
    type=click.Choice(TEACHERS),
    help="No labels: learn what this encoder's head says of the sound of --audio.",
)
@click.option("--audio", multiple=True, metavar="PATH", help="Sound that nobody labelled.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--report", metavar="FILE", type=click.Path(), help="A page to write, in HTML.")
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    library: str | None,
    out: str,
    where: str | None,
    folds: str,
    augment: str,
    unbalanced: bool,
    report: str | None,
    as_json: bool,
    model: str,
    pooling: str,
    ontology: bool,
    min_clips: int,
    adapt: tuple[str, ...],
    teacher: str | None,
    audio: tuple[str, ...],
    seed: int,
    **source: Any,
) -> None:
    """Train a head from labelled clips of the library, without embedding them again.

    The classes come from a table (--labels), the clips' folders (--folders), a tag (--tag) or the
    labels that people gave (--human). What is printed was measured on clips that were held back.
    With --teacher there are no labels: another encoder's are learnt from sound outside the library.
    """
    from ..learn.training import check_output
    from ..learn.training import train as trained

    for file in (out, *([report] if report else ())):
        check_output(file)
    if teacher is not None or audio:
        if teacher is None or not audio or report or any(source.values()):
            raise ArgumentError(
                "expected --teacher and --audio together, without labels or --report"
            )
        _distil(ctx, library, teacher, audio, out, as_json)
        return
    with soundsearch.open(library) as lib:
        clips = lib if where is None else lib.where(where)
        labels, facts = _labels(clips, **source)
        group = source["group"]
        with step_progress() as on_step:
            training = trained(
                clips,
                labels,
                groups=None if group is None else column(facts, group),
                folds=int(folds) if folds.isascii() and folds.isdigit() else column(facts, folds),
                model=model,
                pooling=pooling,
                balanced=not unbalanced,
                augment=[kind.strip() for kind in augment.split(",") if kind.strip()],
                adapt=adapt,
                ontology=ontology,
                min_clips=min_clips,
                seed=seed,
                on_step=on_step,
            )
    training.save(out)
    if report is not None:
        from ..learn.page import page

        expanded(report).write_text(page(training), "utf-8")
    for warning in training.warnings:
        print_warning(out, warning)
    if as_json:
        print_json([{"file": out, **training.to_dict()}])
    else:
        _print(training)
        say()
        say(
            f"written to {out}; label all clips of the library with it: "
            f"{command(f'head use {out}', lib.address)}"
        )
    if training.was_stopped:
        ctx.exit(EXIT_INTERRUPTED)


def _distil(
    ctx: click.Context,
    library: str | None,
    teacher: str,
    audio: tuple[str, ...],
    out: str,
    as_json: bool,
) -> None:
    """Train a head from a teacher's labels."""
    from ..learn.distilling import distilled

    with soundsearch.open(library) as lib, step_progress() as on_step:
        training = distilled(lib, audio, teacher, on_step=on_step)
    training.save(out)
    for warning in training.warnings:
        print_warning(out, warning)
    made = training.head.made
    if as_json:
        print_json([{"file": out, **training.to_dict()}])
    else:
        say(
            f"{counted(made['files'], 'file')}, {made['segments']:,} segments to learn from; of "
            f"{made['held_out']:,} others the best label of {teacher} is among the head's five "
            f"for {made['agreement']['best_in_five']:.1%}; they share "
            f"{made['agreement']['of_five']:.1%} of five"
        )
        say(f"written to {out}; label all clips: {command(f'head use {out}', lib.address)}")
    if training.was_stopped:
        ctx.exit(EXIT_INTERRUPTED)


def _labels(
    clips: soundsearch.Clips,
    labels: str | None,
    class_name: str | None,
    folders: bool,
    tag: str | None,
    human: bool,
    several: str | None,
    group: str | None,
) -> tuple[dict[str, Any], Mapping[str, Mapping[str, Any]]]:
    """The class of each clip, or its classes, and the columns and tags beside it."""
    if sum((labels is not None, folders, tag is not None, human)) != 1:
        raise ArgumentError("expected one of --labels, --folders, --tag and --human")
    tags = {clip.uri: clip.tags for clip in clips}
    if human:
        from ..learn.data import human_labels

        if not (given := human_labels(clips)):
            raise ArgumentError("--human: people gave no label to any clip of the library")
        return dict(given), tags
    if folders:
        return {uri: basename(folder(uri)) for uri in tags}, tags
    facts: Mapping[str, Mapping[str, Any]] = tags
    if labels is not None:
        rows = matched(read_table(labels, strict=True), tags)
        facts = {uri: {**own, **rows.get(uri, {})} for uri, own in tags.items()}
        tag = class_name or class_column(rows, group)
    names = {uri: as_name(value) for uri, value in column(facts, str(tag)).items()}
    if several is None:
        return dict(names), facts
    split = {uri: [part.strip() for part in name.split(several)] for uri, name in names.items()}
    return {uri: [part for part in parts if part] for uri, parts in split.items()}, facts


def _print(training: Training) -> None:
    made, found = training.head.made, training.report
    say(
        f"{counted(made['clips'], 'clip')} of {len(training.head.names):,} classes, "
        f"{counted(made['groups'], 'group')}; {made['model']}, pooling {training.head.pooling}"
    )
    if found is None:
        say("nothing was held back, so nothing was measured")
        return
    _print_measures(found, training.without)
    if found.by_clips:
        _print_growth(found.by_clips)
    worst = sorted(
        (each for each in found.classes if each.average_precision is not None),
        key=lambda each: each.average_precision or 0,
    )
    say()
    say(f"{padded(f'by class{_the_worst(worst)}', _NAME)} clips     AP    AUC precision recall")
    for each in worst[:_SHOWN]:
        cells = "".join(
            f" {'-' if value is None else f'{value:.3f}':>{width}}"
            for value, width in (
                (each.average_precision, 6),
                (each.area, 6),
                (each.precision, 9),
                (each.recall, 6),
            )
        )
        say(f"{padded(cut(shown(each.name), _NAME), _NAME)} {each.clips:5,}{cells}")
    if found.confused:
        say()
        say("taken for others most often")
        for is_, taken, count in found.confused[:_SHOWN]:
            say(f"{count:5,}  {cut(shown(is_), _NAME)} for {cut(shown(taken), _NAME)}")


def _the_worst(classes: list[Any]) -> str:
    return ", the worst" if len(classes) > _SHOWN else ""


def _print_measures(found: Report, without: Mapping[str, float]) -> None:
    width = max(map(columns, found.measures))
    for name, value in found.measures.items():
        beside = f"  (without augmentation {without[name]:.3f})" if without else ""
        say(f"{padded(name, width)}  {value:.3f}{beside}")


def _print_growth(by_clips: list[tuple[int, dict[str, float]]]) -> None:
    measure = next(iter(by_clips[0][1]))
    clips = "clips trained with"
    say()
    say(f"{clips}{''.join(f'{count:9,}' for count, _ in by_clips)}")
    cells = "".join(f"{values[measure]:9.3f}" for _, values in by_clips)
    say(f"{padded(measure, len(clips))}{cells}")
