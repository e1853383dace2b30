"""Ingests by a Ray cluster of three nodes: what is stored is what one process stores."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.milvus_places import all_segments
from support.milvus_server import MilvusServer, why_not
from support.ray_cluster import DEADLY, kill, ray_cluster, workers
from support.sounds import noise, tone, write

import soundsearch

pytest.importorskip("ray")
pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster():
    if reason := why_not():
        pytest.skip(reason)
    with ray_cluster(3) as cluster:
        yield cluster


@pytest.fixture
def library(milvus_server):
    return f"milvus://{milvus_server.address}/t{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """150 short sounds, a long one, two of the same content, and a file that is no sound."""
    folder = tmp_path_factory.mktemp("sounds")
    for n in range(150):
        write(folder / f"{n % 7}" / f"{n:03}.wav", noise(n, 1 + n % 3))
    write(folder / "long.flac", noise(999, 300))
    shutil.copy(folder / "0" / "007.wav", folder / "copy.wav")
    (folder / "none.wav").write_bytes(b"this is no sound")
    return folder


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """What one process stores of them."""
    address = tmp_path_factory.mktemp("one") / "library"
    with soundsearch.open(address) as lib:
        lib.ingest([folder])
    return stored(address)


def stored(address):
    """All that is stored: clips with their segments, failures, and two answers."""
    with soundsearch.open(address) as lib:
        store = lib._session.store
        if str(address).startswith("milvus"):
            tables = store._tables
            for name in (tables.clips, tables.segments, tables.stretches):
                tables.note_deletion(name)  # what others wrote just now is to be seen
        clips = list(store.clips())
        failures = {each.file.uri: (each.digest, each.reason) for each in store.failures()}
        counts = store.counts()
        assert counts.clips == len(clips) == len({clip.uri for clip in clips})
        if str(address).startswith("milvus"):
            assert len(all_segments(store)) == counts.segments
        with store.reading() as reading:
            vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
        ends = np.cumsum([clip.count for clip in clips]).tolist()
        found = {}
        for clip, end in zip(clips, ends, strict=True):
            record, begin = clip.record, end - clip.count
            facts = (record.digest, record.file, record.duration, record.padded, record.warning)
            facts = (*facts, dict(record.tags), record.human_labels)
            found[clip.uri] = facts, vectors[begin:end], segments[begin:end]
        answers = [
            [(hit.uri, hit.start, round(hit.score, 3)) for hit in lib.query(uri, k=10)]
            for uri in sorted(found)[5:7]
        ]
    return found, failures, counts, answers


def assert_same(address, expected):
    found, failures, counts, answers = stored(address)
    assert counts == expected[2]
    assert failures == expected[1]
    assert found.keys() == expected[0].keys()
    for uri, (facts, vectors, segments) in found.items():
        assert facts == expected[0][uri][0]
        np.testing.assert_array_equal(vectors, expected[0][uri][1])
        np.testing.assert_array_equal(segments["level"], expected[0][uri][2]["level"])
        labels, others = segments["labels"], expected[0][uri][2]["labels"]
        np.testing.assert_array_equal(labels["class_index"], others["class_index"])
        # The last bit of half a float depends on how many segments are labelled at once.
        np.testing.assert_allclose(labels["score"], others["score"], rtol=2e-3)
    assert answers == expected[3]


def begun(cluster, targets, library, *options, **settings):
    """Start an ingest by the cluster; its standard error tells of each file."""
    command = [sys.executable, "-m", "soundsearch", "ingest", *map(str, targets)]
    command += ["--engine", "ray", "--address", cluster.address, "--library", str(library)]
    environment = {**os.environ, "PYTHONWARNINGS": "", "PYTHONPATH": ""}
    return subprocess.Popen(
        [*command, "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **{"cwd": ROOT, **settings},
    )


def ended(process):
    """The report of an ingest, or what it said in place of one; and its exit code."""
    with process:
        out, err = process.communicate(timeout=300)
    return json.loads(out) if out else err, process.returncode


def ingest(cluster, targets, library, *options, **settings):
    return ended(begun(cluster, targets, library, *options, **settings))


def disturbed(process, disturb, after):
    """Do something to an ingest once so many files are stored, and read on to its end."""
    lines = 0
    said = []
    for line in process.stderr:
        said.append(line)
        lines += line.startswith("added")
        if lines == after:
            disturb()
            break
    assert lines == after, "".join(said)
    return ended(process)


def test_all_that_an_ingest_does(cluster, folder, library, expected, tmp_path):
    report, code = ingest(cluster, [folder], library)
    assert (code, report["added"], len(report["failed"])) == (3, 152, 1)
    assert report["seconds"] == pytest.approx(sum(f[0][2] for f in expected[0].values()))
    assert_same(library, expected)

    mine = tmp_path / "sounds"
    shutil.copytree(folder / "0", mine)
    one = tmp_path / "library"
    reports = []
    for step in range(2):
        with soundsearch.open(one) as lib:
            local = lib.ingest([mine], prune=step == 1, tags={mine / "007.wav": {"mic": "AKG"}})
        tags = tmp_path / "tags.csv"
        tags.write_text(f"path,mic\n{mine / '007.wav'},AKG\n")
        other = f"{library}b"
        options = ["--tags", str(tags), *(["--prune"] if step else [])]
        report, code = ingest(cluster, [mine], other, *options)
        assert code == (3 if local.failed else 0)
        reports.append(report)
        for name, value in local.to_dict().items():
            assert report[name] == value, name
        assert_same(other, stored(one))
        if not step:
            write(mine / "007.wav", tone(500, 4))  # changed, and it keeps its tag
            os.rename(mine / "014.wav", mine / "moved.wav")
            shutil.copy(mine / "021.wav", mine / "again.wav")
            os.utime(mine / "028.wav")
            (mine / "035.wav").unlink()
            (mine / "042.wav").write_bytes(b"no sound any more")
    assert [reports[1][each] for each in ("replaced", "renamed", "added", "removed")] == [
        1,
        1,
        1,
        1,
    ]


def test_workers_killed_during_writes(cluster, folder, library, expected):
    process = begun(cluster, [folder], library, "-v")

    def disturb():
        for _ in range(3):
            with suppress(ProcessLookupError):
                kill(secrets.choice(workers()))
            time.sleep(0.7)

    report, code = disturbed(process, disturb, after=5)
    assert (code, report["added"]) == (3, 152)
    assert_same(library, expected)


def test_a_node_is_removed(cluster, folder, library, expected):
    process = begun(cluster, [folder], library, "-v")
    report, code = disturbed(process, lambda: cluster.remove(cluster.nodes.pop()), after=20)
    cluster.nodes.append(cluster.add())
    assert (code, report["added"]) == (3, 152)
    assert_same(library, expected)


def test_a_file_that_kills_its_worker_is_a_failure(cluster, library, tmp_path):
    folder = tmp_path / "sounds"
    for n in range(30):
        write(folder / f"{n:02}.wav", noise(n, 1))
    write(folder / DEADLY, noise(99, 1))
    report, code = ingest(cluster, [folder], library)
    assert (code, report["added"]) == (3, 30)
    [failure] = report["failed"]
    assert failure["uri"] == str(folder / DEADLY)
    assert failure["reason"].startswith("its worker died twice on it: ")
    report, code = ingest(cluster, [folder], library)
    assert (code, report["unchanged"], report["failed_before"]) == (0, 30, 1)
    assert len(stored(library)[0]) == 30


def test_milvus_is_killed_and_restarted_meanwhile(cluster, folder, expected, tmp_path):
    server = MilvusServer(tmp_path / "milvus")
    try:
        library = f"milvus://{server.address}/sounds"
        process = begun(cluster, [folder], library, "-v")

        def disturb():
            server.kill()
            server.start()

        report, code = disturbed(process, disturb, after=20)
        assert (code, report["added"]) == (3, 152)
        assert_same(library, expected)
    finally:
        server.close()


def test_the_driver_is_killed_and_the_ingest_run_again(cluster, folder, library, expected):
    process = begun(cluster, [folder], library, "-v")
    lines = 0
    for line in process.stderr:
        lines += line.startswith("added")
        if lines == 30:
            break
    process.kill()
    assert ended(process)[1] == -9
    report, code = ingest(cluster, [folder], library, "--wait")
    assert code == 3
    assert report["unchanged"] >= 30 and report["unchanged"] + report["added"] == 152
    assert_same(library, expected)


def test_a_file_that_a_node_cannot_see_may_be_tried_again(cluster, library, tmp_path):
    write(tmp_path / "a.wav", noise(1, 1))
    where = "/proc/self/cwd/a.wav"  # another folder for each process
    report, code = ingest(cluster, [where], library, cwd=tmp_path)
    assert code == 3
    [failure] = report["failed"]
    assert "No such file" in failure["reason"] and "(on the node " in failure["reason"]
    report, _ = ingest(cluster, [where], library, cwd=tmp_path)
    assert len(report["failed"]) == 1, "it is not remembered"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "soundsearch/__init__.py",
            '__version__ = "',
            '__version__ = "9.',
            f"has soundsearch 9.{soundsearch.__version__}, but this is soundsearch "
            f"{soundsearch.__version__};",
        ),
        (
            "ingest/soundsearch_ingest/encoders/onnx.py",
            'self.space = meta["space"]',
            'self.space = "mini-older"',
            "the installed encoder gives 'mini-older'",
        ),
    ],
    ids=["version", "space"],
)
def test_another_version_is_refused(library, tmp_path, monkeypatch, file, old, new, expected):
    for name in ("soundsearch", "ingest"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    write(tmp_path / "s" / "1.wav", noise(1, 1))
    monkeypatch.chdir(tmp_path)  # workers import what is in the folder that nodes are started in
    with ray_cluster(0) as other:
        other.add(PYTHONPATH=f"{tmp_path}:{tmp_path / 'ingest'}")
        said, code = ingest(other, [tmp_path / "s"], library, cwd=tmp_path / "s")
    assert code == 1
    assert expected in said and "node " in said


def test_a_cluster_that_is_not_there(library, tmp_path):
    write(tmp_path / "1.wav", noise(1, 1))
    with soundsearch.open(library) as lib:
        with pytest.raises(soundsearch.ClusterError, match=r"^127\.0\.0\.1:1: .*refused"):
            lib.ingest(tmp_path, engine="ray", address="127.0.0.1:1")
        assert len(lib) == 0
