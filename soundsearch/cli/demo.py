"""The demo: sounds made by formula, ingested, and asked with variations they do not hold."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .. import demo_sounds
from ..library import Library
from .printing import print_answer, run_ingest

__all__ = ["run_demo"]

_SHOWN_QUERIES = 3
_HITS_SHOWN = 5
_UNSEEN = 100


def run_demo(folder: Path) -> None:
    """Make the sounds and a library below `folder`, search them, and say what to do next."""
    sounds, path = folder.absolute() / "sounds", folder / "library"
    began = time.monotonic()
    click.echo(f"Making sounds of {len(demo_sounds.KINDS)} kinds in {sounds} ...")
    sounds.mkdir(parents=True, exist_ok=True)
    demo_sounds.write_collection(sounds)
    with Library(path) as lib:
        run_ingest(lib, [str(sounds)], prune=True)
        clips, seconds = len(lib), sum(clip.duration for clip in lib)
        click.echo(f"{clips} clips in the library, {seconds:.0f} s of sound.\n")
        _ask(lib)
        click.echo(f"\nAsked for what occurs in {demo_sounds.RECORDING_NAME}, three minutes long:")
        _find_moments(lib, sounds / demo_sounds.RECORDING_NAME)
    click.echo(f"All that took {time.monotonic() - began:.0f} s. Next, with your own sounds:\n")
    click.echo("  soundsearch ingest ~/Sounds\n  soundsearch query some-clip.wav")
    click.echo("\nOr go on with these:\n")
    click.echo(f"  soundsearch query --library '{path}' '{_example(sounds)}'")
    click.echo(f"  soundsearch label '{_example(sounds)}'")


def _ask(lib: Library) -> None:
    right = total = 0
    for kind, variation in demo_sounds.queries():
        sound = demo_sounds.make(kind, variation)
        answer = lib.query(sound, _HITS_SHOWN, sample_rate=demo_sounds.SAMPLE_RATE)
        nearest = next(hit for hit in answer if demo_sounds.kind_of(Path(hit.uri)) is not None)
        right += demo_sounds.kind_of(Path(nearest.uri)) == kind
        total += 1
        if total % max(1, len(demo_sounds.queries()) // _SHOWN_QUERIES) == 1:
            click.echo(f"Asked with a new {kind}:")
            print_answer(answer)
            click.echo("")
    click.echo(
        f"Asked with {total} new variations: for {right} of them ({right / total:.0%}) the "
        "nearest clip was of the right kind."
    )


def _find_moments(lib: Library, recording: Path) -> None:
    """Ask for each sound that occurs in the recording, with another variation of it."""
    _, events = demo_sounds.recording()
    right = 0
    for kind, start, end in events:
        sound = demo_sounds.make(kind, _UNSEEN)
        answer = lib.query(sound, len(demo_sounds.KINDS) * 9, sample_rate=demo_sounds.SAMPLE_RATE)
        moment = next(hit for hit in answer if Path(hit.uri) == recording)
        found = moment.start < end and moment.end > start
        right += found
        click.echo(
            f"  {kind:18} sounds from {start:5.1f} to {end:5.1f} s, found at {moment.start:5.1f} s"
            f"{'' if found else '  (wrong)'}"
        )
    click.echo(f"{right} of {len(events)} moments were right.\n")


def _example(sounds: Path) -> Path:
    return min(path for path in sounds.iterdir() if demo_sounds.kind_of(path) is not None)
