"""``demo``."""

from __future__ import annotations

from pathlib import Path

import click

import soundsearch

__all__ = ["demo"]


@click.command()
@click.option("--folder", type=click.Path(), help="Where to put the sounds and the library.")
def demo(folder: str | None) -> None:
    """Make some sounds, ingest them and search them: a short tour."""
    from ..hints import user_data
    from ..session import default_address
    from .tour import tour

    if folder is None:
        default = default_address()
        beside = default.parent if isinstance(default, Path) else user_data()
        folder = str(beside / f"demo-{soundsearch.__version__}")
    tour(Path(folder))
