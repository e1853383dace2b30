"""The student: a small residual network with dense 3x3 convolutions."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as func
from soundsearch_ingest.logmel import LOG_OFFSET
from torch import Tensor, nn

from .teacher import CLASSES

SIZE = 128

# A patch's level is brought nearer to USUAL: of its distance in decibels EVENED / 2 goes. Below
# FLOOR it fades to silence, which keeps its level. All are mel magnitudes, squared.
USUAL, FLOOR, EVENED = 1.44, 1e-4, 0.2


@dataclass(frozen=True)
class Shape:
    """Widths of the student.

    Attributes
    ----------
    stem : int
        Channels after the first stride-2 convolution.
    widths : tuple of int
        Channels of each further stride-2 stage; each has one residual block.
    top : int
        Channels of the last 1x1 convolution, averaged over the patch.
    """

    stem: int = 16
    widths: tuple[int, ...] = (48, 96, 192, 256)
    top: int = 512


def levelled(patches: Tensor) -> Tensor:
    """Return log-mel patches [n, 96, 64] of which the levels differ less.

    Level is partly a matter of distance and of gain, which should not move a sound, and partly
    a trait of what sounds: taking all of it costs 0.006 mAP on ESC-50, two fifths nothing.
    """
    mel = torch.relu(torch.exp(patches) - LOG_OFFSET)
    power = mel.square().mean(2).square().mean(1).sqrt().clamp(min=1e-12)
    heard = power / (power + FLOOR)
    gain = (USUAL / power) ** EVENED * heard + (1 - heard)
    return torch.log(mel * gain[:, None, None] + LOG_OFFSET)


class Conv(nn.Module):
    """Convolution, batch norm and, if asked, ReLU; the norm folds into the convolution."""

    def __init__(self, inp: int, out: int, kernel: int = 3, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inp, out, kernel, stride, kernel // 2, bias=False)
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


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.first = Conv(width, width)
        self.second = Conv(width, width, relu=False)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return func.relu(x + self.second(self.first(x)))


class Student(nn.Module):
    """Log-mel patches [n, 96, 64] in, 128-d embedding out; the linear head is beside it."""

    def __init__(self, shape: Shape = Shape()):
        super().__init__()
        self.shape = shape
        layers: list[nn.Module] = [Conv(1, shape.stem, stride=2)]
        width = shape.stem
        for wider in shape.widths:
            layers += [Conv(width, wider, stride=2), Block(wider)]
            width = wider
        layers.append(Conv(width, shape.top, kernel=1))
        self.body = nn.Sequential(*layers)
        self.projection = nn.Linear(shape.top, SIZE)
        self.head = nn.Linear(SIZE, CLASSES)
        nn.init.constant_(self.head.bias, -6.0)

    def forward(self, patches: Tensor) -> Tensor:
        """Return embeddings float32 [n, 128]."""
        device = patches.device.type
        if not self.training:  # what is trained on differs more in level than what is asked
            patches = levelled(patches)
        x = (patches[:, None] + 1.5) * 0.4
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        with torch.autocast(device, enabled=False):
            return self.projection(x.float().mean((2, 3)))

    def folded(self) -> Student:
        """Return a copy for inference, its batch norms folded."""
        other = copy.deepcopy(self).eval()
        for module in other.modules():
            if isinstance(module, Conv):
                module.fold()
        return other
