"""Which clips have which labels, kept so that a filter finds them without decoding every clip.

The table ``postings`` holds a blob of `POSTING` rows for each batch of clips that was written, so
that writing one costs next to nothing and reading them all is a scan of compact arrays. They name
a clip by its first row, which is never used again within a generation of row files: the postings
of a clip that was replaced or removed are leftovers that match nothing, until a rebuild drops
them. When a clip is given other labels, a row of the class `NO_LABEL` says that whatever was
posted for it before is void.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..records import LABEL, NO_LABEL

__all__ = [
    "HUMAN",
    "HumanLabels",
    "add_postings",
    "fill_postings",
    "label_scores",
    "unsummed",
]

# Class indices that people gave a clip, as a clip's row holds them.
HUMAN = np.dtype("<u2")

POSTING = np.dtype([("first_row", "<i8"), ("class_index", "<u2"), ("score", "<f2"), ("human", "?")])
_PAGE = 10_000
# Bytes of the checksum that ends a blob.
_SUM = 4


def unsummed(blob: bytes) -> bytes:
    """The postings in a blob without their checksum; raises ValueError where it is not theirs."""
    if len(blob) % POSTING.itemsize != _SUM:  # written before there were checksums
        return blob
    postings, checksum = blob[:-_SUM], blob[-_SUM:]
    if zlib.crc32(postings).to_bytes(_SUM, "little") != checksum:
        raise ValueError("the postings of labels are damaged")
    return postings


def add_postings(
    connection: sqlite3.Connection,
    first_rows: Sequence[int],
    labels: Sequence[tuple[bytes, bytes]],
    amended: bool = False,
) -> None:
    """Post the labels of some clips, given as their rows hold them.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction.
    first_rows : sequence of int
    labels : sequence of (bytes, bytes)
        Of each clip: what is predicted, of `LABEL`, and what people gave it, of `HUMAN`.
    amended : bool
        Void what was posted for these clips before.
    """
    try:
        predicted = np.frombuffer(b"".join(blob for blob, _ in labels), LABEL)
        human = np.frombuffer(b"".join(blob for _, blob in labels), HUMAN)
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError(f"labels that are none: {error}") from error
    owners = np.repeat(first_rows, [len(blob) // LABEL.itemsize for blob, _ in labels])
    there = predicted["class_index"] != NO_LABEL
    begin = len(first_rows) if amended else 0
    middle = begin + int(there.sum())
    out = np.zeros(middle + len(human), POSTING)
    out["class_index"][:begin] = NO_LABEL
    out["first_row"][:begin] = first_rows[:begin]
    out["first_row"][begin:middle] = owners[there]
    out["class_index"][begin:middle] = predicted["class_index"][there]
    out["score"][begin:middle] = predicted["score"][there]
    out["first_row"][middle:] = np.repeat(
        first_rows, [len(blob) // HUMAN.itemsize for _, blob in labels]
    )
    out["class_index"][middle:] = human
    out["human"][middle:] = True
    if len(out):
        blob = out.tobytes()
        blob += zlib.crc32(blob).to_bytes(_SUM, "little")
        connection.execute("INSERT INTO postings (postings) VALUES (?)", (blob,))


def fill_postings(connection: sqlite3.Connection) -> None:
    """Write all postings again from the clips, in bounded memory. In a transaction."""
    connection.execute("DELETE FROM postings")
    last = -1
    while page := connection.execute(
        "SELECT first_row, labels, human_labels FROM clips WHERE first_row > ? "
        "ORDER BY first_row LIMIT ?",
        (last, _PAGE),
    ).fetchall():
        add_postings(connection, [row[0] for row in page], [row[1:] for row in page])
        last = page[-1][0]


def label_scores(
    connection: sqlite3.Connection, classes: Iterable[int], first_rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What the labels of clips say of some classes.

    Parameters
    ----------
    connection : sqlite3.Connection
    classes : iterable of int
    first_rows : int64 [n]
        Of the clips, ascending.

    Returns
    -------
    scores : float64 [n]
        The highest that is predicted for one of the classes, 0 where there is none.
    human : bool [n]
        Whether people gave one of them.
    """
    wanted = np.zeros(NO_LABEL + 1, np.bool_)
    wanted[[index for index in classes if 0 <= index < NO_LABEL]] = True
    wanted[NO_LABEL] = True
    scores = np.zeros(len(first_rows))
    human = np.zeros(len(first_rows), np.bool_)
    if not len(first_rows):
        return scores, human
    for (blob,) in connection.execute("SELECT postings FROM postings ORDER BY number"):
        rows = np.frombuffer(unsummed(blob), POSTING)
        rows = rows[wanted[rows["class_index"]]]
        places = np.searchsorted(first_rows, rows["first_row"])
        places = np.minimum(places, len(first_rows) - 1)
        live = first_rows[places] == rows["first_row"]
        rows, places = rows[live], places[live]
        void = rows["class_index"] == NO_LABEL
        scores[places[void]] = 0
        human[places[void]] = False
        given = rows["human"]
        human[places[given]] = True
        predicted = ~given & ~void
        np.maximum.at(scores, places[predicted], rows["score"][predicted].astype(np.float64))
    return scores, human


_GIVEN = np.dtype([("first_row", "<i8"), ("class_index", "<u2")])


class HumanLabels:
    """All labels that people gave, by the first rows of clips; removed clips may be among them.

    Parameters
    ----------
    given : _GIVEN [n], optional
    last : int
        The number of the last postings that were read.
    """

    def __init__(self, given: NDArray[np.void] | None = None, last: int = -1) -> None:
        self._given = np.empty(0, _GIVEN) if given is None else given
        self._last = last

    def brought_up_to_date(self, connection: sqlite3.Connection) -> HumanLabels:
        """With what was posted since, in the same generation."""
        sql = "SELECT number, postings FROM postings WHERE number > ? ORDER BY number"
        posted, voids, last = [self._given], [], self._last
        for number, blob in connection.execute(sql, (self._last,)):
            rows = np.frombuffer(unsummed(blob), POSTING)
            voids.append((rows["first_row"][rows["class_index"] == NO_LABEL], len(posted)))
            human = rows[rows["human"]]
            posted.append(human[["first_row", "class_index"]].astype(_GIVEN))
            last = number
        together = np.concatenate(posted)
        turns = np.repeat(np.arange(len(posted)), [len(part) for part in posted])
        of_void = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in voids)])
        if len(of_void):  # what was posted of these before does not count
            void_turns = np.repeat([turn for _, turn in voids], [len(rows) for rows, _ in voids])
            order = np.lexsort((void_turns, of_void))
            of_void, void_turns = of_void[order], void_turns[order]
            places = np.searchsorted(of_void, together["first_row"], side="right") - 1
            is_void = (places >= 0) & (of_void[places] == together["first_row"])
            together = together[~(is_void & (turns < void_turns[places]))]
        return HumanLabels(together, last)

    def clips(self, classes: Iterable[int]) -> NDArray[np.int64]:
        """The first rows of clips with one of some classes."""
        wanted = np.zeros(NO_LABEL + 1, np.bool_)
        wanted[[index for index in classes if 0 <= index < NO_LABEL]] = True
        found: NDArray[np.int64] = self._given["first_row"][wanted[self._given["class_index"]]]
        return found
