"""Options and lines of questions in words, and of filters by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .printing import say

if TYPE_CHECKING:
    from soundsearch import Clips, Meaning, Words

__all__ = ["asked_in_words", "match_option", "matching", "print_meaning", "words_options"]

_text: Any = click.option(
    "--text",
    metavar="WORDS",
    help="What is to be heard, in words, such as 'a dog or a cat but no birds', alone or beside "
    "CLIPS or examples.",
)
_classes: Any = click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="LABEL=WEIGHT",
    help="In place of what the words become: a label and its weight, below 0 if it is not to be "
    "heard. Give several times for several.",
)
_names: Any = click.option(
    "--names",
    is_flag=True,
    help="With --text: clips with these words in their path or tags count too.",
)
match_option: Callable[[Any], Any] = click.option(
    "--match",
    metavar="PATTERN",
    help="Only clips with such a name of file or folder, or such a tag: 'snare*', where * is any "
    "run of characters and ? is one.",
)


def words_options(command: Any) -> Any:
    """``--text``, ``--class`` and ``--names``."""
    return _text(_classes(_names(command)))


def asked_in_words(
    text: str, classes: tuple[str, ...], names: bool, like: Any, weight: float | None
) -> Words:
    """A question in words from its options."""
    import soundsearch

    return soundsearch.Words(text, _weights(classes), like, weight, names)


def _weights(classes: tuple[str, ...]) -> dict[str, float] | None:
    found = {}
    for each in classes:
        name, sign, weight = each.rpartition("=")
        try:
            found[name.strip()] = float(weight)
        except ValueError:
            sign = ""
        if not sign:
            raise click.UsageError(f"--class: expected LABEL=WEIGHT, as in Dog=0.5, got {each!r}")
    return found or None


def matching(selection: Clips, pattern: str | None) -> Clips:
    """The clips of a selection whose name matches a pattern, if there is one."""
    return selection if pattern is None else selection.match(pattern)


def print_meaning(meaning: Meaning) -> None:
    """Print what words became."""
    said = []
    for labels in meaning.classes:
        listed = " or ".join(f"{name} {abs(weight):.2f}" for name, weight in labels.items())
        said.append(f"{'not ' if min(labels.values()) < 0 else ''}{listed}")
    say(f"asks for: {'; and '.join(said)}")
    for word, near in meaning.read.items():
        say(f"          {word} was read as {near}")
    if meaning.unknown:
        say(f"          no label's name: {', '.join(meaning.unknown)}")
