"""The commands that are killed and given errors, and what is right to find afterwards."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from soundsearch_ingest.discover import stat_file

from benchmarks.faults.children import CALLS, Fault, Outcome, Report, calls_of, in_child
from benchmarks.vectors import bundled_settings
from soundsearch.errors import LibraryNotFound
from soundsearch.labels.head import silence
from soundsearch.library import Library
from soundsearch.stores.local import upkeep
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip, Settings

__all__ = ["COMMANDS", "Case", "Command", "faults_of", "few_rows_get_an_index", "store_random"]

_SOUNDS = 12
_RATE = 16_000
# Libraries of more rows get an index, so that making one is killed too.
_EXACT_ROWS = 450


@dataclass(frozen=True)
class Command:
    """Something that changes a library.

    Attributes
    ----------
    prepare : callable
        Makes the library and the sounds; given their folders.
    act : callable
        Does it; given both folders and a function to report what is stored.
    result : str
        The folder of the library that it changes, beside the sounds.
    """

    prepare: Callable[[Path, Path], None]
    act: Callable[[Path, Path, Report], Any]
    result: str = "library"


def _write_sounds(folder: Path, names: range, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in names:
        rng = np.random.default_rng([seed, number])
        sound = rng.normal(0, 0.1, int(_RATE * rng.uniform(1, 3)))
        soundfile.write(folder / f"{number:02}.wav", sound, _RATE)


def _ingest(library: Path, sounds: Path, report: Report, prune: bool = False) -> None:
    def on_file(uri: str, outcome: str) -> None:
        if outcome in ("added", "replaced", "renamed", "unchanged"):
            report(uri)

    with closing(Library(library)) as lib:
        lib.ingest(sounds, on_file=on_file, prune=prune)


def _make_sounds(_library: Path, sounds: Path) -> None:
    _write_sounds(sounds, range(_SOUNDS))


def _make_changes(library: Path, sounds: Path) -> None:
    """A library, whose sounds have changed, moved, gone or come since."""
    _write_sounds(sounds, range(_SOUNDS - 3))
    _ingest(library, sounds, lambda _line: None)
    _write_sounds(sounds, range(3), seed=1)
    (sounds / "03.wav").unlink()
    (sounds / "04.wav").rename(sounds / "moved.wav")
    _write_sounds(sounds, range(_SOUNDS - 3, _SOUNDS))


def _make_library(library: Path, sounds: Path) -> None:
    store_random(library, sounds, bundled_settings())


def _make_gaps(library: Path, sounds: Path) -> None:
    _make_library(library, sounds)
    with closing(Library(library)) as lib:
        lib.remove([sounds / f"{number:02}.wav" for number in (0, 5, 6)])


def _make_older(library: Path, sounds: Path) -> None:
    """A library whose encoder has been replaced by a newer one since."""
    store_random(library, sounds, replace(bundled_settings(), space="older"))


def store_random(library: Path, sounds: Path, settings: Settings) -> None:
    """Make a library of the sounds' names and random vectors."""
    _write_sounds(sounds, range(_SOUNDS))
    rng = np.random.default_rng(0)
    clips = [
        NewClip(
            record=ClipRecord(
                file=stat_file(str(path)),
                digest=rng.bytes(32),
                duration=48.0,
                labels=silence(CLIP_LABELS),
                human_labels=(number,),
                tags={"number": number},
            ),
            embeddings=rng.normal(0, 1, (50 + number, settings.dimension)).astype(np.float32),
            segments=np.zeros(50 + number, SEGMENT),
        )
        for number, path in enumerate(sorted(sounds.iterdir()))
    ]
    with closing(LocalStore.create(library, settings)) as store, store.writing():
        for begin in range(0, len(clips), 4):
            store.add(clips[begin : begin + 4])


def _prune(library: Path, sounds: Path, report: Report) -> None:
    _ingest(library, sounds, report, prune=True)


def _remove(library: Path, sounds: Path, _report: Report) -> None:
    names = {str(sounds / f"{number:02}.wav") for number in (1, 2, 8)}
    with closing(Library(library)) as lib:
        if there := [clip.uri for clip in lib if clip.uri in names]:
            lib.remove(there)


def _tag(library: Path, sounds: Path, _report: Report) -> None:
    tags = {str(path): {"mic": "AKG", "number": None} for path in sounds.iterdir()}
    with closing(Library(library)) as lib:
        lib.tag(tags)


def _copy(library: Path, sounds: Path, report: Report) -> None:
    with closing(Library(library)) as lib:
        lib.copy(sounds.parent / "copy", on_clip=report)


def _rebuild(library: Path, _sounds: Path, _report: Report) -> None:
    with closing(Library(library)) as lib:
        lib.rebuild()


def _reembed(library: Path, _sounds: Path, _report: Report) -> None:
    with closing(Library(library)) as lib:
        lib.reembed()


COMMANDS = {
    "ingest, new": Command(_make_sounds, _ingest),
    "ingest, changes": Command(_make_changes, _ingest),
    "ingest --prune": Command(_make_changes, _prune),
    "remove": Command(_make_library, _remove),
    "tag": Command(_make_library, _tag),
    "copy": Command(_make_library, _copy, "copy"),
    "rebuild": Command(_make_gaps, _rebuild),
    "reembed": Command(_make_older, _reembed),
}

# What is known of a clip: its vectors, its tags, and the labels that people gave it.
_Clip = tuple[NDArray[np.float32], dict[str, Any], tuple[int, ...]]


