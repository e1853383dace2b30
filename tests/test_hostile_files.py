"""Untrusted model files: too large, truncated, of another kind; refused in little memory."""

from __future__ import annotations

import json
import resource
import zipfile

import numpy as np
import pytest
from soundsearch_ingest import encoders
from soundsearch_ingest.archives import read_archive
from soundsearch_ingest.postprocess import read_pca

from soundsearch import errors, models
from soundsearch.labels.head import Head

MIDS = np.array(["/m/0bt9lr", "/m/05tny_"])


def bomb(path, name, size):
    """A small archive that unpacks to many bytes."""
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1))
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, {**header, "shape": (size // 8,)})
        block = bytes(1 << 24)
        for _ in range(0, size, len(block)):
            member.write(block)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = bomb(
        tmp_path_factory.mktemp("bomb") / "large.npz", "vggish/conv1/weights", 1_500_000_000
    )
    assert path.stat().st_size < 10_000_000
    return path


def test_an_archive_that_unpacks_to_more_than_it_should(large, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.EncoderError, match=r"large\.npz.*1,5\d\d,\d{3},\d{3} bytes"):
        models.import_model("vggish", large)
    with pytest.raises(errors.EncoderError, match=r"large\.npz"):
        read_pca(large)
    with pytest.raises(errors.EncoderError, match=r"large\.npz"):
        Head(large)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_a_large_h5(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "models"))
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("conv1/kernel:0", (1 << 28,), "f8", compression="gzip", fillvalue=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.EncoderError, match=r"large\.h5.*more than"):
        models.import_model("vggish", tmp_path / "large.h5")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mids": np.array(["/m/0bt9lr", "/m/nowhere"])}, "nowhere"),
        ({"mids": np.array(["/m/0bt9lr"])}, "expected a weight"),
        ({"weight": np.zeros(3)}, "expected a weight"),
        ({"bias": np.zeros((2, 2))}, "expected a weight"),
        ({"bias": np.array([0, np.nan])}, "not finite"),
        ({"weight": np.array(["a", "b"])}, "cannot be read"),
        ({"mids": np.array([{}], object)}, "cannot be read"),
        ({"space": None}, "space"),
    ],
)
def test_files_that_are_not_heads(tmp_path, wrong, message):
    good = {"weight": np.zeros((2, 8)), "bias": np.zeros(2), "space": np.array("x"), "mids": MIDS}
    path = tmp_path / "head.npz"
    np.savez(path, **good)
    assert Head(path).dimension == 8
    parts = {name: array for name, array in {**good, **wrong}.items() if array is not None}
    np.savez(path, **parts)
    with pytest.raises(errors.EncoderError, match=message) as refused:
        Head(path)
    assert str(path) in str(refused.value)


def test_a_head_cut_short_or_flipped(tmp_path):
    path = tmp_path / "head.npz"
    np.savez(path, weight=np.ones((2, 8)), bias=np.zeros(2), space=np.array("x"), mids=MIDS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.EncoderError, match=r"head\.npz"):
            Head(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"blake3": 3}', '{"blake3": {"encoder.onnx": 3}}', "{", "\0"]
)
def test_damaged_facts_of_an_encoder(tmp_path, monkeypatch, text):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path))
    folder = tmp_path / "vggish"
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(b"x")
    (folder / "origin.json").write_text(text)
    with pytest.raises(errors.EncoderError, match="vggish"):
        encoders.load("vggish")
    (folder / "origin.json").write_text(json.dumps({"blake3": {"encoder.onnx": "00"}}))
    with pytest.raises(errors.EncoderError, match="has changed"):
        encoders.load("vggish")


def test_an_archive_is_read_unchanged(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(10), y=np.eye(3))
    found = read_archive(tmp_path / "a.npz", 1000)
    assert found.keys() == {"x", "y"} and (found["y"] == np.eye(3)).all()
    with pytest.raises(ValueError, match="at most 100 "):
        read_archive(tmp_path / "a.npz", 100)
