"""Questions by label at a million clips: recall of the true hundred best, and time.

    python -m benchmarks.labels [--clips 1000000] [--segments 1] [--data DATA | --vectors FILE.npy]
    python -m benchmarks.labels --sound --data DATA

Clips of so many segments, with vectors as in `benchmarks.query` and the labels that the head
predicts of them, in a local library; `--each` of the ontology's labels without and as many with
classes below. The true hundred are those whose best segment has the highest probability, of all.
Compared:

- what `lib.query(Labelled(label), 100)` finds, and its time, from the question to the hits;
- the nearest to the label's directions by cosine, 4 000 in all, scored exactly: what Milvus does;
- the labels kept of clips, which filters read.

One thread, each label asked for the first time; by the clock and of processor time, the median and
the most. Recall is the mean over the labels, and the lowest; equal scores count as found.

With `--sound`, which needs DATA with ``esc50/``: a clip and the right label as one question, by the
weight of the label. Mean average precision over the first 50 of ESC-50, the clip's own recording
left out, for the categories that AudioSet has a class for.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import soundsearch
from benchmarks.vectors import (
    add_vector_options,
    bundled_settings,
    chosen_embeddings,
    clips_of,
    mixed,
)
from soundsearch import Labelled, Stored
from soundsearch.evaluate import average_precision
from soundsearch.labels.head import bundled_head
from soundsearch.labels.ontology import ontology
from soundsearch.labels.predict import predict
from soundsearch.stores.local.reading import LocalReading
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import CLIP_LABELS, SEGMENT_LABELS, NewClip
from soundsearch.vectors import scores_along

TOP, CANDIDATES = 100, 4000
DEPTH = 50
ADDED = 20_000
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
# ESC-50's categories by the names of AudioSet's classes, where these are others.
NAMES = {
    "brushing_teeth": "Toothbrush",
    "can_opening": "",
    "car_horn": "Vehicle horn, car horn, honking",
    "church_bells": "Church bell",
    "clapping": "Clapping",
    "clock_alarm": "Alarm clock",
    "clock_tick": "Tick",
    "crackling_fire": "Crackle",
    "crow": "Crow",
    "crying_baby": "Baby cry, infant cry",
    "door_wood_creaks": "Squeak",
    "door_wood_knock": "Knock",
    "drinking_sipping": "",
    "fireworks": "Fireworks",
    "footsteps": "Walk, footsteps",
    "frog": "Frog",
    "glass_breaking": "Shatter",
    "hand_saw": "Sawing",
    "hen": "Chicken, rooster",
    "keyboard_typing": "Computer keyboard",
    "laughing": "Laughter",
    "mouse_click": "Mouse",
    "pouring_water": "Pour",
    "rooster": "Crowing, cock-a-doodle-doo",
    "sea_waves": "Waves, surf",
    "sneezing": "Sneeze",
    "snoring": "Snoring",
    "thunderstorm": "Thunderstorm",
    "toilet_flush": "Toilet flush",
    "washing_machine": "",
    "water_drops": "Drip",
    "airplane": "Fixed-wing aircraft, airplane",
    "birds": "Bird",
    "chirping_birds": "Chirp, tweet",
    "coughing": "Cough",
    "dog": "Dog",
    "vacuum_cleaner": "Vacuum cleaner",
    "crickets": "Cricket",
    "insects": "Insect",
    "cow": "Cattle, bovinae",
}


def at_size(real: np.ndarray, clips: int, segments: int, each: int) -> None:
    """Print what is found of the labels, and how fast."""
    rng = np.random.default_rng(0)
    nodes = ontology().nodes.values()
    sizes = {node.mid: len(ontology().classes_below(node.mid)) for node in nodes}
    single = [mid for mid, size in sizes.items() if size == 1]
    several = [mid for mid, size in sizes.items() if size > 1]
    kinds = {
        "one class": rng.choice(single, min(each, len(single)), replace=False).tolist(),
        "several": rng.choice(several, min(each, len(several)), replace=False).tolist(),
        "100 and more": [mid for mid, size in sizes.items() if size >= 100],
    }
    labels = [mid for mids in kinds.values() for mid in mids]
    with tempfile.TemporaryDirectory() as folder:
        least = filled(Path(folder) / "library", real, clips, segments, labels)
        with soundsearch.open(Path(folder) / "library") as lib:
            lib.query(Labelled("Speech"), TOP)  # opens the index, reads what people gave
            print(
                f"{'labels':14}  {'way':8}  {'recall':>6}  {'lowest':>6}  {'ms':>7}  {'most':>7}"
                f"  {'cpu ms':>7}  {'most':>7}"
            )
            for kind, mids in kinds.items():
                for way, find in WAYS.items():
                    recalls, times = [], []
                    for mid in mids:
                        began = time.perf_counter(), time.thread_time()
                        found = find(lib, mid)
                        ended = time.perf_counter(), time.thread_time()
                        times.append(1e3 * np.subtract(ended, began))
                        recalls.append((exact(lib, found, mid) >= least[mid] - 1e-5).sum() / TOP)
                    print(
                        f"{kind:14}  {way:8}  {np.mean(recalls):6.3f}  {min(recalls):6.2f}"
                        + "".join(
                            f"  {middle:7.1f}  {most:7.1f}"
                            for middle, most in zip(
                                np.median(times, axis=0), np.max(times, axis=0), strict=True
                            )
                        ),
                        flush=True,
                    )


def exact(lib: soundsearch.Library, clips: list[int], mid: str) -> np.ndarray:
    """What the head's scores are made of, of clips' best segments: float32 [n]."""
    if not clips:
        return np.empty(0, np.float32)
    with lib._session.store.reading() as reading:
        lengths = reading.lengths(np.array(clips, np.int64)).tolist()
        spans = [(clip, 0, count) for clip, count in zip(clips, lengths, strict=True)]
        vectors, _ = reading.rows(spans)
    along = bundled_head().directions(ontology().classes_below(mid))
    starts = np.cumsum([0, *lengths[:-1]])
    best: np.ndarray = np.maximum.reduceat(scores_along(vectors, [along]), starts)
    return best


def filled(
    folder: Path, real: np.ndarray, clips: int, segments: int, labels: list[str]
) -> dict[str, float]:
    """Fill a library; what the hundredth best clip of each label has, as `exact` tells."""
    head = bundled_head()
    along = {mid: head.directions(ontology().classes_below(mid)) for mid in labels}
    best = {mid: np.empty(0, np.float32) for mid in labels}
    store = LocalStore.create(folder, bundled_settings())
    with store.writing():
        for first in range(0, clips, ADDED):
            vectors = mixed(real, segments * min(ADDED, clips - first), first)
            store.add(labelled(clips_of(vectors, segments * first, segments)))
            for mid in labels:
                scores = scores_along(vectors, [along[mid]]).reshape(-1, segments).max(axis=1)
                best[mid] = -np.sort(-np.append(best[mid], scores))[:TOP]
        store.optimise(lambda text: print(text, flush=True))
    store.close()
    return {mid: float(scores[-1]) for mid, scores in best.items()}


def labelled(clips: list[NewClip]) -> list[NewClip]:
    """The clips with the labels that are predicted of them."""
    sounds = [(clip.embeddings, clip.segments["level"]) for clip in clips]
    found = predict(bundled_head(), sounds, SEGMENT_LABELS, CLIP_LABELS)
    for clip, (segments, of_clip) in zip(clips, found, strict=True):
        clip.segments["labels"] = segments
        clip.record.labels[:] = of_clip
    return clips


def by_question(lib: soundsearch.Library, mid: str) -> list[int]:
    return [hit.clip_id for hit in lib.query(Labelled(mid), TOP)]


def by_cosine(lib: soundsearch.Library, mid: str) -> list[int]:
    head, classes = bundled_head(), ontology().classes_below(mid)
    weights, _ = head.directions(classes)
    if not len(weights):
        return []
    with lib._session.store.reading() as reading:
        clips, numbers, _ = reading.search(
            np.ascontiguousarray(weights), CANDIDATES // len(weights)
        )
        places = np.unique(np.stack([clips.ravel(), numbers.ravel()], axis=1), axis=0)
        places = places[places[:, 0] >= 0]
        vectors, _ = reading.rows([(clip, n, n + 1) for clip, n in places.tolist()])
        order = places[np.argsort(-head.highest(vectors, classes)), 0]
        found = list(dict.fromkeys(order.tolist()))[:TOP]
        reading.clips_by_id(found)
    return found


def by_kept(lib: soundsearch.Library, mid: str) -> list[int]:
    with lib._session.store.reading() as reading:
        assert isinstance(reading, LocalReading)
        snapshot = reading._snapshot
        scores, _ = reading._catalog.label_scores(
            ontology().classes_below(mid), snapshot.first_rows
        )
        top = np.argsort(-scores, kind="stable")[:TOP]
        found: list[int] = snapshot.ids[top[scores[top] > 0]].tolist()
        reading.clips_by_id(found)
    return found


WAYS: dict[str, Callable[[soundsearch.Library, str], list[int]]] = {
    "question": by_question,
    "cosine": by_cosine,
    "kept": by_kept,
}


def with_sound(folder: Path) -> None:
    """Print what the right label adds to a sound."""
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = {str(folder / "audio" / row["filename"]): row for row in csv.DictReader(file)}
    names = {row["category"]: label_of(row["category"]) for row in rows.values()}
    asked = [uri for uri, row in rows.items() if names[row["category"]]]
    print(f"{len(asked)} clips of {sum(map(bool, names.values()))} categories")
    print("weight of the label  P@1    mAP")
    with tempfile.TemporaryDirectory() as temporary, soundsearch.open(f"{temporary}/l") as lib:
        lib.ingest(list(rows))
        for weight in WEIGHTS:
            precisions = []
            for uri in asked:
                own = rows[uri]
                label = names[own["category"]]
                hits = lib.query(Labelled(label, like=Stored(uri), weight=weight), DEPTH + 20)
                others = [rows[hit.uri] for hit in hits if rows[hit.uri]["source"] != own["source"]]
                relevant = [row["category"] == own["category"] for row in others[:DEPTH]]
                total = sum(
                    row["category"] == own["category"] and row["source"] != own["source"]
                    for row in rows.values()
                )
                precisions.append((relevant[0], average_precision(relevant, total=total)))
            first, mean = np.mean(precisions, axis=0)
            print(f"{weight:19}  {first:.3f}  {mean:.3f}", flush=True)


def label_of(category: str) -> str:
    """The AudioSet class of a category of ESC-50, or "" where there is none."""
    name = NAMES.get(category, category.replace("_", " "))
    try:
        Labelled(name)
    except soundsearch.ArgumentError:
        return ""
    return name


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--segments", type=int, default=1, help="of each clip")
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--sound", action="store_true", help="a sound and its label, on ESC-50")
    add_vector_options(parser)
    options = parser.parse_args()
    if options.sound:
        with_sound(options.data / "esc50")
    else:
        at_size(chosen_embeddings(options), options.clips, options.segments, options.each)


if __name__ == "__main__":
    main()
