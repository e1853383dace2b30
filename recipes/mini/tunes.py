"""Notes, drums and small pieces of music rendered from a free soundfont."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr
import tinysoundfont
from numpy.typing import NDArray

from .corpus import finish

RATE = 32000
PACKAGE = "fluid-soundfont-gm"
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 6, 7, 10), (0, 2, 4, 7, 9))
DRUMS: tuple[dict[int, str], ...] = (
    {36: "x...x...x...x...", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.x."},
    {36: "x.....x.x.......", 38: "....x..x.x..x...", 42: "xxxxxxxxxxxxxxxx"},
    {36: "x..x..x...x.....", 40: "....x.......x..x", 46: "..x...x...x...x."},
    {36: "x...x...x...x...", 46: "..x...x...x...x.", 39: "....x.......x..."},
    {51: "x..xx.x..xx.x..x", 44: "....x.......x...", 36: "x.........x....."},
    {62: "x..x..xx..x..x..", 63: "..x..x....x...xx", 70: "x.x.x.x.x.x.x.x."},
    {},
)

Floats = NDArray[np.float32]
Event = tuple[float, int, int, int]


def soundfont(work: Path) -> Path:
    """Return the soundfont, taken out of its package."""
    folder = work / "soundfont"
    found = sorted(folder.rglob("*.sf2"))
    if not found:
        deb = sorted((work / "debs").glob(f"{PACKAGE}_*.deb"))[0]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)
        found = sorted(path for path in folder.rglob("*.sf2") if not path.is_symlink())
    return found[0]


class Player:
    """Renders note events to mono 16 kHz sound."""

    def __init__(self, font: Path) -> None:
        self.synth = tinysoundfont.Synth(samplerate=RATE, gain=-6)
        self.font = self.synth.sfload(str(font))

    def play(self, notes: list[Event], programs: dict[int, int], seconds: float) -> Floats:
        """Render notes.

        Parameters
        ----------
        notes : list of (time, channel, key, velocity)
            A velocity of 0 ends the note. Channel 9 is the drums.
        programs : dict of int to int
            General MIDI program of each channel.
        seconds : float

        Returns
        -------
        float32 [n]
        """
        self.synth.sounds_off()
        for channel, program in programs.items():
            self.synth.program_change(channel, program, channel == 9)
        parts, now = [], 0
        for at, channel, key, velocity in sorted(notes):
            wait = int(min(at, seconds) * RATE) - now
            if wait > 0:
                parts.append(np.frombuffer(self.synth.generate(wait), np.float32).copy())
                now += wait
            if velocity:
                self.synth.noteon(channel, key, velocity)
            else:
                self.synth.noteoff(channel, key)
        rest = int(seconds * RATE) - now
        if rest > 0:
            parts.append(np.frombuffer(self.synth.generate(rest), np.float32).copy())
        stereo = np.concatenate(parts).reshape(-1, 2)
        mono = soxr.resample(stereo.mean(1), RATE, 16000)
        return (mono / (np.abs(mono).max() + 1e-6)).astype(np.float32)


def line(
    r: np.random.Generator, channel: int, beat: float, seconds: float, low: int, high: int,
    dense: float, chord: int = 1,
) -> list[Event]:  # fmt: skip
    """Return a random part of a piece for one channel."""
    scale = SCALES[int(r.integers(len(SCALES)))]
    root = int(r.integers(0, 12))
    keys = [k for k in range(low, high) if (k - root) % 12 in scale]
    at, place = 0.0, int(r.integers(len(keys)))
    out: list[Event] = []
    while at < seconds:
        length = beat * float(r.choice([0.5, 1, 1, 2, 4]))
        if r.random() < dense:
            place = int(np.clip(place + r.integers(-3, 4), 0, len(keys) - 1))
            for voice in range(chord):
                key = keys[min(place + 2 * voice, len(keys) - 1)]
                out += [(at, channel, key, int(r.integers(50, 120)))]
                out += [(at + length * r.uniform(0.3, 1), channel, key, 0)]
        at += length
    return out


def piece(r: np.random.Generator, player: Player) -> Floats:
    """Return a few bars of random music: drums, bass, chords and melody, each perhaps."""
    seconds, beat = 10.0, 60 / r.uniform(60, 180)
    notes: list[Event] = []
    programs = {9: int(r.choice([0, 0, 8, 16, 24, 25, 32, 40, 48]))}
    for key, pattern in DRUMS[int(r.integers(len(DRUMS)))].items():
        steps = [i for i in range(int(seconds / (beat / 4))) if pattern[i % 16] == "x"]
        notes += [(i * beat / 4, 9, key, int(r.integers(60, 125))) for i in steps]
    parts = [(28, 48, 1, range(32, 40)), (48, 76, 3, range(0, 128)), (60, 90, 1, range(0, 128))]
    for channel, (low, high, chord, choice) in enumerate(parts):
        if r.random() < 0.75 or not notes:
            programs[channel] = int(r.choice(choice))
            notes += line(r, channel, beat, seconds, low, high, r.uniform(0.5, 1), chord)
    return player.play(notes, programs, seconds)


def render(work: Path, seed: int, share: float) -> None:
    """Write synth-instruments, synth-drums and synth-music."""
    folders = [work / "audio" / f"synth-{kind}" for kind in ("instruments", "drums", "music")]
    if all((folder / "package.json").exists() for folder in folders):
        return
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    player = Player(soundfont(work))
    r = np.random.default_rng([seed, 12])

    sounds: dict[Path, dict[str, str]] = {folder: {} for folder in folders}

    def keep(x: Floats, folder: Path, name: str, what: str) -> None:
        soundfile.write(folder / f"{name}.flac", x * r.uniform(0.2, 0.9), 16000)
        sounds[folder][f"{name}.flac"] = what

    for program in range(128):
        for i in range(max(1, int(7 * share))):
            low = int(r.integers(30, 70))
            notes = line(
                r, 0, r.uniform(0.15, 0.9), 5, low, low + 24, 0.9, int(r.choice([1, 1, 3]))
            )
            keep(
                player.play(notes, {0: program}, 6),
                folders[0],
                f"gm{program:03d}-{i}",
                f"GM program {program}",
            )
    for i in range(int(160 * share)):
        key, rate = int(r.integers(27, 87)), r.uniform(0.5, 8)
        notes = [(t, 9, key, int(r.integers(40, 127))) for t in np.arange(0, 5, 1 / rate)]
        kit = int(r.choice([0, 8, 16, 24, 25, 32, 40, 48]))
        keep(player.play(notes, {9: kit}, 6), folders[1], f"drum{i:03d}", f"GM kit {kit} key {key}")
    for i in range(int(450 * share)):
        keep(piece(r, player), folders[2], f"piece{i:03d}", "a piece of music")
    for folder in folders:
        finish(folder, f"rendered from {PACKAGE} (MIT)", sounds[folder])
