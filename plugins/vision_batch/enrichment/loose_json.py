"""Read one JSON object as models write it, of which strict JSON is only a part.

Read beside strict JSON: keys and texts in other quotes or keys in none, comments, commas after the last value, words
and numbers as people write them. Nothing is repaired: what has two readings, or no end, is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from vision_batch.enrichment.prose import doubts

#: Deeper nesting is no answer.
MAX_DEPTH = 50

_SPACE = re.compile(r"(?:[\s\ufeff\u200b\u2060]++|//[^\n]*+|#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
_COMMENT = re.compile(r"(?P<line>(?://|#)[^\n]*+)|/\*(?:[^*]++|\*(?!/))*+\*/")
# In a comment: what was meant to stand behind it, if its line break was forgotten.
_SWALLOWED = re.compile(r"""["'`”»’]\s*+[:,\]}]""")
_NO_KEY = re.compile(r"[{}\n]")
_SIGN = re.compile(r"[:,]")
_QUOTE = re.compile(r'["“”„«»]')
_CLOSE_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
_WORD = re.compile(r"[^\W\d]\w*+")
# Inside an object no key begins with a digit, so a comma between digits belongs to a number. In a list it does not.
_IN_OBJECT = re.compile(r"""(?:(?!//|/\*)[^,{}\[\]:\r\n"“”„«»#]|(?<=[0-9]),(?=[0-9]))++""")
_IN_LIST = re.compile(r"""(?:(?!//|/\*)[^,{}\[\]:\r\n"“”„«»#])++""")
_ALTERNATIVES = re.compile(r"[^,{}\[\]\r\n]*+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?P<real>(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,4})?)")
_LITERALS: Mapping[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "None": None, "NULL": None,
}  # fmt: skip

#: What closes a text that a quote opens.
_CLOSING = {'"': '"', "'": "'", "`": "`", "“": "“”", "”": "“”", "„": "“”", "«": "»", "‘": "‘’", "’": "‘’"}
_BODIES = {
    closing: re.compile(rf"[^\\{closing}]*+(?:\\.[^\\{closing}]*+)*+", re.DOTALL) for closing in _CLOSING.values()
}
_ESCAPES = re.compile(r'\\.|"', re.DOTALL)
# Beside JSON's own: of texts in single quotes, and of Markdown.
_MORE_ESCAPES = {"\\'": "'", "\\_": "_", '"': '\\"'}


@dataclass(frozen=True)
class Bare:
    """Hold a value that stands there without quotes and is not JSON, such as ``1,5 кг``."""

    text: str


class Declared(Protocol):
    """Know what was asked for."""

    def names_one(self, key: str) -> bool:
        """Tell whether the name of a declared field is anywhere in a key."""

    def is_said_by(self, comment: str) -> bool:
        """Tell whether a comment says nothing but what a field is or may be."""


class UnreadableError(ValueError):
    """Say why a text is not an object, for certain.

    :param at: how far the text was looked at.
    :param is_cut: the text ended before the object did.
    """

    def __init__(self, message: str, at: int, *, is_cut: bool) -> None:
        super().__init__(message)
        self.at = at
        self.is_cut = is_cut


def read_object(text: str, start: int, declared: Declared) -> tuple[dict[str, Any], int]:
    """Read the object whose brace stands at ``start``; return it and the position behind it.

    :raises UnreadableError: if there is no object that can only be read in one way.
    """
    reader = _Reader(text, start, declared)
    return reader.read_object(0), reader.at


