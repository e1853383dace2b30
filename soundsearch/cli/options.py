"""Options that several commands share, each said once, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..stores.records import Key

__all__ = [
    "EXIT_ERROR",
    "EXIT_INTERRUPTED",
    "EXIT_SOME_FAILED",
    "EXIT_USAGE",
    "FORMATS",
    "LABEL_WEIGHT",
    "RANKINGS",
    "ClipName",
    "as_named",
    "at_option",
    "encoder_option",
    "full_option",
    "head_option",
    "hop_option",
    "json_option",
    "k_option",
    "library_option",
    "max_duration_option",
    "min_score_option",
    "offset_option",
    "per_option",
    "ranking_option",
    "wait_option",
    "where_option",
]

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

# `soundsearch.asking.ranking` has these too, but needs NumPy; a test holds the two together.
# So have `soundsearch.timeline_formats` and `soundsearch.asking.labelled` these.
FORMATS = ("audacity", "csv", "raven", "rttm", "vtt")
LABEL_WEIGHT = 0.5
RANKINGS = ("pooled", "mean-best", "best-pair", "related")

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


# Seconds, minutes:seconds or hours:minutes:seconds.
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


class _Moments(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``3.0-6.5``, ``3.0-``, ``-6.5`` or ``1:05:36-1:05:38``."""

    name = "START-END"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float | None]:
        start, dash, end = str(value).partition("-")
        moments = _seconds(start or "0"), _seconds(end) if end else None
        if not dash or moments[0] is None or (end and (moments[1] or 0) <= moments[0]):
            self.fail(
                f"expected START-END, as in 3.0-6.5 (seconds) or 1:05:36-1:05:38, got {value!r}",
                param,
                ctx,
            )
        return moments[0], moments[1]


def _seconds(text: str) -> float | None:
    """A time in seconds; None for what is none."""
    parts = _TIME.fullmatch(text.strip())
    if parts is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    if (parts[2] and seconds >= 60) or (parts[1] and minutes >= 60):
        return None
    return hours * 3600 + minutes * 60 + seconds


class ClipName(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A clip of the library: a number is its id, key:VALUE its key, else its path or address."""

    name = "CLIP"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | int | Key:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        return int(value) if value.isascii() and value.isdigit() else as_named(value)


def as_named(text: str) -> str | Key:
    """What names a clip, or several: key:VALUE a key, everything else a path or address."""
    if not text.startswith(_KEY):
        return text
    from ..stores.records import Key

    return Key(text[len(_KEY) :])


_KEY = "key:"


library_option: Option[Any] = click.option(
    "--library",
    metavar="FOLDER|URI",
    help="A folder, milvus://host:19530/name or milvus-lite:file.db.  [default: "
    "SOUNDSEARCH_LIBRARY, else a folder in your user data]",
)
full_option: Option[Any] = click.option(
    "--full", is_flag=True, help="Print whole paths and labels, wider than the terminal."
)
head_option: Option[Any] = click.option(
    "--head",
    metavar="FILE",
    type=click.Path(),
    help="A head of your own: the labels of what is asked with are its.",
)
encoder_option: Option[Any] = click.option(
    "--encoder", help="Whose labels; with --head, whose space that one reads."
)
hop_option: Option[Any] = click.option(
    "--hop",
    type=float,
    metavar="SECONDS",
    help="How finely events are told, as in 0.12.  [default: as the encoder has it; --live 0.24]",
)
json_option: Option[Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line."
)
k_option: Option[Any] = click.option(
    "-k", default=10, show_default=True, type=click.IntRange(1), help="How many clips to find."
)
_ranking: Option[Any] = click.option(
    "--ranking",
    default=RANKINGS[0],
    show_default=True,
    type=click.Choice(RANKINGS),
    help="How clips are scored.",
)
_related: Option[Any] = click.option(
    "--related",
    "ranking",
    flag_value="related",
    default=RANKINGS[0],
    help="The same as --ranking related, for long lists.",
)


def ranking_option(command: Any) -> Any:
    """``--ranking NAME``, and ``--related`` for the one of that name."""
    return _ranking(_related(command))


at_option: Option[Any] = click.option(
    "--at",
    type=_Moments(),
    help="Only this part of the sound: in seconds, as in 3.0-6.5, or as in 1:05:36-1:05:38.",
)
max_duration_option: Option[Any] = click.option(
    "--max-duration",
    default=3600.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How much of standard input is heard at most; files are heard whole.",
)
wait_option: Option[Any] = click.option(
    "--wait", is_flag=True, help="Wait where another process is writing to the library."
)
where_option: Option[Any] = click.option(
    "--where",
    metavar="EXPR",
    help="Only clips that this filter lets through, as in: duration < 10 and tag['mic'] == 'AKG'.",
)
offset_option: Option[Any] = click.option(
    "--offset",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="How many of the nearest clips to pass over, for the next page.",
)
min_score_option: Option[Any] = click.option(
    "--min-score", type=float, default=-1.0, help="Leave out clips with a lower score."
)
per_option: Option[Any] = click.option(
    "--per",
    metavar="folder:N|tag[KEY]:N|content:N",
    help="At most N hits of a folder, with the same tag or of the same content, as in folder:2, "
    "tag[artist]:1 or content:1 (which hides copies); several between commas.",
)
