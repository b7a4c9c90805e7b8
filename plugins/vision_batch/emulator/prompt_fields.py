"""Find the fields that a prompt asks to be answered as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

_LINE = re.compile(
    r"""^(?P<indent>\s*)(?:[-*•]|\d+[.)])?\s*
        (?P<quote>["'`«“])(?P<name>[^"'`»”]{1,80})["'`»”]
        \s*(?:\((?P<type>[^)]*)\))?\s*[:—–=-]\s*(?P<rest>.*)$""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""["`«“]([^"`»”]{1,80})["`»”]""")
_RANGE = re.compile(r"(?:from|от)\s+(-?\d+(?:[.,]\d+)?)\s+(?:to|до)\s+(-?\d+(?:[.,]\d+)?)", re.IGNORECASE)
#: What stands between the values of an example such as ``"dark, normal or bright"``, and what none of them has.
_BETWEEN = re.compile(r"\s*(?:[,|/;]|\bor\b|\bили\b)\s*")
_NO_VALUE = re.compile(r"\d|\S+\s+\S+\s+\S")
_DECODER = json.JSONDecoder()
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

    The fields of an object are the lines below its own that are further to the right. A JSON Schema counts before them.
    """
    return _described(prompt) or _fields(
        [matched for line in prompt.splitlines() if (matched := _LINE.match(line)) is not None]
    )


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


def _described(prompt: str) -> list[AskedField]:
    """Return the fields of the first JSON Schema of an object in a prompt."""
    place = prompt.find("{")
    while place >= 0:
        try:
            found, end = _DECODER.raw_decode(prompt, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            schema = found.get("schema", found)  # or what some services want around it
            if fields := _of_schema(schema):
                return fields
        place = prompt.find("{", end)
    return []


def _of_schema(schema: Any) -> list[AskedField]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    return [_of_property(name, found) for name, found in properties.items() if isinstance(found, dict)]


def _of_property(name: str, found: dict[str, Any]) -> AskedField:
    items = found.get("items")
    one = items if isinstance(items, dict) else found
    types = one.get("type", "string")
    known = [each for each in (types if isinstance(types, list) else [types]) if each != "null"]
    low, high = (one.get(bound) for bound in ("minimum", "maximum"))
    values = one.get("enum", ())
    return AskedField(
        name=name,
        type=str(known[0]) if known else "string",
        description=str(found.get("description", "")),
        values=tuple(each for each in values if isinstance(each, str)) if isinstance(values, list) else (),
        minimum=float(low) if isinstance(low, int | float) else None,
        maximum=float(high) if isinstance(high, int | float) else None,
        is_list=items is not None,
        fields=tuple(_of_schema(one)),
    )


def _field(name: str, type_words: str, rest: str) -> AskedField:
    first = _QUOTED.search(rest)
    description = rest[: first.start()] if first else rest
    values = tuple(_QUOTED.findall(rest))
    if len(values) == 1 and not type_words and not description.strip():
        # Not what is allowed, but what a person writes where the answer will be.
        [description] = values
        values = tuple(filter(None, _BETWEEN.split(description)))
        if len(values) == 1 or any(_NO_VALUE.search(each) for each in values):
            values = ()
    bounds = _RANGE.search(rest)
    low, high = (float(bound.replace(",", ".")) for bound in bounds.groups()) if bounds else (None, None)
    return AskedField(
        name=name,
        type=_type(type_words, rest if not type_words else ""),
        description=description.strip(" ;,.:"),
        values=values,
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
