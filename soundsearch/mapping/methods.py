"""Vectors laid out in the plane, by PCA, t-SNE or UMAP: the same vectors, the same places."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs

from ..errors import ArgumentError, MissingExtra

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "OnLayout",
    "check_method",
    "laid_out",
    "nearest",
    "one_thread",
    "untold",
]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
# Told how many steps of laying out are done, of how many.
OnLayout = Callable[[int, int], None]

METHODS = ("tsne", "pca", "umap")
DEFAULT_METHOD = "tsne"

# Fewer places than this have no neighbourhoods that t-SNE or UMAP could keep.
_FEW = 8
_PERPLEXITY = 30
_UMAP_NEIGHBOURS = 15
_SEED = 0
_PACKAGES = {"tsne": "openTSNE", "umap": "umap"}
# Vectors whose neighbours are sought together.
_BLOCK = 4096
# Of two that change the number of threads, the later would leave what the earlier had set.
_ALONE = threading.RLock()
# t-SNE's steps: with clusters drawn together at first, then without.
_EARLY, _LATE = 250, 500


def check_method(method: str) -> str:
    """The name of a method whose package is there; raises ArgumentError, MissingExtra."""
    if method not in METHODS:
        raise ArgumentError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if method in _PACKAGES:
        try:
            with warnings.catch_warnings():
                # That TensorFlow is missing, which only networks of UMAP's need.
                warnings.simplefilter("ignore")
                needs(_PACKAGES[method], "map")
        except MissingExtra as error:
            raise MissingExtra(f"{error}; the method pca needs nothing") from error
    return method


def untold(_done: int, _total: int) -> None:
    """Nobody wants to know."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Have one thread of BLAS, LAPACK and FAISS: with others they sum in another order.

    This is for the whole process, and so one map is made at a time.
    """
    import faiss  # noqa: F401  # which cannot be told before it is there
    from threadpoolctl import threadpool_limits

    with _ALONE, threadpool_limits(1):
        yield


def laid_out(vectors: Floats, method: str, on_layout: OnLayout = untold) -> Floats:
    """Places of vectors in the plane.

    t-SNE as in van der Maaten and Hinton, Visualizing data using t-SNE, 2008, with the perplexity
    30; UMAP as in McInnes, Healy and Melville, UMAP: Uniform manifold approximation and projection,
    2018, with 15 neighbours. Both begin from PCA. All run in one thread, as the order of sums
    decides where a place ends up.

    Parameters
    ----------
    vectors : float32 [n, d]
        Unit length, or zero. Those that are equal get one place, whatever their number.
    method : str
        One of `METHODS`. Of fewer than eight different vectors PCA is taken for all.
    on_layout : callable
        Told how many steps are done, of how many: of finding neighbours, 4096 vectors in each, and
        of t-SNE.

    Returns
    -------
    float32 [n, 2]
        From -1 to 1, around the middle; finite.
    """
    if not len(vectors):
        return np.empty((0, 2), np.float32)
    different, which = np.unique(vectors, axis=0, return_inverse=True)
    with one_thread():
        plane = _principal(different)
        if method != "pca" and len(different) >= _FEW:
            k = min(3 * _PERPLEXITY if method == "tsne" else _UMAP_NEIGHBOURS, len(different) - 1)
            blocks = -(-len(different) // _BLOCK)
            steps = blocks + (_EARLY + _LATE if method == "tsne" else 0)
            ids, cosines = nearest(
                different, different, k, itself=True, on_block=lambda done: on_layout(done, steps)
            )
            distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
            if method == "tsne":
                plane = _tsne(plane, ids, distances, lambda done: on_layout(blocks + done, steps))
            else:
                plane = _umap(different, plane, ids, distances)
    return _framed(plane)[which.reshape(-1)]


def _principal(vectors: Floats) -> NDArray[np.float64]:
    """The two directions along which vectors differ most, float64 [n, 2]."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    two = directions[:, :-3:-1]
    # An axis and its opposite are as good as each other: the largest part points upwards.
    two = two * np.sign(two[np.abs(two).argmax(axis=0), range(two.shape[1])])
    plane: NDArray[np.float64] = np.zeros((len(vectors), 2))
    plane[:, : two.shape[1]] = centred @ two
    return plane


