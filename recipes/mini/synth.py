"""Write the synthetic part of the corpus: formulas, free speech engines, free soundfonts."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import soundfile

from . import speech, tunes
from .corpus import finish
from .formula import RATE
from .household import SIGNALS

__all__ = ["synthesise"]


def synthesise(work: Path, seed: int = 1, share: float = 1.0, engines: bool = True) -> None:
    """Write every synthetic source that is not there yet into `work`/audio.

    Parameters
    ----------
    work : Path
        Scratch folder.
    seed : int
    share : float
        Part of the usual number of sounds, for the miniature.
    engines : bool
        Speech engines and the soundfont too.
    """
    for group, kinds in SIGNALS.items():
        folder = work / "audio" / group
        if (folder / "package.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        sounds = {}
        for kind, (make, count) in kinds.items():
            random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
            for i in range(max(2, int(count * share))):
                x = np.nan_to_num(make(random))
                x = x / (np.abs(x).max() + 1e-9) * random.uniform(0.2, 0.9)
                soundfile.write(folder / f"{kind}{i:04d}.flac", x.astype(np.float32), RATE)
                sounds[f"{kind}{i:04d}.flac"] = kind
        finish(folder, "made by formula; no source", sounds)
    if engines:
        speech.speak(work, seed, share)
        tunes.render(work, seed, share)
