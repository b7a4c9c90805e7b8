"""Read found values as the declared types: a value that the schema allows, or an error, never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from vision_batch.enrichment.answer import PartField, plain_number
from vision_batch.enrichment.echo import repeats_declaration, tells_names_only
from vision_batch.enrichment.loose_json import Bare
from vision_batch.enrichment.people import read_date, read_number

_TRUTHS = {"true": True, "да": True, "yes": True, "false": False, "нет": False, "no": False}
_PARTS = re.compile(r"[\s_.-]+")

#: Integers beyond it are not exact in every destination, nor in JSON.
_LARGEST = 2**53

#: Cyrillic letters that look like Latin ones; е stands for ё too.
_LOOKALIKES = str.maketrans("АВЕЁКМНОРСТУХІЅЈаеёорсухіѕј", "ABEEKMHOPCTYXISJaeeopcyxisj")


class WrongValueError(ValueError):
    """Say which field's value the schema does not allow."""


def read_fields(fields: Sequence[PartField], found: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return the value, or ``None``, of each column; that of an object in one column is JSON.

    :raises WrongValueError: if a value does not fit, or a required one is not there.
    """
    return dict(_columns(fields, _object(fields, found, _Place("", language)), ""))


def _columns(fields: Sequence[PartField], values: Mapping[str, Any] | None, before: str) -> Iterator[tuple[str, Any]]:
    """Yield each column's value; ``None`` for all of an object that is not there."""
    for field in fields:
        name, value = f"{before}{field.name}", None if values is None else values[field.name]
        if field.type != "object":
            yield name, value
        elif field.store == "columns":
            yield from _columns(field.fields, value, f"{name}_")
        else:
            yield name, None if value is None else json.dumps(value, ensure_ascii=False, default=date.isoformat)


class _Place(NamedTuple):
    """Know where a field is."""

    path: str
    language: str

    def within(self, field: PartField) -> _Place:
        return _Place(f"{self.path}.{field.name}".lstrip("."), self.language)

    def wrong(self, found: Any, allowed: str) -> WrongValueError:
        shown = json.dumps(found, ensure_ascii=False, default=lambda bare: bare.text)
        return WrongValueError(f"field {self.path!r} is {shown[:100]}; allowed: {allowed}")


def _object(fields: Sequence[PartField], found: Mapping[str, Any], around: _Place) -> dict[str, Any]:
    named = _by_name(fields, found, around)
    if tells_names_only(fields, named):
        raise WrongValueError(f"the texts of {around.path or 'the answer'} are only what the fields are called")
    return {field.name: _value(field, named.get(field.name), around.within(field)) for field in fields}


def spelling(key: str) -> str:
    """Return what tells keys apart: not case, what parts words, or letters that only look Latin."""
    return _PARTS.sub("", key.translate(_LOOKALIKES).casefold())


def keys_of(fields: Sequence[PartField]) -> Mapping[str, tuple[str, ...]]:
    """Return which field a key means, by its spelling, or none if it may be two.

    A key that is none of them, but a part of an object, with or without the object's name before, means the part.
    """
    keys: dict[str, tuple[str, ...]] = {}
    for field in fields:
        for part in field.fields:
            keys[spelling(part.name)] = keys[spelling(f"{field.name}_{part.name}")] = (field.name, part.name)
    names = [spelling(field.name) for field in fields]
    for name, field in zip(names, fields, strict=True):
        keys[name] = (field.name,) if names.count(name) == 1 else ()
    return keys


def _by_name(fields: Sequence[PartField], found: Mapping[str, Any], around: _Place) -> dict[str, Any]:
    named: dict[str, Any] = {}
    outside: dict[str, Any] = {}
    keys, known = keys_of(fields), {field.name for field in fields}
    for key, value in found.items():
        exact = key.strip().translate(_LOOKALIKES).casefold()
        path = (exact,) if exact in known else keys.get(spelling(key), ())
        if len(path) > 1 and value is not None:
            outside[key] = value
        if len(path) == 1 and repr(named.setdefault(path[0], value)) != repr(value):
            raise WrongValueError(f"field {f'{around.path}.{path[0]}'.lstrip('.')!r} has two different values")
    for key, value in outside.items():
        _check_is_inside(fields, named, key, value, around)
    return named


def _check_is_inside(
    fields: Sequence[PartField], named: Mapping[str, Any], key: str, value: Any, around: _Place
) -> None:
    """Pass over what stands outside of an object, if the object has a part of that name, and not another value.

    :raises WrongValueError: if one of the objects it may belong to lacks it.
    """
    for field in fields:
        for part in field.fields:
            is_alone, is_joined = (spelling(key) == spelling(name) for name in (part.name, f"{field.name}_{part.name}"))
            if not is_alone and not is_joined:
                continue
            whole = named.get(field.name)
            told = _by_name(field.fields, whole, around.within(field)) if isinstance(whole, Mapping) else {}
            inside = told.get(part.name)
            if inside is None or (is_joined and repr(inside) != repr(value)):
                raise WrongValueError(f"field '{field.name}.{part.name}' stands outside of its object, as {key!r}")


def _is_nothing(field: PartField, found: Any) -> bool:
    if found is None:
        return True
    text = found.text if isinstance(found, Bare) else found
    if not isinstance(text, str):
        return False
    if field.type == "string":
        return field.required and not text.strip()
    return not text.strip() or (_says_nothing(text.strip()) and _choice(field, text) is None)


def _says_nothing(text: str) -> bool:
    """Tell Python's None and everybody's null from the word, which may mean zero, or no member of a list."""
    return text == "None" or text.casefold() == "null"


def _value(field: PartField, found: Any, place: _Place) -> Any:
    """Return a field's value in its type."""
    if _is_nothing(field, found):
        if field.required:
            raise WrongValueError(f"field {place.path!r} is required and has no value")
        return None
    if field.type == "object":
        if not isinstance(found, Mapping):
            raise place.wrong(found, "an object")
        return _object(field.fields, found, place)
    if field.type != "list":
        return _scalar(field, found, place)
    if not isinstance(found, list):
        raise place.wrong(found, "a list")
    return [_scalar(field, each, place) for each in found]


def _scalar(field: PartField, found: Any, place: _Place) -> Any:
    text = found.text if isinstance(found, Bare) else found
    if field.kind in {"integer", "number"}:
        return _number(field, found, text, place)
    if field.kind == "string":
        return _text(field, found, place)
    value: Any
    match field.kind:
        case "enum":
            value, allowed = _choice(field, text), " or ".join(map(repr, field.values))
        case "boolean":
            value, allowed = _truth(text), "true or false"
        case _:
            value = read_date(text, place.language) if isinstance(text, str) else None
            allowed = "a date like 2026-11-22"
    if value is None:
        raise place.wrong(found, allowed)
    return value


def _text(field: PartField, found: Any, place: _Place) -> str:
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if not isinstance(found, str):
        raise place.wrong(found, "a text")
    if found.strip().casefold() == "null":
        raise place.wrong(found, "a text, or null without quotes")
    if repeats_declaration(field, found):
        raise place.wrong(found, "a text, not what the field is")
    return storable(found)


def _choice(field: PartField, found: Any) -> str | None:
    """Return the declared value that a text is, also in letters of the other alphabet that look the same."""
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str):
        return None
    text = " ".join(found.split()).removesuffix(".")
    for spelled in (str.casefold, lambda word: word.translate(_LOOKALIKES).casefold()):
        meant = [value for value in field.values if spelled(value.strip()) in {spelled(text), spelled(found.strip())}]
        if len(meant) == 1:
            return meant[0]
    return None


def _truth(found: Any) -> bool | None:
    if isinstance(found, bool):
        return found
    return _TRUTHS.get(found.strip().removesuffix(".").casefold()) if isinstance(found, str) else None


def _number(field: PartField, found: Any, text: Any, place: _Place) -> float | int:
    number = read_number(text, field.unit) if isinstance(text, str) else text
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise place.wrong(found, f"a number, in {field.unit} or without a unit" if field.unit else "a number")
    if not abs(number) < _LARGEST:
        raise place.wrong(found, "a number of ordinary size")
    if field.kind == "integer":
        if number != int(number):
            raise place.wrong(found, "a whole number")
        number = int(number)
    if field.minimum is not None and number < field.minimum:
        raise place.wrong(found, f"at least {plain_number(field.minimum)}")
    if field.maximum is not None and number > field.maximum:
        raise place.wrong(found, f"at most {plain_number(field.maximum)}")
    return number if field.kind == "integer" else float(number)


def storable(text: str) -> str:
    """Return a text without what no database column takes: NUL, and halves of surrogate pairs from JSON escapes."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
