"""YAMNet as an encoder, with random weights of its shapes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from soundsearch_ingest import encoders
from soundsearch_ingest.encoders import yamnet
from soundsearch_ingest.logmel import log_mel, mel_magnitudes, patches
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import errors, models
from soundsearch.cli.main import main
from soundsearch.labels.head import Head
from soundsearch.learn.distilling import Moments, distilled

STRIDES = [2, *(s for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1) for s in (stride, 1))]
WIDTHS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(3)
    shapes, channels = [(32, 3, 3, 1)], 32
    for width in WIDTHS:
        shapes += [(1, 3, 3, channels), (width, 1, 1, channels)]
        channels = width
    made = []
    for shape in [*shapes, (521, channels)]:
        inputs = 9 if shape[0] == 1 else np.prod(shape[1:])
        kernel = rng.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)
        width = shape[-1] if shape[0] == 1 else shape[0]
        made.append((kernel, rng.normal(0, 0.1, width).astype(np.float32)))
    return made


def network(layers, mel):
    """YAMNet in NumPy from mel magnitudes [n, 96, 64], straight from its description."""
    x = np.log(mel + 0.001)[..., None]
    for (kernel, bias), stride in zip(layers[:-1], STRIDES, strict=True):
        size = kernel.shape[1]
        height, width = (-(-length // stride) for length in x.shape[1:3])
        # TensorFlow's SAME: padding is split, an odd one goes to the end.
        missing = [
            max((out - 1) * stride + size - length, 0)
            for out, length in zip((height, width), x.shape[1:3], strict=True)
        ]
        pads = [(lack // 2, lack - lack // 2) for lack in missing]
        padded = np.pad(x, ((0, 0), *pads, (0, 0)))
        total = 0
        for i in range(size):
            for j in range(size):
                part = padded[:, i : i + height * stride : stride, j : j + width * stride : stride]
                part = part[:, :height, :width]
                here = kernel[:, i, j]
                total = total + (part * here[0] if len(kernel) == 1 else part @ here.T)
        x = np.maximum(total + bias, 0)
    return x.mean((1, 2))


def save_module(layers, folder):
    """A SavedModel like google/yamnet/1: batch norm without gamma, a dense layer at the end."""
    import tensorflow as tf

    rng = np.random.default_rng(5)

    class Block(tf.Module):
        pass

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self._yamnet = Block()
            for number, (kernel, bias) in enumerate(layers[:-1]):
                width = len(bias)
                mean = rng.normal(0, 0.1, width).astype(np.float32)
                variance = rng.uniform(0.5, 2, width).astype(np.float32)
                scale = 1 / np.sqrt(variance + 1e-4)
                shape = (-1, 1, 1, 1) if len(kernel) > 1 else (1, 1, 1, -1)
                block, norm = Block(), Block()
                unfolded = (kernel / scale.reshape(shape)).transpose(1, 2, 3, 0)
                name = "kernel" if len(kernel) > 1 else "depthwise_kernel"
                setattr(block, name, tf.Variable(unfolded))
                norm.beta = tf.Variable(bias + mean * scale)
                norm.moving_mean = tf.Variable(mean)
                norm.moving_variance = tf.Variable(variance)
                setattr(self._yamnet, f"layer_with_weights-{2 * number}", block)
                setattr(self._yamnet, f"layer_with_weights-{2 * number + 1}", norm)
            dense = Block()
            dense.kernel = tf.Variable(layers[-1][0].T.copy())
            dense.bias = tf.Variable(layers[-1][1])
            setattr(self._yamnet, f"layer_with_weights-{2 * len(layers)}", dense)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            magnitudes = tf.abs(tf.signal.stft(waveform, 400, 160, 512))
            mel = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0)
            frames = tf.math.log(tf.matmul(magnitudes, mel) + 0.001)
            x = tf.signal.frame(frames, 96, 48, axis=0)[..., None]
            for number, stride in enumerate(STRIDES):
                block = getattr(self._yamnet, f"layer_with_weights-{2 * number}")
                norm = getattr(self._yamnet, f"layer_with_weights-{2 * number + 1}")
                if hasattr(block, "kernel"):
                    x = tf.nn.conv2d(x, block.kernel, stride, "SAME")
                else:
                    strides = [1, stride, stride, 1]
                    x = tf.nn.depthwise_conv2d(x, block.depthwise_kernel, strides, "SAME")
                x = tf.nn.batch_normalization(
                    x, norm.moving_mean, norm.moving_variance, norm.beta, None, 1e-4
                )
                x = tf.nn.relu(x)
            embeddings = tf.reduce_mean(x, [1, 2])
            dense = getattr(self._yamnet, f"layer_with_weights-{2 * (len(STRIDES) + 1)}")
            scores = tf.sigmoid(embeddings @ dense.kernel + dense.bias)
            return scores, embeddings, frames

    tf.saved_model.save(Module(), str(folder))


@pytest.fixture
def installed(layers, tmp_path, monkeypatch):
    """A model cache with YAMNet's stand-in."""
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    with monkeypatch.context() as patch:
        patch.setattr(yamnet, "read", lambda _path: layers)
        models.import_model("yamnet", tmp_path / "made-here.tflite")


