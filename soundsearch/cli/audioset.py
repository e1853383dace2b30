"""``audioset stats``: AudioSet's lists and features, counted."""

from __future__ import annotations

import click

from .options import json_option
from .printing import counted, print_json, say
from .progress import watched

__all__ = ["audioset"]


@click.group()
def audioset() -> None:
    """Look into AudioSet's lists and features."""


@audioset.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@json_option
def stats(files: tuple[str, ...], as_json: bool) -> None:
    """Count the clips of each class in FILES, segment lists (.csv) and TFRecord files."""
    from ..audioset import stats as count

    found = count(watched(files, len(files)))
    if as_json:
        print_json([found.to_dict()])
    else:
        say(f"{counted(found.clips, 'clip')}, {found.mean_labels:.2f} labels a clip")
        say()
        for row in found.classes:
            say(f"{row.clips:>9,}  {row.mid:12}  {row.name}")
