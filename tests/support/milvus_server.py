"""A real Milvus server for tests: the one in the PyPI package ``milvus``, in a network namespace.

The server binds all interfaces on most of its ports, so it runs where there are none but its own
loopback. A relay beside it accepts connections on a socket of 127.0.0.1 that this process made
outside the namespace. Its process ids are its own too, so that nothing of it outlives this
process, with a /proc to match: without, it cannot tell its memory and loads no sealed segment.
The server needs root and Linux.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_OWN_SPACES = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def why_not() -> str | None:
    """Why the server cannot run here; None if it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a Milvus server needs Linux and root"
    if importlib.util.find_spec("milvus") is None:
        return "needs the package milvus: pip install milvus==2.3.5"
    if not shutil.which("ip") or subprocess.run([*_OWN_SPACES, "true"]).returncode:
        return "needs a network namespace of its own (unshare, ip)"
    return None


class MilvusServer:
    """A server that keeps its data in `folder`; `address` is its host and port.

    `settings` go into its milvus.yaml, such as ``{"common.security.tlsMode": 1}``.
    """

    def __init__(self, folder: Path, settings: dict[str, object] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = "{}:{}".format(*listener.getsockname())
            python = [sys.executable, __file__, str(listener.fileno()), str(folder)]
            command = f"ip link set lo up; exec {shlex.join([*python, json.dumps(settings or {})])}"
            self._process = subprocess.Popen(
                [*_OWN_SPACES, "sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[listener.fileno()],
            )
        try:
            self._answer("ready")
        except BaseException:
            self.close()
            raise

    def _answer(self, expected: str) -> None:
        answer = self._process.stdout.readline().strip()
        if answer != expected:
            raise RuntimeError(f"the Milvus server said {answer!r}, not {expected!r}")

    def _tell(self, command: str) -> None:
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Send SIGKILL; connections are closed, new ones refused."""
        self._tell("kill")
        self._answer("killed")

    def start(self) -> None:
        """Restart the server; takes up to a minute."""
        self._tell("start")
        self._answer("ready")

    def drop(self) -> None:
        """Close all open connections."""
        self._tell("drop")
        self._answer("dropped")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(listener: socket.socket, folder: str, settings: dict[str, object]) -> None:
    import milvus

    server = milvus.MilvusServer()
    server.set_base_dir(folder)
    for name, value in settings.items():
        server.config.set(name, value)
    open_writers: set[asyncio.StreamWriter] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", server.listen_port)
        except OSError:
            writer.close()
            return
        open_writers.update((writer, inner[1]))
        await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))
        open_writers.difference_update((writer, inner[1]))

    def drop() -> None:
        for writer in list(open_writers):
            writer.transport.abort()

    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, server.start)
    async with await asyncio.start_server(relay, sock=listener):
        print("ready", flush=True)
        while command := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if command == "kill":
                server.server_proc.kill()
                server.server_proc.wait()
                server.stop()
                drop()
                print("killed", flush=True)
            elif command == "start":
                await loop.run_in_executor(None, server.start)
                print("ready", flush=True)
            elif command == "drop":
                drop()
                print("dropped", flush=True)
        drop()
        server.stop()
    os._exit(0)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    asyncio.run(_serve(listener, sys.argv[2], json.loads(sys.argv[3])))
