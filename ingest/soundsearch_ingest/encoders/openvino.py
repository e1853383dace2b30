"""An encoder whose network is run by OpenVINO in bfloat16: half the time, nearly the same."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError
from ..extras import needs
from .onnx import NetworkEncoder

__all__ = ["OpenVinoEncoder", "has_bf16"]


def has_bf16() -> bool:
    """Whether this CPU computes in bfloat16; raises MissingExtra without OpenVINO."""
    core = needs("openvino", "openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEncoder(NetworkEncoder):
    """Run an ONNX network in bfloat16, or in float32 on a CPU that has no bfloat16.

    Parameters
    ----------
    path : Path
        See `OnnxEncoder`.
    threads : int
        Threads that one call of `embed` may use. With one, as many calls may run at once as the
        machine has cores.

    Raises
    ------
    EncoderError
        The file is missing or damaged.
    MissingExtra
        OpenVINO is not installed.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        core = needs("openvino", "openvino").Core()
        # A call runs in a stream.
        streams = (os.cpu_count() or 1) if threads == 1 else 1
        options = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": streams * threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = core.read_model(str(path))
            self._network = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise EncoderError(f"{path}: cannot be opened as an ONNX model ({error})") from error
        given = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
        meta = {key: str(value) for key, value in given.items()}
        super().__init__(path, meta, int(model.output(0).partial_shape[-1].get_length()))
        self._requests = threading.local()

    def _run(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(self._requests, "own"):  # one is used by one thread at a time
            self._requests.own = self._network.create_infer_request()
        found = self._requests.own.infer([np.ascontiguousarray(mel)])[self._network.outputs[0]]
        return np.array(found, np.float32)
