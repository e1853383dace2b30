"""Grzywalski and Botteldooren: what labels that agree with the ontology are worth to transfer.

A base network learns from labels as they are (OL), parent-expanded (PEL), or parent-expanded with
children masked (PE-CML). Its features serve a target of other classes: a new head on them (feature
extraction), all of it trained on (fine-tuning), against a network that starts from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from soundsearch.labels.counting import LabelCounts
from soundsearch.labels.relabel import POLICIES, Relabelling
from soundsearch.relabelling import relabel_files

from . import dense
from .data import embedded
from .job import Job, interval, table
from .losses import consistent
from .ontology_data import RATE, Task, esc50_task, mean_ap, synthetic_task
from .training import device

__all__ = ["Kit", "run", "transfer"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Score = Callable[[Any], float]
# Of one seed: by policy (or ``scratch``), by what was measured.
Results = dict[str, dict[str, float]]

# Of the paper's networks: features before their activation, and a hidden layer after them.
FEATURES, HIDDEN = 128, 256
_NAMES = {"ol": "OL", "pel": "PEL", "pe-cml": "PE-CML"}
_ROOTS = ("Animal", "Sounds of things", "Human sounds", "Natural sounds")
# The paper's, on its own excerpt of AudioSet: labels a clip, with parents, masked.
_PUBLISHED = ("the paper's excerpt, 102 578 recordings", "2.5", "5.9", "28.7")


class Kit(Protocol):
    """A kind of network, and how it is trained."""

    def new(self, head: Sequence[int], seed: int) -> Any:
        """A network that has learned nothing, with a head of these widths, the outputs last."""

    def fit(
        self,
        network: Any,
        x: Floats,
        labels: Flags,
        masked: Flags,
        seed: int,
        score: Score,
        frozen: bool,
        folder: Path,
    ) -> Any:
        """The network after the best epoch; its trunk is as before if `frozen`."""


class _Dense:
    """Dense networks on embeddings: the bundled encoder stands for the paper's base network."""

    def __init__(self, plan: dense.Plan) -> None:
        self.plan = plan

    def new(self, head: Sequence[int], seed: int) -> dense.Network:
        return dense.Network((128, HIDDEN, FEATURES), head, seed)

    def fit(
        self,
        network: dense.Network,
        x: Floats,
        labels: Flags,
        masked: Flags,
        seed: int,
        score: Score,
        frozen: bool,
        folder: Path,
    ) -> dense.Network:
        return dense.fit(network, x, labels, masked, self.plan, seed, score, frozen)[0]


def transfer(task: Task, kit: Kit, policy: str | None, seed: int, folder: Path) -> dict[str, float]:
    """Train a base network with a policy and two targets with it; without, one from scratch.

    Parameters
    ----------
    task : Task
    kit : Kit
    policy : str or None
    seed : int
        Of the weights and the order of the clips.
    folder : Path
        For checkpoints.

    Returns
    -------
    dict of str to float
        Mean average precision on clips that nothing was learned from or chosen by: ``base`` against
        what is to be heard, ``consistent`` the same of outputs of which no parent's is below its
        child's, ``own`` against the policy's own labels; ``extraction``, ``tuning`` and ``scratch``
        on the target.
    """
    outputs = len(task.target_classes)
    truths = [task.truth(rows, task.target_classes) for rows in task.target]

    def on_target(network: Any, name: str, frozen: bool) -> float:
        learn, choose, test = task.target
        best = kit.fit(
            network,
            task.x[learn],
            truths[0],
            np.zeros_like(truths[0]),
            seed,
            lambda now: mean_ap(truths[1], now(task.x[choose])),
            frozen,
            folder / name,
        )
        return mean_ap(truths[2], best(task.x[test]))

    if policy is None:
        return {"scratch": on_target(kit.new((HIDDEN, outputs), seed), "scratch", False)}
    (labels, masked), (chosen, unknown), (own, hidden) = (
        task.relabelled(policy, rows) for rows in task.base
    )
    learn, choose, test = task.base
    network = kit.fit(
        kit.new((len(task.base_classes),), seed),
        task.x[learn],
        labels,
        masked,
        seed,
        lambda now: mean_ap(chosen, now(task.x[choose]), unknown),
        False,
        folder / "base",
    )
    scores = network(task.x[test])
    truth = task.truth(test, task.base_classes)
    above = np.array(
        [[mid in task.table.ancestors(below) for below in task.base_classes]
         for mid in task.base_classes]
    )  # fmt: skip
    head = (HIDDEN, outputs)
    return {
        "base": mean_ap(truth, scores),
        "consistent": mean_ap(truth, consistent(scores, above)),
        "own": mean_ap(own, scores, hidden),
        "extraction": on_target(network.with_head(head, seed), "extraction", True),
        "tuning": on_target(network.with_head(head, seed), "tuning", False),
    }


