"""``info``, ``clips`` and ``failures``: what a library holds."""

from __future__ import annotations

import click

import soundsearch

from .options import full_option, json_option, library_option, where_option
from .printing import print_clip, print_info, print_json, say

__all__ = ["clips", "failures", "info"]


@click.command()
@library_option
@json_option
def info(library: str | None, as_json: bool) -> None:
    """Show what the library holds and how it was made."""
    with soundsearch.open(library) as lib:
        facts = lib.info()
    if as_json:
        print_json([facts])
    else:
        print_info(facts)


@click.command()
@library_option
@where_option
@click.option("--human-label", metavar="LABEL", help="Only clips that people gave this label.")
@click.option("--damaged", is_flag=True, help="Only clips with a warning, and what it says.")
@full_option
@json_option
def clips(
    library: str | None,
    where: str | None,
    human_label: str | None,
    damaged: bool,
    full: bool,
    as_json: bool,
) -> None:
    """List the clips with their labels and tags."""
    with soundsearch.open(library) as lib:
        selection: soundsearch.Clips = lib
        if human_label is not None:
            selection = selection.where("human_label[:label]", label=human_label)
        if damaged:  # they hold less than promised, say, or their file is no sound any more
            selection = selection.where("not (warning is missing)")
        if where is not None:
            selection = selection.where(where)
        for clip in selection:
            if as_json:
                print_json([clip.to_dict()])
            else:
                print_clip(clip, full=full, warning=damaged)


@click.command()
@library_option
@json_option
def failures(library: str | None, as_json: bool) -> None:
    """List the files that could not be ingested, and why."""
    with soundsearch.open(library) as lib:
        failed = lib.failures()
    if as_json:
        print_json(failure.to_dict() for failure in failed)
    else:
        for failure in failed:
            say(f"{failure.uri}: {failure.reason}")
