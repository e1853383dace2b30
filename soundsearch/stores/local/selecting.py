"""Which clips of a snapshot a filter lets through: conditions of SQLite, and labels as arrays."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ...hints import command
from ..filters import And, Comparison, Filter, HumanLabel, Label, Not, OneOf, Or
from .catalog import Catalog
from .conditions import weight
from .postings import HumanLabels

__all__ = ["let_through"]

# Parameters of one statement, below what SQLite takes.
_PARAMETERS = 10_000 if sqlite3.sqlite_version_info >= (3, 32) else 900

Mask = NDArray[np.bool_]
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def let_through(
    filter: Filter,
    catalog: Catalog,
    first_rows: NDArray[np.int64],
    people: Callable[[], HumanLabels],
    known: Callable[[Filter], Mask],
) -> Mask:
    """Which clips a filter lets through.

    Parameters
    ----------
    filter : Filter
    catalog : Catalog
        Pinned to the state that `first_rows` is of.
    first_rows : int64 [n]
        Of all clips, ascending.
    people : callable
        Gives the labels that people gave.
    known : callable
        Gives the same of a part of the filter, which may be known from another one.

    Returns
    -------
    bool [n]
    """

    def inner(part: Filter) -> Mask:
        return let_through(part, catalog, first_rows, people, known)

    if weight(filter) <= _PARAMETERS:
        mask = np.zeros(len(first_rows), np.bool_)
        found = catalog.first_rows_where(filter)
        places = np.searchsorted(first_rows, found)
        if (places == len(first_rows)).any() or (first_rows[places] != found).any():
            raise LibraryDamaged(
                f"{catalog.folder}: what is known of where clips are contradicts their records; "
                f"find it out again with: {command('rebuild', catalog.folder)}"
            )
        mask[places] = True
        return mask
    match filter:
        case Not(part):
            return ~inner(part)
        case And(parts) | Or(parts) if len(parts) == 1:
            return inner(parts[0])
        case And((one, other)):
            return known(one) & known(other)
        case Or((one, other)):
            return known(one) | known(other)
        case And(parts):
            left, right = (inner(And(half)) for half in _halves(parts))
            return left & right
        case Or(parts):
            left, right = (inner(Or(half)) for half in _halves(parts))
            return left | right
        case OneOf(field, values):
            left, right = (inner(OneOf(field, half)) for half in _halves(values))
            return left | right
        case Comparison(Label() | HumanLabel()):
            return _by_labels(filter, catalog, first_rows, people)
    raise AssertionError(filter)


def _halves(parts: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


def _by_labels(
    test: Comparison,
    catalog: Catalog,
    first_rows: NDArray[np.int64],
    people: Callable[[], HumanLabels],
) -> Mask:
    field, value = test.field, test.value
    assert isinstance(field, Label | HumanLabel)
    none = np.zeros(len(first_rows), np.bool_)
    if isinstance(value, str) or isinstance(value, bool) is isinstance(field, Label):
        return none  # of another type than the field
    found = none
    if isinstance(field, Label):
        scores, human = catalog.label_scores(field.classes, first_rows)
        found = np.where(human, 1.0, scores)
    elif len(first_rows):
        labelled = people().clips(field.classes)
        places = np.minimum(np.searchsorted(first_rows, labelled), len(first_rows) - 1)
        found[places[first_rows[places] == labelled]] = True
    mask: Mask = _COMPARE[test.operator](found, value)
    return mask
