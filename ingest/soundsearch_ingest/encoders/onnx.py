"""An encoder whose network is an ONNX file that states its own name and space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError
from ..logmel import BANDS, PATCH_FRAMES

__all__ = ["NetworkEncoder", "OnnxEncoder"]


def _providers(available: list[str]) -> list[str]:
    """The GPU where this build of ONNX Runtime has one, else the CPU."""
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in available]


class NetworkEncoder(ABC):
    """What an encoder is that whatever runs an ONNX network makes of it.

    Parameters
    ----------
    path : Path
    meta : mapping of str to str
        The network's metadata.
    dimension : int

    Raises
    ------
    EncoderError
        The metadata lacks something.
    """

    def __init__(self, path: Path, meta: Mapping[str, str], dimension: int) -> None:
        try:
            self.name = meta["name"]
            self.space = meta["space"]
            self.segment_seconds = float(meta["segment_seconds"])
            self.hop_seconds = float(meta.get("hop_seconds", self.segment_seconds))
            self.context_seconds = float(meta.get("context_seconds", 0.0))
        except (KeyError, ValueError) as error:
            raise EncoderError(
                f"{path}: expected an encoder with name, space and segment_seconds in its "
                f"metadata, got {dict(meta)}"
            ) from error
        self.dimension = dimension

    def embed(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Encoder.embed`."""
        if len(mel) == 0:
            return np.empty((0, self.dimension), np.float32)
        if not self.context_seconds:
            mel = mel.reshape(-1, PATCH_FRAMES, BANDS)
        return self._run(mel).reshape(-1, self.dimension)

    @abstractmethod
    def _run(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network makes of its input."""


class OnnxEncoder(NetworkEncoder):
    """Run an ONNX network from log-mel to embeddings.

    Parameters
    ----------
    path : Path
        ONNX file: input ``patches`` float32 [n, 96, 64], output ``embeddings``
        float32 [n, dimension]; metadata ``name``, ``space``, ``segment_seconds`` and, where
        segments overlap by default, ``hop_seconds``. With ``context_seconds`` in its metadata,
        input float32 [n, 96 k, 64] and output float32 [n, k, dimension].
    threads : int
        Threads that one call of `embed` may use.

    Raises
    ------
    EncoderError
        The file is missing, damaged, or lacks the metadata.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the core from those that decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=_providers(onnxruntime.get_available_providers())
            )
        except Exception as error:  # onnxruntime raises a different class for every fault
            raise EncoderError(
                f"{path}: cannot be opened as an ONNX model ({error}); reinstall soundsearch"
            ) from error
        meta = self._session.get_modelmeta().custom_metadata_map
        super().__init__(path, meta, int(self._session.get_outputs()[0].shape[-1]))

    def _run(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = self._session.run(["embeddings"], {"patches": mel})[0]
        return embeddings