def _framed(plane: NDArray[Any]) -> Floats:
    """Places from -1 to 1 around the middle, both axes to one scale."""
    plane = np.asarray(plane, np.float64)
    low, high = plane.min(axis=0), plane.max(axis=0)
    half = float((high - low).max()) / 2
    framed: Floats = ((plane - (low + high) / 2) / (half or 1)).astype(np.float32)
    return framed


def nearest(
    known: Floats,
    asked: Floats,
    k: int,
    *,
    itself: bool = False,
    on_block: Callable[[int], None] = lambda _done: None,
) -> tuple[Ints, Floats]:
    """The `k` of the known vectors with the highest cosines to each that is asked with.

    Parameters
    ----------
    known, asked : float32 [n, d], [m, d]
        Unit length, or zero.
    k : int
    itself : bool
        Whether both are the same, and none is to find itself.
    on_block : callable
        Told how many blocks of 4096 were asked with.

    Returns
    -------
    ids : int64 [m, k]
    cosines : float32 [m, k]
    """
    import faiss

    index = faiss.IndexFlatIP(known.shape[1])
    index.add(known)
    k = min(k + itself, len(known))
    ids = np.empty((len(asked), k), np.int64)
    cosines = np.empty((len(asked), k), np.float32)
    for done, first in enumerate(range(0, len(asked), _BLOCK), 1):
        block = slice(first, first + _BLOCK)
        cosines[block], ids[block] = index.search(asked[block], k)
        on_block(done)
    if not itself:
        return ids, cosines
    own = ids == np.arange(len(asked))[:, None]
    own[~own.any(axis=1), -1] = True  # others are as near to it as itself
    kept = ~own
    return ids[kept].reshape(len(asked), -1), cosines[kept].reshape(len(asked), -1)


def _tsne(
    plane: NDArray[np.float64], ids: Ints, distances: Floats, on_step: Callable[[int], None]
) -> NDArray[Any]:
    tsne = needs("openTSNE", "map")
    count = len(plane)
    neighbours = needs("openTSNE.nearest_neighbors", "map").PrecomputedNeighbors(ids, distances)
    affinities = needs("openTSNE.affinity", "map").PerplexityBasedNN(
        knn_index=neighbours, perplexity=min(_PERPLEXITY, (count - 1) / 3), n_jobs=1
    )
    begin = plane / (plane.std(axis=0).max() or 1) * 1e-4
    embedding = tsne.TSNEEmbedding(
        begin,
        affinities,
        n_jobs=1,
        random_state=_SEED,
        negative_gradient_method="fft" if count > 10_000 else "bh",
    )
    done = 0

    def told(step: int, _error: float, _embedding: Any) -> None:
        on_step(done + step)

    watched = {"callbacks": told, "callbacks_every_iters": 25}
    embedding = embedding.optimize(_EARLY, exaggeration=12, momentum=0.5, **watched)
    done = _EARLY
    return np.asarray(embedding.optimize(_LATE, exaggeration=None, momentum=0.8, **watched))


def _umap(
    vectors: Floats,
    plane: NDArray[np.float64],
    ids: Ints,
    distances: Floats,
) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        umap = needs("umap", "map")
        # It counts a vector itself as the first of its neighbours.
        own = np.arange(len(ids))[:, None]
        known = np.hstack([own, ids]), np.pad(distances, ((0, 0), (1, 0)))
        made = umap.UMAP(
            n_neighbors=known[0].shape[1],
            init=plane / (np.abs(plane).max() or 1) * 10,
            precomputed_knn=(*known, None),
            force_approximation_algorithm=True,
            random_state=_SEED,
            n_jobs=1,
        )
        return np.asarray(made.fit_transform(vectors))
