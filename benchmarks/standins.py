"""A network with VGGish's shapes and interface and random weights, in place of Google's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.encoders.vggish import LAYERS, Weights

__all__ = ["in_tensorflow_names", "random_weights", "save_module"]

_GROUPS = {
    **dict.fromkeys(("conv3_1", "conv3_2"), "conv3/"),
    **dict.fromkeys(("conv4_1", "conv4_2"), "conv4/"),
    **dict.fromkeys(("fc1_1", "fc1_2"), "fc1/"),
}


def random_weights(seed: int) -> Weights:
    """Draw weights that preserve the scale of activations."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(0, 1, 1_000_003).astype(np.float32)  # a prime, so that no two rows are equal
    weights = {}
    for number, (layer, shape) in enumerate(LAYERS.items()):
        scale = np.float32(np.sqrt(2 / np.prod(shape[:-1])))
        kernel = np.resize(np.roll(pool, number), shape) * scale
        weights[layer] = (kernel, rng.normal(0, 0.05, shape[-1]).astype(np.float32))
    return weights


def in_tensorflow_names(weights: Weights) -> dict[str, np.ndarray]:
    """The arrays under the names in the published checkpoint."""
    return {
        f"vggish/{_GROUPS.get(layer, '')}{layer}/{part}": array
        for layer, pair in weights.items()
        for part, array in zip(("weights", "biases"), pair, strict=True)
    }


def save_module(weights: Weights, folder: Path, last_activation: Any = None) -> None:
    """Write a SavedModel with the interface and structure of google/vggish/1.

    Parameters
    ----------
    weights : Weights
    folder : Path
    last_activation : callable, optional
        Applied to the embeddings.
    """
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            named = in_tensorflow_names(weights)
            self._variables = [tf.Variable(array, name=name) for name, array in named.items()]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # type: ignore
        def __call__(self, waveform: Any) -> Any:
            magnitudes = tf.abs(tf.signal.stft(waveform, 400, 160, 512))
            mel = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0)
            frames = tf.math.log(tf.matmul(magnitudes, mel) + 0.01)
            x = tf.signal.frame(frames, 96, 96, axis=0)[..., None]
            for kernel, bias in zip(self._variables[::2], self._variables[1::2], strict=True):
                if kernel.shape.rank == 4:
                    x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
                    if kernel.shape[2:] not in ((128, 256), (256, 512)):
                        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
                else:
                    x = tf.reshape(x, [-1, kernel.shape[0]]) @ kernel + bias
                    if kernel.shape[1] != 128:
                        x = tf.nn.relu(x)
            return x if last_activation is None else last_activation(x)

    tf.saved_model.save(Module(), str(folder))
