"""The files of the approximate index, as the catalogue knows them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .sums import is_whole

__all__ = ["IndexFiles", "ShardFile", "known_index", "stored_index"]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One of them.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    rows : int
        That it holds.
    sums, cell_sums : tuple of int or None
        The checksums of it, and of the file about its cells; see `sums`. None where an older
        version kept none.
    """

    name: str
    size: int
    rows: int
    sums: tuple[int, ...] | None
    cell_sums: tuple[int, ...] | None

    def is_there(self, folder: Path) -> bool:
        """Whether there is such a file, of this size."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.size

    def is_whole(self, folder: Path, sampled: bool = False) -> bool:
        """Whether it is as it was written, as far as that is known."""
        return self.is_there(folder) and is_whole(folder / self.name, self.sums, sampled)


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """All of them.

    Attributes
    ----------
    trained : int
        The rows for which the cells were made.
    shards : tuple of ShardFile
        By the rows that they hold.
    """

    trained: int
    shards: tuple[ShardFile, ...]

    @property
    def rows(self) -> int:
        """How many rows they hold."""
        return sum(shard.rows for shard in self.shards)

    def paths(self, folder: Path) -> list[Path]:
        """Where they are."""
        return [folder / shard.name for shard in self.shards]

    def first(self, count: int) -> IndexFiles | None:
        """The first ones only; None for 0."""
        return replace(self, shards=self.shards[:count]) if count else None

    def there(self, folder: Path) -> IndexFiles | None:
        """Those before the first that is gone or cut short, which could crash who maps it."""
        return self._until(shard.is_there(folder) for shard in self.shards)

    def whole(self, folder: Path, known: Container[ShardFile] = ()) -> IndexFiles | None:
        """Those before the first that seems damaged, by some of its blocks; `known` ones do not."""
        return self._until(
            shard in known or shard.is_whole(folder, sampled=True) for shard in self.shards
        )

    def _until(self, good: Any) -> IndexFiles | None:
        for count, is_good in enumerate(good):
            if not is_good:
                return self.first(count)
        return self


def known_index(stored: dict[str, Any]) -> IndexFiles:
    """The files that a catalogue speaks of."""
    return IndexFiles(
        stored["trained"],
        tuple(
            ShardFile(
                shard["name"],
                shard["size"],
                shard["rows"],
                _sums(shard["sums"]),
                _sums(shard["cell_sums"]),
            )
            for shard in stored["shards"]
        ),
    )


def _sums(stored: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if stored is None else tuple(stored)


def stored_index(index: IndexFiles) -> dict[str, Any]:
    """What a catalogue keeps of them, for `known_index`."""
    return asdict(index)
