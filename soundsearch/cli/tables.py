"""Tables of labels, and what they say of the clips of a library."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from soundsearch_ingest.urls import basename

from ..errors import ArgumentError
from .printing import counted, say

__all__ = ["as_name", "class_column", "column", "matched", "read_table"]

# How a column of classes is usually called.
_CLASS_COLUMNS = ("class", "category", "label", "target")


def read_table(path: str, *, strict: bool = False) -> dict[str, dict[str, Any]]:
    """The columns of each clip in a table of labels; rows in error are told of.

    Where the table is to be `strict`, one is an error.
    """
    from ..tagfiles import read_tags

    file = read_tags(path)
    if strict and file.problems:
        first, others = file.problems[0], len(file.problems) - 1
        more = f" ({counted(others, 'more row')} in error)" if others else ""
        raise ArgumentError(
            f"{path}, line {first.line}: {first.reason}{more}; correct the table, as wrong labels "
            "are learned like right ones"
        )
    for problem in file.problems:
        say(f"Warning: {path}, line {problem.line}: {problem.reason}", err=True)
    return dict(file.tags)


def matched(
    facts: Mapping[str, Mapping[str, Any]], uris: Collection[str]
) -> dict[str, Mapping[str, Any]]:
    """What is known of clips, by their uris: a row names a clip by its path or, alone, its name."""
    there = set(uris)
    named: dict[str, list[str]] = {}
    for uri in uris:
        named.setdefault(basename(uri), []).append(uri)
    found: dict[str, Mapping[str, Any]] = {}
    missing: list[str] = []
    shared: list[str] = []
    for uri, row in facts.items():
        alike = [uri] if uri in there else named.get(basename(uri), [])
        if len(alike) == 1:
            if found.get(alike[0], row) != row:
                raise ArgumentError(
                    f"labels: expected one row for each clip, got two that differ for {alike[0]}"
                )
            found[alike[0]] = row
        else:
            (shared if alike else missing).append(uri)
    for rows, what in ((missing, "not in the library"), (shared, "with a name that several have")):
        if rows:
            labelled = counted(len(rows), "clip")
            say(f"Warning: {labelled} of the labels {what}, such as {rows[0]}", err=True)
    if facts and not found:
        raise ArgumentError(
            "labels: expected rows that name clips of the library, of those that --where lets "
            "through, by their paths or by names that no two have; none does"
        )
    return found


def class_column(facts: Mapping[str, Mapping[str, Any]], group: str | None) -> str:
    names = {name for row in facts.values() for name in row if name != group}
    usual = [name for name in sorted(names) if name.lower() in _CLASS_COLUMNS]
    for choice in (names, usual):
        if len(choice) == 1:
            return next(iter(choice))
    there = ", ".join(sorted(names)) or "none"
    raise ArgumentError(f"--class: expected the column or tag that holds the class, of: {there}")


def column(facts: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    found = {uri: row[name] for uri, row in facts.items() if row.get(name) is not None}
    if not found:
        raise ArgumentError(f"{name}: no clip of the library has this column or tag")
    return found


def as_name(value: Any) -> str:
    """The value of a column or tag as the name of a class: 3.0 is 3, as it was written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
