"""What descriptions say of recordings whose truth is known.

    python -m benchmarks.describing DATA [--recordings 30] [--choose | --show 20]

DATA has ``esc50/``. Sounds: the recordings of `benchmarks.events`. A sound that is said, or a
label, stands for a category as there, which is counted once a recording. A label above several
categories counts for nothing, nor does noise where the background is noise. Told: how many of the
categories said are true, and how many of the true ones are said, by

- the caption of the whole: all that it names, and without what it calls a guess;
- all events;
- the labels of the whole recording, as ``soundsearch label`` prints them: as many as a caption
  names, and the best so many and those with a score, as is best on folds 1 and 2 (F1).

Scenes: as many recordings in three kinds of place, composed in the same way of clips that fit it,
with others that are heard anywhere: a room, a street, nature. A street and nature are outdoors.
Told: how often the place is said, rightly and wrongly, and the kind of it.

With ``--choose``, the thresholds, on folds 1 and 2. With ``--show``, captions of fold 3 and what is
true. With ``--hours``, the time and the memory of ``soundsearch describe`` for a recording so long.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.event_measures import Counts
from benchmarks.events import (
    BACKGROUNDS,
    CHOSEN_ON,
    LENGTH,
    RATE,
    REPORTED,
    Clips,
    Mapping,
    clips_of,
    composed,
    heard,
    long,
)
from soundsearch import Description, Event, Label, Sound, Timeline
from soundsearch.captions.minutes import described
from soundsearch.captions.scenes import AGAINST, ENOUGH, KIND, scenes_in
from soundsearch.captions.sentences import NAMED, groups
from soundsearch.hearing import Listener
from soundsearch.labels.timeline import Tracker
from soundsearch.labels.vocabulary import AUDIOSET

HOP = 0.96
ANYWHERE = (
    *("dog", "cat", "coughing", "sneezing", "laughing", "crying_baby", "breathing", "footsteps"),
    *("clapping", "glass_breaking"),
)
# What is heard in a place, by its backgrounds and its other sounds.
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "indoors": (
        ("vacuum_cleaner",),
        (
            *("clock_tick", "clock_alarm", "keyboard_typing", "mouse_click", "door_wood_knock"),
            *("door_wood_creaks", "toilet_flush", "snoring", "brushing_teeth", "pouring_water"),
        ),
    ),
    "street": (
        ("engine", "rain", "wind"),
        (
            *("car_horn", "siren", "engine", "helicopter", "airplane", "train", "church_bells"),
            *("wind", "rain", "crow"),
        ),
    ),
    "nature": (
        ("rain", "wind", "sea_waves", "crickets"),
        (
            *("chirping_birds", "crow", "thunderstorm", "frog", "insects", "crickets", "wind"),
            *("sheep", "cow", "hen", "rooster", "sea_waves"),
        ),
    ),
}
SCORES = tuple(np.arange(0.1, 1.0, 0.1).round(1).tolist())
NOISE = ("White noise", "Pink noise", "Noise", "Static")


@dataclass(frozen=True)
class Recording:
    """A recording's fold, place, truth, events and labels."""

    fold: str
    place: str
    truth: frozenset[str]
    times: str
    events: tuple[Event, ...]
    labels: tuple[Label, ...]

    @property
    def description(self) -> Description:
        return described(Timeline("", self.events, LENGTH))


