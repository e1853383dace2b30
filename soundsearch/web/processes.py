"""Processes beside the server: how they are started, and how they begin."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import BinaryIO

__all__ = ["begin", "spawn"]

# With the server's own places of modules: not with the folder that it was started in, where
# anybody's files may be called as modules are.
_PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; from soundsearch.web.{0} import main; main()"


def spawn(module: str, memory: int, file: int) -> subprocess.Popen[bytes]:
    """Start ``main`` of a module of this package, with bounds in bytes for `begin`, 0 for none.

    Its standard input and output are pipes; what it does is done in one thread.
    """
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(module), str(memory), str(file), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is the server's, which lets jobs end
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def begin() -> tuple[BinaryIO, BinaryIO]:
    """Bound this process, and give where jobs come from and results go.

    What libraries print goes nowhere; faults of Python still go to the server's log.
    """
    _bound(int(sys.argv[1]), int(sys.argv[2]))
    given, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    return given, told


def _bound(memory: int, file: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
