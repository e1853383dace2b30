"""``recommend``."""

from __future__ import annotations

import click

import soundsearch

from .options import (
    ClipName,
    full_option,
    json_option,
    library_option,
    min_score_option,
    offset_option,
    per_option,
    where_option,
)
from .printing import print_answer, print_json, print_warning

__all__ = ["recommend"]


@click.command()
@click.option(
    "--liked",
    multiple=True,
    required=True,
    type=ClipName(),
    metavar="CLIP",
    help="A clip of the library that is liked, by its path, address or id. Give several times for "
    "several.",
)
@click.option(
    "--disliked", multiple=True, type=ClipName(), metavar="CLIP", help="A clip that is not liked."
)
@click.option(
    "--exclude", multiple=True, type=ClipName(), metavar="CLIP", help="A clip not to recommend."
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    type=float,
    help="How much a liked clip counts, such as how often it was played: once for each --liked, in "
    "the same order.",
)
@click.option(
    "--half-life",
    type=float,
    metavar="CLIPS",
    help="The liked clips are in the order of playing, and one counts half as much as one that was "
    "played so many clips later.",
)
@click.option(
    "--diversity",
    type=float,
    default=0.3,
    show_default=True,
    help="How unlike each other clips must be, 0 to 1.",
)
@library_option
@where_option
@click.option(
    "-k", default=20, show_default=True, type=click.IntRange(1), help="How many clips to recommend."
)
@offset_option
@min_score_option
@per_option
@full_option
@json_option
def recommend(
    liked: tuple[str | int, ...],
    disliked: tuple[str | int, ...],
    exclude: tuple[str | int, ...],
    weights: tuple[float, ...],
    half_life: float | None,
    diversity: float,
    library: str | None,
    where: str | None,
    k: int,
    offset: int,
    min_score: float,
    per: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """Recommend clips to someone who likes some of the library."""
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        answer = selection.recommend(
            liked,
            disliked,
            k,
            diversity=diversity,
            weights=weights or None,
            half_life=half_life,
            exclude=exclude,
            per=per,
            offset=offset,
            min_score=min_score,
        )
    print_warning("recommend", answer.warning)
    if as_json:
        print_json(hit.to_dict() for hit in answer)
    else:
        print_answer(answer, "There is nothing more to recommend.", full=full, heard=False)
