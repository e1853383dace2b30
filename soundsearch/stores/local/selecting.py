"""Which clips of a snapshot a filter lets through: conditions of SQLite, and labels as arrays."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..filters import And, Comparison, Filter, HumanLabel, Label, Not, OneOf, Or
from .catalog import Catalog
from .conditions import weight

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


def let_through(filter: Filter, catalog: Catalog, first_rows: NDArray[np.int64]) -> Mask:
    """Which clips a filter lets through.

    Parameters
    ----------
    filter : Filter
    catalog : Catalog
        Pinned to the state that `first_rows` is of.
    first_rows : int64 [n]
        Of all clips, ascending.

    Returns
    -------
    bool [n]
    """
    if weight(filter) <= _PARAMETERS:
        mask = np.zeros(len(first_rows), np.bool_)
        mask[np.searchsorted(first_rows, catalog.first_rows_where(filter))] = True
        return mask
    match filter:
        case Not(part):
            return ~let_through(part, catalog, first_rows)
        case And(parts) | Or(parts) if len(parts) == 1:
            return let_through(parts[0], catalog, first_rows)
        case And(parts):
            left, right = (let_through(And(half), catalog, first_rows) for half in _halves(parts))
            return left & right
        case Or(parts):
            left, right = (let_through(Or(half), catalog, first_rows) for half in _halves(parts))
            return left | right
        case OneOf(field, values):
            left, right = (
                let_through(OneOf(field, half), catalog, first_rows) for half in _halves(values)
            )
            return left | right
        case Comparison(Label() | HumanLabel()):
            return _by_labels(filter, catalog, first_rows)
    raise AssertionError(filter)


def _halves(parts: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


def _by_labels(test: Comparison, catalog: Catalog, first_rows: NDArray[np.int64]) -> Mask:
    field, value = test.field, test.value
    assert isinstance(field, Label | HumanLabel)
    if isinstance(value, str) or isinstance(value, bool) is isinstance(field, Label):
        return np.zeros(len(first_rows), np.bool_)  # of another type than the field
    scores, human = catalog.label_scores(field.classes, first_rows)
    found = np.where(human, 1.0, scores) if isinstance(field, Label) else human
    mask: Mask = _COMPARE[test.operator](found, value)
    return mask
