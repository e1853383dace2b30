"""Begin with the convolutions of an earlier mini instead of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from .model import Conv, Student

Floats = NDArray[np.float32]
RIDGE = 0.03


def convolutions(path: Path) -> list[tuple[Floats, Floats]]:
    """Return weight and bias of every convolution of a mini's ONNX file, its 8 bits undone."""
    graph = onnx.load(path).graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}

    def value(name: str) -> Floats:
        base = name.removesuffix("_DequantizeLinear_Output")
        if base in held:
            return held[base].astype(np.float32)
        whole = held[f"{base}_quantized"].astype(np.float32)
        scale = held[f"{base}_scale" if f"{base}_scale" in held else f"{base}_quantized_scale"]
        scaled: Floats = whole * scale.reshape(-1, *[1] * (whole.ndim - 1))
        return scaled

    nodes = [node for node in graph.node if node.op_type == "Conv"]
    return [(value(node.input[1]), value(node.input[2])) for node in nodes]


@torch.no_grad()
def begin_with(student: Student, path: Path, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Give a student the convolutions of an earlier mini of the same widths.

    One that heard no context gives those of the trunk alone.

    That one's batch norms are folded: each of the student's gets the factor and shift that undo
    what it does to some sound. The projection begins with least squares.

    Parameters
    ----------
    student : Student
    path : Path
        The earlier mini's ONNX file.
    batches : list of (mel, target)
        Log-mel float32 [n, 96 k, 64] and target float32 [n, k, 128].
    """
    given = convolutions(path)
    layers = [layer for layer in student.modules() if isinstance(layer, Conv)]
    if len(given) < len(layers):
        layers = [layer for layer in student.body.modules() if isinstance(layer, Conv)]
    hooks = []
    for layer, (weight, bias) in zip(layers, given, strict=True):
        layer.conv.weight.copy_(torch.from_numpy(weight))

        def undo(norm: nn.Module, inputs: tuple[Tensor, ...], bias: Floats = bias) -> None:
            assert isinstance(norm, nn.BatchNorm2d)
            variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3))
            norm.running_mean, norm.running_var = mean, variance
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
            norm.bias.copy_(mean + torch.from_numpy(bias))

        hooks.append(layer.norm.register_forward_pre_hook(undo))
    student.eval()
    student(batches[0][0])
    for hook in hooks:
        hook.remove()
    student.train()  # as the projection will see what the other batch norms give
    features = torch.cat([student.segments(mel).flatten(0, 1) for mel, _ in batches]).double()
    target = torch.cat([target.flatten(0, 1) for _, target in batches]).double()
    mean, mean_target = features.mean(0), target.mean(0)
    features = features - mean
    moments = features.T @ features / len(features)
    ridge = RIDGE * moments.diagonal().mean() * torch.eye(len(moments))
    across = features.T @ (target - mean_target) / len(features)
    weight = torch.linalg.solve(moments + ridge, across).T
    student.projection.weight.copy_(weight)
    student.projection.bias.copy_(mean_target - weight @ mean)
