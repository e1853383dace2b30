"""Write the student as one small ONNX file in 8 bits, and its linear head as an .npz file."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from soundsearch_ingest import encoders
from soundsearch_ingest.encoders.int8 import to_int8
from soundsearch_ingest.logmel import LOG_OFFSET, PATCH_FRAMES

from .mixing import Mixer, heard, known_classes, samples_of
from .model import SIZE, STEP, Block, Conv, Student
from .teacher import COLUMNS
from .waves import open_store
from .whiten import LENGTH, magnitudes

OPSET = 17


class Graph:
    """Collects nodes and weights of an ONNX graph; `prefix` keeps its names from another's."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.count = 0

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return its output's name."""
        self.count += 1
        output = output or f"{self.prefix}{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: ArrayLike, label: str) -> str:
        """Add a constant and return its name."""
        self.count += 1
        name = f"{self.prefix}{label}_{self.count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        """Add a number and return its name."""
        return self.constant(np.float32(value), "number")

    def convolution(self, layer: Conv, data: str, shortcut: str = "") -> str:
        """Add a folded convolution, its shortcut and its ReLU."""
        weight = self.constant(layer.conv.weight.detach().numpy(), "weight")
        bias = layer.conv.bias
        if bias is None:
            raise ValueError("the student's batch norms are not folded")
        data = self.add(
            "Conv",
            [data, weight, self.constant(bias.detach().numpy(), "bias")],
            kernel_shape=list(layer.conv.kernel_size),
            strides=list(layer.conv.stride),
            dilations=list(layer.conv.dilation),
            pads=[int(side) for side in layer.conv.padding] * 2,
        )
        if shortcut:
            data = self.add("Add", [data, shortcut])
        return self.add("Relu", [data]) if layer.relu or shortcut else data

    def layers(self, layers: torch.nn.Sequential, data: str) -> str:
        """Add convolutions and blocks, one after the other."""
        for layer in layers:
            if isinstance(layer, Conv):
                data = self.convolution(layer, data)
            elif isinstance(layer, Block):
                inner = self.convolution(layer.first, data)
                data = self.convolution(layer.second, inner, data)
        return data


def reach(student: Student) -> float:
    """Return how many seconds on either side of a segment have a say in its embedding."""
    frames, jump = 0, 1
    for layer in student.body.modules():
        if isinstance(layer, Conv):
            frames += layer.conv.kernel_size[0] // 2 * jump
            jump *= layer.conv.stride[0]
    chain = sum(2 * distance for distance in student.shape.dilations)
    frames += max(chain, student.shape.around // 2) * STEP
    segments = -(-frames // PATCH_FRAMES)
    return segments * PATCH_FRAMES / 100


def space_of(student: Student, record: Path) -> str:
    """Return the name of the space that a student leads to: always one that no other has had.

    It is the one after that of the encoder in the tree, but a student that was given one keeps
    it. What it was given is kept in `record`, with a digest of the weights.
    """
    digest = hashlib.sha256()
    for values in student.state_dict().values():
        digest.update(values.numpy().tobytes())
    held = json.loads(record.read_text("utf-8")) if record.exists() else {}
    if held.get("digest") != digest.hexdigest():
        shipped = encoders.load(encoders.BUNDLED).space
        name, _, number = shipped.rpartition("-")
        held = {"space": f"{name}-{int(number) + 1}", "digest": digest.hexdigest()}
        record.write_text(json.dumps(held) + "\n", "utf-8")
    space: str = held["space"]
    return space


def calibration(work: Path, seed: int = 5, count: int = 208) -> NDArray[np.float32]:
    """Return what the student hears, mixes and single sounds: log-mel [count, 480, 64]."""
    store = open_store(work)
    mixer = Mixer(store, seed, classes=known_classes(work, store))
    need = samples_of(LENGTH)
    sounds = [mixer.mixed(need) for _ in range(count // 2)]
    sounds += [mixer.single(mixer.file(), need) for _ in range(count - count // 2)]
    mel = heard(magnitudes(sounds, LENGTH), torch.Generator().manual_seed(seed))
    log_mel: NDArray[np.float32] = torch.log(mel + LOG_OFFSET).numpy()
    return log_mel


def to_onnx(student: Student, path: Path, space: str, log_mel: NDArray[np.float32]) -> None:
    """Write the folded (and whitened) student.

    The weights and activations of convolutions have 8 bits, but for the first one, whose input
    has the whole range from silence to noise. Means and the projection, which has 16 bits, are
    left in float: a hundredth of the work.

    Parameters
    ----------
    student : Student
    path : Path
        The file is replaced at once, so that a reader sees the old or the new one.
    space : str
        Name of the embedding space, with its version.
    log_mel : float32 [n, 96 k, 64]
        What the ranges of activations are taken from.
    """
    model, keep = floating(student, space)
    temporary = path.with_suffix(".onnx.tmp")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float.onnx"
        onnx.save(model, str(whole))
        to_int8(whole, temporary, log_mel, percentile=True, keep=keep)
    os.replace(temporary, path)


def floating(student: Student, space: str) -> tuple[onnx.ModelProto, list[str]]:
    """Return the network in float, and the nodes that are to stay so."""
    if student.gate is not None:
        raise ValueError("gates are for the comparison only: no graph is written of them")
    graph = Graph()
    data = graph.add("Unsqueeze", ["patches", graph.constant(np.array([1]), "axis")])
    data = graph.add("Add", [data, graph.number(1.5)])
    data = graph.add("Mul", [data, graph.number(0.4)])
    data = graph.layers(student.body, data)
    columns = graph.add("ReduceMean", [data], axes=[3], keepdims=1)
    parts = [columns, graph.layers(student.context, columns)]
    if student.mean is not None:
        size = student.shape.around
        side = size // 2
        about = graph.add("AveragePool", [columns], kernel_shape=[size, 1], pads=[side, 0] * 2)
        parts.append(graph.convolution(student.mean, about))
    data = graph.add("Concat", parts, axis=1)
    data = graph.add("AveragePool", [data], kernel_shape=[COLUMNS, 1], strides=[COLUMNS, 1])
    data = graph.add("Squeeze", [data, graph.constant(np.array([3]), "axis")])
    data = graph.add("Transpose", [data], perm=[0, 2, 1])
    half = student.projection.weight.detach().numpy().T.astype(np.float16)
    weight = graph.add("Cast", [graph.constant(half, "weight")], to=TensorProto.FLOAT)
    data = graph.add("MatMul", [data, weight])
    bias = graph.constant(student.projection.bias.detach().numpy(), "bias")
    graph.add("Add", [data, bias], "embeddings")
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mini",
            [value("patches", TensorProto.FLOAT, ["n", "frames", 64])],
            [value("embeddings", TensorProto.FLOAT, ["n", "k", SIZE])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="recipes.mini",
        ir_version=8,
    )
    facts = {
        "name": "mini", "space": space, "segment_seconds": "0.96",
        "context_seconds": str(reach(student)),
    }  # fmt: skip
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    first = next(i for i, node in enumerate(graph.nodes) if node.op_type == "Conv")
    plain = ("ReduceMean", "AveragePool", "Concat", "Squeeze", "Transpose", "MatMul")
    keep = [node.name for node in graph.nodes[: first + 1]]
    keep += [node.name for node in graph.nodes if node.op_type in plain]
    return model, [*keep, "embeddings"]


def class_mids(class_map: Path) -> list[str]:
    """Return the machine ids of AudioSet's classes, in its order."""
    with class_map.open(encoding="utf-8", newline="") as file:
        return [row["mid"] for row in csv.DictReader(file)]


def to_head(student: Student, path: Path, space: str, class_map: Path) -> None:
    """Write the linear head: score = sigmoid(weight @ embedding + bias)."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        weight=student.head.weight.detach().numpy().astype(np.float16),
        bias=student.head.bias.detach().numpy().astype(np.float32),
        space=np.array(space),
        mids=np.array(class_mids(class_map)),
    )
    os.replace(temporary, path)
