"""``correct``: what people say is heard in clips, or is not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

import soundsearch

from .options import (
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    ClipName,
    at_option,
    library_option,
    wait_option,
    where_option,
)
from .printing import counted, print_row_problems, say

__all__ = ["correct"]


@click.command()
@click.argument("clips", nargs=-1, type=ClipName())
@library_option
@where_option
@click.option("--label", metavar="LABEL", help="A class of the library, by its name or id.")
@at_option
@click.option(
    "--heard",
    type=click.Choice(["yes", "no", "unsaid"]),
    default="yes",
    show_default=True,
    help="unsaid takes back what was said of this label and time.",
)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(),
    help="A table (.csv) with the columns path, label, onset, offset and heard.",
)
@wait_option
def correct(
    clips: tuple[Any, ...],
    library: str | None,
    where: str | None,
    label: str | None,
    at: Any,
    heard: str,
    file: str | None,
    wait: bool,
) -> None:
    """Say what is heard in CLIPS: of the library, by path, address, id or key:VALUE.

    It is kept beside what is predicted, as what is said in the page is. Without --at, it is said of
    a clip as a whole. With --file, of the clips in a table, such as `label --events --format csv`
    writes.
    """
    given = [bool(clips), where is not None, file is not None]
    if sum(given) != 1 or (file is None) is (label is None):
        raise click.UsageError("expected CLIPS or --where, each with --label, or --file without it")
    if file is not None and (at is not None or heard != "yes"):
        raise click.UsageError("--at and --heard are columns of --file: onset, offset and heard")
    from ..correctionfiles import HEARD, read_corrections

    problems: list[tuple[int | None, str]] = []
    lines: Sequence[int | None]
    table = None if file is None else read_corrections(file)
    with soundsearch.open(library, wait=wait, on_wait=partial(say, err=True)) as lib:
        if table is not None:
            corrections, lines = table.corrections, table.lines
            problems += [(problem.line, problem.reason) for problem in table.problems]
        else:
            names = clips if where is None else [clip.id for clip in lib.where(where)]
            corrections = [
                soundsearch.Correction(name, label or "", at, HEARD[heard]) for name in names
            ]
            lines = [None] * len(corrections)
        refused = lib.correct_all(corrections)
    # What is wrong of all clips is said once.
    problems += dict.fromkeys((lines[number], reason) for number, reason in refused.items())
    stored = len(corrections) - len(refused)
    say(f"{counted(stored, 'correction')} stored")
    print_row_problems(file, problems)
    if problems:
        sys.exit(EXIT_SOME_FAILED if stored else EXIT_ERROR)
