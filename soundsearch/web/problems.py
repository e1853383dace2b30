"""Errors as answers: one JSON shape, with the messages that the command line prints."""

from __future__ import annotations

import errno
import json
import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import (
    ArgumentError,
    AudioError,
    ClipNotFound,
    LibraryBusy,
    LibraryError,
    LibraryNotFound,
    SoundsearchError,
    SpaceMismatch,
)

__all__ = ["JSON", "Problem", "answered", "fault"]

# What went wrong -> the status that says so, the first that fits; and after how many seconds to
# ask again.
_STATUS: tuple[tuple[type[Exception], int, int | None], ...] = (
    (ClipNotFound, 404, None),
    (ArgumentError, 422, None),
    (AudioError, 422, None),
    (SpaceMismatch, 409, None),
    (LibraryNotFound, 503, 5),
    (LibraryBusy, 503, 2),
    (LibraryError, 500, None),
    (SoundsearchError, 500, None),
)
# Names of errors that have none of their own.
_NAMES = {400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed"}
_TEXTS = {
    404: "there is nothing at this address; /api/v1/openapi.json lists what there is",
    405: "this address does not take such requests; /api/v1/openapi.json lists those it takes",
}

_log = logging.getLogger("soundsearch.web")


class JSON(Response):
    """JSON in ASCII: names of files may hold bytes that are no text, which UTF-8 cannot carry."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Problem(Exception):
    """Something to be answered with a status of its own.

    Parameters
    ----------
    status : int
    error : str
        What went wrong, as one word.
    message : str
    retry_after : int, optional
        Seconds.
    headers : dict, optional
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.error = status, error
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)


def answered(error: Exception) -> JSON:
    """The answer to a request that ended in an error."""
    problem = _problem(error)
    content = {"status": problem.status, "error": problem.error, "message": str(problem)}
    return JSON(content, problem.status, problem.headers)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        name = _NAMES.get(error.status_code, "BadRequest")
        text = _TEXTS.get(error.status_code, str(error.detail))
        return Problem(error.status_code, name, text, headers=dict(error.headers or {}))
    for kind, status, retry_after in _STATUS:
        if isinstance(error, kind):
            return Problem(status, type(error).__name__, str(error), retry_after=retry_after)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = "the server's disk for temporary files is full; ask again later"
        return Problem(503, "DiskFull", text, retry_after=30)
    _log.error("a request failed", exc_info=error)
    return fault(type(error).__name__)


def fault(kind: str) -> Problem:
    """What a client is told of an error that nobody foresaw, which is in the log."""
    text = f"{kind}: this is a bug in soundsearch, or a disk failed; the server's log says more"
    return Problem(500, "InternalError", text)
