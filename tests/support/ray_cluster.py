"""A Ray cluster of several nodes on this machine, for tests; it needs no network but loopback."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_METRICS_COLLECTION": "0"}

# Put on the path of a node's processes: a process that opens a file of this name is killed.
DEADLY = "deadly.wav"
_HOOK = f"""
import os, signal, sys

def deadly(event, details):
    if event == "open" and str(details[0]).endswith({DEADLY!r}):
        os.kill(os.getpid(), signal.SIGKILL)

if any("default_worker" in word for word in sys.orig_argv):
    sys.addaudithook(deadly)
"""


class RayCluster:
    """Nodes of one CPU each; `address` is for drivers, whose environment is `environment`."""

    def __init__(self, folder: Path, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        self._hook = folder / "hook"
        self._hook.mkdir()
        (self._hook / "sitecustomize.py").write_text(_HOOK)
        self._cluster = Cluster()
        self.nodes = [self.add() for _ in range(nodes)]

    def add(self, **environment: str):
        """Start a node, with this in the environment of its processes."""
        environment.setdefault("PYTHONPATH", str(self._hook))
        return self._cluster.add_node(
            num_cpus=1,
            object_store_memory=80 << 20,
            include_dashboard=False,
            env_vars={**environment, "OMP_NUM_THREADS": "1"},
        )

    @property
    def address(self) -> str:
        return self._cluster.address

    def remove(self, node) -> None:
        """End a node and all its processes at once."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


def workers() -> list[int]:
    """The process ids of this machine's workers, once they have been given something to do."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if command.startswith(b"ray::Worker"):
            found.append(int(path.name))
    return sorted(found)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@contextmanager
def ray_cluster(nodes: int):
    """Start a cluster; its files are in a folder of their own, whose path is short."""
    before = dict(os.environ)
    # Sockets need paths of less than 108 characters, shorter than those of tests' folders.
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        os.makedirs(f"{folder}/ray")
        os.environ.update(_QUIET, RAY_TMPDIR=folder)
        cluster = RayCluster(Path(folder), nodes)
        try:
            yield cluster
        finally:
            cluster.close()
            os.environ.clear()
            os.environ.update(before)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, exist_ok=True)


if __name__ == "__main__":
    sys.exit("this is for tests")
