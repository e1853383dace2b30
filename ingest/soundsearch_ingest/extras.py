"""Optional packages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MissingExtra

__all__ = ["needs"]


def needs(module: str, extra: str | None) -> Any:
    """Import an optional package; `extra` is the extra that installs it, or None.

    Raises
    ------
    MissingExtra
        The package is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = f"'soundsearch[{extra}]'" if extra else module
        raise MissingExtra(
            f"this needs the package {module} ({error}); install it with: pip install {package}"
        ) from error
