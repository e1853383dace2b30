"""``relabel``: labels that agree with the ontology."""

from __future__ import annotations

import os
import re
from typing import Any

import click

import soundsearch

from ..errors import ArgumentError
from .options import json_option, where_option
from .printing import counted, print_json, say
from .progress import clip_progress

__all__ = ["relabel"]

# `soundsearch.labels.relabel` and `soundsearch.relabelling` have these too, but need NumPy; a test
# holds them together.
POLICIES = ("ol", "pel", "pe-cml")
PARENTS = ("all", "single")
CLASSES = ("audioset", "list", "ontology")

_FIGURES = {
    "labels": "labels a clip, classes in use",
    "masked": "masked a clip, classes in use",
    "all_labels": "labels a clip, all nodes",
    "all_masked": "masked a clip, all nodes",
    "with_parent": "labels that have their parent",
    "imbalance": "most frequent class to rarest",
    "mean_imbalance": "the same to each class, mean",
}
_SHOWN = 10
_SCHEME = re.compile(r"[a-z-]{2,}:")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SEGMENTS.csv|TFRECORD...|LIBRARY")
@click.option(
    "--policy",
    required=True,
    type=click.Choice(POLICIES),
    help="ol: labels as they are; pel: with all that lies above them; pe-cml: and what lies below "
    "them masked, where nothing of it was chosen.",
)
@click.option(
    "--parents",
    default=PARENTS[0],
    show_default=True,
    type=click.Choice(PARENTS),
    help="All that lies above a label, or one path.",
)
@click.option(
    "--classes",
    default=CLASSES[0],
    show_default=True,
    type=click.Choice(CLASSES),
    help="What is kept: AudioSet's 527 classes, those that the input has, or all 632 nodes.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="LABEL > LABEL",
    help='Count how many clips with the second have the first too, as in "Water > Rain".',
)
@click.option(
    "--out",
    type=click.Path(),
    help="A file, or a folder for several sources.  [default: only count]",
)
@where_option
@json_option
def relabel(
    sources: tuple[str, ...],
    policy: str,
    parents: str,
    classes: str,
    pairs: tuple[str, ...],
    out: str | None,
    where: str | None,
    as_json: bool,
) -> None:
    """Make labels agree with the AudioSet ontology, and count them before and after.

    A segment list gets one more column, masked_labels, and TFRecord files of features one more
    feature of this name. Of a library, the labels that people gave its clips are written to a CSV
    file with the columns uri, labels and masked_labels.
    """
    from ..relabelling import relabel_clips, relabel_files

    options: dict[str, Any] = {"parents": parents, "classes": classes, "out": out}
    options["pairs"] = [_pair(pair) for pair in pairs]
    of_library = [source for source in sources if _is_library(source)]
    if of_library and len(sources) > 1:
        raise ArgumentError(f"{of_library[0]}: expected one library alone, or files")
    if where is not None and not of_library:
        raise ArgumentError("--where: selects clips of a library, and these are files")
    with clip_progress() as watchers:
        options["on_clip"] = watchers["on_clip"]
        if of_library:
            with soundsearch.open(sources[0]) as lib:
                clips = lib if where is None else lib.where(where)
                counts = relabel_clips(clips, policy, address=sources[0], **options)
        else:
            counts = relabel_files(sources, policy, **options)
    if as_json:
        print_json([{"policy": policy, "parents": parents, "in_use": classes, **counts.to_dict()}])
    else:
        _print(counts.to_dict(), asked=len(pairs))
        if out is not None:
            say()
            say(f"written to {out}")


def _is_library(source: str) -> bool:
    return os.path.isdir(source) or _SCHEME.match(source) is not None


def _pair(text: str) -> tuple[str, str]:
    above, mark, label = text.partition(">")
    if not mark:
        raise ArgumentError(f'--pair: expected two labels, as in "Water > Rain", got {text!r}')
    return label.strip(), above.strip()


def _print(found: dict[str, Any], asked: int) -> None:
    """Print the figures, the pairs that were asked for, and a few more pairs and classes."""
    say(counted(found["clips"], "clip"))
    say()
    say(f"{'':34} {'before':>9} {'after':>9}")
    for name, what in _FIGURES.items():
        cells = (_cell(found[side][name], name == "with_parent") for side in ("before", "after"))
        say(f"{what:34} {' '.join(f'{cell:>9}' for cell in cells)}")
    _print_pairs("clips with both, of those with the second", found["pairs"][:asked])
    lacking = sorted(
        found["pairs"][asked:], key=lambda pair: ((pair["before"] or 0) - 1) * pair["clips"]
    )
    _print_pairs("labels that most often lack their parent", lacking[:_SHOWN])
    say()
    say("most frequent classes")
    say(f"{'before':>9} {'after':>9} {'masked':>9}")
    for row in found["classes"][:_SHOWN]:
        say(f"{row['before']:>9,} {row['after']:>9,} {row['masked']:>9,}  {row['name']}")
    if len(found["classes"]) > _SHOWN:
        say(f"... {len(found['classes'])} classes in all; --json lists them")


def _print_pairs(title: str, pairs: list[dict[str, Any]]) -> None:
    if not pairs:
        return
    say()
    say(title)
    say(f"{'clips':>9} {'before':>9} {'after':>9}")
    for pair in pairs:
        cells = " ".join(f"{_cell(pair[side], True):>9}" for side in ("before", "after"))
        say(f"{pair['clips']:>9,} {cells}  {pair['above']} > {pair['label']}")


def _cell(value: float | None, is_share: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if is_share else f"{value:.3f}"
