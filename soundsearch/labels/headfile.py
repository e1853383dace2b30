"""The file of a head: what it holds, how it is read and written."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from .ontology import ontology
from .vocabulary import MOST_CLASSES, class_of

__all__ = ["LARGEST", "OUTPUTS", "POOLINGS", "HeadSpec", "spec_of", "write_head"]

OUTPUTS = ("sigmoid", "softmax")
POOLINGS = ("power", "mean", "max", "attention")

# Bytes of a head's arrays.
LARGEST = 1 << 26

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeadSpec:
    """What a head's file holds.

    Parameters
    ----------
    space : str
        Of the embeddings that it reads.
    layers : tuple of (float32 [m, n], float32 [m])
        Weights and biases; n of the first is the dimension of the space, that of another the m of
        the one before it. ReLU is between them. m of the last is the number of classes.
    names : tuple of str
        Of the classes. One of AudioSet's, in any case, stands for that class.
    mids : tuple of str, optional
        Their AudioSet ids, "" for a class that is known by its name.
    output : str
        ``sigmoid``: several classes at once, independent. ``softmax``: one class.
    pooling : str
        How a clip is scored from its segments: ``power``, the mean of the squared scores, segments
        weighted by loudness, as its root; ``mean``, the score of their mean embedding, weighted by
        loudness; ``max``, the highest score of a segment; ``attention``, the score of their mean
        embedding, weighted by a softmax over the clip's segments of their products with
        `attention`.
    normalised : bool
        Whether embeddings are scaled to length 1 first. What is pooled of these is not scaled
        again.
    attention : float32 [dimension], optional
        With that pooling only.
    made : mapping
        How it was made, as JSON can hold it.

    Raises
    ------
    ArgumentError
        Something of this cannot be.
    """

    space: str
    layers: tuple[tuple[Floats, Floats], ...]
    names: tuple[str, ...]
    mids: tuple[str, ...] = ()
    output: str = "sigmoid"
    pooling: str = "power"
    normalised: bool = False
    attention: Floats | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {
            "layers": tuple((_floats(weight), _floats(bias)) for weight, bias in self.layers),
            "attention": None if self.attention is None else _floats(self.attention),
            "names": tuple(map(str, self.names)),
            "mids": tuple(map(str, self.mids)) or ("",) * len(self.names),
        }
        for name, value in arrays.items():
            object.__setattr__(self, name, value)
        self._check()
        try:
            classes = [class_of(*pair) for pair in zip(self.names, self.mids, strict=True)]
        except ValueError as error:
            raise ArgumentError(str(error)) from error
        nodes = [None if index is None else ontology().classes[index] for index in classes]
        pairs = list(zip(nodes, self.names, strict=True))
        names = tuple(name if node is None else node.name for node, name in pairs)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "mids", tuple("" if n is None else n.mid for n in nodes))
        seen: set[str] = set()
        for name in names:
            if name.lower() in seen:
                raise ArgumentError(f"expected each class once, got {name!r} twice")
            seen.add(name.lower())

    @property
    def dimension(self) -> int:
        """Of the embeddings that it reads."""
        return int(self.layers[0][0].shape[1])

    def _check(self) -> None:
        if not isinstance(self.space, str) or not self.space:
            raise ArgumentError(f"expected the name of a space, got {self.space!r}")
        for what, got, known in (
            ("output", self.output, OUTPUTS),
            ("pooling", self.pooling, POOLINGS),
        ):
            if got not in known:
                raise ArgumentError(f"{what}: expected {' or '.join(known)}, got {got!r}")
        self._check_shapes()
        weights = [array for layer in self.layers for array in layer]
        weights += [] if self.attention is None else [self.attention]
        if not all(np.isfinite(array).all() for array in weights):
            raise ArgumentError("its weights are not finite")
        if sum(array.nbytes for array in weights) > LARGEST // 2:
            raise ArgumentError(f"expected weights of at most {LARGEST // 2:,} bytes")
        try:
            json.dumps(dict(self.made), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(
                f"made: expected a mapping that JSON can hold, got {error}"
            ) from error

    def _check_shapes(self) -> None:
        count = len(self.names)
        least = 2 if self.output == "softmax" else 1
        if len(self.mids) != count or not least <= count <= MOST_CLASSES:
            raise ArgumentError(
                f"expected {least} to {MOST_CLASSES} classes and an id of each, got {count} names "
                f"and {len(self.mids)} ids"
            )
        if not self.layers:
            raise ArgumentError("expected a weight [classes, dimension] and a bias, got no layer")
        before = "dimension"
        for number, (weight, bias) in enumerate(self.layers):
            last = number == len(self.layers) - 1
            rows = count if last else len(weight) if weight.ndim else 0
            fits = weight.ndim == 2 and len(weight) == rows and weight.size > 0
            if not fits or (before != "dimension" and weight.shape[1] != int(before)):
                raise ArgumentError(
                    f"expected a weight [{count if last else 'any'}, {before}] and a bias in "
                    f"layer {number}, got {list(weight.shape)} and {list(bias.shape)}"
                )
            if bias.shape != (rows,):
                raise ArgumentError(
                    f"expected a weight [{rows}, {before}] and a bias [{rows}] in layer {number}, "
                    f"got {list(weight.shape)} and {list(bias.shape)}"
                )
            before = str(rows)
        if (self.attention is not None) != (self.pooling == "attention"):
            raise ArgumentError("expected attention with the pooling attention, and only with it")
        if self.attention is not None and self.attention.shape != (self.dimension,):
            raise ArgumentError(
                f"attention: expected [{self.dimension}], got {list(self.attention.shape)}"
            )


def _floats(values: Any) -> Floats:
    try:
        with np.errstate(over="ignore"):  # to inf, which is refused
            return np.ascontiguousarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"expected an array of numbers ({error})") from error


def spec_of(stored: Mapping[str, NDArray[Any]]) -> HeadSpec:
    """What the arrays of a file say; raises KeyError, ValueError where they are no head's."""
    mids = tuple(str(mid) for mid in stored["mids"])
    if "weight" in stored:  # of version 0.1
        unknown = [mid for mid in mids if not mid]
        if unknown:
            raise ValueError("expected AudioSet ids, got an empty one")
        layer = (stored["weight"], stored["bias"])
        return HeadSpec(str(stored["space"]), (layer,), mids, mids)
    weights = (f"weight_{number}" for number in range(len(stored)))
    layers = [
        (stored[name], stored[name.replace("weight", "bias")]) for name in weights if name in stored
    ]
    made = json.loads(str(stored["made"]))
    if not isinstance(made, dict):
        raise ValueError("made: expected a JSON object")
    return HeadSpec(
        space=str(stored["space"]),
        layers=tuple(layers),
        names=tuple(str(name) for name in stored["names"]),
        mids=mids,
        output=str(stored["output"]),
        pooling=str(stored["pooling"]),
        normalised=bool(stored["normalised"]),
        attention=stored.get("attention"),
        made=made,
    )


def write_head(path: Path, spec: HeadSpec) -> None:
    """Write a head's file: a NumPy archive without pickles; the same head gives the same bytes.

    It is written beside `path` and moved there when it is complete.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for number, (weight, bias) in enumerate(spec.layers):
        arrays |= {f"weight_{number}": weight, f"bias_{number}": bias}
    if spec.attention is not None:
        arrays["attention"] = spec.attention
    values = {
        "space": spec.space,
        "names": spec.names,
        "mids": spec.mids,
        "output": spec.output,
        "pooling": spec.pooling,
        "normalised": spec.normalised,
        "made": json.dumps(dict(spec.made), allow_nan=False),
    }
    arrays |= {name: np.array(value) for name, value in values.items()}
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
