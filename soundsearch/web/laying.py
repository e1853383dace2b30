"""A process that lays clips out on a map, in one thread and after everything else's turn.

It reads one job from standard input, tells how far it is, and ends; see `soundsearch.web.messages`.
It ends at once where the server does.
"""

from __future__ import annotations

import os
import threading
import traceback
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import MissingExtra
from ..mapping.methods import check_method, laid_out
from ..mapping.placing import beside
from .messages import receive, send
from .processes import begin

__all__ = ["main"]

# Added to the niceness: after questions and what decodes their sounds.
_NICER = 10


def main() -> None:
    """Do the one job that standard input has."""
    given, told = begin()
    if hasattr(os, "nice"):
        os.nice(_NICER)
    message = receive(given)
    if message is None:
        return
    threading.Thread(target=lambda: (given.read(1), os._exit(1)), daemon=True).start()
    try:
        answer = _lay(message[0], lambda done, steps: send(told, {"done": done, "steps": steps}))
    except BrokenPipeError:
        return
    except MemoryError:
        answer = {"error": "there is too little memory for it"}
    except OSError as error:
        answer = {"error": error.strerror or str(error)}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": type(error).__name__}
    with suppress(OSError):
        send(told, answer)


def _lay(job: dict[str, Any], on_layout: Any) -> dict[str, Any]:
    """Write float32 [n, 2] to the file ``out``, for the float32 [n, dimension] of ``vectors``.

    With ``places``, float32 [n, 2], those that are not NaN stay, and others go beside them.
    """
    vectors = np.fromfile(job["vectors"], np.float32).reshape(-1, job["dimension"])
    if job["places"] is not None:
        places = np.fromfile(job["places"], np.float32).reshape(-1, 2)
        is_old = np.isfinite(places).all(axis=1)
        places[~is_old] = beside(vectors[is_old], places[is_old], vectors[~is_old])
        places.tofile(job["out"])
        return {"method": job["method"], "warning": None}
    method, warning = job["method"], None
    try:
        check_method(method)
    except MissingExtra as error:
        method, warning = "pca", f"laid out by PCA, which keeps little: {error}"
    laid_out(vectors, method, on_layout).tofile(job["out"])
    return {"method": method, "warning": warning}
