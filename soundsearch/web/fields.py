"""What requests may hold: one definition checks the input and is its JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from ..stores.records import ClipName, Key

__all__ = ["Field", "Values", "from_json", "from_texts", "schema_of"]

Values = dict[str, Any]

_LARGEST = 2**53 - 1  # of whole numbers that every JSON parser keeps
_LONGEST = 4000  # of texts
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_AT = r"^(\d{1,9}(?:\.\d{1,9})?)?-(\d{1,9}(?:\.\d{1,9})?)?$"
_KEY = "key:"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a request.

    Attributes
    ----------
    name : str
    kind : str
        ``text``, ``whole``, ``number``, ``flag``, ``clip`` (a uri, an id, or ``key:VALUE``),
        ``at`` (part of a sound, seconds) or ``weights`` (numbers from -1 to 1 by names; as text,
        an object of JSON).
    help : str
    default : any
        None where nothing is meant by leaving it out.
    least, most : float, optional
        Of numbers.
    choices : tuple of str
        Of texts; empty for any.
    several : int
        How many there may be; 0 for one.
    required : bool
    """

    name: str
    kind: str
    help: str
    default: Any = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    several: int = 0
    required: bool = False

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        one = self._one()
        if not self.several:
            return one if self.default is None else {**one, "default": self.default}
        least = {"minItems": 1} if self.required else {}
        return {"type": "array", "items": one, "maxItems": self.several, **least}

    def _one(self) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": _LONGEST}
        match self.kind:
            case "text":
                return {"type": "string", "enum": list(self.choices)} if self.choices else text
            case "clip":
                identity = {"type": "integer", "minimum": 0, "maximum": _LARGEST}
                return {"anyOf": [identity, text]}
            case "at":
                return {"type": "string", "pattern": _AT, "examples": ["3.0-6.5", "3-", "-6.5"]}
            case "flag":
                return {"type": "boolean"}
            case "weights":
                one = {"type": "number", "minimum": -1, "maximum": 1}
                return {"type": "object", "additionalProperties": one, "minProperties": 1}
        number: dict[str, Any] = {"type": "integer" if self.kind == "whole" else "number"}
        if self.least is not None:
            number["minimum"] = self.least
        most = _LARGEST if self.most is None and self.kind == "whole" else self.most
        if most is not None:
            number["maximum"] = most
        return number

    def read(self, value: Any) -> Any:
        """A value of JSON as it is used; raises ArgumentError."""
        if not self.several:
            return self._read_one(value)
        if not isinstance(value, list):
            raise self._wrong("a list", value)
        if len(value) > self.several or (self.required and not value):
            least = "1 to" if self.required else "at most"
            raise ArgumentError(
                f"{self.name}: expected {least} {self.several:,} of them, got {len(value):,}"
            )
        return [self._read_one(each) for each in value]

    def read_texts(self, texts: Sequence[str]) -> Any:
        """What an address or a form holds, as it is used; raises ArgumentError."""
        if self.several:
            return self.read([self._typed(text) for text in texts])
        if len(texts) > 1:
            raise ArgumentError(f"{self.name}: expected it once, got it {len(texts)} times")
        return self._read_one(self._typed(texts[0]))

    def _typed(self, text: str) -> Any:
        if self.kind == "flag":
            return {"true": True, "false": False}.get(text, text)
        if self.kind in ("whole", "number"):
            pattern = _WHOLE if self.kind == "whole" else _NUMBER
            if not pattern.fullmatch(text):
                raise self._wrong(self._expected, text)
            return int(text) if self.kind == "whole" else float(text)
        if self.kind == "weights":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise self._wrong("an object of JSON", text) from None
        return text

    def _read_one(self, value: Any) -> Any:
        match self.kind:
            case "text":
                text = self._text(value)
                if self.choices and text not in self.choices:
                    raise self._wrong(f"one of {', '.join(self.choices)}", value)
                return text
            case "clip":
                return self._clip(value)
            case "at":
                return self._at(value)
            case "flag":
                if not isinstance(value, bool):
                    raise self._wrong("true or false", value)
                return value
            case "weights":
                return self._weights(value)
        return self._number(value)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST:
            raise self._wrong(f"a text of 1 to {_LONGEST} characters", value)
        # A clip may be named after a file whose name has bytes that are no characters.
        errors = "surrogateescape" if self.kind == "clip" else "strict"
        try:
            is_text = b"\0" not in value.encode("utf-8", errors)
        except UnicodeEncodeError:
            is_text = False
        if not is_text:
            raise ArgumentError(f"{self.name}: expected a text, got one that holds no characters")
        return value

    def _clip(self, value: Any) -> ClipName:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value <= _LARGEST:
                raise self._wrong(f"an id from 0 to {_LARGEST}", value)
            return value
        text = self._text(value)
        return Key(text[len(_KEY) :]) if text.startswith(_KEY) else text

    def _at(self, value: Any) -> tuple[float, float | None]:
        found = re.match(_AT, value, re.ASCII) if isinstance(value, str) else None
        if found is None or value.endswith("\n"):
            raise self._wrong("START-END in seconds, as in 3.0-6.5", value)
        start, end = float(found[1] or 0), None if found[2] is None else float(found[2])
        if end is not None and end <= start:
            raise self._wrong("an end after the start", value)
        return start, end

    def _weights(self, value: Any) -> dict[str, float]:
        if not isinstance(value, dict) or not value:
            raise self._wrong("an object of names and weights", value)
        weight = Field(f"{self.name}: weight", "number", "", least=-1, most=1)
        return {self._text(name): weight.read(each) for name, each in value.items()}

    @property
    def _expected(self) -> str:
        what = "a whole number" if self.kind == "whole" else "a number"
        if self.least is not None and self.most is not None:
            return f"{what} from {self.least:g} to {self.most:g}"
        return what if self.least is None else f"{what} of at least {self.least:g}"

    def _number(self, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        least = -_LARGEST if self.least is None else self.least
        most = _LARGEST if self.most is None else self.most
        if not is_number or not least <= value <= most:
            raise self._wrong(self._expected, value)
        if self.kind == "number":
            return float(value)
        if value != int(value):
            raise self._wrong(self._expected, value)
        return int(value)

    def _wrong(self, expected: str, got: Any) -> ArgumentError:
        return ArgumentError(f"{self.name}: expected {expected}, got {got!r:.100}")


def schema_of(fields: Iterable[Field]) -> dict[str, Any]:
    """The JSON Schema of an object with these fields."""
    fields = tuple(fields)
    properties = {field.name: {**field.schema(), "description": field.help} for field in fields}
    required = [field.name for field in fields if field.required]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required, "additionalProperties": False}


def from_json(fields: Sequence[Field], given: Any) -> Values:
    """The values of a JSON object; raises ArgumentError."""
    if not isinstance(given, dict):
        raise ArgumentError(f"expected a JSON object, got {given!r:.100}")
    _check_names(fields, given)
    return {
        field.name: field.read(given[field.name]) if field.name in given else _left_out(field)
        for field in fields
    }


def from_texts(fields: Sequence[Field], given: Mapping[str, Sequence[str]]) -> Values:
    """The values in the texts of an address or form, by their names; raises ArgumentError."""
    _check_names(fields, given)
    return {
        field.name: field.read_texts(given[field.name]) if field.name in given else _left_out(field)
        for field in fields
    }


def _check_names(fields: Sequence[Field], given: Iterable[str]) -> None:
    known = [field.name for field in fields]
    for name in given:
        if name not in known:
            takes = f"expected {', '.join(known)}" if known else "expected none"
            raise ArgumentError(f"there is no parameter {name!r:.100}; {takes}")


def _left_out(field: Field) -> Any:
    if field.required:
        raise ArgumentError(f"{field.name}: expected it, got none")
    return [] if field.several else field.default
