"""VGGish from every kind of file, with random weights of its shapes."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from soundsearch_ingest import audioset, encoders, postprocess
from soundsearch_ingest.encoders import vggish
from soundsearch_ingest.encoders.openvino import has_bf16
from soundsearch_ingest.logmel import log_mel, patches
from support.sounds import RATE, noise, tone, write

import soundsearch
from benchmarks.standins import in_tensorflow_names, random_weights, save_module
from soundsearch import errors, models
from soundsearch.labels.head import HeadSpec, write_head

TONE = np.sin(2 * np.pi * 1000 * np.arange(0, 3, 1 / RATE)).astype(np.float32)


def network(weights, batch):
    """VGGish in NumPy, straight from its description: float32 [n, 96, 64] -> [n, 128]."""
    x = batch[..., None]
    for layer, (kernel, bias) in weights.items():
        if kernel.ndim == 4:
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            height, width = x.shape[1:3]
            x = bias + sum(
                padded[:, i : i + height, j : j + width] @ kernel[i, j]
                for i in range(3)
                for j in range(3)
            )
        else:
            x = x.reshape(len(x), -1) @ kernel + bias
        if layer != "fc2":
            x = np.maximum(x, 0)
        if layer in ("conv1", "conv2", "conv3_2", "conv4_2"):
            n, height, width, channels = x.shape
            x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
    return x


@pytest.fixture(scope="module")
def weights():
    """Random weights that respond to Google's test tone as Google's own do."""
    made = random_weights(7)
    raw = network(made, patches(log_mel(TONE)))
    kernel, bias = made["fc2"]
    scale = np.float32(0.343 / raw.std())
    shift = np.float32(0.000657 - scale * raw.mean())
    made["fc2"] = (kernel * scale, bias * scale + shift)
    return made


@pytest.fixture(scope="module")
def weights_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("vggish") / "vggish.npz"
    np.savez(path, **in_tensorflow_names(weights))
    return path


@pytest.fixture(scope="module")
def pca_file(weights, tmp_path_factory):
    """A whitening PCA whose 8-bit codes of the test tone are like those of Google's."""
    raw = network(weights, patches(log_mel(TONE)))
    rng = np.random.default_rng(0)
    matrix, means = np.linalg.qr(rng.normal(size=(128, 128)))[0], rng.normal(0, 0.01, (128, 1))

    def statistics(scale, shift):
        projected = (raw - means[:, 0]) @ (scale * matrix).T + shift
        codes = ((np.clip(projected, -2, 2) + 2) * 255 / 4).astype(np.uint8)
        return codes.std(), codes.mean()

    scale, shift = 1.0, 0.0
    for _ in range(200):
        deviation, mean = statistics(scale, shift)
        scale *= (89.3 / deviation) ** 0.5
        shift += (126 - mean) / 255
    # The shift goes into the means: matrix @ (x - (means - inverse @ shift)).
    means = means - (matrix.T / scale @ np.full((128, 1), shift))
    path = tmp_path_factory.mktemp("pca") / "vggish_pca_params.npz"
    np.savez(path, pca_eigen_vectors=scale * matrix, pca_means=means)
    return path


