"""The student: a small residual network that slides along the sound, with context on top."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as func
from torch import Tensor, nn

from .teacher import CLASSES, COLUMNS

SIZE = 128
# Frames in a column, the network's step in time; three columns are a segment.
STEP = 32


@dataclass(frozen=True)
class Shape:
    """Widths and reach of the student.

    Attributes
    ----------
    stem : int
        Channels after the first stride-2 convolution.
    widths : tuple of int
        Channels of each further stride-2 stage; each has one residual block.
    top : int
        Channels of a column, averaged over frequencies.
    context : int
        Channels of a column where it is seen among others.
    dilations : tuple of int
        One residual block that sees five columns, so far apart, for each.
    around : int
        Columns of which the mean is given to each column in the middle of them; 0 for none.
    gates : int
        Columns over whose mean a column weighs its channels; 0 for none.
    """

    stem: int = 16
    widths: tuple[int, ...] = (48, 96, 192, 256)
    top: int = 512
    context: int = 256
    dilations: tuple[int, ...] = (1, 2, 4)
    around: int = 31
    gates: int = 0


class Conv(nn.Module):
    """Convolution, batch norm and, if asked, ReLU; the norm folds into the convolution."""

    def __init__(
        self, inp: int, out: int, kernel: tuple[int, int] = (3, 3), stride: int = 1,
        relu: bool = True, dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = (kernel[0] // 2 * dilation, kernel[1] // 2)
        self.conv = nn.Conv2d(inp, out, kernel, stride, padding, dilation=(dilation, 1), bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        x = self.norm(self.conv(x))
        return func.relu(x) if self.relu else x

    def fold(self) -> None:
        """Fold the batch norm into the convolution."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None:
            return
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = nn.Identity()


def around(x: Tensor, columns: int) -> Tensor:
    """Return the mean of so many columns about each, of those there are: [n, c, t, 1]."""
    return func.avg_pool2d(x, (columns, 1), 1, (columns // 2, 0), count_include_pad=False)


class Gate(nn.Module):
    """Weighs channels by what is heard in a window about each column."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.squeeze = nn.Conv2d(width, max(8, width // 4), 1)
        self.excite = nn.Conv2d(max(8, width // 4), width, 1)
        nn.init.zeros_(self.excite.weight)
        nn.init.constant_(self.excite.bias, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the gate to [n, c, t, f]."""
        mean = around(x.mean(3, keepdim=True), self.window)
        return x * func.hardsigmoid(self.excite(func.relu(self.squeeze(mean))))


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int, kernel: tuple[int, int] = (3, 3), dilation: int = 1) -> None:
        super().__init__()
        self.first = Conv(width, width, kernel, dilation=dilation)
        self.second = Conv(width, width, (3, 3) if kernel == (3, 3) else (1, 1), relu=False)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return func.relu(x + self.second(self.first(x)))


class Student(nn.Module):
    """Log-mel [n, 96 k, 64] in, k embeddings of 128 values out; the linear head is beside it."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = [Conv(1, shape.stem, stride=2)]
        width = shape.stem
        for wider in shape.widths:
            layers += [Conv(width, wider, stride=2), Block(wider)]
            width = wider
        layers.append(Conv(width, shape.top, kernel=(1, 1)))
        self.body = nn.Sequential(*layers)
        self.gate = Gate(shape.top, shape.gates) if shape.gates else None
        wide = shape.context
        self.context = nn.Sequential(
            Conv(shape.top, wide, (1, 1)), *(Block(wide, (5, 1), d) for d in shape.dilations)
        )
        self.mean = Conv(shape.top, wide, (1, 1)) if shape.around else None
        self.projection = nn.Linear(shape.top + wide * (2 if shape.around else 1), SIZE)
        self.head = nn.Linear(SIZE, CLASSES)
        nn.init.constant_(self.head.bias, -6.0)

    def columns(self, mel: Tensor) -> Tensor:
        """Return what the body makes of each column, [n, top, 3 k, 1]."""
        x = (mel[:, None] + 1.5) * 0.4
        found: Tensor = self.body(x.contiguous(memory_format=torch.channels_last))
        return found.mean(3, keepdim=True)

    def segments(self, mel: Tensor) -> Tensor:
        """Return what the projection sees of each segment, float32 [n, k, features]."""
        return self.among(self.columns(mel))

    def among(self, x: Tensor) -> Tensor:
        """Return the same, given the columns."""
        if self.gate is not None:
            x = self.gate(x)
        parts = [x, self.context(x)]
        if self.mean is not None:
            parts.append(self.mean(around(x, self.shape.around)))
        with torch.autocast(x.device.type, enabled=False):
            columns = func.avg_pool2d(torch.cat(parts, 1).float(), (COLUMNS, 1))[..., 0]
            return columns.transpose(1, 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Return embeddings float32 [n, k, 128]."""
        features = self.segments(mel)
        with torch.autocast(mel.device.type, enabled=False):
            embeddings: Tensor = self.projection(features)
            return embeddings

    def folded(self) -> Student:
        """Return a copy for inference, its batch norms folded."""
        other = copy.deepcopy(self).eval()
        for module in other.modules():
            if isinstance(module, Conv):
                module.fold()
        return other


def save(path: Path, **parts: object) -> None:
    """Write a checkpoint so that a cut leaves the old one."""
    temporary = path.with_suffix(".tmp")
    torch.save(parts, temporary)
    os.replace(temporary, path)


def load_student(path: Path) -> Student:
    """Return the average student of a checkpoint, batch norms folded."""
    held = torch.load(path, map_location="cpu", weights_only=True)
    student = Student(read_shape(held["shape"]))
    student.load_state_dict(held["average"])
    return student.folded()


def read_shape(held: dict[str, Any]) -> Shape:
    """Return the shape kept in a checkpoint."""
    return Shape(**held | {name: tuple(held[name]) for name in ("widths", "dilations")})