def run(job: Job) -> str:
    """Compare the policies on made-up features, on ESC-50's embeddings, and on waveforms.

    Returns
    -------
    str
        The report.
    """
    parts = [
        "# Labels that agree with the ontology, and transfer\n",
        _statistics(job),
        _synthetic(job),
        _esc50(job),
        _waveforms(job),
        "What cannot be shown without the paper's excerpt of AudioSet: its own figures, of which "
        "those of the labels alone are at hand. Tables II, III and IV have the form that its "
        "description gives; the layers of its network are not known here.\n",
    ]
    return "\n".join(parts)


# Tables


def _statistics(job: Job) -> str:
    """Table I: labels before and after."""
    rows: list[Sequence[object]] = [_PUBLISHED]
    for path in sorted((job.data / "audioset").glob("*_segments.csv")):
        found = relabel_files([path], "pe-cml").to_dict()
        rows.append((path.name, *_counts(found)))
    task = synthetic_task(job.seed, 300, 30)
    relabelling = Relabelling("pe-cml", table=task.table)
    counts = LabelCounts(relabelling)
    for labels in task.given:
        counts.add(labels, (), relabelling(labels))
    rows.append(("made-up features", *_counts(counts.to_dict())))
    header = ("", "OL: labels a clip", "PEL: labels a clip", "PE-CML: masked a clip")
    return f"## I. Labels, over all nodes\n\n{table(header, rows)}"


def _counts(found: dict[str, Any]) -> list[str]:
    before, after = found["before"], found["after"]
    values = before["all_labels"], after["all_labels"], after["all_masked"]
    return [f"{value:.3f}" for value in values]


def _synthetic(job: Job) -> str:
    kit = _Dense(dense.Plan(epochs=6 if job.quick else 40))
    clips, target = (300, 40) if job.quick else (3000, 50)
    seeds = job.seeds(8)
    make = partial(synthetic_task, clips=clips, target=target)
    found = _grid(job, "made-up", seeds, make, kit)
    return _tables(f"Made-up features. {make(seeds[0]).origin}", found)


def _esc50(job: Job) -> str:
    if not _has_esc50(job):
        return "## ESC-50\n\nIt is not in the data folder.\n"
    clips = embedded(job, 20 if job.quick else None)
    x = ((clips.pooled - clips.pooled.mean(0)) / clips.pooled.std(0)).astype(np.float32)
    kit = _Dense(dense.Plan(epochs=6 if job.quick else 40))
    parts = []
    roots = _ROOTS[:1] if job.quick else _ROOTS
    for omissions in (False, True):
        what = "labels left out as people do" if omissions else "labels as ESC-50 gives them"
        by_root = [
            _grid(
                job,
                f"embeddings, {root}, {what}",
                job.seeds(6),
                partial(esc50_task, clips, x, root, omissions),
                kit,
            )
            for root in roots
        ]
        title = f"{clips.origin}; {what}. Mean over the targets {', '.join(roots)}"
        parts.append(_tables(title, [_mean(rows) for rows in zip(*by_root, strict=True)]))
    return "\n".join(parts)


