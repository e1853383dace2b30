"""Google's YAMNet from a TFLite file or a SavedModel: the same network as an ONNX graph.

The network (tensorflow/models, research/audioset/yamnet): a 3x3 convolution with stride 2, then
13 pairs of a depthwise 3x3 and a pointwise convolution, ReLU after each, the mean over time and
frequency, and a dense layer of 521 scores. Batch norm is folded into the kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError, SoundsearchError
from ..extras import needs
from .graph import Chain
from .vggish import read_variables

__all__ = ["HUB_URL", "Layers", "build", "classifier", "read", "read_tflite"]

HUB_URL = "https://tfhub.dev/google/yamnet/1"

# Kernel and bias of each layer, in order of use; kernels [out, height, width, in], of a depthwise
# convolution [1, height, width, out]; the last [521, 1024].
Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]

_FIRST = 32
# Stride of the depthwise and channels of the pointwise convolution of each pair.
_PAIRS = (
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *[(1, 512)] * 5,
    *((2, 1024), (1, 1024)),
)
_CLASSES = 521
_BATCH_NORM_EPSILON = 1e-4
# YAMNet's front end is VGGish's but for the offset of the logarithm.
_OUR_OFFSET, _ITS_OFFSET = 0.01, 0.001


def _shapes() -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = [(_FIRST, 3, 3, 1)]
    channels = _FIRST
    for _, width in _PAIRS:
        shapes += [(1, 3, 3, channels), (width, 1, 1, channels)]
        channels = width
    return [*shapes, (_CLASSES, channels)]


def read(path: Path) -> Layers:
    """Read YAMNet's weights from the published TFLite file or a SavedModel folder.

    Raises
    ------
    EncoderError
        There is no such file, it cannot be read, or it holds another network.
    MissingExtra
        The package that reads this kind of file is not installed.
    """
    if not path.exists():
        raise EncoderError(f"{path}: there is no such file")
    try:
        if (path / "saved_model.pb").exists():
            layers = _read_saved_model(path)
        elif path.is_file() and path.suffix.lower() == ".tflite":
            layers = read_tflite(path)
        else:
            raise EncoderError(f"{path}: expected a SavedModel folder or a .tflite file")
    except (SoundsearchError, MemoryError):
        raise
    except Exception as error:  # every format's package has its own
        raise EncoderError(f"{path}: cannot be read as YAMNet weights ({error})") from error
    return _checked(path, layers)


def _checked(path: Path, layers: Layers) -> Layers:
    shapes = _shapes()
    if len(layers) != len(shapes):
        raise EncoderError(f"{path}: expected YAMNet's {len(shapes)} layers, got {len(layers)}")
    for number, ((kernel, bias), shape) in enumerate(zip(layers, shapes, strict=True), 1):
        width = shape[-1] if shape[0] == 1 else shape[0]
        if kernel.shape != shape or bias.shape != (width,):
            raise EncoderError(
                f"{path}: expected layer {number} of YAMNet to have a kernel {shape} and {width} "
                f"biases, got {kernel.shape} and {bias.shape}"
            )
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise EncoderError(f"{path}: layer {number} is not finite everywhere")
    return layers


def read_tflite(path: Path) -> Layers:
    """Read the layers of a TFLite file; 8-bit weights are taken back to floats."""
    tflite = needs("tflite", "convert")
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise EncoderError(f"{path}: expected a TFLite file, it does not begin like one")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)

    def tensor(index: int) -> NDArray[np.float32]:
        item = graph.Tensors(index)
        raw = model.Buffers(item.Buffer()).DataAsNumpy()
        shape = item.ShapeAsNumpy()
        if item.Type() == tflite.TensorType.FLOAT32:
            floats: NDArray[np.float32] = raw.view(np.float32).reshape(shape).copy()
            return floats
        values = raw.view(np.int8 if item.Type() == tflite.TensorType.INT8 else np.int32)
        how = item.Quantization()
        along = [1] * len(shape)
        if len(how.ScaleAsNumpy()) > 1:
            along[how.QuantizedDimension()] = -1
        scale = how.ScaleAsNumpy().astype(np.float32).reshape(along)
        zero = how.ZeroPointAsNumpy().astype(np.float32).reshape(along)
        dequantised: NDArray[np.float32] = (values.reshape(shape).astype(np.float32) - zero) * scale
        return dequantised

    dense = tflite.BuiltinOperator.FULLY_CONNECTED
    convolutions = (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D)
    layers: Layers = []
    for number in range(graph.OperatorsLength()):
        step = graph.Operators(number)
        code = model.OperatorCodes(step.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        # A dense layer before the first convolution belongs to the front end.
        if kind in convolutions or (kind == dense and layers):
            layers.append((tensor(step.Inputs(1)), tensor(step.Inputs(2))))
    return layers


def _named(variables: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The variables with names that tell what they are.

    Keras's ``export`` keeps a numbered list of them, layer after layer, and a copy without order.
    """
    listed = {name: array for name, array in variables.items() if name.startswith("variables/")}
    if not listed:
        return variables
    layer = ("kernel", "beta", "moving_mean", "moving_variance")
    parts = [*layer * (len(_shapes()) - 1), "kernel", "bias"]
    named = zip(listed.items(), parts, strict=False)
    return {f"{name}/{part}": array for (name, array), part in named}