def made(
    listener: Listener, folds: dict[str, Clips], count: int, place: str = ""
) -> list[Recording]:
    """So many recordings of each fold: of a place, or of any sounds."""
    found = []
    for fold, all_clips in sorted(folds.items()):
        backgrounds, others = PLACES[place] if place else (BACKGROUNDS, tuple(all_clips))
        wanted = {*backgrounds, *others, *(ANYWHERE if place else ())}
        clips = {name: each for name, each in all_clips.items() if name in wanted}
        for number in range(count):
            seed = (int(fold), number, *([1 + list(PLACES).index(place)] if place else []))
            sound, truth = composed(np.random.default_rng(seed), clips, backgrounds)
            scores = heard(listener, sound, HOP)
            tracker = Tracker(listener.head.vocabulary, HOP, HOP)
            events = sorted(
                [*tracker.push(scores), *tracker.finish(LENGTH)],
                key=lambda event: (event.onset, event.offset, event.label.name),
            )
            times = ", ".join(f"{name} {on:.0f}-{off:.0f}" for name, on, off in sorted(truth))
            labels = listener.label(Sound(sound, sample_rate=RATE)).labels
            categories = frozenset(name for name, _, _ in truth)
            found.append(Recording(fold, place, categories, times, tuple(events), labels))
    return found


def counted(
    recordings: Iterable[Recording],
    folds: tuple[str, ...],
    mapping: Mapping,
    told: Callable[[Recording], Iterable[Label]],
) -> Counts:
    """How many categories are true, are told, and are both."""
    sums = Counts(0, 0, 0)
    for recording in recordings:
        if recording.fold not in folds:
            continue
        names = set()
        for label in told(recording):
            is_noise = label.name in NOISE and not recording.truth & set(BACKGROUNDS)
            index = AUDIOSET.index(label.name, label.mid)
            if index not in mapping.vague and not is_noise:
                names.add(mapping.category.get(index, label.name))
        sums += Counts(len(recording.truth), len(names), len(names & recording.truth))
    return sums


def named(recording: Recording, most: int = NAMED, sure: float = 0.0) -> list[Label]:
    told, _ = groups(recording.events, 0.0, LENGTH, most)
    return [group.label for group in told if group.score >= sure]


def sure_of(recording: Recording) -> list[Label]:
    told, _ = groups(recording.events, 0.0, LENGTH)
    return [group.label for group in told if group.is_sure]


def best(recording: Recording, most: int = 10, least: float = 0.0) -> list[Label]:
    return [label for label in recording.labels[:most] if label.score >= least]


def print_counts(title: str, found: Counts) -> None:
    precision, recall = found.right / max(found.told, 1), found.right / found.true
    print(
        f"| {title} | {found.told} | {precision:.3f} | {recall:.3f} | {found.f1:.3f} |", flush=True
    )


def print_sounds(recordings: list[Recording], mapping: Mapping) -> None:
    """Print how much of what is said is true, and how much of what is true is said."""

    def f1(told: Callable[[Recording], Iterable[Label]]) -> float:
        return counted(recordings, CHOSEN_ON, mapping, told).f1

    most = max(range(1, 11), key=lambda most: f1(lambda r: best(r, most)))
    least = max(SCORES, key=lambda least: f1(lambda r: best(r, least=least)))
    ways: dict[str, Callable[[Recording], Iterable[Label]]] = {
        "caption": named,
        "caption, without guesses": sure_of,
        "all events": lambda r: [event.label for event in r.events],
        f"{NAMED} best labels of the recording": lambda r: best(r, NAMED),
        f"{most} best labels of the recording": lambda r: best(r, most),
        f"labels of the recording from {least} on": lambda r: best(r, least=least),
    }
    for folds in (REPORTED, CHOSEN_ON + REPORTED):
        print(f"\nfolds {', '.join(folds)}\n| told by | sounds said | true | said | F1 |")
        print("|---|---|---|---|---|")
        for title, told in ways.items():
            print_counts(title, counted(recordings, folds, mapping, told))


