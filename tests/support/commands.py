"""The command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from subprocess import CompletedProcess

from click.testing import CliRunner

from soundsearch.cli.main import main


def run(*arguments, library=None, given=None, **environment: str) -> CompletedProcess[str]:
    """Run a command in this process: to start one of its own takes most of a second."""
    command = _command(arguments, library)
    done = CliRunner(env=environment).invoke(main, command, input=given)
    return CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


def run_apart(*arguments, library=None, **environment: str) -> CompletedProcess[str]:
    """Run a command in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "soundsearch", *_command(arguments, library)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "", **environment},
        timeout=300,
    )


def _command(arguments, library) -> list[str]:
    return [*map(str, arguments), *(["--library", str(library)] if library else [])]
