"""The encoders that can be had, by name."""

from __future__ import annotations

from pathlib import Path

from ..errors import EncoderError
from .base import Encoder
from .composed import PostProcessed, SideBySide
from .installation import ENCODER, HEAD, PCA, installed, origin, verify
from .onnx import OnnxEncoder

__all__ = [
    "AUDIOSET_SPACE",
    "BUNDLED",
    "Encoder",
    "OnnxEncoder",
    "SideBySide",
    "available",
    "default",
    "head_file",
    "load",
]

BUNDLED = "mini"
# The space of AudioSet's released features, and the name of the encoder that reaches it.
AUDIOSET_SPACE = "vggish-audioset8"
_VGGISH = "vggish"
_VGGISH_POSTPROCESSED = ("vggish-pca", AUDIOSET_SPACE)
_INSTALLABLE = (_VGGISH, "yamnet")


def available() -> dict[str, Path]:
    """Name and model file of every encoder on this machine."""
    found = {BUNDLED: Path(__file__).with_name("mini.onnx")}
    for name in _INSTALLABLE:
        if (folder := installed(name)) is not None:
            found[name] = folder / ENCODER
            if name == _VGGISH and (folder / PCA).exists():
                found.update(dict.fromkeys(_VGGISH_POSTPROCESSED, folder / ENCODER))
    return found


def default() -> str:
    """The encoder of a new library: VGGish where it is installed, else the bundled one."""
    return _VGGISH if installed(_VGGISH) is not None else BUNDLED


def head_file(name: str) -> Path | None:
    """The label classifier that was installed with an encoder."""
    folder = installed(name)
    path = folder / HEAD if folder else None
    return path if path is not None and path.exists() else None


def load(name: str = BUNDLED, threads: int = 1) -> Encoder:
    """Open an encoder by name.

    Parameters
    ----------
    name : str
        One of `available`.
    threads : int
        Threads that one call of ``embed`` may use.

    Raises
    ------
    EncoderError
        There is no encoder of that name, or its model is damaged.
    """
    known = available()
    if name not in known:
        raise EncoderError(_unknown(name, known))
    if name != BUNDLED:
        verify(known[name].parent)
    encoder = _opened(known[name], threads)
    if name not in _VGGISH_POSTPROCESSED:
        return encoder
    from ..postprocess import read_pca

    pca = read_pca(known[name].with_name(PCA))
    # What is not Google's, weights or PCA, leads to a space of its own.
    mark = origin(known[name].parent).get("pca_mark", "")
    return PostProcessed(encoder, pca, name, f"{name}{mark}", quantised=name == AUDIOSET_SPACE)


def _opened(file: Path, threads: int) -> Encoder:
    if origin(file.parent).get("precision") != "bf16":
        return OnnxEncoder(file, threads)
    from .openvino import OpenVinoEncoder

    return OpenVinoEncoder(file, threads)


def _unknown(name: str, known: dict[str, Path]) -> str:
    text = f"no encoder is called {name!r}"
    if name in _INSTALLABLE:
        text = f"{name} is not installed; install it with: soundsearch models pull {name}"
    elif name in _VGGISH_POSTPROCESSED:
        text = (
            f"{name} needs VGGish and its PCA; install them with: soundsearch models import "
            "vggish WEIGHTS --pca vggish_pca_params.npz"
        )
    return f"{text}; there is {', '.join(sorted(known))} (see: soundsearch models list)"
