"""Write the student as one small ONNX file, and its linear head as an .npz file."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .model import SIZE, Block, Conv, Student

OPSET = 17


class Graph:
    """Collects nodes and weights of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.count = 0

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        """Add a node and return its output's name."""
        self.count += 1
        output = output or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: NDArray[np.generic], label: str) -> str:
        """Add a constant and return its name."""
        self.count += 1
        name = f"{label}_{self.count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def quantised(self, weight: NDArray[np.float32]) -> str:
        """Add a weight as int8 per output channel; return the name of its float form."""
        axes = tuple(range(1, weight.ndim))
        factor = np.maximum(np.abs(weight).max(axes, keepdims=True), 1e-12) / 127
        whole = np.clip(np.rint(weight / factor), -127, 127).astype(np.int8)
        cast = self.add("Cast", [self.constant(whole, "int8")], to=TensorProto.FLOAT)
        return self.add("Mul", [cast, self.constant(factor.astype(np.float32), "scale")])

    def convolution(self, layer: Conv, data: str, shortcut: str = "") -> str:
        """Add a folded convolution, its shortcut and its ReLU."""
        weight = self.quantised(layer.conv.weight.detach().numpy())
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


def to_onnx(student: Student, path: Path, space: str) -> None:
    """Write the folded (and whitened) student.

    Parameters
    ----------
    student : Student
    path : Path
        The file is replaced at once, so that a reader sees the old or the new one.
    space : str
        Name of the embedding space, with its version.
    """
    graph = Graph()
    data = graph.add("Unsqueeze", ["patches", graph.constant(np.array([1]), "axis")])
    data = graph.add("Add", [data, graph.constant(np.float32([1.5]), "shift")])
    data = graph.add("Mul", [data, graph.constant(np.float32([0.4]), "factor")])
    for layer in student.body:
        if isinstance(layer, Conv):
            data = graph.convolution(layer, data)
        elif isinstance(layer, Block):
            inner = graph.convolution(layer.first, data)
            data = graph.convolution(layer.second, inner, data)
    data = graph.add("GlobalAveragePool", [data])
    data = graph.add("Flatten", [data])
    weight = student.projection.weight.detach().numpy().astype(np.float16)
    cast = graph.add("Cast", [graph.constant(weight, "fp16")], to=TensorProto.FLOAT)
    bias = graph.constant(student.projection.bias.detach().numpy(), "bias")
    graph.add("Gemm", [data, cast, bias], "embeddings", transB=1)
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
    temporary = path.with_suffix(".onnx.tmp")
    temporary.write_bytes(model.SerializeToString())
    os.replace(temporary, path)


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
