"""``duplicates``: groups of clips that are the same sound, and a script to go through them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import soundsearch

from ..hints import command
from .options import json_option, library_option, where_option
from .printing import counted, print_json, say, shown
from .progress import check_progress

if TYPE_CHECKING:
    from ..duplicates.found import DuplicateGroup, DuplicatePair, Duplicates

__all__ = ["duplicates", "print_duplicate"]

_REASON = 12


@click.command()
@library_option
@where_option
@click.option(
    "--similar",
    default=0.95,
    show_default=True,
    type=click.FloatRange(-1),
    metavar="COSINE",
    help="How near embeddings must be to be listed, apart, as merely similar; 2 lists none.",
)
@click.option(
    "--script",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write a shell script that would remove all but one of each group, all commented out; - "
    "is standard output, in place of the table.",
)
@json_option
def duplicates(
    library: str | None, where: str | None, similar: float, script: str | None, as_json: bool
) -> None:
    """Find clips that are the same sound, copied, cut or altered. Nothing is removed.

    With --json, a pair a line; those of a group have its number and the clip to keep.
    """
    is_piped = script == "-"
    if is_piped and as_json:
        raise click.UsageError("--script - and --json both print: give the script a file.")
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        count = len(selection)
        if not count and not as_json:
            empty = f"The library is empty; `{command('ingest FOLDER', lib.address)}` fills it."
            none = empty if where is None else "No clip of the library matches the filter."
            say(none, err=is_piped)
        with check_progress(count) as callbacks:
            found = selection.duplicates(similar=similar, **callbacks)
    if is_piped:
        _pipe(found)
    elif script is not None:
        _write(script, found)
    if as_json:
        print_json(_rows(found))
    elif count and not is_piped:
        _print(found)
    if script is not None and not is_piped:
        say(f"{script}: review it, and uncomment what is to go", err=True)


def print_duplicate(pair: DuplicatePair, as_json: bool) -> None:
    """Print a pair that an ingest met."""
    if as_json:
        print_json([{"action": "duplicate", **pair.to_dict()}])
    else:
        say(f"{pair.reason}: {pair.uri} of {pair.other}{_after(pair)}")


def _rows(found: Duplicates) -> Iterator[dict[str, object]]:
    for number, group in enumerate(found.groups, 1):
        for pair in group.pairs:
            yield {"group": number, "kept": group.uri, **pair.to_dict()}
    for pair in found.apart:
        yield pair.to_dict()


def _print(found: Duplicates) -> None:
    more = sum(len(group.pairs) for group in found.groups)
    for number, group in enumerate(found.groups, 1):
        say(f"{number}. {group.uri}")
        for pair in group.pairs:
            beside = "" if pair.other_id == group.clip_id else f", of {pair.other}"
            say(f"   {pair.reason:{_REASON}} {pair.uri}{beside}{_after(pair)}")
        say()
    if found.apart:
        say("Apart, in no group:")
        for pair in found.apart:
            cosine = f", cosine {pair.score:.3f}" if pair.reason == "similar" else ""
            say(f"   {pair.reason:{_REASON}} {pair.uri}")
            say(f"   {'':{_REASON}} {pair.other}{_after(pair)}{cosine}")
        say()
    unread = f"; {counted(found.unread, 'clip')} could not be read" if found.unread else ""
    say(
        f"{counted(len(found.groups), 'group')}, {counted(more, 'clip')} of "
        f"{found.clips:,} held by another{unread}"
    )


def _after(pair: DuplicatePair) -> str:
    return f": {pair.changes}" if pair.changes else ""


# The script


def _write(path: str, found: Duplicates) -> None:
    """Write the script; what is there is replaced when it is complete."""
    from ..exporting import replacing

    with replacing(Path(path)) as beside, open(beside, "wb") as file:
        file.writelines(_lines(found))


def _pipe(found: Duplicates) -> None:
    """Write the script to standard output."""
    with click.open_file("-", "wb") as file:
        file.writelines(_lines(found))


def _lines(found: Duplicates) -> Iterator[bytes]:
    """The script; names of bytes that are no text are surrogates, as which os gives them."""
    for line in _script(found):
        yield line.encode("utf-8", "surrogateescape") + b"\n"


def _script(found: Duplicates) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "# Duplicates that soundsearch found. As it stands, this script does nothing."
    yield "# Listen, then take the '# ' from the rm lines of what is to go."
    yield "#"
    yield "# Of each group one clip is kept, which holds all that the others hold: the longest; of"
    yield "# those as long, one that is not band-limited; of these, the largest file. Nothing is"
    yield "# removed while that one is not there."
    for number, group in enumerate(found.groups, 1):
        yield ""
        yield f"# {number}. kept: {_as_comment(group.uri)}"
        yield from _removals(group)


def _removals(group: DuplicateGroup) -> Iterator[str]:
    for pair in group.pairs:
        beside = "" if pair.other_id == group.clip_id else f", of {_as_comment(pair.other)}"
        yield f"#    {pair.reason}{beside}{_after(pair)}"
        if not os.path.isabs(pair.uri):
            yield f"#    no file on this disk: {_as_comment(pair.uri)}"
        elif os.path.realpath(pair.uri) == os.path.realpath(group.uri):
            yield f"#    the same file, by a link: {_as_comment(pair.uri)}"
        elif not os.path.isabs(group.uri):
            yield "#    the one to keep is no file on this disk: see that it is there"
            yield f"# {_removal(pair.uri)}"
        else:
            yield f"# {_test(group.uri)} && {_removal(pair.uri)}"


def _as_comment(name: str) -> str:
    """A name that stays within its line, and acts on no terminal."""
    return shown(name)


def _test(name: str) -> str:
    """The command that succeeds where a file is there."""
    if _is_plain(name):
        return f"[ -f {_quoted(name)} ]"
    return f'{_printed("kept", name)} && [ -f "${{kept%_}}" ]'


def _removal(name: str) -> str:
    """The command, in one line of POSIX shell, that removes a file of any name."""
    if _is_plain(name):
        return f"rm -- {_quoted(name)}"
    return f'{_printed("name", name)} && rm -- "${{name%_}}"'


def _is_plain(name: str) -> bool:
    return all(char.isprintable() or "\udc80" <= char <= "\udcff" for char in name)


def _printed(variable: str, name: str) -> str:
    """A shell variable with a name and a mark after it, which keeps line breaks at the end.

    A line break within quotes would end the comment that the command is in: control characters
    are written by printf.
    """
    parts = []
    for char in name:
        if char in "\\%":
            parts.append(char * 2)
        elif _is_plain(char):
            parts.append(char)
        else:
            parts += [f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape")]
    return f"{variable}=$(printf {_quoted(''.join(parts) + '_')})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
