"""Round a student's activations to 8 bits while it is trained, as its ONNX file will."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .model import Block, Conv

LEVELS = 255
# Share of the range that a step keeps, and rows that it is taken from.
KEEP, SEEN = 0.95, 8


class Rounding:
    """Forward hook of a layer: its output on 256 levels between what it usually reaches.

    The gradient passes as if nothing had been rounded (straight-through estimator: Bengio et
    al., 2013, arXiv:1308.3432; for 8 bits Jacob et al., 2018, arXiv:1712.05877).
    """

    def __init__(self) -> None:
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        """Round the layer's output."""
        with torch.no_grad():
            low, high = torch.aminmax(out[:: max(1, len(out) // SEEN)].float())
            if self.low is None or self.high is None:
                self.low, self.high = low, high
            else:
                self.low.lerp_(low, 1 - KEEP)
                self.high.lerp_(high, 1 - KEEP)
            step = ((self.high - self.low) / LEVELS).clamp(min=1e-8)
            levels = ((out - self.low) / step).round().clamp(0, LEVELS)
            off = (levels * step + self.low).to(out.dtype) - out
        return out + off


def round_activations(student: nn.Module) -> None:
    """Round what every convolution and block of a student gives from now on."""
    for layer in student.modules():
        if isinstance(layer, Conv | Block):
            layer.register_forward_hook(Rounding())
