"""Write the student as one small ONNX file in 8 bits, and its linear head as an .npz file."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from soundsearch_ingest.encoders.int8 import to_int8
from soundsearch_ingest.logmel import LOG_OFFSET

from .mels import open_store
from .mixing import Mixer, heard, known_classes
from .model import EVENED, FLOOR, SIZE, USUAL, Block, Conv, Student, levelled

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

    def levelled(self, patches: str, output: str) -> str:
        """Add what `recipes.mini.model.levelled` does."""
        offset = self.number(LOG_OFFSET)
        mel = self.add("Relu", [self.add("Sub", [self.add("Exp", [patches]), offset])])
        power = self.add("ReduceMean", [self.add("Mul", [mel, mel])], axes=[2], keepdims=1)
        power = self.add("ReduceMean", [self.add("Mul", [power, power])], axes=[1], keepdims=1)
        power = self.add("Max", [self.add("Sqrt", [power]), self.number(1e-12)])
        audible = self.add("Div", [power, self.add("Add", [power, self.number(FLOOR)])])
        gain = self.add("Div", [self.number(USUAL), power])
        gain = self.add("Pow", [gain, self.number(EVENED)])
        rest = self.add("Sub", [self.number(1), audible])
        gain = self.add("Add", [self.add("Mul", [gain, audible]), rest])
        mel = self.add("Add", [self.add("Mul", [mel, gain]), offset])
        return self.add("Log", [mel], output)

    def convolution(self, layer: Conv, data: str, shortcut: str = "") -> str:
        """Add a folded convolution, its shortcut and its ReLU."""
        weight = self.constant(layer.conv.weight.detach().numpy(), "weight")
        bias = layer.conv.bias
        if bias is None:
            raise ValueError("the student's batch norms are not folded")
        side = layer.conv.kernel_size[0] // 2
        data = self.add(
            "Conv",
            [data, weight, self.constant(bias.detach().numpy(), "bias")],
            kernel_shape=list(layer.conv.kernel_size),
            strides=list(layer.conv.stride),
            pads=[side] * 4,
        )
        if shortcut:
            data = self.add("Add", [data, shortcut])
        return self.add("Relu", [data]) if layer.relu or shortcut else data


def calibration(work: Path, seed: int = 5, count: int = 1024) -> NDArray[np.float32]:
    """Return what the student hears, mixes and single sounds: log-mel patches [count, 96, 64]."""
    store = open_store(work)
    mixer = Mixer(store, seed, classes=known_classes(work, store))
    mel = np.concatenate([mixer.mixes(count // 2), mixer.singles(count - count // 2)])
    random = torch.Generator().manual_seed(seed)
    patches: NDArray[np.float32] = torch.log(
        heard(torch.from_numpy(mel), random) + LOG_OFFSET
    ).numpy()
    return patches


def to_onnx(student: Student, path: Path, space: str, patches: NDArray[np.float32]) -> None:
    """Write the folded (and whitened) student.

    Weights and activations have 8 bits, but for the first convolution, whose input has the
    whole range from silence to noise, and the projection, which has 16: two per cent of the
    work.

    Parameters
    ----------
    student : Student
    path : Path
        The file is replaced at once, so that a reader sees the old or the new one.
    space : str
        Name of the embedding space, with its version.
    patches : float32 [n, 96, 64]
        Log-mel that the ranges of activations are taken from.
    """
    graph = Graph()
    data = graph.add("Unsqueeze", ["patches", graph.constant(np.array([1]), "axis")])
    data = graph.add("Add", [data, graph.number(1.5)])
    data = graph.add("Mul", [data, graph.number(0.4)])
    for layer in student.body:
        if isinstance(layer, Conv):
            data = graph.convolution(layer, data)
        elif isinstance(layer, Block):
            inner = graph.convolution(layer.first, data)
            data = graph.convolution(layer.second, inner, data)
    data = graph.add("GlobalAveragePool", [data])
    data = graph.add("Flatten", [data])
    half = student.projection.weight.detach().numpy().astype(np.float16)
    weight = graph.add("Cast", [graph.constant(half, "weight")], to=TensorProto.FLOAT)
    bias = graph.constant(student.projection.bias.detach().numpy(), "bias")
    graph.add("Gemm", [data, weight, bias], "embeddings", transB=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "mini",
            [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["n", 96, 64])],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", SIZE])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="training",
        ir_version=8,
    )
    helper.set_model_props(model, {"name": "mini", "space": space, "segment_seconds": "0.96"})
    onnx.checker.check_model(model, full_check=True)
    first = next(node.name for node in graph.nodes if node.op_type == "Conv")
    scaling = [node.name for node in graph.nodes[: 1 + [n.name for n in graph.nodes].index(first)]]
    temporary = path.with_suffix(".onnx.tmp")
    with tempfile.TemporaryDirectory() as folder:
        floating = Path(folder) / "float.onnx"
        onnx.save(model, str(floating))
        even = levelled(torch.from_numpy(patches)).numpy()
        to_int8(floating, temporary, even, percentile=True, keep=[*scaling, "embeddings"])
    _level_first(temporary)
    os.replace(temporary, path)


def _level_first(path: Path) -> None:
    """Put the levelling, which stays in float, in front of a quantised network."""
    model = onnx.load(str(path))
    front = Graph("front_")
    front.levelled("patches", "levelled")
    for node in model.graph.node:
        node.input[:] = ["levelled" if name == "patches" else name for name in node.input]
    nodes = [*front.nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(front.weights)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def class_mids(class_map: Path) -> list[str]:
    """Return the machine ids of YAMNet's classes, in its order."""
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