def test_the_graph_is_the_network(layers, installed):
    sound = np.concatenate([noise(0, 2), tone(700, 2), np.zeros(32_000, np.float32)])
    expected = network(layers, patches(mel_magnitudes(sound)))
    found = encoders.load("yamnet").embed(patches(log_mel(sound)))
    assert found.shape == (6, 1024)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_its_own_library(layers, installed, sounds, tmp_path):
    with soundsearch.open(tmp_path / "y.lib", encoder="yamnet") as lib:
        lib.ingest([sounds])
        info = lib.info()
        assert (info["space"], info["dimension"], info["hop"]) == ("yamnet-1", 1024, 0.48)
        low = sounds / "low.wav"
        assert lib.vectors(low).shape == (5, 1024)  # 3 s, a segment every 0.48 s
        hit = lib.query(low, k=1)[0]
        assert Path(hit.uri) == low and hit.score == pytest.approx(1, abs=1e-3)
        # Labels come from its own classifier, not the bundled one.
        weight, bias = layers[-1]
        scores = 1 / (1 + np.exp(-(lib.vectors(low) @ weight.T + bias)))
        assert lib.label(low).segments[0].labels[0].score == pytest.approx(
            scores[0].max(), abs=1e-3
        )
    session = soundsearch.open(tmp_path / "new.lib")._session
    assert (session._encoder, session._hop) == (None, None)
    assert encoders.default() == "mini"  # only VGGish becomes the default


def test_files_without_yamnet(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    for name, content in (
        ("text.tflite", b"these are no weights at all"),
        ("empty.tflite", b""),
        ("cut.tflite", b"\x1c\0\0\0TFL3" + bytes(20)),
        ("weights.docx", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.EncoderError, match=name):
            models.import_model("yamnet", tmp_path / name)
    with pytest.raises(errors.EncoderError, match="no PCA"):
        models.import_model("yamnet", tmp_path / "text.tflite", pca=tmp_path / "pca.npz")
    assert not (tmp_path / "models" / "yamnet").exists()


def test_a_saved_model(layers, tmp_path, monkeypatch):
    tensorflow = pytest.importorskip("tensorflow")
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    save_module(layers, tmp_path / "module")
    # Folding and unfolding batch norm leaves the network unchanged.
    assert models.import_model("yamnet", tmp_path / "module")["difference"] < 1e-3
    for (kernel, bias), (expected, expected_bias) in zip(
        yamnet.read(tmp_path / "module"), layers, strict=True
    ):
        np.testing.assert_allclose(kernel, expected, atol=1e-5)
        np.testing.assert_allclose(bias, expected_bias, atol=1e-5)
    with monkeypatch.context() as patch:
        patch.setattr(tensorflow.saved_model, "load", lambda _folder: object())
        with pytest.raises(errors.EncoderError, match="module: expected a module that takes"):
            models.import_model("yamnet", tmp_path / "module")
    graph = tmp_path / "module" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:5000])
    with pytest.raises(errors.EncoderError, match="module: cannot be read as a SavedModel"):
        models.import_model("yamnet", tmp_path / "module")


def test_a_numbered_list_of_variables(layers, tmp_path, monkeypatch):
    """What Keras's export() writes: no layer names, and a second, unordered copy."""
    rng = np.random.default_rng(7)
    arrays = []
    for kernel, bias in layers[:-1]:
        mean, variance = rng.normal(0, 0.1, len(bias)), rng.uniform(0.5, 2, len(bias))
        scale = 1 / np.sqrt(variance + 1e-4)
        shape = (-1, 1, 1, 1) if len(kernel) > 1 else (1, 1, 1, -1)
        unfolded = (kernel / scale.reshape(shape)).transpose(1, 2, 3, 0)
        arrays += [unfolded, bias + mean * scale, mean, variance]
    arrays += [layers[-1][0].T, layers[-1][1]]
    stored = {f"_all_variables/{i}/x": arrays[n] for i, n in enumerate(rng.permutation(110))}
    stored |= {f"variables/{i}/x": array for i, array in enumerate(arrays)}
    monkeypatch.setattr(yamnet, "read_variables", lambda _checkpoint: stored)
    (tmp_path / "saved_model.pb").touch()
    for found, expected in zip(yamnet.read(tmp_path), layers, strict=True):
        for array, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(array, right, atol=1e-5)
    del stored["variables/109/x"]
    with pytest.raises(errors.EncoderError, match="expected YAMNet's 28 layers, got 27"):
        yamnet.read(tmp_path)


