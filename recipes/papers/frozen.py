"""Dense(128, relu) and softmax on frozen embeddings, and t-SNE of the embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Embedded, embedded
from .job import Job, interval, table
from .measures import accuracy
from .training import device, fit, keras

__all__ = ["run"]

HIDDEN = 128
# ESC-50 accuracy of small networks on frozen embeddings, in two benchmarks.
PUBLISHED = {
    "VGGish (MTEB)": 0.6115,
    "OpenL3 (HEAR)": 0.7505,
    "YAMNet (MTEB)": 0.797,
    "YAMNet (HEAR)": 0.8375,
    "PANNs (HEAR)": 0.9085,
}


def run(job: Job) -> str:
    """Cross-validate the network over ESC-50's folds, and draw the embeddings.

    Returns
    -------
    str
        The report; ``embeddings.png`` is beside it.
    """
    clips = embedded(job, 10 if job.quick else None)
    epochs = 10 if job.quick else 60
    folds = sorted(set(clips.folds.tolist()))

    def one(seed: int, fold: int) -> float:
        test = clips.folds == fold
        return job.trial(
            f"seed {seed} fold {fold}",
            lambda folder: trained(clips, ~test, test, epochs, seed, folder),
        )

    found = [[one(seed, fold) for fold in folds] for seed in job.seeds(5)]
    picture = job.out / "embeddings.png"
    if not picture.exists():
        draw(clips, picture, job.seed)
    rows = [("mean over folds", interval(float(np.mean(row)) for row in found))]
    rows += [(f"fold {fold}", interval(row[i] for row in found)) for i, fold in enumerate(folds)]
    return (
        f"# Dense({HIDDEN}) and softmax on frozen embeddings\n\n"
        f"{clips.origin}; {epochs} epochs, {len(found)} seeds; {device()}.\n\n"
        + table(("tested on", "accuracy"), rows)
        + "\nPublished for ESC-50, all five folds:\n\n"
        + table(("embeddings", "accuracy"), [(k, f"{v:.3f}") for k, v in PUBLISHED.items()])
        + f"\nt-SNE: {picture.name}\n"
    )


def _network(inputs: int, classes: int, seed: int) -> Any:
    """The network: float32 [n, inputs], standardised, to probabilities [n, classes]."""
    k = keras()
    k.utils.set_random_seed(seed)
    layers = k.layers
    model = k.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(HIDDEN, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(k.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    return model


def trained(
    clips: Embedded,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    epochs: int,
    seed: int,
    folder: Path,
) -> float:
    """The accuracy on the rows `test` of a network that learned from the rows `train`."""
    mean, deviation = clips.pooled[train].mean(0), clips.pooled[train].std(0)
    x = (clips.pooled - mean) / deviation
    model = _network(x.shape[1], len(clips.names), seed)
    fit(model, x[train], clips.classes[train], epochs=epochs, batch=32, seed=seed, folder=folder)
    return accuracy(clips.classes[test], np.asarray(model.predict(x[test], verbose=0)))


def draw(clips: Embedded, path: Path, seed: int) -> None:
    """Write t-SNE's map of the clips, coloured by class, each class named at its middle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from sklearn.manifold import TSNE

    unit = clips.pooled / np.linalg.norm(clips.pooled, axis=1, keepdims=True)
    places = TSNE(
        metric="cosine", init="random", perplexity=min(30, len(unit) // 4), random_state=seed
    ).fit_transform(unit)
    figure, axes = plt.subplots(figsize=(13, 10), dpi=100)
    # Classes that follow each other differ in colour, as do those that are named alike.
    colours = plt.get_cmap("hsv")(np.arange(len(clips.names)) * 0.618 % 1)
    colours[:, :3] *= np.resize([1, 0.75, 0.5], len(colours))[:, None]
    for number, name in enumerate(clips.names):
        own = places[clips.classes == number]
        axes.scatter(*own.T, s=14, color=colours[number], linewidths=0)
        # A clip of the class nearest to its median: in the midst of the largest group.
        middle = own[np.abs(own - np.median(own, 0)).sum(1).argmin()]
        axes.annotate(
            name.replace("_", " "),
            middle,
            fontsize=9,
            ha="center",
            bbox={"facecolor": "white", "alpha": 0.65, "linewidth": 0, "pad": 0.8},
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"t-SNE by cosine, each dot a clip: {clips.origin}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