def places_said(
    recordings: Iterable[Recording],
    enough: float = ENOUGH,
    against: float = AGAINST,
    kind: float = KIND,
) -> dict[str, tuple[int, int, int]]:
    """By what is asked, how often it is said rightly and wrongly, and of how many."""
    found: dict[str, tuple[int, int, int]] = {}
    for recording in recordings:
        scenes = scenes_in(recording.events, 0.0, LENGTH, enough=enough, against=against, kind=kind)
        said = {scene.name: scene.score for scene in scenes}
        place = next((name for name in ("indoors", "outdoors") if name in said), None)
        kinds = [scene for scene in scenes if scene.name in ("street", "nature")]
        best_kind = max(kinds, key=lambda scene: scene.score, default=None)
        which = best_kind.name if best_kind and place == "outdoors" else None
        true = "indoors" if recording.place == "indoors" else "outdoors"
        for asked, answer, right in (
            (f"{true}: {recording.place}", place, true),
            ("indoors or outdoors", place, true),
            ("street or nature", which, recording.place),
        ):
            rights, wrongs, count = found.get(asked, (0, 0, 0))
            wrong = answer is not None and answer != right
            found[asked] = rights + (answer == right), wrongs + wrong, count + 1
    return found


def print_places(recordings: list[Recording]) -> None:
    """Print how often a place is told, rightly and wrongly."""
    for folds in (REPORTED, CHOSEN_ON + REPORTED):
        print(f"\nfolds {', '.join(folds)}\n| asked | recordings | right | wrong | not said |")
        print("|---|---|---|---|---|")
        asked = places_said(each for each in recordings if each.fold in folds)
        for what, (right, wrong, count) in sorted(asked.items()):
            print(f"| {what} | {count} | {right} | {wrong} | {count - right - wrong} |")


def choose(sounds: list[Recording], places: list[Recording], mapping: Mapping) -> None:
    """Print what thresholds are worth on the folds to choose on."""
    print("| sounds named at most | said | true | said | F1 |\n|---|---|---|---|---|")
    for most in range(2, 11):
        told = counted(sounds, CHOSEN_ON, mapping, lambda r, most=most: named(r, most))  # type: ignore[misc]
        print_counts(str(most), told)
    print("\n| named from this score on | said | true | said | F1 |\n|---|---|---|---|---|")
    for sure in (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        told = counted(sounds, CHOSEN_ON, mapping, lambda r, sure=sure: named(r, sure=sure))  # type: ignore[misc]
        print_counts(str(sure), told)
    print("\n| a place needs | against it at most | right | wrong |\n|---|---|---|---|")
    chosen = [each for each in places if each.fold in CHOSEN_ON]
    for enough in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        for against in (0.3, 0.5, 0.7, 0.9):
            right, wrong, _ = places_said(chosen, enough, against)["indoors or outdoors"]
            print(f"| {enough} | {against} | {right} | {wrong} |", flush=True)
    print("\n| a kind needs | right | wrong |\n|---|---|---|")
    for kind in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        right, wrong, _ = places_said(chosen, kind=kind)["street or nature"]
        print(f"| {kind} | {right} | {wrong} |", flush=True)


def show(recordings: list[Recording], count: int) -> None:
    """Print captions, and what is true."""
    for recording in [each for each in recordings if each.fold in REPORTED][:count]:
        print(f"{recording.place or 'any'}: {recording.description.text}")
        print(f"  true: {recording.times}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--recordings", type=int, default=30, help="of each fold, and place")
    parser.add_argument("--choose", action="store_true", help="thresholds")
    parser.add_argument("--show", type=int, metavar="N", help="print so many captions")
    parser.add_argument("--hours", type=float, help="time and memory of a long recording")
    options = parser.parse_args()
    folds = clips_of(options.data / "esc50")
    if options.hours:
        long(folds, options.hours, {"describe": ["describe", "--json"]})
        return
    listener = Listener.open()
    sounds = made(listener, folds, options.recordings)
    places = [r for place in PLACES for r in made(listener, folds, options.recordings, place)]
    mapping = Mapping(sorted({category for clips in folds.values() for category in clips}))
    if options.choose:
        choose(sounds, places, mapping)
    elif options.show:
        show(sounds, options.show)
        show(places[::-1], options.show)
    else:
        print_sounds(sounds, mapping)
        print_places(places)


if __name__ == "__main__":
    main()
