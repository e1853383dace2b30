"""``serve``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from soundsearch_ingest.files import expanded

import soundsearch

from .options import EXIT_ERROR, library_option
from .printing import say

__all__ = ["serve"]

_LONG_ENOUGH = 16


@click.command()
@click.argument("folders", nargs=-1, type=click.Path())
@library_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 for one that is free.",
)
@click.option(
    "--token",
    envvar="SOUNDSEARCH_TOKEN",
    show_envvar=True,
    help="What every request must have, as in Authorization: Bearer TOKEN. The variable is not "
    "seen by other users of this machine.",
)
@click.option(
    "--allow-ingest",
    is_flag=True,
    help="Whoever may ask may ingest what is in FOLDERS too; without any, what is in folders that "
    "hold clips already.",
)
def serve(
    folders: tuple[str, ...],
    library: str | None,
    host: str,
    port: int,
    token: str | None,
    allow_ingest: bool,
) -> None:
    """Serve the library: a page for people, and /api/v1/openapi.json for programs."""
    from soundsearch_ingest.extras import needs

    if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
        raise click.UsageError("--token: expected printable ASCII without spaces, got others")
    if folders and not allow_ingest:
        raise click.UsageError(f"expected no folders without --allow-ingest, got {folders[0]}")
    for folder in folders:
        if not expanded(folder).is_dir():
            raise click.UsageError(f"--allow-ingest: expected a folder, got {folder}")
    if token == "":
        raise click.UsageError("--token: expected a text, got none; leave it out for no token")
    for module in ("starlette", "uvicorn", "python_multipart"):
        needs(module, "web")
    from ..hints import command
    from ..session import default_address
    from ..stores.opening import place_of
    from ..web.guard import is_loopback
    from ..web.serving import make_server
    from ..web.serving import serve as run

    place = default_address() if library is None else place_of(library)
    if isinstance(place, Path) and place.is_file():
        raise click.UsageError(f"--library: expected a folder or an address, got a file: {place}")
    if not is_loopback(host) and token is None:
        say(
            f"Warning: whoever reaches {host} can ask for all sounds of the library and correct "
            "its labels, as there is no token; give one with --token, or stay on this machine with "
            "--host 127.0.0.1",
            err=True,
        )
    if token is not None and len(token) < _LONG_ENOUGH:
        say(
            f"Warning: the token has fewer than {_LONG_ENOUGH} characters; guesses may find it",
            err=True,
        )

    ingest = [str(expanded(each)) for each in folders] if allow_ingest else None

    def on_ready(address: str, number: int) -> None:
        shown = f"[{address}]" if ":" in address else address
        say(f"Serving {place} at http://{shown}:{number}/ (Ctrl-C stops)", err=True)

    with soundsearch.open(place) as lib:  # what is wrong with it is told at once
        if not lib._session.is_made:
            fill = command("ingest FOLDER", place)
            say(f"Warning: {place}: there is no library yet; make it with: {fill}", err=True)
    if not run(make_server(place, host=host, port=port, token=token, ingest=ingest), on_ready):
        say(f"Error: cannot listen on {host}, port {port}; is it in use?", err=True)
        sys.exit(EXIT_ERROR)
