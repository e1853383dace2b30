"""Install encoders from files or TensorFlow Hub, after checking them."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.decode import SAMPLE_RATE
from soundsearch_ingest.encoders import Encoder, OnnxEncoder, vggish, yamnet
from soundsearch_ingest.encoders.installation import ENCODER, HEAD, PCA, install
from soundsearch_ingest.encoders.int8 import agreement, sample_patches, to_int8
from soundsearch_ingest.encoders.openvino import OpenVinoEncoder, has_bf16
from soundsearch_ingest.extras import needs
from soundsearch_ingest.logmel import FRAME_SECONDS, log_mel, patches
from soundsearch_ingest.postprocess import Pca, quantise, read_pca

from .errors import EncoderError
from .labels.head import HeadSpec, write_head
from .labels.ontology import ontology
from .stores.base import OnStep

__all__ = ["PRECISIONS", "import_model", "pull_model"]

PRECISIONS = ("fp32", "bf16", "int8")
_SOURCES: dict[str, Any] = {"vggish": vggish, "yamnet": yamnet}

# AudioSet class indices that YAMNet leaves out; it keeps the order of the others.
_NOT_IN_YAMNET = (1, 2, 12, 32, 33, 277)

# Below this mean cosine to the float network, an 8-bit network is not the same encoder.
_LOWEST_INT8_COSINE = 0.99
# The same of one that is computed in bfloat16, for each embedding.
_LOWEST_BF16_COSINE = 0.9999
# How far our embeddings may be from the module's own. YAMNet's logarithm, with its offset of 0.001,
# amplifies the rounding of an FFT.
_LARGEST_DIFFERENCE = {"vggish": 1e-4, "yamnet": 1e-3}
# What Google's weights give for `_test_tone`, from VGGish's own smoke test (tensorflow/models,
# vggish_smoke_test.py): mean and standard deviation of the embeddings and of the 8-bit values
# after PCA, and the tolerance of both.
_RAW = (0.000657, 0.343, 0.01)
_CODES = (126.0, 89.3, 2.0)

Floats = NDArray[np.float32]


def _say_nothing(_text: str) -> None:
    pass


def pull_model(name: str, *, on_step: OnStep = _say_nothing, **options: Any) -> dict[str, Any]:
    """Download an encoder from TensorFlow Hub and install it.

    A module in TensorFlow Hub's cache (``TFHUB_CACHE_DIR``) is not downloaded again.

    Parameters
    ----------
    name : str
        ``vggish`` or ``yamnet``.
    on_step, options
        See `import_model`.

    Raises
    ------
    EncoderError
        The download failed; the message says how to bring the module from another machine.
    MissingExtra
        TensorFlow Hub is not installed.
    """
    url = _source(name).HUB_URL
    hub = _quiet_tensorflow("tensorflow_hub")
    on_step(f"downloading {url}")
    try:
        folder = Path(hub.resolve(url))
    except Exception as error:  # URLError, and others for a damaged archive or a full disk
        raise EncoderError(
            f"{url} cannot be downloaded ({error}). On a machine with internet access download "
            f"{url}?tf-hub-format=compressed and unpack it into a folder; copy the folder here "
            f"and run: soundsearch models import {name} FOLDER"
        ) from error
    return import_model(name, folder, origin=url, on_step=on_step, **options)


def import_model(
    name: str,
    path: Path,
    *,
    pca: Path | None = None,
    precision: str = "fp32",
    audio: Iterable[Path] = (),
    origin: str | None = None,
    on_step: OnStep = _say_nothing,
) -> dict[str, Any]:
    """Install an encoder from weights in a file or folder.

    Parameters
    ----------
    name : str
        ``vggish`` or ``yamnet``.
    path : Path
        See `soundsearch_ingest.encoders.vggish.read` and `soundsearch_ingest.encoders.yamnet.read`.
    pca : Path, optional
        ``vggish_pca_params.npz``: adds the encoders vggish-pca and vggish-audioset8.
    precision : str
        One of `PRECISIONS`. ``int8`` is faster on CPUs and slightly different. ``bf16`` is in
        between, and as good as the same; it needs OpenVINO, and a CPU that computes in bfloat16.
    audio : iterable of Path
        Files and folders of real sound, to calibrate and check int8 with.
    origin : str, optional
        Where the weights come from; default `path`.
    on_step : callable
        Called with a description of each step.

    Returns
    -------
    dict
        The facts stored beside the installed encoder, and its ``file``.

    Raises
    ------
    EncoderError
        The weights are damaged or of another network, or too far from them with this
        precision, or the CPU has no bfloat16. A previously
        installed encoder stays.
    AudioError
        A file or folder of `audio` does not exist.
    MissingExtra
    """
    source = _source(name)
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if pca is not None and name != "vggish":
        raise EncoderError(f"{name} has no PCA; leave out --pca")
    components = read_pca(pca) if pca is not None else None
    sound = sample_patches(audio) if precision == "int8" else None
    if precision == "bf16" and not has_bf16():
        raise EncoderError(
            "bf16: this CPU does not compute in bfloat16, so it would gain nothing; leave out "
            "--precision"
        )
    on_step(f"reading {path}")
    weights = source.read(path)
    facts: dict[str, Any] = {"origin": origin or str(path), "precision": precision}

    def write(folder: Path) -> None:
        onnx = needs("onnx", "convert")
        file = folder / ENCODER
        model = source.build(weights)
        onnx.save(model, str(file))
        encoder = OnnxEncoder(file, pipeline.available_cores())
        if (path / "saved_model.pb").exists():
            on_step("comparing its output with that of TensorFlow")
            facts["difference"] = _difference(path, encoder)
        if name == "vggish":
            marks = _marks(encoder, model, components)
            facts.update(zip(("mark", "pca_mark"), marks, strict=True))
            if components is not None:
                shutil.copyfile(cast(Path, pca), folder / PCA)
            if marks[0]:
                meta = {item.key: item.value for item in model.metadata_props}
                onnx.helper.set_model_props(model, {**meta, "space": f"{name}{marks[0]}"})
                onnx.save(model, str(file))
        else:
            write_head(folder / HEAD, _yamnet_head(encoder.space, source.classifier(weights)))
        if sound is not None:
            on_step(f"calibrating int8 on {len(sound[0])} segments of sound")
            facts.update(_quantised(file, *sound))
        if precision == "bf16":
            on_step("comparing bfloat16 with float32")
            facts.update(_compared(file))

    folder = install(name, write, facts)
    return {**facts, "file": str(folder / ENCODER)}


def _yamnet_head(space: str, layer: tuple[NDArray[np.float32], NDArray[np.float32]]) -> HeadSpec:
    classes = [node for node in ontology().classes if node.class_index not in _NOT_IN_YAMNET]
    return HeadSpec(space, (layer,), tuple(node.name for node in classes))


def _source(name: str) -> Any:
    if name not in _SOURCES:
        raise EncoderError(f"expected one of {', '.join(_SOURCES)} to install, got {name!r}")
    return _SOURCES[name]


def _quiet_tensorflow(module: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return needs(module, "vggish")


def _test_tone() -> Floats:
    """Three seconds of a 1 kHz sine at 16 kHz, as in VGGish's own smoke test."""
    return np.sin(2 * np.pi * 1000 * np.arange(0, 3, 1 / SAMPLE_RATE)).astype(np.float32)


