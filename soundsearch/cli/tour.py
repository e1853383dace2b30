"""What ``demo`` does: made-up sounds, ingested, then searched with others of their kinds."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import soundsearch

from .. import demo_sounds
from ..hints import command
from ..library import Library
from .printing import print_answer, print_ingested, say
from .progress import file_progress, targets_counter

__all__ = ["tour"]

_QUERIES_SHOWN = 3
_HITS_SHOWN = 5
# Neither the collection nor the recording holds this variation of any kind.
_UNSEEN = 100


def tour(folder: Path) -> None:
    """Make sounds and a library in `folder`, search them, and say what to do next."""
    sounds, path = folder.absolute() / "sounds", folder / "library"
    began = time.monotonic()
    say(f"Making sounds of {len(demo_sounds.KINDS)} kinds in {sounds} ...")
    sounds.mkdir(parents=True, exist_ok=True)
    demo_sounds.write_collection(sounds)
    with soundsearch.open(path) as lib:
        with file_progress(False, targets_counter([str(sounds)])) as watchers:
            report = lib.ingest([sounds], prune_all=True, **watchers)
        print_ingested(report, len(lib), path)
        seconds = sum(clip.duration for clip in lib)
        say(f"They last {seconds:.0f} s in all.")
        say()
        _ask(lib)
        say()
        say(f"Searching {demo_sounds.RECORDING_NAME}, three minutes long, for each sound in it:")
        _find_moments(lib, sounds / demo_sounds.RECORDING_NAME)
    say(f"All that took {time.monotonic() - began:.0f} s. Now with your own sounds:")
    say()
    say("  soundsearch ingest ~/Sounds")
    say("  soundsearch query some-clip.wav")
    say()
    say("Or continue with these:")
    say()
    example = shlex.quote(str(_example(sounds)))
    say(f"  {command(f'query {example}', path)}")
    say(f"  soundsearch label {example}")


def _ask(lib: Library) -> None:
    """Search with new variations of each kind, and count how often the right kind is nearest."""
    queries = demo_sounds.queries()
    right = 0
    for number, (kind, variation) in enumerate(queries):
        sound = demo_sounds.make(kind, variation)
        answer = lib.query(sound, _HITS_SHOWN, sample_rate=demo_sounds.SAMPLE_RATE)
        nearest = next(hit for hit in answer if demo_sounds.kind_of(Path(hit.uri)) is not None)
        right += demo_sounds.kind_of(Path(nearest.uri)) == kind
        if number % max(1, len(queries) // _QUERIES_SHOWN) == 0:
            say(f"Query: a sound that is not in the library ({kind})")
            print_answer(answer, "")
            say()
    say(
        f"{len(queries)} queries with sounds that are not in the library: for {right} of them "
        f"({right / len(queries):.0%}) the nearest clip is of the same kind."
    )


def _find_moments(lib: Library, recording: Path) -> None:
    """Search for each sound that occurs in the recording, with another variation of it."""
    _, events = demo_sounds.recording()
    right = 0
    for kind, start, end in events:
        sound = demo_sounds.make(kind, _UNSEEN)
        answer = lib.query(sound, len(demo_sounds.KINDS) * 9, sample_rate=demo_sounds.SAMPLE_RATE)
        moment = next(hit for hit in answer if Path(hit.uri) == recording)
        found = moment.start < end and moment.end > start
        right += found
        say(
            f"  {kind:18} from {start:5.1f} to {end:5.1f} s, found at {moment.start:5.1f} s"
            f"{'' if found else '  (wrong)'}"
        )
    say(f"{right} of {len(events)} moments were right.")
    say()


def _example(sounds: Path) -> Path:
    return min(path for path in sounds.iterdir() if demo_sounds.kind_of(path) is not None)
