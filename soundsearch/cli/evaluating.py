"""``evaluate``: how well a library finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

import soundsearch

from .options import (
    RANKINGS,
    full_option,
    json_option,
    library_option,
    ranking_option,
    where_option,
)
from .printing import print_evaluated, print_json, say
from .progress import clip_progress
from .tables import class_column, column, matched, read_table

if TYPE_CHECKING:
    from ..evaluate import Retrieval

__all__ = ["evaluate"]


@click.command()
@library_option
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(),
    help="A table with the class of each clip, as `tag` reads them.  [default: the clips' tags]",
)
@click.option("--class", "class_name", metavar="COLUMN", help="The column or tag of the class.")
@click.option(
    "--group",
    metavar="COLUMN",
    help="The column or tag of what a clip was cut from; a query does not find its own group.",
)
@where_option
@ranking_option
@click.option(
    "--depth", default=50, show_default=True, type=click.IntRange(1), help="How many clips count."
)
@click.option("--against", metavar="FOLDER|URI", help="Another library of the same clips.")
@click.option("--against-ranking", type=click.Choice(RANKINGS), help="Another ranking.")
@full_option
@json_option
def evaluate(
    library: str | None,
    labels: str | None,
    class_name: str | None,
    group: str | None,
    where: str | None,
    ranking: str,
    depth: int,
    against: str | None,
    against_ranking: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """Ask with every clip of known class, and measure how many of its class are found.

    The measures are trec_eval's, with the interval that holds 95 % of what other clips of the
    kind would give. With --against or --against-ranking, how another library or ranking does with
    the same queries, and how often such a difference comes by chance.
    """
    from ..recall import index_recall

    facts = None if labels is None else read_table(labels)
    with ExitStack() as opened:

        def select(address: str | None) -> soundsearch.Clips:
            lib = opened.enter_context(soundsearch.open(address))
            return lib if where is None else lib.where(where)

        ways = [(select(library), ranking)]
        if against is not None or against_ranking is not None:
            clips = ways[0][0] if against is None else select(against)
            ways.append((clips, against_ranking or ranking))
        tags = {clip.uri: clip.tags for clip in ways[0][0]}
        known = tags if facts is None else matched(facts, tags)
        if against is not None:
            known = {clip.uri: known[clip.uri] for clip in ways[1][0] if clip.uri in known}
        classes = column(known, class_name or class_column(known, group))
        groups = {} if group is None else column(known, group)
        found, *others = _measured(ways, classes, groups, depth)
        index = index_recall(ways[0][0])
    other = others[0] if others else None
    if as_json:
        row = _as_json(found, other, ranking, depth)
        print_json([{**row, "index": None if index is None else index.to_dict()}])
    else:
        say(
            f"{found.queries:,} queries of {len(found.by_class()):,} classes, the "
            f"first {depth} clips count"
        )
        print_evaluated(found, other, full=full)
        if index is not None:
            say(
                f"\nThe index is approximate: of the ten nearest segments it finds "
                f"{index.of_rows:.1%} for segments of the library, {index.of_others:.1%} for new "
                f"sounds ({index.queries:,} queries each)."
            )


def _measured(
    ways: Sequence[tuple[soundsearch.Clips, str]],
    classes: Mapping[str, Any],
    groups: Mapping[str, Any],
    depth: int,
) -> list[Retrieval]:
    """What each library with each ranking makes of the same queries."""
    from .. import evaluate as metrics

    with clip_progress(len(ways) * len(classes)) as watchers:
        return [
            metrics.evaluate(
                clips, classes, groups, ranking=by, depth=depth, on_clip=watchers["on_clip"]
            )
            for clips, by in ways
        ]


def _as_json(found: Retrieval, other: Retrieval | None, ranking: str, depth: int) -> dict[str, Any]:
    intervals = found.intervals()
    row: dict[str, Any] = {
        "queries": found.queries,
        "ranking": ranking,
        "depth": depth,
        "measures": {
            name: {"mean": mean, "low": intervals[name][0], "high": intervals[name][1]}
            for name, mean in found.means().items()
        },
        "classes": found.by_class(),
    }
    if other is not None:
        means = other.means()
        row["against"] = {
            name: {"mean": means[name], "difference": change.difference, "p": change.p}
            for name, change in found.changes(other).items()
        }
    return row
