"""Filters by the names of files and folders, as an expression with its parameters."""

from __future__ import annotations

from ..errors import ArgumentError

__all__ = ["name_like", "named_like"]

_SIGNS = str.maketrans({"*": "%", "?": "_", "%": "_"})


def name_like(pattern: str) -> list[str]:
    """The patterns of ``like`` for names of files and folders: as it is, and in other letters.

    ``like`` tells small letters from capital ones, and has no way to write a percent sign: any
    character stands for it.
    """
    forms = (pattern, pattern.lower(), pattern.capitalize(), pattern.title(), pattern.upper())
    return [form.translate(_SIGNS) for form in dict.fromkeys(forms)]


def named_like(pattern: str) -> tuple[str, dict[str, str]]:
    """An expression for clips with a name of file or folder that matches ``snare*``.

    Raises
    ------
    ArgumentError
        The pattern is empty or no text.
    """
    if not isinstance(pattern, str) or not pattern.strip():
        raise ArgumentError(f"match: expected a name with * and ?, as in snare*, got {pattern!r}")
    ends = [f"%/{form}{end}" for form in name_like(pattern) for end in ("", "/%")]
    parameters = {f"name{number}": each for number, each in enumerate(ends)}
    return " or ".join(f"uri like :{name}" for name in parameters), parameters
