"""The head that a library keeps in place of its encoder's, and the vocabulary that it brings."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import blake3
from soundsearch_ingest.files import expanded

from ..errors import EncoderError, LibraryDamaged
from .head import Head
from .headfile import LARGEST
from .vocabulary import AUDIOSET, Vocabulary

__all__ = ["HeadFile", "Keeper", "head_file", "kept_head", "vocabulary_of"]

# Heads that stay open, by their digests: an index is looked up for every answer.
_OPEN = 8
_heads: OrderedDict[str, Head] = OrderedDict()


class Keeper(Protocol):
    """A store, or a reading of one."""

    def head_digest(self) -> str | None: ...

    def head(self) -> bytes: ...


@dataclass(frozen=True)
class HeadFile:
    """A head's file, read whole.

    Attributes
    ----------
    path : Path
    content : bytes
    head : Head
    """

    path: Path
    content: bytes
    head: Head

    @cached_property
    def digest(self) -> str:
        """BLAKE3 of the content, hexadecimal: what libraries tell heads apart by."""
        return blake3.blake3(self.content).hexdigest()


def head_file(path: str | os.PathLike[str]) -> HeadFile:
    """Read a head's file; raises EncoderError where it is none."""
    path = expanded(path)
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise EncoderError(
            f"{path}: cannot be read as a label head ({error.strerror or error}); give the file "
            "that training wrote"
        ) from error
    if len(content) > LARGEST:
        raise EncoderError(
            f"{path}: cannot be read as a label head, as it has more than {LARGEST:,} bytes; give "
            "the file that training wrote"
        )
    return HeadFile(path, content, Head(path, content))


def kept_head(library: Keeper) -> Head | None:
    """The head that a library keeps; None where its labels are of its encoder's own.

    Raises
    ------
    LibraryDamaged
        It is not what was stored.
    """
    digest = library.head_digest()
    if digest is None:
        return None
    head = _heads.get(digest)
    if head is None:
        content = library.head()
        try:
            head = Head(Path("the head that the library keeps"), content)
        except EncoderError as error:
            raise LibraryDamaged(
                f"{error}; or keep another one with: soundsearch head use FILE"
            ) from error
        if blake3.blake3(content).hexdigest() == digest:  # else it was replaced meanwhile
            _heads[digest] = head
            while len(_heads) > _OPEN:
                _heads.popitem(last=False)
    return head


def vocabulary_of(library: Keeper) -> Vocabulary:
    """The classes that a library's labels name."""
    head = kept_head(library)
    return AUDIOSET if head is None else head.vocabulary
