"""`benchmarks.faults` sees what it is there to see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Commands that do what no command may do, and one that is right; each meets a kill.
SCRIPT = """
import json, os, sys
from pathlib import Path
from benchmarks.faults.children import Fault, can_trace
from benchmarks.faults.commands import COMMANDS, Case, Command, store_random
from benchmarks.vectors import bundled_settings
from soundsearch.library import Library

if not can_trace():
    print("null")
    sys.exit()
right = COMMANDS["remove"]

def reports_too_early(library, sounds, report):
    for path in sounds.iterdir():
        report(str(path))
    store_random(library, sounds, bundled_settings())

def fails(library, sounds, report):
    right.act(library, sounds, report)
    if (library / "again").exists():
        raise ZeroDivisionError
    (library / "again").touch()

def loses(library, sounds, report):
    right.act(library, sounds, report)
    os.truncate(library / "vectors-1.f32", 0)
    os.fsync(os.open(library / "vectors-1.f32", os.O_RDWR))
    right_again = library / "vectors-1.f32"
    right_again.write_bytes(kept)

made = Path(sys.argv[1])
tries = {}
case = Case(right, made / "right")
tries["right"] = case.try_out(Fault("fdatasync", 2))
kept = (made / "right" / "library" / "vectors-1.f32").read_bytes()
case = Case(Command(COMMANDS["ingest, new"].prepare, reports_too_early), made / "early")
tries["early"] = case.try_out(Fault("rename", 1))
case = Case(Command(right.prepare, fails), made / "fails")
tries["fails"] = case.try_out(Fault("fdatasync", 500))
case = Case(Command(right.prepare, loses), made / "loses")
tries["loses"] = case.try_out(Fault("fsync", 1))
print(json.dumps(tries))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs strace")
def test_what_faults_leave_is_judged_rightly(tmp_path):
    for name in ("right", "early", "fails", "loses"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'ingest'}"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tries = json.loads(done.stdout)
    if tries is None:
        pytest.skip("strace is missing or may not trace here")
    assert tries["right"] == ["survived", ""]
    assert tries["early"][0] == "lost", tries
    assert tries["fails"][0] == "traceback" and "ZeroDivisionError" in tries["fails"][1]
    assert tries["loses"][0] == "lost", tries
