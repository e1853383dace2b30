"""Checks a library for damage, and says how each damaged clip can be had back."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

from .hints import command
from .results import Finding
from .stores.base import OnClips, OnStep, Store

__all__ = ["check"]

# Files that a command in a message names.
_NAMED = 5


def check(store: Store, on_clips: OnClips, on_step: OnStep) -> list[Finding]:
    """Read all that a store holds; see `soundsearch.Library.check`."""
    return [_advised(store, finding) for finding in store.check(on_clips, on_step)]


def _advised(store: Store, finding: Finding) -> Finding:
    there = [uri for uri in finding.clips if os.path.isfile(uri)]
    if not there:
        return finding
    files = shlex.join(there) if len(there) <= _NAMED else "FILES"
    remedy = (
        f"the files of {len(there):,} of these clips are there: embed them again (tags and ids "
        f"stay) with: {command(f'ingest --again {files}', store.address)}; then {finding.remedy}"
    )
    return replace(finding, remedy=remedy)