@pytest.fixture(scope="module")
def models_folder(weights_file, pca_file, tmp_path_factory):
    """A cache of models in which VGGish and its PCA are installed."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDSEARCH_MODELS", str(folder))
        facts = models.import_model("vggish", weights_file, pca=pca_file)
    assert (facts["mark"], facts["pca_mark"]) == ("", "")
    return folder


@pytest.fixture
def vggish_here(models_folder, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(models_folder))


@pytest.fixture
def no_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.mark.slow
def test_the_graph_is_the_network(weights, vggish_here):
    batch = patches(log_mel(np.concatenate([TONE, noise(0, 2), tone(300, 2)])))
    expected = network(weights, batch)
    found = encoders.load("vggish").embed(batch)
    assert found.shape == (len(batch), 128) and found.min() < 0  # no activation at the end
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.slow
def test_pca_and_eight_bits(weights, pca_file, vggish_here):
    batch = patches(log_mel(noise(1, 4, 0.3)))
    with np.load(pca_file) as stored:
        matrix, means = stored["pca_eigen_vectors"], stored["pca_means"]
    projected = (matrix @ (network(weights, batch).T - means)).T
    np.testing.assert_allclose(encoders.load("vggish-pca").embed(batch), projected, atol=1e-3)
    codes = ((np.clip(projected, -2, 2) + 2) * 255 / 4).astype(np.uint8)
    found = encoders.load("vggish-audioset8").embed(batch)
    expected = codes * 4.0 / 255 + 4 / 512 - 2
    # A value at the edge between two codes may fall to either side.
    assert (np.abs(found - expected) < 1e-5).mean() > 0.99
    np.testing.assert_allclose(found, expected, atol=0.0158)


def test_eight_bits_are_truncated_and_restored():
    codes = np.arange(256, dtype=np.uint8)
    floats = postprocess.dequantise(codes)
    assert (postprocess.quantise(floats) == codes).all()
    values = np.array([-5, -2, -1.9844, 0, 1.9999, 2, 9], np.float32)
    assert postprocess.quantise(values).tolist() == [0, 0, 0, 127, 254, 255, 255]
    assert floats[[0, 255]].tolist() == [-1.9921875, 2.0078125]


@pytest.mark.slow
def test_every_kind_of_file(weights, tmp_path):
    h5py = pytest.importorskip("h5py")
    named = tmp_path / "vggish_audioset_weights.h5"
    with h5py.File(named, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in weights]
        for layer, (kernel, bias) in weights.items():
            file[f"{layer}/{layer}/kernel:0"] = kernel
            file[f"{layer}/{layer}/bias:0"] = bias
    unnamed = tmp_path / "numbered.npz"
    arrays = [array for pair in weights.values() for array in pair]
    np.savez(unnamed, **{f"_variables/{n}": array for n, array in enumerate(arrays)})
    for path in (named, unnamed):
        found = vggish.read(path)
        for layer, pair in weights.items():
            for array, expected in zip(found[layer], pair, strict=True):
                np.testing.assert_array_equal(array, expected)


def test_a_pytorch_file(weights, tmp_path):
    torch = pytest.importorskip("torch")
    state = {}
    numbers = iter((0, 3, 6, 8, 11, 13, 0, 2, 4))
    for layer, (kernel, bias) in weights.items():
        group = "features" if kernel.ndim == 4 else "embeddings"
        start = f"{group}.{next(numbers)}"
        order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        state[f"{start}.weight"] = torch.from_numpy(kernel.transpose(order).copy())
        state[f"{start}.bias"] = torch.from_numpy(bias)
        assert layer in weights
    torch.save(state, tmp_path / "vggish-10086976.pth")
    found = vggish.read(tmp_path / "vggish-10086976.pth")
    for layer, (kernel, _) in weights.items():
        np.testing.assert_array_equal(found[layer][0], kernel)


def damaged(path, weights, **changes):
    arrays = {**in_tensorflow_names(weights), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_files_without_vggish(weights, weights_file, no_models, tmp_path):
    last = {"vggish/fc2/weights": None, "vggish/fc2/biases": None}
    short = np.zeros((4096, 100), np.float32)
    broken = np.full(64, np.nan, np.float32)
    text = tmp_path / "text.npz"
    text.write_text("no weights")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(weights_file.read_bytes()[:1_000_000])
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.docx").write_text("")
    for path, message in (
        (damaged(tmp_path / "a.npz", weights, **last), "fc2"),
        (damaged(tmp_path / "b.npz", weights, **{"vggish/fc2/weights": short}), r"\(4096, 128\)"),
        (damaged(tmp_path / "c.npz", weights, **{"vggish/conv1/biases": broken}), "not finite"),
        (text, "cannot be read"),
        (cut, "cannot be read"),
        (tmp_path / "empty", r"saved_model\.pb"),
        (tmp_path / "none.npz", "no such file"),
        (tmp_path / "weights.docx", "expected a SavedModel folder"),
    ):
        with pytest.raises(errors.EncoderError, match=message) as refused:
            models.import_model("vggish", path)
        assert str(path) in str(refused.value)
    assert not no_models.exists() or list(no_models.iterdir()) == []


def test_wrong_pca(weights_file, no_models, tmp_path):
    path = tmp_path / "pca.npz"
    for arrays, message in (
        ({}, "pca_eigen_vectors"),
        ({"pca_eigen_vectors": np.eye(64), "pca_means": np.zeros((64, 1))}, r"\(64, 64\)"),
        ({"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros(3)}, r"\(128, 1\), got \(3,\)"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(errors.EncoderError, match=message):
            models.import_model("vggish", weights_file, pca=path)
    assert not no_models.exists() or list(no_models.iterdir()) == []


@pytest.mark.slow
def test_other_weights_get_their_own_space(weights, pca_file, no_models, tmp_path):
    kernel = weights["fc2"][0] * 2
    other = damaged(tmp_path / "other.npz", weights, **{"vggish/fc2/weights": kernel})
    facts = models.import_model("vggish", other, pca=pca_file)
    spaces = {name: encoders.load(name).space for name in encoders.available()}
    assert spaces["vggish"] == f"vggish{facts['mark']}" != "vggish"
    assert spaces["vggish-pca"].startswith("vggish-pca-")
    assert spaces["vggish-audioset8"].startswith("vggish-audioset8-")
    assert len(set(spaces.values())) == 4


@pytest.mark.slow
def test_its_own_library(vggish_here, sounds, tmp_path):
    steps = []
    with soundsearch.open(tmp_path / "v.lib") as lib:
        lib.ingest([sounds], on_step=steps.append)
        assert any("vggish" in step for step in steps)
        info = lib.info()
        assert (info["encoder"], info["space"], info["dimension"]) == ("vggish", "vggish", 128)
        for path in sounds.rglob("*.*"):
            hit = lib.query(path, k=1)[0]
            assert Path(hit.uri) == path and hit.score == pytest.approx(1, abs=1e-3)
        batch = patches(log_mel(tone(220, 3)))
        expected = encoders.load("vggish").embed(batch)
        np.testing.assert_allclose(lib.vectors(sounds / "low.wav"), expected, atol=1e-2)
        found = {Path(clip.uri).name: clip.labels for clip in lib}
    with soundsearch.open(tmp_path / "m.lib", encoder="mini") as bundled:
        bundled.ingest([sounds])
        for clip in bundled:
            assert found[Path(clip.uri).name] == clip.labels  # the bundled classifier's
    with pytest.raises(errors.SoundsearchError, match="vggish"):
        soundsearch.open(tmp_path / "v.lib", encoder="mini")


@pytest.mark.slow
def test_a_head_for_its_space_needs_no_second_encoder(vggish_here, sounds, tmp_path):
    with soundsearch.open(tmp_path / "v.lib", encoder="vggish") as lib:
        lib.ingest(sounds)
        before = {clip.uri: clip.labels for clip in lib}
        assert isinstance(lib._session.listener(1).encoder, encoders.SideBySide)
        weight = np.random.default_rng(0).normal(0, 3, (2, 128)).astype(np.float32)
        layer = weight, np.zeros(2, np.float32)
        spec = HeadSpec(lib.info()["space"], (layer,), ("mine", "yours"), output="softmax")
        write_head(tmp_path / "my.head", spec)
        lib.use_head(tmp_path / "my.head")
        assert not isinstance(lib._session.listener(1).encoder, encoders.SideBySide)
        names = {clip.uri: [label.name for label in clip.labels] for clip in lib}
        assert {name for each in names.values() for name in each} <= {"mine", "yours"}
        with soundsearch.open(
            tmp_path / "w.lib", encoder="vggish", head=tmp_path / "my.head"
        ) as fresh:
            fresh.ingest(sounds)
            assert {c.uri: [label.name for label in c.labels] for c in fresh} == names
        # The encoder's own labels need the sound.
        lib.use_head(None)
        assert not any(clip.labels for clip in lib)
        lib.ingest(sounds, again=True)
        assert {clip.uri: clip.labels for clip in lib} == before


@pytest.mark.slow
def test_sound_and_audioset_features_in_one_space(vggish_here, sounds, tmp_path):
    """A sound finds the record that holds its own features, at the right second."""
    encoder = encoders.load("vggish-audioset8")
    records = []
    for number, path in enumerate(sorted(sounds.rglob("*.*"))):
        sound = np.concatenate([noise(number, 4.8), soundfile.read(path, dtype="float32")[0]])
        codes = postprocess.quantise(encoder.embed(patches(log_mel(sound))))
        records.append(audioset.Record(path.stem, 0, 10, (number,), codes))
    audioset.write_records(tmp_path / "own.tfrecord", records)
    with soundsearch.open(tmp_path / "a.lib") as lib:
        lib.ingest([tmp_path / "own.tfrecord"])
        for path in sounds.rglob("*.*"):
            hit = lib.query(path, k=1)[0]
            assert hit.uri == f"https://www.youtube.com/watch?v={path.stem}&t=0"
            assert hit.score > 0.99 and hit.start >= 4.8
            assert len(hit.human_labels) == 1 and hit.labels == ()
        lib.ingest([sounds])  # sounds join it through PCA and 8 bits
        assert lib.info()["clips"] == 12
        low = next(clip for clip in lib if clip.uri.endswith("low.wav"))
        assert low.labels and not low.human_labels


def test_without_the_encoder(models_folder, vggish_here, sounds, tmp_path, monkeypatch):
    with soundsearch.open(tmp_path / "v.lib", encoder="vggish-pca") as lib:
        lib.ingest([sounds / "low.wav"])
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "none"))
    with soundsearch.open(tmp_path / "v.lib") as lib:
        assert lib.info()["space"] == "vggish-pca" and lib.info()["installed_space"] is None
        with pytest.raises(errors.EncoderError, match="models import vggish"):
            lib.query(sounds / "low.wav")


@pytest.mark.slow
def test_int8(weights_file, no_models, sounds):
    facts = models.import_model("vggish", weights_file, precision="int8", audio=[sounds])
    assert 0.99 <= facts["cosine_mean"] <= 1.0001
    kept = json.loads((no_models / "vggish" / "origin.json").read_text())
    assert kept["cosine_mean"] == facts["cosine_mean"] and kept["precision"] == "int8"
    assert encoders.load("vggish").space == "vggish"
    assert os.path.getsize(facts["file"]) < 80e6
    with open(facts["file"], "r+b") as file:
        file.seek(1_000_000)
        file.write(b"damaged")
    with pytest.raises(errors.EncoderError, match="changed"):
        encoders.load("vggish")


def test_bf16_is_the_same_network(weights, weights_file, no_models, sounds, tmp_path):
    pytest.importorskip("openvino")
    if not has_bf16():
        with pytest.raises(errors.EncoderError, match="does not compute in bfloat16"):
            models.import_model("vggish", weights_file, precision="bf16")
        return
    facts = models.import_model("vggish", weights_file, precision="bf16")
    assert 0.9999 <= facts["cosine_worst"] <= facts["cosine_mean"] <= 1.0001
    batch = patches(log_mel(np.concatenate([TONE[:RATE], noise(0, 1), tone(300, 1)])))
    expected = network(weights, batch)
    for threads in (1, 2):
        encoder = encoders.load("vggish", threads)
        assert encoder.space == "vggish" and encoder.dimension == 128
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(encoder.embed, [batch, batch[:1], batch[::-1], batch] * 2))
        for got, wanted in zip(
            found, [expected, expected[:1], expected[::-1], expected] * 2, strict=True
        ):
            cosines = np.sum(got * wanted, 1) / np.linalg.norm(got, axis=1)
            assert got.dtype == np.float32
            assert (cosines / np.linalg.norm(wanted, axis=1)).min() > 0.9999
    with soundsearch.open(tmp_path / "v.lib", encoder="vggish") as lib:
        assert lib.ingest(sounds).failed == []
        assert lib.query(sounds / "low.wav")[0].uri.endswith("low.wav")


def test_int8_needs_real_sound(weights_file, no_models, tmp_path):
    with pytest.raises(errors.EncoderError, match="at least two files"):
        write(tmp_path / "one" / "only.wav", tone(440, 2))
        models.import_model("vggish", weights_file, precision="int8", audio=[tmp_path / "one"])
    assert not no_models.exists() or list(no_models.iterdir()) == []


def test_pull_from_tensorflow_hub(weights, no_models, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_hub")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    name = hashlib.sha1(vggish.HUB_URL.encode()).hexdigest()
    save_module(weights, tmp_path / "hub" / name)
    facts = models.pull_model("vggish")
    assert facts["difference"] < 1e-4 and facts["mark"] == ""
    assert facts["origin"] == vggish.HUB_URL
    batch = patches(log_mel(noise(3, 3)))
    np.testing.assert_allclose(
        encoders.load("vggish").embed(batch), network(weights, batch), atol=2e-5
    )


def test_saved_models_that_are_something_else(weights, no_models, tmp_path):
    tf = pytest.importorskip("tensorflow")
    save_module(weights, tmp_path / "relu", tf.nn.relu)
    assert models.import_model("vggish", tmp_path / "relu")["difference"] < 1e-4
    save_module(weights, tmp_path / "other", lambda x: 1.01 * x)
    with pytest.raises(errors.EncoderError, match="differ"):
        models.import_model("vggish", tmp_path / "other")
    found = (no_models / "vggish" / "origin.json").read_text()
    assert json.loads(found)["origin"].endswith("relu")  # the installed one stays


def test_a_tensorflow_checkpoint(weights, tmp_path):
    tf = pytest.importorskip("tensorflow")
    variables = {name: tf.Variable(array) for name, array in in_tensorflow_names(weights).items()}
    graph_free = tf.compat.v1.train.Saver(variables)
    graph_free.save(None, str(tmp_path / "vggish_model.ckpt"), write_meta_graph=False)
    found = vggish.read(tmp_path / "vggish_model.ckpt")
    for layer, pair in weights.items():
        for array, expected in zip(found[layer], pair, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_no_network(no_models, monkeypatch, tmp_path):
    pytest.importorskip("tensorflow_hub")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(errors.EncoderError, match="models import vggish FOLDER"):
        models.pull_model("vggish")


@pytest.mark.skipif("SOUNDSEARCH_VGGISH" not in os.environ, reason="needs Google's weights")
def test_googles_own_weights(no_models):
    """The smoke test of the published weights: SOUNDSEARCH_VGGISH names their file or folder."""
    pca = os.environ.get("SOUNDSEARCH_VGGISH_PCA")
    facts = models.import_model(
        "vggish", Path(os.environ["SOUNDSEARCH_VGGISH"]), pca=Path(pca) if pca else None
    )
    assert facts["mark"] == ""
    raw = encoders.load("vggish").embed(patches(log_mel(TONE)))
    assert raw.mean() == pytest.approx(0.000657, abs=1e-3)
    assert raw.std() == pytest.approx(0.343, rel=1e-2)
    if pca:
        codes = postprocess.quantise(encoders.load("vggish-pca").embed(patches(log_mel(TONE))))
        assert codes.mean() == pytest.approx(126, rel=0.01)
        assert codes.std() == pytest.approx(89.3, rel=0.01)
