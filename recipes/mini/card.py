"""Write the model card: corpus and licences, recipe, figures, weaknesses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoder import MINI, WHITE


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def sources(work: Path) -> tuple[str, str, int]:
    """Return the corpus as two markdown tables (packages, synthetic) and its files."""
    packages: list[list[str]] = []
    made: list[list[str]] = []
    total = 0
    for path in sorted((work / "audio").glob("*/package.json")):
        info = json.loads(path.read_text("utf-8"))
        if not info.get("files"):
            continue
        total += int(info["files"])
        licence = ", ".join(info.get("licences", [])) or "see its copyright file"
        row = [info["package"], str(info["files"]), licence]
        (packages if "version" in info else made).append(row)
        if "version" in info:
            row.insert(1, info["version"])
    return (
        table(["package", "version", "sounds", "licences in its copyright file"], packages),
        table(["made here", "sounds", "from"], made),
        total,
    )


def figures(run: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the sections of measured figures, and the figures."""
    path = run / "figures.json"
    if not path.exists():
        return ["Not measured."], {}
    found = json.loads(path.read_text("utf-8"))
    best = found["quality"][WHITE]
    rows = [
        [name, *(f"{value:.3f} ({value / best[measure]:.2f})" for measure, value in row.items())]
        for name, row in found["quality"].items()
    ]
    out = [
        f"In brackets: the share of {WHITE}.\n",
        table(["encoder", "P@1", "mAP", "L5"], [[*row, ""][:4] for row in rows]),
        "\nThe same clips after a change:\n",
    ]
    rows = [
        [name, change, *(f"{value:.3f}" for value in row.values())]
        for name, changes in found["changes"].items()
        for change, row in changes.items()
    ]
    out.append(
        table(["encoder", "change", "mean cosine", "nearest kept", "first label kept"], rows)
    )
    out.append("\nSounds whose label is known (best three labels):\n")
    rows = [[name, *map(", ".join, labels.values())] for name, labels in found["signals"].items()]
    out.append(table(["sound", *next(iter(found["signals"].values()))], rows))
    out.append("\nL5 of each ESC-50 class, and what mini's first label of its clips is:\n")
    per_class = found["L5 per class"]
    rows = [
        [name, *(f"{value:.2f}" for value in row.values()), ", ".join(found["first labels"][name])]
        for name, row in per_class.items()
    ]
    out.append(table(["class", *next(iter(per_class.values())), "mini's first labels"], rows))
    speed = found["speed"]
    out.append(
        f"\nIt opens in {speed['ms to open']:.0f} ms, has {speed['MB']:.2f} MB and embeds "
        f"{speed['patches/s']:.0f} patches a second in ONNX Runtime (two threads of a CPU "
        "with AVX-512, batch 32, log-mel given)."
    )
    return out, found


def weak(found: dict[str, Any]) -> str:
    """Return a paragraph on what the encoder is bad at."""
    text = (
        "The corpus is small and made of games, desktops, telephone prompts, synthetic speech, "
        "soundfonts and formulas: real recordings of animals, people, traffic and households "
        "are few in it, so such sounds are told apart less well than by the teacher. "
    )
    if found:
        gap = {n: row[WHITE] - row[MINI] for n, row in found["L5 per class"].items()}
        worst = sorted(gap, key=lambda n: -gap[n])[:10]
        text += "Labels fall behind the teacher's most on: "
        text += ", ".join(f"{n} (by {gap[n]:.2f})" for n in worst) + ". "
    return text + (
        "Labels are those of AudioSet as YAMNet gives them, errors included; scores are "
        "independent, and 521 of AudioSet's 527 classes exist. Sounds below about -70 dBFS "
        "count as silence."
    )


def card(work: Path, run: Path, space: str) -> str:
    """Return the model card as markdown.

    Parameters
    ----------
    work : Path
        Scratch folder: the corpus records.
    run : Path
        Folder of the training run: calibrated.pt and figures.json.
    space : str
        Name and version of the space.
    """
    held = torch.load(run / "calibrated.pt", weights_only=True)
    plan, shape = held["plan"], held["shape"]
    packages, made, total = sources(work)
    measured, found = figures(run)
    widths = "-".join(str(w) for w in [shape["stem"], *shape["widths"]])
    return "\n".join([
        f"# mini: the bundled encoder (space {space})",
        "",
        "A small residual network: a VGGish log-mel patch (0.96 s: 96 frames x 64 bands, "
        "ln(mel + 0.01)) in, a whitened 128-d embedding out, and a linear head with the scores "
        "of YAMNet's 521 AudioSet classes. Trained from random initialisation to give YAMNet's "
        "answers (the teacher's outputs are targets; no weight of it is in the file).",
        "",
        "## Recipe",
        "",
        f"The patch's level is brought two fifths nearer to a usual one (in dB). Widths {widths}, "
        f"a residual block a stage, 1x1 to {shape['top']}, mean, 128. "
        f"{held['seen'] / 1e6:.2f} million patches seen by "
        f"{plan['workers']} processes; "
        f"each fresh mix used about {plan['reuse']} times; seed {plan['seed']}. One to three "
        "sounds are mixed as mel magnitudes, with random gain, equaliser, speed, band shift "
        "and background. The student hears a mix at another level (-20 to +8 dB) and sometimes "
        "with noise, and must give the teacher's answer to the unchanged one. Loss: smooth-L1 "
        "and cosine to the half-whitened 128-d PCA of YAMNet's embedding, the batch's cosine "
        "matrix, and binary cross-entropy on the scores weighted by (1 + 20 p). Averaged "
        "weights (EMA); the student's own embedding is then whitened on the corpus, folded into "
        "its last layer, the inverse into the head. Weights (7 bits, per output channel) and "
        "activations (8 bits) are integers, but for the first and the last layer. All of it: "
        "`recipes/mini/README.md`.",
        "",
        "## Figures",
        "",
        f"ESC-50 folds 1 to 3 ({found.get('clips', 1200)} clips), which only measure; a clip's "
        "embedding is the mean of its patches by level; cosine; clips of the query's source "
        "recording left out; mAP over all clips; L5: a right AudioSet class among the clip's five "
        "best labels, mean of the 47 classes that have an obvious one. One run, one seed.",
        "",
        "    python -m recipes.mini evaluate --work SCRATCH --data DATA",
        "",
        *measured,
        "",
        "## What it is bad at",
        "",
        weak(found),
        "",
        "## Trained on",
        "",
        f"{total} sounds: packages of Debian's main section, speech by free engines, a free "
        "soundfont, and formulas. No ESC-50, nothing unlicensed.",
        "",
        packages,
        "",
        made,
        "",
    ])  # fmt: skip
