"""``query``, ``similar`` and ``label``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

import soundsearch

from .options import (
    ClipName,
    at_option,
    full_option,
    json_option,
    k_option,
    library_option,
    ranking_option,
    where_option,
)
from .printing import print_answer, print_json, print_labelled, print_warning

if TYPE_CHECKING:
    from ..results import Answer

__all__ = ["label", "query", "similar"]

_Moments = tuple[float, float | None]
_NO_MATCH = "No clip of the library matches the filter."


@click.command()
@click.argument("clip", type=click.Path(allow_dash=True))
@library_option
@where_option
@k_option
@ranking_option
@at_option
@full_option
@json_option
def query(
    clip: str,
    library: str | None,
    where: str | None,
    k: int,
    ranking: str,
    at: _Moments | None,
    full: bool,
    as_json: bool,
) -> None:
    """Find the clips nearest to CLIP, a sound file or - for standard input."""
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        answer = selection.query(_source(clip), k, at=at, ranking=ranking)
    print_warning(clip, answer.warning)
    empty = "The library is empty; `soundsearch ingest FOLDER` fills it."
    _print(answer, full, as_json, empty if where is None else _NO_MATCH)


@click.command()
@click.argument("clip", type=ClipName())
@library_option
@where_option
@k_option
@ranking_option
@full_option
@json_option
def similar(
    clip: str | int,
    library: str | None,
    where: str | None,
    k: int,
    ranking: str,
    full: bool,
    as_json: bool,
) -> None:
    """Find the clips nearest to CLIP, one of the library, by its path, address or id."""
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        answer = selection.similar(clip, k, ranking=ranking)
    _print(
        answer, full, as_json, "The library holds no other clip." if where is None else _NO_MATCH
    )


@click.command()
@click.argument("file", type=click.Path(allow_dash=True))
@at_option
@full_option
@json_option
def label(file: str, at: _Moments | None, full: bool, as_json: bool) -> None:
    """Predict the labels of FILE (or - for standard input) and of each of its segments."""
    labelled = soundsearch.label(_source(file), at=at)
    print_warning(file, labelled.warning)
    if as_json:
        print_json([labelled.to_dict()])
    else:
        print_labelled(labelled, full=full)


def _source(clip: str) -> Any:
    return sys.stdin.buffer if clip == "-" else clip


def _print(answer: Answer, full: bool, as_json: bool, nothing: str) -> None:
    if as_json:
        print_json(hit.to_dict() for hit in answer)
    else:
        print_answer(answer, nothing, full=full)
