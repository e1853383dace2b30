"""Progress on standard error: a bar for whatever takes longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import SoundsearchError
from .printing import shown

__all__ = ["clip_progress", "file_progress", "targets_counter"]


@contextmanager
def file_progress(verbose: bool, count: Callable[[], int]) -> Iterator[dict[str, Any]]:
    """Give the callbacks of `Library.ingest`, which move a bar of files with their rate.

    `count` gives the number of files; it is called from another thread, and need not succeed.
    """
    import threading

    from tqdm import tqdm

    lock = threading.Lock()
    sound = 0.0
    with tqdm(unit=" files", delay=1, disable=None, dynamic_ncols=True) as bar:

        def find_total() -> None:
            with suppress(SoundsearchError):  # the ingest itself will say so
                bar.total = count()

        def on_file(uri: str, outcome: str) -> None:
            if verbose:
                on_step(f"{outcome:9} {uri}")
            elapsed = bar.format_dict["elapsed"]
            bar.set_postfix_str(f"{sound / max(elapsed, 1e-9):,.0f}x real time", refresh=False)
            bar.update()

        def on_sound(seconds: float) -> None:
            nonlocal sound
            with lock:
                sound += seconds

        def on_step(text: str) -> None:
            bar.write(shown(text), file=sys.stderr)

        if not bar.disable:  # counting goes on beside the work
            threading.Thread(target=find_total, daemon=True).start()
        yield {"on_file": on_file, "on_sound": on_sound, "on_step": on_step}


@contextmanager
def clip_progress() -> Iterator[dict[str, Any]]:
    """Give the callbacks of `Library.copy`, which move a bar of clips."""
    from tqdm import tqdm

    with tqdm(unit=" clips", delay=1, disable=None, dynamic_ncols=True) as bar:
        yield {
            "on_clip": lambda _uri: bar.update(),
            "on_step": lambda text: bar.write(shown(text), file=sys.stderr),
        }


def targets_counter(targets: Iterable[str]) -> Callable[[], int]:
    """Return what counts the files that an ingest of these targets will meet."""

    def count() -> int:
        from soundsearch_ingest.discover import discover, expand

        return sum(1 for _ in discover(expand(targets)))

    return count
