"""Rows turned into columns, as Milvus is sent them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["columns_of"]


def columns_of(
    rows: Sequence[dict[str, Any]], fields: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The columns of rows that have all fields of a collection.

    Parameters
    ----------
    rows : sequence of dict
        By the names of fields; a vector is a sequence of floats.
    fields : sequence of dict
        Each with its ``name`` and ``type``, as Milvus describes a collection.

    Returns
    -------
    list of dict
        For each field its ``name``, ``type`` and ``values``, as pymilvus takes them.
    """
    columns = []
    for field in fields:
        values = [row[field["name"]] for row in rows]
        if field["name"] == "vector":
            values = np.array(values, np.float32).tolist()
        columns.append({"name": field["name"], "type": field["type"], "values": values})
    return columns
