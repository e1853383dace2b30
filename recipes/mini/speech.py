"""Speech, whispers, shouts and crowds from free speech engines."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .corpus import finish

RATE = 16000
WORDS = (
    "the a one two some every people water morning house river music night garden train child "
    "open close walk hear sing laugh carry under over near slowly never always again green old "
    "loud quiet wonderful terrible because although machine window mountain letter market hello "
    "goodbye please thank you yes no stop wait come here look out help what why where"
).split()
ESPEAK = (
    "en-us en-gb en-gb-scotland de fr es it pt-br ru pl nl sv tr ar hi zh ja ko fi el cs hu ro vi "
    "id sw fa he uk ca"
).split()
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 croak whisper whisperf klatt klatt2 klatt3 "
    "Alex Andy Annie Gene Hugo Jacky Lee Linda Mario Michael Robert Storm Tweaky aunty edward "
    "grandma grandpa steph"
).split()
FLITE = ("kal16", "awb", "rms", "slt")
FESTIVAL = (
    "kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts", "lp_diphone", "pc_diphone",
    "czech_dita", "czech_krb", "czech_machac", "czech_ph", "suo_fi_lj_diphone",
    "hy_fi_mv_diphone",
)  # fmt: skip

Floats = NDArray[np.float32]


def sentence(r: np.random.Generator) -> str:
    """Return a few random words."""
    text = " ".join(r.choice(WORDS, int(r.integers(2, 14))))
    return text + str(r.choice([".", "!", "?", ","]))


def run(command: list[str], target: Path) -> Floats:
    """Run an engine that writes `target`; return its sound, empty when it failed."""
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        x, rate = soundfile.read(target, dtype="float32", always_2d=True)
    except (OSError, subprocess.SubprocessError, soundfile.LibsndfileError):
        return np.zeros(0, np.float32)
    return soxr.resample(x.mean(1), rate, RATE).astype(np.float32)


def espeak(r: np.random.Generator, target: Path, style: str) -> tuple[Floats, str]:
    """Say something with espeak-ng in a random language, voice and pitch; tell what and how."""
    voice = f"{r.choice(ESPEAK)}+{r.choice(VARIANTS)}"
    pitch, speed = int(r.integers(0, 99)), int(r.integers(110, 260))
    if style == "whisper":
        voice = f"{r.choice(ESPEAK)}+{r.choice(['whisper', 'whisperf'])}"
    elif style == "child":
        voice, pitch = f"en-us+{r.choice(['f2', 'f4', 'Annie'])}", int(r.integers(85, 99))
    elif style == "shout":
        speed, pitch = int(r.integers(90, 170)), int(r.integers(60, 99))
    text = str(r.choice(["ha ha ha ha", "hey!", "oh no!", "hooray!", "aaah", "la la la la"]))
    text = text if style == "shout" and r.random() < 0.6 else sentence(r)
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed)]
    x = run([*command, "-a", "160", "-w", str(target), text], target)
    x = np.tanh(4 * x) * np.float32(0.8) if style == "shout" else x
    return x, f"{style} {voice}: {text}"


def crowd(r: np.random.Generator, pool: list[Floats]) -> Floats:
    """Mix many voices into a babble, near or far."""
    out = np.zeros(8 * RATE, np.float32)
    for _ in range(int(np.exp(r.uniform(np.log(4), np.log(70))))):
        x = pool[int(r.integers(len(pool)))]
        at = int(r.integers(-len(x) // 2, len(out) - RATE // 2))
        cut = x[max(0, -at) : len(out) - at]
        out[max(0, at) : max(0, at) + len(cut)] += cut * np.float32(r.uniform(0.1, 1))
    tail = np.exp(-np.arange(RATE // 2) / RATE * r.uniform(6, 25)) * r.normal(size=RATE // 2)
    wet = np.fft.irfft(np.fft.rfft(out, 9 * RATE) * np.fft.rfft(tail, 9 * RATE))[: len(out)]
    wet = wet / (np.abs(wet).max() + 1e-9) * np.abs(out).max() * r.uniform(0, 2)
    return (out + wet).astype(np.float32)


def festival(
    r: np.random.Generator, voice: str, count: int, folder: Path
) -> list[tuple[Floats, str]]:
    """Say `count` sentences with one festival voice, in one process."""
    script = [f"(voice_{voice})"]
    texts = [sentence(r) for _ in range(count)]
    for i, text in enumerate(texts):
        script.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{folder}/{i}.wav")')
    source = folder / "say.scm"
    source.write_text("\n".join(script), "utf-8")
    try:
        subprocess.run(
            ["festival", "-b", str(source)], check=False, capture_output=True, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = []
    for i, text in enumerate(texts):
        path = folder / f"{i}.wav"
        if path.exists():
            x, rate = soundfile.read(path, dtype="float32")
            found.append((soxr.resample(x, rate, RATE).astype(np.float32), text))
            path.unlink()
    return found


def speak(work: Path, seed: int, share: float) -> None:
    """Write synth-speech and synth-crowd with the engines that are installed."""
    folder, crowds = work / "audio" / "synth-speech", work / "audio" / "synth-crowd"
    if (crowds / "package.json").exists():
        return
    r = np.random.default_rng([seed, 11])
    pool: list[Floats] = []
    folder.mkdir(parents=True, exist_ok=True)
    crowds.mkdir(parents=True, exist_ok=True)

    sounds: dict[Path, dict[str, str]] = {folder: {}, crowds: {}}

    def keep(x: Floats, name: str, what: str, where: Path = folder) -> bool:
        peak = float(np.abs(x).max()) if len(x) else 0.0
        if len(x) < RATE // 5 or peak < 1e-3:
            return False
        x = x[: 12 * RATE] / peak * np.float32(r.uniform(0.2, 0.9))
        soundfile.write(where / f"{name}.flac", x, RATE)
        sounds[where][f"{name}.flac"] = what
        return True

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "say.wav"
        plan = {"plain": 700, "whisper": 120, "child": 120, "shout": 180}
        for style, count in plan.items() if shutil.which("espeak-ng") else ():
            for i in range(int(count * share)):
                x, what = espeak(r, target, style)
                if keep(x, f"espeak-{style}{i:04d}", what) and style != "whisper":
                    pool.append(x / np.abs(x).max())
        for voice in FLITE if shutil.which("flite") else ():
            for i in range(int(60 * share)):
                text = sentence(r)
                x = run(["flite", "-voice", voice, "-t", text, "-o", str(target)], target)
                if keep(x, f"flite-{voice}{i:03d}", f"plain {voice}: {text}"):
                    pool.append(x / np.abs(x).max())
        for voice in FESTIVAL if shutil.which("festival") else ():
            said = festival(r, voice, int(50 * share), Path(scratch))
            for i, (x, text) in enumerate(said):
                if keep(x, f"festival-{voice}{i:03d}", f"plain {voice}: {text}"):
                    pool.append(x / np.abs(x).max())
        for i in range(int(160 * share) if pool else 0):
            keep(crowd(r, pool), f"crowd{i:03d}", "a crowd talking", crowds)
    finish(folder, "synthesised by espeak-ng, flite and festival", sounds[folder])
    finish(crowds, "synthesised speech, mixed", sounds[crowds])