def _waveforms(job: Job) -> str:
    """Table II, and the grid on made-up sound and on ESC-50's, each of a part of the clips."""
    from .waveforms import BLOCKS, Convolutions, esc50_waveforms

    seconds = 0.25 if job.quick else 0.5
    blocks = ((16,), (32,)) if job.quick else BLOCKS
    kit = Convolutions(int(seconds * RATE), 2 if job.quick else 12, blocks=blocks)
    clips, target = (96, 48) if job.quick else (900, 50)
    make = partial(synthetic_task, clips=clips, target=target, seconds=seconds)
    # Each network is compiled for itself, which takes most of a miniature's time.
    policies = POLICIES[-1:] if job.quick else POLICIES
    found = _grid(job, "waveforms", job.seeds(2), make, kit, policies)
    parts = [
        f"## II. The network on waveforms\n\n{kit.describe()}; {kit.weights:,} weights up to "
        f"these; {kit.epochs} epochs; {device()}.\n",
        _tables(make(job.seed).origin, found),
    ]
    if not job.quick and _has_esc50(job):
        kit = Convolutions(3 * RATE // 2, 12)
        x = esc50_waveforms(job.data / "esc50", job.out / "waveforms.npz", 1.5)
        listened = embedded(job)
        make = partial(esc50_task, listened, x, _ROOTS[0], True)
        found = _grid(job, "ESC-50 waveforms", job.seeds(1), make, kit)
        title = f"ESC-50, the first 1.5 s of its clips, labels left out; target: {_ROOTS[0]}"
        parts.append(_tables(title, found))
    return "\n".join(parts)


def _has_esc50(job: Job) -> bool:
    return (job.data / "esc50" / "labels.csv").exists()


def _grid(
    job: Job,
    name: str,
    seeds: Sequence[int],
    make: Callable[[int], Task],
    kit: Kit,
    policies: Sequence[str] = POLICIES,
) -> list[Results]:
    """The results of each seed, of each policy and of no base."""
    found = []
    for seed in seeds:
        row = {}
        for policy in (*policies, None):
            row[policy or "scratch"] = job.trial(
                f"{name}, {policy or 'scratch'}, seed {seed}",
                partial(_trial, make, kit, policy, seed),
            )
        found.append(row)
    return found


def _mean(rows: Sequence[Results]) -> Results:
    """The mean of results with the same names."""
    return {
        policy: {name: float(np.mean([row[policy][name] for row in rows])) for name in values}
        for policy, values in rows[0].items()
    }


def _trial(
    make: Callable[[int], Task], kit: Kit, policy: str | None, seed: int, folder: Path
) -> dict[str, float]:
    return transfer(make(seed), kit, policy, seed, folder)


def _tables(title: str, found: Sequence[Results]) -> str:
    """Tables III and IV of one set of clips."""

    def cells(policy: str, name: str) -> tuple[str, str]:
        values = interval(row[policy][name] for row in found)
        if policy == POLICIES[0] or POLICIES[0] not in found[0]:
            return values, ""
        return values, interval(row[policy][name] - row[POLICIES[0]][name] for row in found)

    policies = [policy for policy in POLICIES if policy in found[0]]
    scratch = interval(row["scratch"]["scratch"] for row in found)
    three = [
        (_NAMES[policy], *cells(policy, "extraction"), *cells(policy, "tuning"))
        for policy in policies
    ]
    four = [
        (_NAMES[policy], *cells(policy, "base"), *cells(policy, "consistent"))
        for policy in policies
    ]
    gain = "less OL's"
    return (
        f"## {title}\n\nIII. Target, mAP; from scratch {scratch}\n\n"
        + table(("base", "feature extraction", gain, "fine-tuning", gain), three)
        + "\nIV. Base, mAP against all that is to be heard\n\n"
        + table(("base", "as the network says", gain, "made consistent", gain), four)
    )