def _read_saved_model(folder: Path) -> Layers:
    variables = _named(read_variables(folder / "variables" / "variables"))
    kernels = [array for array in variables.values() if array.ndim == 4]
    norms = [
        [array for name, array in variables.items() if part in name]
        for part in ("beta", "moving_mean", "moving_variance")
    ]
    if {len(kernels), *map(len, norms)} != {len(_shapes()) - 1}:
        raise EncoderError(
            f"{folder}: expected {len(_shapes()) - 1} convolutions with batch norm, got "
            f"{len(kernels)} kernels and {len(norms[0])} norms"
        )
    layers: Layers = []
    for kernel, beta, mean, variance in zip(kernels, *norms, strict=True):
        scale = 1 / np.sqrt(variance + _BATCH_NORM_EPSILON)
        # From [height, width, in, out], or [height, width, in, 1] of a depthwise one.
        ours = kernel.transpose(3, 0, 1, 2)
        scales = scale if ours.shape[0] == 1 else scale[:, None, None, None]
        layers.append(
            ((ours * scales).astype(np.float32), (beta - mean * scale).astype(np.float32))
        )
    dense = [array.T for array in variables.values() if array.ndim == 2]
    bias = [array for array in variables.values() if array.shape == (_CLASSES,)]
    layers += zip(dense, bias, strict=False)
    return layers


def classifier(layers: Layers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight float32 [521, 1024] and bias float32 [521] of the scores' logits."""
    return layers[-1]


def build(layers: Layers) -> Any:
    """The network up to its embeddings as an ONNX graph for `OnnxEncoder`.

    Parameters
    ----------
    layers : list of (kernel, bias)
        See `read`.

    Returns
    -------
    onnx.ModelProto
        From ``patches`` float32 [n, 96, 64], VGGish's log-mel, to ``embeddings``
        float32 [n, 1024].
    """
    chain = Chain()
    chain.then("Exp")
    chain.then("Sub", np.array(_OUR_OFFSET, np.float32))
    chain.then("Relu")
    chain.then("Add", np.array(_ITS_OFFSET, np.float32))
    chain.then("Log")
    strides = [2, *(stride for depthwise, _ in _PAIRS for stride in (depthwise, 1))]
    for (kernel, bias), stride in zip(layers[:-1], strides, strict=True):
        depthwise = kernel.shape[0] == 1
        # To [out, in of a group, height, width].
        ours = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
        chain.then(
            "Conv",
            ours,
            bias,
            auto_pad="SAME_UPPER",  # TensorFlow's: an odd one is added at the end
            kernel_shape=ours.shape[2:],
            strides=[stride, stride],
            group=kernel.shape[3] if depthwise else 1,
        )
        chain.then("Relu")
    chain.then("GlobalAveragePool")
    chain.then("Flatten")
    return chain.finish("yamnet", "yamnet-1", len(layers[-1][0][0]), 0.48)
