"""Questions in words to a library of a million clips: recall, time and memory.

    python -m benchmarks.words_large [--clips 1000000] [--keep FOLDER] [--data DATA]

Clips of one segment, mixed as in `benchmarks.query`, with the labels that the head predicts, names
of files of which one in a hundred says snare, and tags for one in five, in a local library. Each of
`TEXTS` is asked for the first time, for a hundred clips: alone, beside a clip, and with names, and
labels are completed; and clips are filtered by name and by tag. Milliseconds of processor time, and
by the clock, in the middle and at most; recall of the true hundred, by the scores of all clips; the
private memory after each.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from soundsearch_ingest.discover import AudioFile

import soundsearch
from benchmarks.labels import labelled
from benchmarks.vectors import (
    add_vector_options,
    bundled_settings,
    chosen_embeddings,
    clips_of,
    mixed,
)
from soundsearch import Stored, Words
from soundsearch.preparing import Preparing
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import NewClip
from soundsearch.vectors import unit

TEXTS = (
    "rain", "a small dog barking far away", "dog or cat but not birds", "creaking door",
    "rain and thunder", "engine without music", "somebody laughs", "a helicopter", "church bells",
    "une voiture qui démarre",
)  # fmt: skip
TYPED = ("b", "chur", "water", "barkign", "piano mus")
NAMES = ("snare*", "*rain*", "kick ?0*.wav", "one shot", "zzzz")
WORDS = ("snare", "kick", "rain", "dog", "door", "wind", "birds", "street", "train")
KINDS = ("Snare Drum", "loop", "one shot")
TOP, ADDED = 100, 20_000


def filled(folder: Path, real: np.ndarray, clips: int) -> None:
    """A library of so many clips."""
    store = LocalStore.create(folder, bundled_settings())
    with store.writing():
        for first in range(0, clips, ADDED):
            vectors = mixed(real, min(ADDED, clips - first), first)
            store.add([named(clip, n) for n, clip in enumerate(
                labelled(clips_of(vectors, first, 1)), first)])  # fmt: skip
        store.optimise()
    store.close()


def named(clip: NewClip, number: int) -> NewClip:
    """A clip with a name, and one in five with tags."""
    which = number * 7919 % 100
    name = WORDS[which] if which < len(WORDS) else "take"
    file = AudioFile(f"/sounds/{number // 1000:04}/{name} {number:07}.wav", 0, 0)
    tags: dict[str, str | float] = {"kind": KINDS[number % len(KINDS)], "take": float(number % 9)}
    record = replace(clip.record, file=file, tags={} if number % 5 else tags)
    return NewClip(record=record, embeddings=clip.embeddings, segments=clip.segments)


def hundredth(lib: soundsearch.Library, question: Words) -> float:
    """The score of the hundredth best clip, of all."""
    session = lib._session
    ask, _ = Preparing(session, lib._clip).labelled(question, lambda _: None)
    best = np.full(TOP, -np.inf)
    with session.store.reading() as reading:
        labels, asked = ask(reading)
        along = unit(asked.vectors.mean(axis=0, keepdims=True))[0]
        ids = np.setdiff1d(reading.ids(), list(asked.clips))
        for begin in range(0, len(ids), ADDED):
            part = ids[begin : begin + ADDED].tolist()
            vectors, segments = reading.rows([(clip, 0, 1) for clip in part])
            cosines = unit(vectors) @ along
            scores = labels.beside(cosines, labels.scores(vectors, segments), np.arange(len(part)))
            best = np.sort(np.concatenate((best, scores)))[-TOP:]
    return float(best[0])


def told(what: str, actions: Sequence[Callable[[], object]], recalls: Sequence[float] = ()) -> None:
    """Print how long some actions take, each done once."""
    times = []
    for action in actions:
        began = time.process_time(), time.perf_counter()
        action()
        times.append(1e3 * np.subtract((time.process_time(), time.perf_counter()), began))
    middle, most = np.median(times, axis=0), np.max(times, axis=0)
    found = f"{np.mean(recalls):.3f} {min(recalls):.2f}" if recalls else ""
    status = Path("/proc/self/status").read_text("ascii")
    memory = re.search(r"RssAnon:\s+(\d+)", status)
    held = int(memory[1]) / 1000 if memory else np.nan
    print(
        f"{what:28} {middle[0]:8.1f} {most[0]:8.1f} {middle[1]:9.1f} {most[1]:9.1f}  {found:11} "
        f"{held:6.0f} MB",
        flush=True,
    )


def asked(lib: soundsearch.Library) -> None:
    """Print the table."""
    lib.query(Words("some other dog"), TOP)  # opens the index and the sentence encoder
    clip = next(iter(lib)).id
    print(f"{'':28} {'cpu ms':>8} {'most':>8} {'clock':>9} {'most':>9}  recall low")
    for what, like in (("words", None), ("words beside a clip", Stored(clip))):
        questions = [Words(text, like=like) for text in TEXTS]
        told(what, [partial(lib.query, question, TOP) for question in questions])
        recalls = []
        for question in questions:
            least = hundredth(lib, question) - 1e-4
            scores = [hit.score for hit in lib.query(question, TOP)]
            recalls.append(float(np.mean(np.array(scores) >= least)))
        told("   again, and recall", [partial(lib.query, q, TOP) for q in questions], recalls)
    with_names = [partial(lib.query, Words(text, names=True), TOP) for text in TEXTS]
    told("words with names", with_names)
    told("   again", with_names)
    among = [lib.match(pattern) for pattern in NAMES]
    told("match, the first time", [partial(len, clips) for clips in among])
    told("words of those", [partial(clips.query, Words("rain"), TOP) for clips in among])
    taken = [lib.where(f"tag['take'] == {number}") for number in range(5)]
    told("a tag, the first time", [partial(len, clips) for clips in taken])
    told("complete", [partial(lib.complete, typed) for typed in TYPED])


def main() -> None:
    """Fill a library, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="the library's folder; used if it is there")
    add_vector_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "library"
        if not folder.exists():
            filled(folder, chosen_embeddings(options), options.clips)
        with soundsearch.open(folder) as lib:
            asked(lib)


if __name__ == "__main__":
    main()
