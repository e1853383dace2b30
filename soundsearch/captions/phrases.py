"""How labels are said in a sentence, and in a cue of captions.

The table beside this module has the classes for which the name alone would read badly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..labels.ontology import ontology
from ..results import Label

__all__ = ["Phrase", "phrase_of"]

_TABLE = Path(__file__).with_name("phrases.tsv")
_ARTICLE = re.compile(r"^(?:an?|the) ")
_IN_BRACKETS = re.compile(r" *\([^)]*\)")
_HIDDEN = "-"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A label in words.

    Attributes
    ----------
    subject, verb : str
        ``a dog`` and ``barks``; or ``rain`` and "".
    cue : str
        What is shown between brackets while it goes on, such as ``dog barking``; "" for what is
        not shown: rooms, not sounds.
    """

    subject: str
    verb: str
    cue: str

    @property
    def text(self) -> str:
        return f"{self.subject} {self.verb}" if self.verb else self.subject

    @property
    def brief_cue(self) -> str:
        """The cue where it is over at once, such as ``dog barks`` or ``sneezes``."""
        if not self.verb or not self.cue.endswith("ing"):
            return self.cue
        subject = _ARTICLE.sub("", self.subject)
        return self.verb if subject == "someone" else f"{subject} {self.verb}"


def phrase_of(label: Label) -> Phrase:
    """The words for a label; for a class of a head's own its name in quotation marks."""
    if not label.mid:
        return Phrase(f'"{label.name}"', "", label.name)
    return _phrases().get(label.name) or _by_name(label)


def _by_name(label: Label) -> Phrase:
    name = _IN_BRACKETS.sub("", label.name).partition(",")[0]
    # All but the first word has the capitals that it should have.
    name = name[:1].lower() + name[1:]
    return Phrase(name, "", name)


@cache
def _phrases() -> dict[str, Phrase]:
    known = {node.name for node in ontology().classes}
    found = {}
    with open(_TABLE, encoding="utf-8") as table:
        for line in table:
            if line.startswith(("#", "class\t")):
                continue
            name, subject, verb, cue = line.rstrip("\n").split("\t")
            if name not in known:
                raise ValueError(f"{_TABLE}: expected the name of a class, got {name!r}")
            cue = "" if cue == _HIDDEN else cue or _ARTICLE.sub("", subject)
            found[name] = Phrase(subject, verb, cue)
    return found
