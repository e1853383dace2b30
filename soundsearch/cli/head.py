"""``head use`` and ``head show``: what predicts a library's labels."""

from __future__ import annotations

from functools import partial

import click

import soundsearch

from ..hints import command
from .options import json_option, library_option, wait_option
from .printing import counted, print_head, print_json, say
from .progress import check_progress

__all__ = ["head"]


@click.group()
def head() -> None:
    """Use a head of your own for a library's labels, and look into heads."""


@head.command("use")
@click.argument("file", type=click.Path(), required=False)
@click.option("--default", is_flag=True, help="In place of FILE: the encoder's own head again.")
@click.option(
    "--forget", is_flag=True, help="Let go what people said of classes that it does not have."
)
@library_option
@wait_option
def use(file: str | None, default: bool, forget: bool, library: str | None, wait: bool) -> None:
    """Predict the labels of all clips anew with the head in FILE, and of those to come.

    Nothing is embedded again; tags and what people said stay. It happens in one step at the end:
    if it is interrupted, the library is as before, and the same command does it.
    """
    if (file is None) != default:
        raise click.UsageError("expected FILE, a head, or --default, one of the two")
    with soundsearch.open(library, wait=wait, on_wait=partial(say, err=True)) as lib:
        count = len(lib)
        with check_progress(count) as watchers:
            lib.use_head(file, forget=forget, **watchers)
    whose = "the encoder's own head" if file is None else file
    say(f"{counted(count, 'clip')} labelled by {whose}")


@head.command("show")
@click.argument("file", type=click.Path(), required=False)
@library_option
@json_option
def show(file: str | None, library: str | None, as_json: bool) -> None:
    """Show what the head in FILE, or that of the library, knows and how it was made."""
    if file is not None and library is not None:
        raise click.UsageError("expected FILE or --library, not both")
    if file is not None:
        found: soundsearch.Head | None = soundsearch.Head(file)
    else:
        with soundsearch.open(library) as lib:
            found = lib.head
            if found is None and not as_json:
                say(
                    "The labels of this library are of its encoder's own head; use another with: "
                    f"{command('head use FILE', lib.address)}"
                )
    if as_json:
        print_json([{} if found is None else found.to_dict()])
    elif found is not None:
        print_head(found.to_dict())