def unrepeated(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return fields by name.

    :raises ValueError: if a name has two values; ``repr`` tells true from 1 and 1 from 1.0, which are equal in Python.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if repr(found.setdefault(name, value)) != repr(value):
            raise ValueError(f"gives {name!r} two different values")
    return found


class _Reader:
    """Go through a text, always forward."""

    def __init__(self, text: str, at: int, declared: Declared) -> None:
        self._text = text
        self.at = at
        self._declared = declared

    def read_object(self, depth: int) -> dict[str, Any]:
        """Read an object; the position is at its brace."""
        self._deeper(depth)
        pairs: list[tuple[str, Any]] = []
        while self._goes_on("}", first=not pairs):
            key = self._key()
            self._expect(":")
            pairs.append((key, self._value(depth, _IN_OBJECT)))
        try:
            return unrepeated(pairs)
        except ValueError as problem:
            raise UnreadableError(str(problem), self.at, is_cut=False) from None

    def _list(self, depth: int) -> list[Any]:
        self._deeper(depth)
        values: list[Any] = []
        has_close_comma = has_words = False
        while self._goes_on("]", first=not values):
            values.append(self._value(depth, _IN_LIST))
            has_close_comma |= _CLOSE_COMMA.match(self._text, self.at) is not None
            has_words |= isinstance(values[-1], Bare)
        if has_close_comma and has_words:  # [199,90 ₽] is one price, [199,90] is two
            self._fail("has a list whose commas may be decimal ones")
        return values

    def _deeper(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fail("is nested too deeply")
        self.at += 1

    def _goes_on(self, end: str, *, first: bool) -> bool:
        """Step to the next member and say that there is one, or step behind the end."""
        if not first and self._next() == ",":
            self.at += 1
        elif not first and self._next() != end:
            self._fail(f"has no comma and no {end!r}")
        if self._next() != end:
            return True
        self.at += 1
        return False

    def _next(self) -> str:
        """Step over spaces and comments; return the character that comes then."""
        space = _SPACE.match(self._text, self.at)
        if space is not None and any(map(self._is_unclear, _COMMENT.finditer(space[0]))):
            self._fail("has a comment that leaves more than one reading")
        self.at = space.end() if space else self.at
        if self._text.startswith("/*", self.at):
            self.at = len(self._text)
        if self.at >= len(self._text):
            self._fail("is cut off")
        return self._text[self.at]

    def _is_unclear(self, comment: re.Match[str]) -> bool:
        if _SWALLOWED.search(comment["line"] or ""):
            return True
        return doubts(comment[0]) and not self._declared.is_said_by(comment[0])

    def _expect(self, character: str) -> None:
        if self._next() != character:
            self._fail(f"has no {character!r}")
        self.at += 1

    def _key(self) -> str:
        if self._next() in _CLOSING:
            key = self._quoted()
            if self._swallows(key):
                self._fail("has no name of a field")
            return key
        word = _WORD.match(self._text, self.at)
        if word is None:
            self._fail("has no name of a field")
        self.at = word.end()
        return word[0]

    def _swallows(self, key: str) -> bool:
        """Tell whether a quote was forgotten, so that what looks like a key goes on to the next one."""
        if _SIGN.search(key) and (_QUOTE.search(key) or self._declared.names_one(key)):
            return True
        return _NO_KEY.search(key) is not None

    def _value(self, depth: int, bare: re.Pattern[str]) -> Any:
        opening = self._next()
        if opening == "{":
            return self.read_object(depth + 1)
        if opening == "[":
            return self._list(depth + 1)
        if opening in _CLOSING:
            return self._quoted_value()
        return self._bare_value(bare)

    def _quoted_value(self) -> Any:
        start = self.at
        value = self._quoted()
        if self._next() != "|":
            return value
        return Bare(self._take(_ALTERNATIVES, start))

    def _bare_value(self, pattern: re.Pattern[str]) -> Any:
        text = self._take(pattern, self.at)
        if not text:
            self._fail("has no value")
        if text in _LITERALS:
            return _LITERALS[text]
        number = _NUMBER.fullmatch(text)
        if number is None:
            return Bare(text)
        return float(text) if number["real"] else int(text)

    def _take(self, pattern: re.Pattern[str], start: int) -> str:
        found = pattern.match(self._text, self.at)
        self.at = found.end() if found else self.at
        return self._text[start : self.at].strip()

    def _quoted(self) -> str:
        closing = _CLOSING[self._text[self.at]]
        body = _BODIES[closing].match(self._text, self.at + 1)
        end = body.end() if body else len(self._text)
        self.at = end + 1
        if end >= len(self._text) or self._text[end] not in closing:
            self.at = len(self._text)
            self._fail("is cut off")
        return self._unescaped(body[0] if body else "")

    def _unescaped(self, body: str) -> str:
        if "\\" not in body:
            return body
        plain = _ESCAPES.sub(lambda found: _MORE_ESCAPES.get(found[0], found[0]), body)
        try:
            return str(json.loads(f'"{plain}"', strict=False))
        except ValueError:
            self._fail("has a text with an escape that JSON does not know")

    def _fail(self, message: str) -> NoReturn:
        raise UnreadableError(message, self.at, is_cut=self.at >= len(self._text))
