"""The demo as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
import sys


def test_demo(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "soundsearch", "demo", "--folder", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    right = re.search(r"for (\d+) of them \((\d+)%\)", done.stdout)
    assert int(right[2]) >= 80
    moments = re.search(r"(\d+) of (\d+) moments were right", done.stdout)
    assert int(moments[1]) >= 0.6 * int(moments[2])
    assert "soundsearch ingest" in done.stdout
