"""Know a declaration that a model repeats instead of, or before, answering."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vision_batch.enrichment.answer import TYPE_WORDS, PartField
from vision_batch.enrichment.loose_json import Bare

_MORE_WORDS = (
    "str text int float bool boolean enum list array date yyyy-mm-dd текст целое логическое булево список массив "
    "дата гггг-мм-дд дд.мм.гггг"
)
_TYPES = TYPE_WORDS | frozenset(_MORE_WORDS.split())
_TEXT_TYPES = frozenset({"string", "str", "text", "строка", "текст"})
_NOTHING = frozenset({"null", "none"})
_AROUND = " .:;*_`()[]{}"
_COMMENT = re.compile(r"^(?://|#|/\*)|\*/$")
_LISTED = re.compile(r"^(?:one of|одно из|один из|одна из)\b|\b(?:or|или)\b|[\"'“”«»`:,;/|()]", re.IGNORECASE)
#: With two values, "a or b" is also what a model writes that cannot tell.
_LISTED_VALUES = 3
_PLACEHOLDER = re.compile(r"<[^<>]*>|\.\.\.|…")


def is_echo(fields: Sequence[PartField], found: Mapping[str, Any]) -> bool:
    """Tell whether an object says what the fields are, not what they hold."""
    if isinstance(found.get("properties"), Mapping) and all(field.name != "properties" for field in fields):
        return True
    told = [(field, found[field.name]) for field in fields if found.get(field.name) is not None]
    if len(told) == 1 and isinstance(told[0][1], str) and _is_capitals(told[0][1]):
        return False
    return bool(told) and all(_is_echo(field, value) for field, value in told)


def tells_names_only(fields: Sequence[PartField], found: Mapping[str, Any]) -> bool:
    """Tell whether every text is the name of its field; a single one in capitals stands in the picture so."""
    told = [
        (field, text)
        for field in fields
        if field.kind == "string"
        for text in (found[field.name] if isinstance(found.get(field.name), list) else [found.get(field.name)])
        if isinstance(text, str) and text.strip()
    ]
    if len(told) == 1 and _is_capitals(told[0][1]):
        return False
    return bool(told) and all(_plain(text).strip(_AROUND) == field.name for field, text in told)


def _is_capitals(text: str) -> bool:
    return text.isupper() and "_" not in text


def repeats_declaration(field: PartField, found: str) -> bool:
    """Tell whether a text is what the field is spelled or described as, and so may be no value."""
    text = _plain(found)
    if _PLACEHOLDER.fullmatch(text) is not None:
        return True
    said = {part.strip(_AROUND) for part in text.split("|")}
    known = _TEXT_TYPES | {_plain(field.description).strip(_AROUND)}
    if "|" in text or found.strip().strip(_AROUND) == field.name:
        known |= {field.name}
    return bool(said & known) and said <= known | _NOTHING


def says_declaration(fields: Sequence[PartField], comment: str) -> bool:
    """Tell whether a comment says what a field is, or lists all that it may be, and nothing of its value."""
    text = _plain(_COMMENT.sub(" ", comment)).strip(_AROUND)
    listed = _plain(_LISTED.sub(" ", text))
    return any(_is_said(field, text, listed) for field in _with_parts(fields))


def _with_parts(fields: Sequence[PartField]) -> Iterator[PartField]:
    for field in fields:
        yield field
        yield from _with_parts(field.fields)


def _is_said(field: PartField, text: str, listed: str) -> bool:
    description = _plain(field.description).strip(_AROUND)
    if text in {description, f"{field.name}: {description}"}:
        return True
    if field.kind == "boolean":
        return listed == "true false"
    return len(field.values) >= _LISTED_VALUES and listed == _plain(_LISTED.sub(" ", " ".join(field.values)))


def _is_echo(field: PartField, found: Any) -> bool:
    if isinstance(found, Mapping):
        return "type" in found or "description" in found if field.type != "object" else is_echo(field.fields, found)
    if isinstance(found, list):
        return bool(found) and (
            list(field.values) == found if field.type == "enum" else all(_is_echo(field, each) for each in found)
        )
    text = _plain(found.text if isinstance(found, Bare) else found) if isinstance(found, Bare | str) else ""
    values = {_plain(value) for value in field.values}
    if not text or text in values:
        return False
    parts = [part.strip(" \"'“”«»") for part in text.split("|")]
    known = _TYPES | values | _NOTHING if len(parts) > 1 else _TYPES
    return repeats_declaration(field, text) or known.issuperset(parts)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