def _test_signals() -> tuple[Floats, Floats, Floats]:
    """The tone, noise and a sweep, three seconds each."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time)).astype(np.float32)
    sweep = (0.5 * np.sin(2 * np.pi * (100 * time + 1200 * time**2))).astype(np.float32)
    return _test_tone(), noise, sweep


def _embedded(encoder: Encoder, sound: Floats) -> Floats:
    return encoder.embed(patches(log_mel(sound), round(encoder.hop_seconds / FRAME_SECONDS)))


def _difference(folder: Path, encoder: Encoder) -> float:
    """The largest difference from a SavedModel's own embeddings, on three signals.

    If their largest magnitude exceeds 1, the difference is relative to it.

    Raises
    ------
    EncoderError
        The difference is too large.
    """
    tensorflow = _quiet_tensorflow("tensorflow")
    try:
        module = tensorflow.saved_model.load(str(folder))
    except Exception as error:  # OSError for a damaged file, and others
        raise EncoderError(f"{folder}: cannot be read as a SavedModel ({error})") from error
    # Keras's export() names it `serve`.
    network = getattr(module, "serve", module)
    largest = 0.0
    for sound in _test_signals():
        ours = _embedded(encoder, sound)
        try:
            outputs = tensorflow.nest.flatten(network(tensorflow.constant(sound)))
        except Exception as error:  # it may raise anything
            reason = str(error).partition("\n")[0]
            raise EncoderError(
                f"{folder}: expected a module that takes {len(sound)} samples of sound ({reason})"
            ) from error
        # YAMNet's module gives scores, embeddings and log-mel.
        theirs = next(
            (out.numpy() for out in outputs if out.shape[-1] == encoder.dimension), np.empty(0)
        )
        # Code from before August 2020 ends with a ReLU; the weights are the same.
        if theirs.size and theirs.min() >= 0 and encoder.name == "vggish":
            ours = np.maximum(ours, 0)
        # YAMNet's module pads the end of the sound to whole segments.
        if theirs.ndim != 2 or not 0 <= len(theirs) - len(ours) <= 1:
            raise EncoderError(
                f"{folder}: expected a module that gives {list(ours.shape)} embeddings for "
                f"{len(sound)} samples, got {list(theirs.shape)}"
            )
        size = max(1.0, float(np.abs(theirs).max()))
        largest = max(largest, float(np.abs(ours - theirs[: len(ours)]).max()) / size)
    allowed = _LARGEST_DIFFERENCE[encoder.name]
    if largest > allowed:
        raise EncoderError(
            f"{folder}: its own embeddings of test signals differ from those of the network "
            f"that was read from it by up to {largest:.2g}, expected at most {allowed}; it holds "
            f"another network than {encoder.name}"
        )
    return largest


def _marks(encoder: Encoder, model: Any, pca: Pca | None) -> tuple[str, str]:
    """Suffixes that distinguish other weights or another PCA from Google's; else empty."""
    raw = _embedded(encoder, _test_tone())
    mark = pca_mark = ""
    if abs(raw.mean() - _RAW[0]) > _RAW[2] or abs(raw.std() - _RAW[1]) > _RAW[2]:
        digest = hashlib.blake2b(digest_size=4)
        for constant in model.graph.initializer:
            digest.update(constant.raw_data)
        mark = pca_mark = f"-{digest.hexdigest()}"
    if pca is not None:
        codes = quantise(pca.apply(raw))
        if abs(codes.mean() - _CODES[0]) > _CODES[2] or abs(codes.std() - _CODES[1]) > _CODES[2]:
            both = mark.encode() + pca.matrix.tobytes() + pca.means.tobytes()
            pca_mark = f"-{hashlib.blake2b(both, digest_size=4).hexdigest()}"
    return mark, pca_mark