@pytest.mark.skipif("SOUNDSEARCH_YAMNET" not in os.environ, reason="needs the published file")
def test_the_published_file(tmp_path, monkeypatch):
    """SOUNDSEARCH_YAMNET names yamnet's TFLite file."""
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    models.import_model("yamnet", Path(os.environ["SOUNDSEARCH_YAMNET"]))
    silence = soundsearch.label(np.zeros(32_000), sample_rate=16_000, encoder="yamnet")
    assert silence.labels[0].name == "Silence"
    beep = soundsearch.label(tone(1000, 3), sample_rate=16_000, encoder="yamnet")
    assert "Beep, bleep" in [label.name for label in beep.labels]


# A head from what a teacher says


def test_a_ridge_regression_from_sums():
    rng = np.random.default_rng(0)
    inputs, truth = rng.normal(3, [1, 5, 0.2], (200, 3)), rng.normal(size=(2, 3))
    outputs = inputs @ truth.T + [1, -2]
    moments = Moments(3, 2)
    for part in (slice(0, 7), slice(7, 200)):
        moments.add(inputs[part], outputs[part])
    weight, bias = moments.solved(1e-12)
    np.testing.assert_allclose(weight, truth, atol=1e-6)
    np.testing.assert_allclose(bias, [1, -2], atol=1e-5)
    weight, bias = moments.solved(1e9)
    np.testing.assert_allclose(weight, 0, atol=1e-6)
    np.testing.assert_allclose(bias, outputs.mean(0), atol=1e-5)


def test_a_library_gets_labels_from_a_teacher(installed, tmp_path):
    for number in range(6):
        write(tmp_path / "s" / f"t{number}.wav", tone(300 + 50 * number, 14))
        write(tmp_path / "s" / f"n{number}.wav", noise(number, 14))
    (tmp_path / "s" / "broken.wav").write_bytes(b"RIFF")
    write(tmp_path / "few" / "t.wav", tone(300, 5))
    out, library = tmp_path / "my.head", tmp_path / "l"
    with soundsearch.open(library, encoder="yamnet") as lib:
        lib.ingest([tmp_path / "few"])
        for teacher, audio, expected in (
            ("yamnet", "s", "expected one of another space than the library's"),
            ("vggish", "s", "expected mini or yamnet, got 'vggish'"),
            ("mini", "few", "audio: expected sound in at least 5 files"),
        ):
            with pytest.raises(errors.ArgumentError, match=expected):
                distilled(lib, [tmp_path / audio], teacher)
    command = ["train", "--library", library, "--teacher", "mini", "--out", out]
    done = CliRunner().invoke(main, [*map(str, command), "--audio", str(tmp_path / "s")])
    assert done.exit_code == 0, done.output
    assert "12 files, " in done.stdout and "1 files could not be heard" in done.stderr
    made = Head(out).spec.made
    assert made["teacher"]["encoder"] == "mini" and made["agreement"]["best_in_five"] > 0.8
    with soundsearch.open(library) as lib:
        lib.use_head(out)
        [clip] = lib
        mini = soundsearch.label(tmp_path / "few" / "t.wav", encoder="mini")
        known = {name for label in clip.labels for name in label.path}
        assert known & set(mini.labels[0].path)
    for wrong in (["--human"], ["--report", str(tmp_path / "r.html")]):
        options = [*map(str, command), "--audio", str(tmp_path / "s"), *wrong]
        assert CliRunner().invoke(main, options).exit_code == 2
    assert CliRunner().invoke(main, list(map(str, command))).exit_code == 2


@pytest.mark.slow
def test_hearing_for_a_head_can_be_stopped(installed, tmp_path):
    for number in range(30):
        write(tmp_path / "s" / f"{number:02}.wav", noise(number, 14))
    heard = []

    def stop(step):
        heard.append(step)
        if len(heard) == 20:
            raise KeyboardInterrupt

    with soundsearch.open(tmp_path / "l", encoder="yamnet") as lib:
        lib.ingest([tmp_path / "s" / "00.wav"])
        training = distilled(lib, [tmp_path / "s"], on_step=stop)
    assert training.was_stopped and training.head.made["files"] == 19
    assert "hearing was stopped" in training.warnings[0]
