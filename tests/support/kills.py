"""Kills a child process before a step of what it does."""

from __future__ import annotations

import os
import sqlite3
import sys


class Fuse:
    """Ends the process, as a kill would, before its n-th step of the file system or SQLite."""

    EVENTS = ("open", "os.", "sqlite3.connect", "shutil.")

    def __init__(self, steps):
        self.left = steps

    def step(self, *_details):
        self.left -= 1
        if self.left == 0:
            os._exit(9)

    def light(self):
        fuse = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments):
                fuse.step(*arguments)
                return super().execute(*arguments)

            def executemany(self, *arguments):
                fuse.step(*arguments)
                return super().executemany(*arguments)

        connect = sqlite3.connect
        sqlite3.connect = lambda *places, **options: connect(
            *places, **{**options, "factory": Connection}
        )
        sys.addaudithook(
            lambda event, details: event.startswith(self.EVENTS) and fuse.step(event, *details)
        )


def killed(action, steps):
    """Do it in a child that is killed before a step; whether it got that far."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Fuse(steps).light()
            action()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9