def _compared(file: Path) -> dict[str, Any]:
    """How near a network in bfloat16 is to the float one; raises EncoderError if it is not."""
    sound = np.concatenate([patches(log_mel(signal)) for signal in _test_signals()])
    threads = pipeline.available_cores()
    mean, worst = agreement(OnnxEncoder(file, threads), OpenVinoEncoder(file, threads), sound)
    if worst < _LOWEST_BF16_COSINE:
        raise EncoderError(
            f"bf16 is too far from the float network: their lowest cosine on test signals is "
            f"{worst:.5f}, expected at least {_LOWEST_BF16_COSINE}; leave out --precision"
        )
    return {"cosine_mean": round(mean, 5), "cosine_worst": round(worst, 5)}


def _quantised(file: Path, calibration: Floats, held_out: Floats) -> dict[str, Any]:
    """Replace the float network by an 8-bit one; return how near the two are."""
    small = file.with_suffix(".int8")
    to_int8(file, small, calibration)
    threads = pipeline.available_cores()
    mean, worst = agreement(OnnxEncoder(file, threads), OnnxEncoder(small, threads), held_out)
    if mean < _LOWEST_INT8_COSINE:
        raise EncoderError(
            f"int8 is too far from the float network: their mean cosine on held-out sound is "
            f"{mean:.4f}, expected at least {_LOWEST_INT8_COSINE}; calibrate it on more or other "
            "sound with --audio, or leave out --precision"
        )
    os.replace(small, file)
    return {"cosine_mean": round(mean, 5), "cosine_worst": round(worst, 5)}
