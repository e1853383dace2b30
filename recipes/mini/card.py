"""Write the model card: corpus and licences, recipe, figures, weaknesses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoder import MINI, SHORT


def beginning(run: Path, frozen: int) -> str:
    """Return how a run began, as `recipes.mini.train` noted it."""
    note = run / "start.txt"
    if not note.exists():
        return "All weights began at random."
    text = (
        f"The trunk began with the weights of {note.read_text('utf-8').strip()}, an earlier one "
        "of this network; the rest began at random."
    )
    return text + (f" The first {frozen} layers of the trunk stayed as they were." * bool(frozen))


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
    best = found["quality"][SHORT]
    rows = [
        [
            name,
            *(
                f"{row[measure]:.3f} ({row[measure] / best[measure]:.2f})" if measure in row else ""
                for measure in best
            ),
        ]
        for name, row in found["quality"].items()
    ]
    out = [
        f"In brackets: the share of {SHORT}.\n",
        table(["encoder", *best], rows),
        "\nOf the labels that a user sees, five a clip, one is right, or has the right one on its "
        f"path, in {found['quality'][MINI]['labels']:.3f} of cases.",
        f"\n{found['changed']} of the clips after a change:\n",
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
        f"{speed['segments/s'] * 0.96:.0f} seconds of sound a second in ONNX Runtime (two "
        "threads of a CPU with AVX-512, four clips of 10 s at once, log-mel given)."
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
        gap = {n: row[SHORT] - row[MINI] for n, row in found["L5 per class"].items()}
        worst = sorted(gap, key=lambda n: -gap[n])[:10]
        text += "Labels fall behind the teacher's most on: "
        text += ", ".join(f"{n} (by {gap[n]:.2f})" for n in worst) + ". "
    return text + (
        "Labels are those of AudioSet as mn04 gives them, errors included; scores are "
        "independent. A segment's embedding depends on up to 6.7 s of sound on either side: the "
        "same moment cut out of a recording is embedded a little differently. Sounds below about "
        "-70 dBFS count as silence."
    )


def card(work: Path, run: Path) -> str:
    """Return the model card as markdown.

    Parameters
    ----------
    work : Path
        Scratch folder: the corpus records.
    run : Path
        Folder of the training run: calibrated.pt, space.json and figures.json.
    """
    held = torch.load(run / "calibrated.pt", weights_only=True)
    plan, shape = held["plan"], held["shape"]
    space = json.loads((run / "space.json").read_text("utf-8"))["space"]
    packages, made, total = sources(work)
    measured, found = figures(run)
    widths = "-".join(str(w) for w in [shape["stem"], *shape["widths"]])
    return "\n".join([
        f"# mini: the bundled encoder (space {space})",
        "",
        "A small residual network that slides along the sound: VGGish log-mel (64 bands, 100 "
        "frames a second, ln(mel + 0.01)) in, an embedding of 128 values for each 0.96 s out, and "
        "a linear head with the scores of AudioSet's 527 classes. What is heard in the seconds "
        "about a segment has a say in its embedding. The teacher is EfficientAT's mn04 (MIT), "
        "which hears whole clips: its outputs are targets, and no weight of it is in the file.",
        "",
        "## Recipe",
        "",
        f"Widths {widths}, a residual block a stage, 1x1 to {shape['top']}, mean over frequencies: "
        "three columns for each 0.96 s. Beside the columns, the projection to 128 sees them after "
        f"{len(shape['dilations'])} residual blocks of {shape['context']} channels that reach over "
        f"5 columns each, {', '.join(map(str, shape['dilations']))} apart, and the mean of the "
        f"{shape['around']} columns around. {beginning(run, plan['frozen'])} "
        f"{held['seen'] / 1e6:.2f} million segments seen, mixed by {plan['workers']} "
        f"processes; each fresh mix used about {plan['reuse']} times; seed {plan['seed']}. One to "
        "three sounds are mixed as waves of 0.96 to 9.6 s, with random places, gaps, gain, "
        "equaliser, room, speed "
        "and background. The student hears a mix at another level (-20 to +8 dB), at times "
        "through a narrow channel or with noise, and must give the teacher's answer to the "
        "unchanged one. Loss: smooth-L1 and cosine to 128 principal axes of the slices of the "
        f"teacher's feature map, whitened to the power {plan['power']}; cosine matrices between "
        "segments and between clips; "
        "binary cross-entropy on the scores of segments and clips, weighted by (1 + 20 p). "
        "Averaged weights (EMA); the student's own embedding is then whitened in part on the "
        "corpus, folded into its last layer, the inverse into the head. Weights (7 bits, per "
        "output channel) and activations (8 bits) of convolutions are integers, but for the "
        "first one. All of it: `recipes/mini/README.md`.",
        "",
        "## Figures",
        "",
        f"ESC-50 folds 1 to 3 ({found.get('clips', 1200)} clips), which only measure; a clip's "
        "embedding is the mean of its segments by level; cosine; clips of the query's source "
        "recording left out; mAP@50 over the first 50, mAP over all; L5: a right AudioSet class "
        "among the clip's five best labels, mean of the 47 classes that have an obvious one. One "
        "run, one seed.",
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
