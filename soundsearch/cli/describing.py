"""``describe``."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

import soundsearch

from ..times import clock
from .asking import each_heard
from .layout import clocks, cut, room
from .options import (
    at_option,
    encoder_option,
    full_option,
    head_option,
    hop_option,
    json_option,
    max_duration_option,
)
from .printing import counted, print_json, print_warning, say, say_row, shown
from .progress import above_bar

if TYPE_CHECKING:
    from ..captions.records import Caption, Description

__all__ = ["describe"]

_LABELS_SHOWN = 10
# From when to when a minute is, up to an hour.
_MOMENT = len("58:00-59:00")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@encoder_option
@head_option
@at_option
@max_duration_option
@hop_option
@click.option("--vtt", is_flag=True, help="Write captions of the sounds as WebVTT.")
@full_option
@json_option
def describe(
    files: tuple[str, ...],
    encoder: str | None,
    head: str | None,
    at: tuple[float, float | None] | None,
    max_duration: float,
    hop: float | None,
    vtt: bool,
    full: bool,
    as_json: bool,
) -> None:
    """Say what each of FILES (or - for standard input) is made of, in words.

    Of a long sound, each minute as soon as it was heard, then the whole. With --vtt, write captions
    for people who cannot hear it.
    """
    if as_json and vtt:
        raise click.UsageError("expected --vtt or --json, got both")
    if vtt and len(files) > 1:
        raise click.UsageError(f"--vtt is for one file, got {len(files)}")
    whose: dict[str, Any] = {"head": head} | ({} if encoder is None else {"encoder": encoder})
    printer = _Printer(len(files) > 1, full, as_json)

    def hear(source: Any, on_sound: Callable[[float], None]) -> Description:
        printer.file = source if isinstance(source, str) else "-"
        sound = soundsearch.Sound(source, at, max_duration=max_duration)
        told: dict[str, Any] = {} if vtt else {"on_caption": printer.minute}
        return soundsearch.describe(sound, **whose, hop=hop, on_sound=on_sound, **told)

    for file, description in each_heard(files, at, hear):
        print_warning(file, description.warning)
        if vtt:
            from ..captions.cues import vtt_rows

            for row in vtt_rows(description.events):
                say_row(row)
        else:
            printer.whole(description)


class _Printer:
    """Prints what is told of one file after the other."""

    def __init__(self, several: bool, full: bool, as_json: bool) -> None:
        self.file = ""
        self._headed = ""
        self._several, self._full, self._as_json = several, full, as_json

    def minute(self, caption: Caption) -> None:

        with above_bar():
            if self._as_json:
                self._print_json("minute", caption)
                return
            self._head()
            moment = f"{clock(int(caption.start + 1e-6))}-{clock(int(caption.end + 1e-6))}"
            self._print_text(f"{moment:>{_MOMENT}}  ", caption.text)

    def whole(self, description: Description) -> None:
        if self._as_json:
            self._print_json("whole", description)
            return
        self._head()
        if len(description.minutes) > 1:
            say()
        self._print_text("", description.text)
        self._print_shares(description)
        if self._several:
            say()
        self._headed = ""

    def _head(self) -> None:
        if self._several and not self._headed:
            say(f"{self.file}:")
        self._headed = self.file

    def _print_json(self, of: str, told: Caption | Description) -> None:
        name = {"query": self.file} if self._several else {}
        print_json([{**name, "of": of, **told.to_dict()}])

    def _print_text(self, before: str, text: str) -> None:
        width, text = room(self._full), shown(text)
        lines = [text] if width is None else textwrap.wrap(text, width - len(before) - 1)
        for number, line in enumerate(lines):
            say(f"{' ' * len(before) if number else before}{line}")

    def _print_shares(self, description: Description) -> None:
        if not description.shares:
            return
        most = None if self._full else _LABELS_SHOWN
        width, told = room(self._full), description.shares[:most]
        times = clocks(share.seconds for share in told)
        beside = max(map(len, [*times, "time"]))
        say()
        say(f"share  {'time':>{beside}}  events  label")
        for share, seconds in zip(told, times, strict=True):
            before = f"{share.share:5.0%}  {seconds:>{beside}}  {share.count:6,}  "
            name = shown(" > ".join(share.label.path))
            name = name if width is None else cut(name, width - len(before) - 1, keep_end=True)
            say(f"{before}{name}")
        if rest := len(description.shares) - len(told):
            say(f"... and {counted(rest, 'label')} more; --full lists them all")
