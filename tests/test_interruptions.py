"""Ingests that are killed, stopped or run out of space: nothing reported is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.files import AudioFile, stat_file
from support.sounds import noise, write
from support.stores import SETTINGS

import soundsearch
from soundsearch.stores.local import vetting
from soundsearch.stores.local.catalog import Catalog
from soundsearch.stores.local.store import LocalStore


def names(answer):
    return [Path(hit.uri).name for hit in answer]


INGEST = """
import sys, soundsearch
lib = soundsearch.open(sys.argv[1])
print("started", flush=True)
lib.ingest(sys.argv[2], on_file=lambda uri, outcome: print(outcome, uri, flush=True))
print("finished", flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_instant_loses_nothing_that_was_done(tmp_path):
    folder, path = tmp_path / "s", tmp_path / "killed.lib"
    for n in range(150):
        write(folder / f"{n:03}.wav", noise(n, 3))
    reported = set()
    for attempt in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", INGEST, str(path), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05 + 0.12 * attempt)
        process.kill()
        for line in process.stdout:
            done, _, uri = line.rstrip("\n").partition(" ")
            if done == "added":
                reported.add(uri)
        process.wait()
        process.stdout.close()
        if path.exists() and (path / "catalog.sqlite").exists():
            store = LocalStore(path)
            stored = {clip.uri: clip for clip in store.clips()}
            assert reported <= stored.keys()
            with store.reading() as reading:
                for clip in stored.values():
                    assert reading.rows([(clip.id, 0, 3)])[0].shape == (3, 128)
                    assert np.abs(reading.rows([(clip.id, 0, 3)])[0]).sum() > 0
            store.close()
    subprocess.run([sys.executable, "-c", INGEST, str(path), str(folder)], check=True)
    with soundsearch.open(path) as lib:
        assert lib.info()["clips"] == 150
        assert lib.info()["segments"] == 450
        for n in (0, 75, 149):
            assert names(lib.query(folder / f"{n:03}.wav", 1)) == [f"{n:03}.wav"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX signal")
def test_ctrl_c_keeps_what_is_done(tmp_path):
    folder, path = tmp_path / "s", tmp_path / "stopped.lib"
    # Names so long that the messages about them fill the pipe, which nobody reads: the ingest
    # waits there for the signal.
    for n in range(600):
        write(folder / f"{n:03}{'-' * 200}.wav", noise(n, 1))
    process = subprocess.Popen(
        [sys.executable, "-m", "soundsearch", "ingest", "-v", str(folder), "--library", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "new library" in process.stderr.readline()
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    lines = (first + rest).splitlines()
    assert "Traceback" not in rest
    assert process.returncode == 130
    assert "run the same command again" in lines[-1]
    stored = sum(line.startswith("added") for line in lines)
    with soundsearch.open(path) as lib:
        # The signal may arrive between storing and reporting.
        kept = lib.info()["clips"]
        assert kept >= stored > 0
        assert lib.ingest(folder).added == 600 - kept


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX signal")
@pytest.mark.parametrize("where", ["finalizer", "lock"])
def test_ctrl_c_counts_wherever_it_falls(where):
    script = """
import signal, sys, threading, time
from soundsearch.cli.main import main

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

@main.command()
def finalizer():
    Finalized()
    for _ in range(200):
        time.sleep(0.1)

@main.command()
def lock():
    lock = threading.Lock()
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        lock.release()

main(sys.argv[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, where],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.startswith("Stopped.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("is_writing", [False, True])
def test_ctrl_c_within_a_statement_is_no_damage(tmp_path, monkeypatch, is_writing):
    """Python raises it where SQLite asks whether to go on, which drops it and fails otherwise."""
    LocalStore.create(tmp_path / "l", SETTINGS).close()
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50000)"
    count = f"{numbers} SELECT count(*) FROM n"
    with closing(Catalog(tmp_path / "l", for_writing=is_writing)) as catalog:
        with monkeypatch.context() as patch:
            patch.setattr(vetting, "is_over", lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                if is_writing:
                    with catalog.transaction():
                        catalog.connection.execute(count).fetchall()
                else:
                    catalog._query(count)
        assert catalog._query(count) == [(50000,)] and not catalog.connection.in_transaction


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a small file system")
def test_full_disk_loses_nothing(sounds, tmp_path):
    import resource

    lib = soundsearch.open(tmp_path / "full.lib")
    lib.ingest(sounds)
    for n in range(300):
        write(tmp_path / "more" / f"{n}.wav", noise(n, 2))
    # A limit on the size of files stands in for a full disk: writing fails half-way.
    script = (
        "import resource, signal, soundsearch, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "lib = soundsearch.open(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "lib.ingest(sys.argv[2])\n"
    )
    assert resource.RLIMIT_FSIZE >= 0
    run = subprocess.run(
        [sys.executable, "-c", script, str(lib.address), str(tmp_path / "more")],
        capture_output=True,
        text=True,
    )
    assert "LibraryError" in run.stderr and "cannot be written to" in run.stderr
    with soundsearch.open(lib.address) as again:
        assert names(again.query(sounds / "low.wav", 1)) == ["low.wav"]
        again.ingest(tmp_path / "more")
        assert again.info()["clips"] == 306


def test_a_file_that_takes_hours_to_fetch_is_left_when_it_is_stopped(tmp_path):
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    begun, left, late = threading.Event(), threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 26))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            try:
                while not late.wait(0.01):
                    self.wfile.write(bytes(1 << 12))
                    begun.set()
            except OSError:
                left.set()

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    # What does not stop it, ends it, so that the test fails.
    timer = threading.Timer(120, late.set)
    timer.start()

    other = tmp_path / "no.wav"
    other.write_text("no sound")

    def files():
        yield AudioFile(f"http://127.0.0.1:{server.server_port}/a.wav", 1 << 26, 1)
        begun.wait()
        yield stat_file(str(other))

    try:
        with closing(pipeline.run(files(), encoders.load(), 0.96, workers=2)) as results:
            assert next(results).file.uri == str(other)
        left.wait(120)
        assert not late.is_set()
    finally:
        timer.cancel()
        server.shutdown()
        server.server_close()
