"""``teach``: a head of one class, taught by answers to what it asks."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

import soundsearch

from ..errors import ArgumentError, ClipNotFound, SoundsearchError
from ..hints import command
from .layout import moments, short_path
from .options import (
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    json_option,
    library_option,
    wait_option,
    where_option,
)
from .printing import counted, print_json, print_warning, say

if TYPE_CHECKING:
    from ..learn.teaching import Offer, Standing, Teaching

__all__ = ["teach"]

_KEYS = "y yes, n no, s skip, q stop"


@click.command()
@library_option
@click.option("--label", required=True, metavar="NAME", help="What is to be known.")
@click.option("--out", required=True, type=click.Path(), metavar="FILE", help="The head to write.")
@click.option(
    "--like",
    metavar="CLIP",
    help="A clip of the library, or a file, in which it can be heard, to begin with.",
)
@click.option(
    "--round",
    "count",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="After how many clips to train again.",
)
@where_option
@wait_option
@json_option
@click.pass_context
def teach(
    ctx: click.Context,
    /,
    library: str | None,
    label: str,
    out: str,
    like: str | None,
    count: int,
    where: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Teach a head one class: it asks about the clips whose answers help most.

    Answers are kept as the tag teach:NAME of the clips, at once: the same command goes on later.
    With --json, clips to ask about come as JSON lines, and answers are read as JSON lines such as
    {"uri": "/a.wav", "answer": true}; null skips a clip. The next ones come when all are answered.
    """
    from ..learn.teaching import Teaching
    from ..learn.training import check_output

    check_output(out)
    told = partial(say, err=True)
    with soundsearch.open(library, wait=wait, on_wait=told) as lib:
        was_stopped = was_wrong = False
        teaching = Teaching(lib if where is None else lib.where(where), label, like=like)
        if teaching.warning:
            print_warning(repr(teaching.label), teaching.warning)
        try:
            if as_json:
                was_wrong = _ask_program(teaching, count)
            else:
                _ask_person(teaching, count)
        except KeyboardInterrupt:
            was_stopped = True
        try:
            teaching.save(out)
        except SoundsearchError as error:
            if not was_stopped:
                raise
            say(str(error), err=True)
            ctx.exit(EXIT_INTERRUPTED)
        head = teaching.head()
        if as_json:
            print_json([{"file": out, "classes": list(head.names), "made": dict(head.made)}])
        else:
            say(
                f"written to {out}; label all clips of the library with it: "
                f"{command(f'head use {out}', lib.address)}"
            )
    if was_stopped:
        ctx.exit(EXIT_INTERRUPTED)
    if was_wrong:
        ctx.exit(EXIT_SOME_FAILED)


def _ask_person(teaching: Teaching, count: int) -> None:
    """Ask at the keyboard until told to stop."""
    if teaching.answers:
        say(f"so far: {_counts(teaching.standing())}")
    say(f"Can {teaching.label} be heard?  {_KEYS}")
    while offers := teaching.offers(count):
        for offer in offers:
            _show(offer)
            key = _key()
            if key == "q":
                return
            if key == "s":
                teaching.skip(offer.uri)
            else:
                teaching.answer(offer.uri, key == "y")
        say(_summary(teaching.standing()))
    say("no clip is left to ask about")


def _show(offer: Offer) -> None:
    [moment] = moments([(offer.start, offer.end)])
    score = "" if offer.score is None else f"  score {offer.score:.2f}"
    say(f"{short_path(offer.uri)}  {moment}{score}")


def _key() -> str:
    """One of y, n, s and q; what ends the input is q."""
    while True:
        try:
            typed = click.getchar() if sys.stdin.isatty() else sys.stdin.readline() or "q"
        except EOFError:  # Ctrl-D
            return "q"
        key = typed.strip()[:1].lower()
        if key and key in "ynsq":
            say(f"  {key}")
            return key
        say(f"  expected one of: {_KEYS}")


def _summary(standing: Standing) -> str:
    if standing.sure_yes is None or standing.sure_no is None:
        return f"{_counts(standing)}; five of either kind tell how sure it is of the others"
    return (
        f"{_counts(standing)}; of {standing.clips:,} others sure of "
        f"{standing.sure_yes + standing.sure_no:,}: {standing.sure_yes:,} yes, "
        f"{standing.sure_no:,} no"
    )


def _counts(standing: Standing) -> str:
    return f"{counted(standing.yes + standing.no, 'answer')}, {standing.yes:,} yes"


def _ask_program(teaching: Teaching, count: int) -> bool:
    """Ask by JSON lines until the input ends; returns whether a line was no answer."""
    number, was_wrong = 0, False
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    while offers := teaching.offers(count):
        print_json(offer.to_dict() for offer in offers)
        waiting = {offer.uri for offer in offers}
        while waiting:
            line = sys.stdin.readline()
            number += 1
            if not line:
                return was_wrong
            if not line.strip():
                continue
            try:
                waiting.discard(_taken(teaching, line))
            except (ArgumentError, ClipNotFound) as error:
                print_warning(f"standard input, line {number}", str(error))
                was_wrong = True
        print_json([teaching.standing().to_dict()])
    return was_wrong


def _taken(teaching: Teaching, line: str) -> str:
    """Take in an answer; returns the uri of its clip."""
    try:
        given: Any = json.loads(line)
    except (ValueError, RecursionError):
        given = None
    uri, answer = (
        (given.get("uri"), given.get("answer", "")) if isinstance(given, dict) else ("", "")
    )
    if not isinstance(uri, str) or not (answer is None or isinstance(answer, bool)):
        raise ArgumentError(
            'expected an answer, as in {"uri": "/a.wav", "answer": true} (true, false or null), '
            f"got {line.strip()[:80]}"
        )
    return teaching.skip(uri) if answer is None else teaching.answer(uri, answer)
