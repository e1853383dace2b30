"""``neighbours``, and ``similar`` of several clips: rows, not hits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import click

import soundsearch

from ..hints import command
from .options import json_option, library_option, where_option
from .printing import print_json, say
from .progress import check_progress

__all__ = ["neighbours", "print_similar"]


@click.command()
@library_option
@where_option
@click.option(
    "-k", default=10, show_default=True, type=click.IntRange(1), help="How many for each clip."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print a table: uri, neighbour, score.")
@json_option
def neighbours(library: str | None, where: str | None, k: int, as_csv: bool, as_json: bool) -> None:
    """Find the clips nearest to each clip, among all or those that --where lets through."""
    if as_csv and as_json:
        raise click.UsageError("expected --csv or --json, got both")
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        count = len(selection)
        if as_csv:
            _say_row("uri", "neighbour", "score")
        elif not count and not as_json:
            empty = f"The library is empty; `{command('ingest FOLDER', lib.address)}` fills it."
            say(empty if where is None else "No clip of the library matches the filter.")
        with check_progress(count) as callbacks:
            for block in selection.neighbours(k, on_clips=callbacks["on_clips"]):
                if as_csv:
                    for _, uri, hits in _each(block):
                        for hit in hits:
                            _say_row(uri, hit["uri"], hit["score"])
                elif as_json:
                    print_json(
                        {"clip_id": id, "uri": uri, "neighbours": hits}
                        for id, uri, hits in _each(block)
                    )
                else:
                    _print(block)


def print_similar(found: soundsearch.Neighbours, as_json: bool) -> None:
    """Print the clips nearest to each of several."""
    if as_json:
        print_json(
            {"query": uri, "rank": rank, **hit}
            for _, uri, hits in _each(found)
            for rank, hit in enumerate(hits, 1)
        )
    else:
        _print(found)


def _say_row(*values: Any) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    say(line.getvalue())


def _print(found: soundsearch.Neighbours) -> None:
    for _, uri, hits in _each(found):
        say(f"{uri}:")
        for rank, hit in enumerate(hits, 1):
            say(f"{rank:>3}  {hit['score']:5.3f}  {hit['uri']}")
        say()


def _each(found: soundsearch.Neighbours) -> Iterator[tuple[int, str, list[dict[str, Any]]]]:
    """Each clip's id and uri, and what was found for it."""
    rows = zip(
        found.clips.tolist(),
        found.clip_uris(),
        found.ids.tolist(),
        found.scores.tolist(),
        found.uris(),
        strict=True,
    )
    for clip, uri, ids, scores, uris in rows:
        yield (
            clip,
            uri,
            [
                {"clip_id": id, "score": round(score, 4), "uri": near}
                for id, score, near in zip(ids, scores, uris, strict=False)
            ],
        )
