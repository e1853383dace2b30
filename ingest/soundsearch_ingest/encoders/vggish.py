"""Google's VGGish from whatever file its weights are in: the same network as an ONNX graph.

The network (tensorflow/models, research/audioset/vggish, ``vggish_slim.py``): 3x3 convolutions of
64, 128, 2 x 256 and 2 x 512 channels with ReLU, 2x2 max-pooling after each group, then dense
layers of 4096, 4096 and 128, the last without an activation. Weights are kept here in
TensorFlow's layout: kernels [height, width, in, out] and [in, out], the first dense layer reading
the feature maps in the order height, width, channel.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..archives import read_archive
from ..errors import EncoderError, SoundsearchError
from ..extras import needs
from .graph import Chain

__all__ = ["HUB_URL", "LAYERS", "Weights", "build", "read", "read_variables"]

HUB_URL = "https://tfhub.dev/google/vggish/1"

# The weights as float64 are 577 MB: a file may not unpack to more than twice that.
_LARGEST = 1_200_000_000

Weights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

# Each layer's kernel. The published checkpoint calls them vggish/conv1/weights,
# vggish/conv3/conv3_1/weights, ..., and a bias vggish/conv1/biases.
LAYERS = {
    "conv1": (3, 3, 1, 64),
    "conv2": (3, 3, 64, 128),
    "conv3_1": (3, 3, 128, 256),
    "conv3_2": (3, 3, 256, 256),
    "conv4_1": (3, 3, 256, 512),
    "conv4_2": (3, 3, 512, 512),
    "fc1_1": (12288, 4096),
    "fc1_2": (4096, 4096),
    "fc2": (4096, 128),
}
_POOLED = ("conv1", "conv2", "conv3_2", "conv4_2")
# Height, width and channels of what the first dense layer reads.
_MAPS = (6, 4, 512)
_LAYER = re.compile("|".join(LAYERS))


def read(path: Path) -> Weights:
    """Read VGGish's weights from a file or folder.

    Parameters
    ----------
    path : Path
        A SavedModel folder, a TensorFlow checkpoint (``vggish_model.ckpt``, or the common start
        of the names of its parts), a Keras ``.h5``, a PyTorch ``.pth`` of the port that flattens
        in TensorFlow's order, or an ``.npz`` keyed by TensorFlow's names.

    Returns
    -------
    dict of (kernel, bias)
        By the names in `LAYERS`, float32.

    Raises
    ------
    EncoderError
        There is no such file, it cannot be read, or it holds another network.
    MissingExtra
        The package that reads this kind of file is not installed.
    """
    reader = _reader(path)
    try:
        arrays = reader(path)
    except (SoundsearchError, MemoryError):
        raise
    except Exception as error:  # every format's package has its own
        raise EncoderError(f"{path}: cannot be read as VGGish weights ({error})") from error
    return _assembled(path, arrays)


def _reader(path: Path) -> Callable[[Path], Mapping[str, NDArray[Any]]]:
    by_suffix = {
        ".npz": _read_npz,
        ".h5": _read_h5,
        ".hdf5": _read_h5,
        ".pth": _read_torch,
        ".pt": _read_torch,
    }
    if (path / "saved_model.pb").exists():
        return lambda folder: read_variables(folder / "variables" / "variables")
    if path.is_dir():
        raise EncoderError(
            f"{path}: expected a SavedModel folder, this one holds no saved_model.pb"
        )
    if path.suffix.lower() in by_suffix and path.exists():
        return by_suffix[path.suffix.lower()]
    if path.with_name(f"{path.name}.index").exists() or (
        path.exists() and path.suffix.lower() == ".ckpt"
    ):
        return read_variables
    if not os.path.lexists(path):
        raise EncoderError(f"{path}: there is no such file")
    raise EncoderError(
        f"{path}: expected a SavedModel folder, a .ckpt, .h5, .pth or .npz file with VGGish's "
        "weights"
    )


def read_variables(checkpoint: Path) -> dict[str, NDArray[Any]]:
    """Variables of a TensorFlow checkpoint by name, in natural order: v2 comes before v10."""
    tensorflow = needs("tensorflow", "vggish")
    reader = tensorflow.train.load_checkpoint(str(checkpoint))
    shapes = reader.get_variable_to_shape_map()
    names = sorted((name for name in shapes if shapes[name]), key=_natural)
    return {name: reader.get_tensor(name) for name in names}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", name)]


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    return read_archive(path, _LARGEST)


def _read_h5(path: Path) -> dict[str, NDArray[Any]]:
    h5py = needs("h5py", "convert")
    found: dict[str, NDArray[Any]] = {}
    with h5py.File(path, "r") as file:
        top = file.get("model_weights", file)

        def take(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                if sum(array.nbytes for array in found.values()) + item.nbytes > _LARGEST:
                    raise ValueError(f"its arrays have more than the {_LARGEST:,} bytes expected")
                found[name] = item[()]

        # Layers in the file's own order where it has one.
        names = [os.fsdecode(name) for name in top.attrs.get("layer_names", [])]
        for name in names:
            top[name].visititems(lambda inner, item, layer=name: take(f"{layer}/{inner}", item))
        if not names:
            top.visititems(take)
            return dict(sorted(found.items(), key=lambda item: _natural(item[0])))
    return found


def _read_torch(path: Path) -> dict[str, NDArray[Any]]:
    torch = needs("torch", None)
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    # From [out, in, height, width] and [out, in].
    orders = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return {
        name: tensor.numpy().transpose(orders[tensor.ndim])
        for name, tensor in state.items()
        if tensor.ndim in orders
    }


def _assembled(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Weights:
    """Sort arrays into layers: by their names, else kernels in order, a bias after each."""
    kernels: dict[str, NDArray[Any]] = {}
    biases: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if layers := _LAYER.findall(name):
            (kernels if array.ndim > 1 else biases)[layers[-1]] = array
    if not kernels:
        unnamed = [array for array in arrays.values() if array.ndim in (2, 4)]
        kernels = dict(zip(LAYERS, unnamed, strict=False))
        after = [array for array in arrays.values() if array.ndim == 1]
        biases = dict(zip(LAYERS, after, strict=False))
    weights = {}
    for layer, shape in LAYERS.items():
        for what, found, expected in (
            ("kernel", kernels.get(layer), shape),
            ("bias", biases.get(layer), shape[-1:]),
        ):
            if found is None:
                raise EncoderError(_lacks(path, layer, what, len(arrays)))
            if found.shape != expected:
                raise EncoderError(
                    f"{path}: expected the {what} of VGGish's {layer} to have the shape "
                    f"{expected}, got {found.shape}"
                )
            if not np.isfinite(found).all():
                raise EncoderError(f"{path}: the {what} of {layer} is not finite everywhere")
        weights[layer] = (kernels[layer].astype(np.float32), biases[layer].astype(np.float32))
    return weights


def _lacks(path: Path, layer: str, what: str, count: int) -> str:
    text = f"{path}: expected VGGish's nine layers, got {count} arrays, no {what} of {layer}"
    if layer == "fc2":
        text += "; the last layer makes the 128-d embedding: get the file that has it"
    return text


def build(weights: Weights) -> Any:
    """The network as an ONNX graph for `OnnxEncoder`.

    Parameters
    ----------
    weights : dict
        See `read`.

    Returns
    -------
    onnx.ModelProto
        From ``patches`` float32 [n, 96, 64] to ``embeddings`` float32 [n, 128].
    """
    chain = Chain()
    for layer, (kernel, bias) in weights.items():
        if kernel.ndim == 4:
            chain.then("Conv", kernel.transpose(3, 2, 0, 1), bias, pads=[1, 1, 1, 1])
        else:
            if layer == "fc1_1":
                # The maps lie as channel, height, width here: the rows are reordered, not they.
                kernel = kernel.reshape(*_MAPS, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
                chain.then("Flatten")
            chain.then("Gemm", kernel, bias)
        if layer != "fc2":
            chain.then("Relu")
        if layer in _POOLED:
            chain.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    return chain.finish("vggish", "vggish", len(weights["fc2"][1]), 0.96)
