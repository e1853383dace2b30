"""An ingest that many processes share, each with a part of its files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import blake3

from ..errors import ArgumentError

__all__ = ["MOST_PARTS", "Part"]

# What the ids of a store's rows leave room for.
MOST_PARTS = 60_000

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """The files of an ingest whose uri falls to one of so many processes.

    Which one that is depends on the uri alone, so that all of them agree without talking to each
    other, on every machine where the files have the same paths.

    Parameters
    ----------
    number : int
        1 to `count`.
    count : int
        1 to `MOST_PARTS`.

    Raises
    ------
    ArgumentError
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST_PARTS:
            raise ArgumentError(
                f"shard: expected I/N with I from 1 to N, and N at most {MOST_PARTS:,}, as in "
                f"3/64, got {self}"
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that a text such as ``3/64`` names; raises ArgumentError."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise ArgumentError(f"shard: expected I/N, as in 3/64, got {text!r}")
        return cls(int(form[1]), int(form[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, uri: str) -> bool:
        """Whether the file at this uri falls to this part."""
        digest = blake3.blake3(os.fsencode(uri)).digest(8)
        return int.from_bytes(digest, "big") % self.count == self.number - 1
