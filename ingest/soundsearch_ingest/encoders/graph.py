"""Writing an encoder's network as an ONNX file for `OnnxEncoder`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..extras import needs

__all__ = ["Chain"]

# Understood by every ONNX Runtime that the package accepts.
_OPSET, _IR_VERSION = 17, 8


class Chain:
    """Operations one after the other, from ``patches`` float32 [n, 96, 64].

    The first sees the patches as images, [n, 1, 96, 64].

    Raises
    ------
    MissingExtra
        The package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = needs("onnx", "convert")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.then("Reshape", np.array([0, 1, 96, 64]))

    def then(self, kind: str, *constants: NDArray[Any], **attributes: Any) -> None:
        """Apply an ONNX operator to what came out last, and to constants."""
        number = len(self._nodes)
        names = [f"c{number}.{place}" for place in range(len(constants))]
        for name, array in zip(names, constants, strict=True):
            stored = np.ascontiguousarray(array)
            self._constants.append(self._onnx.numpy_helper.from_array(stored, name))
        last = f"x{number - 1}" if number else "patches"
        self._nodes.append(
            self._onnx.helper.make_node(kind, [last, *names], [f"x{number}"], **attributes)
        )

    def finish(self, name: str, space: str, dimension: int, hop_seconds: float) -> Any:
        """The whole as an onnx.ModelProto, whose output is ``embeddings`` [n, dimension]."""
        helper, number = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self._nodes[-1].output[0] = "embeddings"
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("patches", number, ["n", 96, 64])],
            [helper.make_tensor_value_info("embeddings", number, ["n", dimension])],
            self._constants,
        )
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        meta = {"segment_seconds": "0.96", "hop_seconds": str(hop_seconds)}
        helper.set_model_props(model, {"name": name, "space": space, **meta})
        return model
