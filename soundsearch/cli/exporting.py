"""``export``: the clips of a library as a file for other programs."""

from __future__ import annotations

import click

import soundsearch

from .options import json_option, library_option, where_option
from .printing import counted, print_json, say
from .progress import clip_progress

__all__ = ["export"]

# `soundsearch.exporting` has these too, but needs NumPy; a test holds the two together.
FORMATS = ("npz", "parquet", "csv")
VECTORS = ("clips", "segments", "none")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@library_option
@where_option
@click.option("--format", type=click.Choice(FORMATS), help="[default: as FILE ends]")
@click.option(
    "--vectors",
    type=click.Choice(VECTORS),
    help="One of each clip, all of its segments (not in CSV), or none.  [default: none in CSV, "
    "else clips]",
)
@json_option
def export(
    file: str,
    library: str | None,
    where: str | None,
    format: str | None,
    vectors: str | None,
    as_json: bool,
) -> None:
    """Write the clips to FILE, with labels, tags and vectors: .npz, .parquet or .csv.

    FILE is replaced once all is written.
    """
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        with clip_progress(len(selection)) as watchers:
            count = selection.export(
                file, format=format, vectors=vectors, on_clip=watchers["on_clip"]
            )
    if as_json:
        print_json([{"file": file, "clips": count}])
    else:
        say(f"{counted(count, 'clip')} written to {file}")