@dataclass
class State:
    """What a library holds; `names` are those of its files, without numbers."""

    clips: dict[str, _Clip]
    findings: list[str]
    names: set[str]


def _state_of(folder: Path) -> State | None:
    try:
        store = LocalStore(folder)
    except LibraryNotFound:
        return None
    with closing(store):
        clips = {}
        for clip in store.clips():
            with store.reading() as reading:
                vectors, _ = reading.rows([(clip.id, 0, clip.count)])
            record = clip.record
            clips[clip.uri] = (vectors, dict(record.tags), record.human_labels)
        findings = [finding.what for finding in store.check()]
        with store.writing():
            pass
    names = {re.sub(r"\d+", "N", path.name) for path in folder.iterdir()}
    return State(clips, findings, names)


def _same(one: _Clip, other: _Clip) -> bool:
    """Whether two clips are equal but for the last bits of what the encoder reckoned."""
    return (
        one[1:] == other[1:]
        and one[0].shape == other[0].shape
        and bool(np.allclose(one[0], other[0], atol=0.05 * float(np.abs(other[0]).max())))
    )


def few_rows_get_an_index() -> None:
    """Have libraries of this process make an index of few rows, so that there is one."""
    upkeep.EXACT_ROWS = _EXACT_ROWS  # type: ignore[attr-defined]


class Case:
    """A command, prepared, with what it finds and what it leaves when nothing happens.

    Parameters
    ----------
    command : Command
    folder : Path
        Of its own.
    """

    def __init__(self, command: Command, folder: Path) -> None:
        few_rows_get_an_index()
        self._command = command
        self._folder = folder
        self._template = folder / "template"
        self._sounds = folder / "sounds"
        self._library = folder / "library"
        self._result = folder / command.result
        _needed(in_child(lambda _report: command.prepare(self._library, self._sounds)))
        if self._library.exists():
            self._library.rename(self._template)
        self._reset()
        self.before: State | None = _needed(in_child(lambda _report: _state_of(self._result)))
        self._reset()
        self.calls = calls_of(self._act, folder / "calls")
        self.after: State = _needed(in_child(lambda _report: _state_of(self._result)))
        if self.after.findings:
            raise RuntimeError(self.after.findings)

    def _act(self, report: Report) -> None:
        self._command.act(self._library, self._sounds, report)

    def _reset(self) -> None:
        for path in (self._library, self._result):
            shutil.rmtree(path, ignore_errors=True)
        if self._template.exists():
            shutil.copytree(self._template, self._library)

    def try_out(self, fault: Fault) -> tuple[str, str]:
        """A column of the table, and what is to be said of it; see `benchmarks.faults`."""
        self._reset()
        met = in_child(self._act, fault)
        left = in_child(lambda _report: _state_of(self._result))
        again = in_child(self._act)
        end = in_child(lambda _report: _state_of(self._result))
        return _judge(self, met, left, again, end)


def _needed(outcome: Outcome) -> Any:
    if outcome.end != "done":
        raise RuntimeError(outcome.value)
    return outcome.value


def _judge(
    case: Case, met: Outcome, left: Outcome, again: Outcome, end: Outcome
) -> tuple[str, str]:
    """What came of a fault: the column of the table, and a sentence where it is a bad one."""
    for outcome, when in (
        (met, "with the fault"), (left, "looking after it"), (again, "again"), (end, "at the end"),
    ):  # fmt: skip
        if outcome.end in ("internal", "crashed", "hung"):
            return "traceback", f"{when}: {outcome.end}: {outcome.value}"
        if outcome is not met and outcome.end != "done":
            return "lost", f"{when}: {outcome.end}: {outcome.value}"
    problem = _compare(case.before, case.after, left.value, met.reported)
    if problem is None and end.value is None:
        problem = "lost", "the library is not there at the end"
    if problem is None:
        problem = _compare(end.value and case.after, case.after, end.value, met.reported)
        if problem is None and end.value.names - case.after.names - {"writer.lock"}:
            problem = "wrong", f"left behind: {end.value.names - case.after.names}"
    if problem is not None:
        return problem
    return {"done": "ended", "refused": "refused", "killed": "survived"}[met.end], ""


def _compare(
    before: State | None, after: State, found: State | None, reported: list[str]
) -> tuple[str, str] | None:
    """What is wrong with what a library holds between two states."""
    if found is None:
        if before is not None or reported:
            return "lost", f"the library is not there, {len(reported)} were reported"
        return None
    if found.findings:
        return "lost", f"damaged: {found.findings}"
    earlier = before.clips if before is not None else {}
    for uri in {*earlier, *after.clips, *found.clips}:
        clip, first, last = found.clips.get(uri), earlier.get(uri), after.clips.get(uri)
        if clip is None:
            if (first is not None and last is not None) or (uri in reported and last is not None):
                return "lost", f"{uri} is gone"
        elif not any(known is not None and _same(clip, known) for known in (first, last)):
            return "wrong", f"{uri} holds something else"
        elif uri in reported and last is not None and not _same(clip, last):
            return "lost", f"{uri} was reported, and is as before"
    return None


def faults_of(case: Case, tries: int, what: str, lasts: bool) -> Iterator[Fault]:
    """Faults at the calls that a command makes: all of the rare ones, the others evenly spread."""
    counts = sorted((case.calls.get(call, 0), call) for call in CALLS)
    for place, (count, call) in enumerate(counts):
        taken = min(count, tries // (len(counts) - place))
        tries -= taken
        for n in range(taken):
            yield Fault(call, 1 + n * count // taken, what, lasts)
