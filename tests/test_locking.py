"""The lock of a local library, on file systems that have it and on those that do not."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.stores import CLIPS, SETTINGS, filled

from soundsearch import errors
from soundsearch.stores.local.locking import FileLock, Locked
from soundsearch.stores.local.store import LocalStore

HOLD = """
import sys
from pathlib import Path
from soundsearch import errors
from soundsearch.stores.local.store import LocalStore
from support.stores import CLIPS, SETTINGS

store = LocalStore.create(Path(sys.argv[1]), SETTINGS)
try:
    with store.writing():
        store.add(CLIPS[:1])
        print("holds it", flush=True)
        sys.stdin.read()
except errors.LibraryError as error:
    print(error, flush=True)
"""

# `strace` makes the kernel answer as such a file system does.
TRACE = ["strace", "-f", "-o", os.devnull, "-e", "trace=flock,fcntl"]
NO_FLOCK = "inject=flock:error={}"


def hold(folder, *faults):
    """A process that writes to a library until it is told to end, or what it says instead."""
    traced = [part for fault in faults for part in ("-e", fault)]
    process = subprocess.Popen(
        [*(TRACE if faults else []), *traced, sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    return process, process.stdout.readline().strip()


def needs_strace():
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    probe = subprocess.run([*TRACE, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"strace cannot trace here: {probe.stderr.strip()}")


@pytest.mark.slow
@pytest.mark.parametrize("code", ["ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_a_file_system_without_flock_has_another_lock(tmp_path, code):
    needs_strace()
    folder = tmp_path / "library"
    first, said = hold(folder, NO_FLOCK.format(code))
    assert said == "holds it"
    second, said = hold(folder, NO_FLOCK.format(code))
    assert f"process {traced_child(first)}" in said and "is writing to it" in said, said
    second.communicate(timeout=120)
    # A kill lets go of it, whatever is left behind.
    subprocess.run(["kill", "-9", str(traced_child(first))], check=True)
    first.communicate(timeout=120)
    third, said = hold(folder, NO_FLOCK.format(code))
    assert said == "holds it"
    third.communicate(timeout=120)
    with closing(LocalStore(folder)) as store:
        assert store.counts().clips == 1
        assert store.check() == []


def traced_child(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


def test_a_file_system_without_any_lock_is_named(tmp_path, monkeypatch):
    import fcntl

    LocalStore.create(tmp_path / "library", SETTINGS).close()

    def refused(*_arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(fcntl, "lockf", refused)
    with closing(LocalStore(tmp_path / "library")) as store:
        assert store.counts().clips == 0
        with pytest.raises(errors.LibraryError, match=r"writer\.lock: .*no locks.*another disk"):
            filled(store, CLIPS)
    with pytest.raises(errors.LibraryError, match=r"no locks.*another disk"):
        LocalStore.create(tmp_path / "other", SETTINGS)


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "lockf"])
def test_two_in_one_process_take_turns(tmp_path, monkeypatch, flock):
    if not flock:
        import fcntl

        def missing(*_arguments):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(fcntl, "flock", missing)
    path = tmp_path / "lock"
    with FileLock(path):
        with pytest.raises(Locked):
            FileLock(path, 0.05).acquire()
        # Trying did not let go of it: another process is refused too.
        script = (
            "import fcntl, sys\n"
            f"fcntl.{'flock' if flock else 'lockf'}(open(sys.argv[1], 'r+b'), 6)\n"
        )
        other = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
        assert "BlockingIOError" in other.stderr
    with FileLock(path):
        pass


def test_an_error_that_passes_is_no_lock(tmp_path, monkeypatch):
    import fcntl

    def failing(*_arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        FileLock(tmp_path / "lock").acquire()
    monkeypatch.undo()
    with FileLock(tmp_path / "lock"):
        pass
