"""Find the fields that a prompt asks to be answered as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

_LINE = re.compile(
    r"""^(?P<indent>\s*)(?:[-*•]|\d+[.)])?\s*
        (?P<quote>["'`«“])(?P<name>[^"'`»”]{1,80})["'`»”]
        \s*(?:\((?P<type>[^)]*)\))?\s*[:—–=-]\s*(?P<rest>.*)$""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""["`«“]([^"`»”]{1,80})["`»”]""")
_RANGE = re.compile(r"(?:from|от)\s+(-?\d+(?:[.,]\d+)?)\s+(?:to|до)\s+(-?\d+(?:[.,]\d+)?)", re.IGNORECASE)
_LIST = re.compile(r"list|array|список|массив", re.IGNORECASE)
_OBJECT = re.compile(r"object|объект", re.IGNORECASE)
_TYPES = (
    ("boolean", re.compile(r"bool|true|false|логич|да/нет", re.IGNORECASE)),
    ("date", re.compile(r"date|дата", re.IGNORECASE)),
    ("integer", re.compile(r"int|цел", re.IGNORECASE)),
    ("number", re.compile(r"num|float|числ|real|decimal", re.IGNORECASE)),
    ("string", re.compile(r"str|text|строк|текст", re.IGNORECASE)),
)


@dataclass(frozen=True)
class AskedField:
    """Hold one field that a prompt asks for.

    :param type: string, integer, number, boolean or date; string where the prompt does not say.
    :param values: what is allowed; empty for anything.
    :param is_list: values of the type are asked for, not one.
    :param fields: what an object is asked to hold.
    """

    name: str
    type: str
    description: str
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_list: bool = False
    fields: tuple[AskedField, ...] = ()


def asked_fields(prompt: str) -> list[AskedField]:
    """Return the fields of a prompt in its order: lines such as ``- "name" (string): what; one of: "a", "b"``.

    The fields of an object are the lines below its own that are further to the right.
    """
    return _fields([matched for line in prompt.splitlines() if (matched := _LINE.match(line)) is not None])


def _fields(lines: Sequence[re.Match[str]]) -> list[AskedField]:
    found: dict[str, AskedField] = {}
    while lines:
        line, *lines = lines
        inner: list[re.Match[str]] = []
        if _OBJECT.search(line["type"] or ""):
            depth = len(line["indent"])
            inner = list(takewhile(lambda other: len(other["indent"]) > depth, lines))  # noqa: B023 - used at once
            lines = lines[len(inner) :]
        if line["name"] not in found:
            asked = _field(line["name"], line["type"] or "", line["rest"])
            found[line["name"]] = replace(asked, fields=tuple(_fields(inner)))
    return list(found.values())


def _field(name: str, type_words: str, rest: str) -> AskedField:
    first = _QUOTED.search(rest)
    description = rest[: first.start()] if first else rest
    bounds = _RANGE.search(rest)
    low, high = (float(bound.replace(",", ".")) for bound in bounds.groups()) if bounds else (None, None)
    return AskedField(
        name=name,
        type=_type(type_words, rest if not type_words else ""),
        description=description.strip(" ;,.:"),
        values=tuple(_QUOTED.findall(rest)),
        minimum=low,
        maximum=high,
        is_list=_LIST.search(type_words) is not None,
    )


def _type(*texts: str) -> str:
    for text in texts:
        for name, pattern in _TYPES:
            if pattern.search(text):
                return name
    return "string"
