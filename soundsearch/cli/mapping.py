"""``map``: the clips of a library in two dimensions."""

from __future__ import annotations

import click

import soundsearch

from ..hints import command
from .options import json_option, library_option, where_option
from .printing import counted, print_json, say
from .progress import check_progress, compare_progress

__all__ = ["map"]

# `soundsearch.mapping` has these too, but needs NumPy; a test holds the two together.
METHODS = ("tsne", "pca", "umap")


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="NAME.html for a page that needs no network, or NAME.svg or NAME.png for a picture.",
)
@library_option
@where_option
@click.option(
    "--by",
    default="category",
    show_default=True,
    metavar="category|label|folder|tag[KEY]",
    help="What colours mean; in a page it can be changed.",
)
@click.option(
    "--method", type=click.Choice(METHODS), help="How clips are laid out.  [default: tsne]"
)
@click.option(
    "--onto",
    type=click.Path(),
    metavar="PAGE.html",
    help="Leave clips where they are on this map, and place new ones among them.",
)
@json_option
def map(
    out: str,
    library: str | None,
    where: str | None,
    by: str,
    method: str | None,
    onto: str | None,
    as_json: bool,
) -> None:
    """Draw the clips as a map: near each other where they sound alike.

    The file is replaced once all is written.
    """
    from ..mapping.maps import check_out

    check_out(out)
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        # Where clips go on a map depends on all of the library.
        total = len(selection if onto is None else lib)
        with check_progress(total) as watchers, compare_progress("steps") as on_layout:
            on_clips = watchers["on_clips"]
            made = selection.map(
                by=by, method=method, onto=onto, on_clips=on_clips, on_layout=on_layout
            )
        if not len(made):
            empty = f"The library is empty; `{command('ingest FOLDER', lib.address)}` fills it."
            raise soundsearch.SoundsearchError(
                empty if where is None else "no clip of the library matches the filter"
            )
    made.save(out)
    if as_json:
        facts = {"method": made.method, "space": made.space, "placed": made.placed}
        print_json([{"file": out, "clips": len(made), **facts}])
        return
    new = "" if onto is None else f", {made.placed:,} of them placed among the others"
    say(f"{counted(len(made), 'clip')} on the map {out}{new}")
