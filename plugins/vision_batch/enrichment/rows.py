"""Check the rows of a manifest or a query: what each asks about, with which prompt variables."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from vision_batch.enrichment.declaration import allowed_names
from vision_batch.enrichment.places import Source
from vision_batch.errors import DuplicateItemError, InputError

#: A longer value is a mistake: the model's window would have no room for the image.
MAX_VALUE_CHARACTERS = 2_000

#: What no table can hold, and a prompt should not.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class AskedRow:
    """Name one image, and the variables of its prompt."""

    item_key: str
    uri: str
    variables: Mapping[str, str]


def needed_columns(source: Source) -> frozenset[str]:
    """Return the columns that are read."""
    keys = () if source.key_column is None else (source.key_column,)
    return frozenset({source.uri_column, *keys, *source.variables.values()})


def refuse_repeated(there: Sequence[str], needed: Collection[str], *, where: str) -> None:
    """Refuse a needed column that is there more than once, as it is not certain which one is meant; others may be.

    :param where: names the list in the error.
    :raises InputError: names the column.
    """
    if len({*there}) == len(there):
        return
    for column in sorted(needed):
        if (times := there.count(column)) > 1:
            raise InputError(f"{where}: column {column!r} is there {times} times; leave one, or rename the others")


def asked_rows(rows: Iterable[Mapping[str, Any]], source: Source, *, origin: str) -> Iterator[AskedRow]:
    """Yield what rows ask.

    :param origin: names the manifest or the query in errors.
    :raises InputError: names row, item and column, for a value that is missing or cannot be used, and for a URI
        outside of the allowed prefixes.
    :raises DuplicateItemError: if two rows have one key.
    """
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        where = f"{origin}, row {number}"
        uri = _uri(_needed(row, source.uri_column, where), source.prefixes(), where)
        key = uri if source.key_column is None else _needed(row, source.key_column, where)
        if source.key_column is not None and ("\n" in key or "\r" in key):
            raise InputError(f"{where}: the item key {key!r} holds a line break")
        if key in seen:
            raise DuplicateItemError(
                f"{where}: item key {key!r} is that of row {seen[key]} too; every item needs a key of its own"
            )
        seen[key] = number
        yield AskedRow(key, uri, {name: _value(row, name, source, where, key) for name in source.variables})


def _value(row: Mapping[str, Any], name: str, source: Source, where: str, key: str) -> str:
    """Return a variable's value as it is: it is put into the prompt, never read as a template."""
    where = f"{where}, item {key!r}, variable {name!r}"
    text = _needed(row, source.variables[name], where)
    if len(text) > MAX_VALUE_CHARACTERS:
        raise InputError(f"{where}: the value has {len(text)} characters; allowed are {MAX_VALUE_CHARACTERS}")
    return text


def _needed(row: Mapping[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise InputError(f"{where}: there is no column {column!r}; {allowed_names(list(row), column)}")
    text = _text(row[column], where, column)
    if not text.strip():
        raise InputError(f"{where}: column {column!r} is empty; fill it in, or leave the row out")
    if found := _NO_TEXT.search(text):
        raise InputError(f"{where}: column {column!r} holds {found[0]!r}, which is no character of a text")
    return text


def _text(value: Any, where: str, column: str) -> str:
    """Write a value the same way whatever file or database it comes from."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, str | int | float | UUID):
        return str(value)
    raise InputError(f"{where}: column {column!r} is a {type(value).__name__}; allowed are texts, numbers and dates")


def _uri(uri: str, prefixes: tuple[str, ...], where: str) -> str:
    if not uri.startswith(prefixes):
        raise InputError(
            f"{where}: {uri!r} lies outside of {', '.join(prefixes)}; "
            "if it belongs to the source, add its folder to source.allowed_prefixes"
        )
    steps = uri.split("/")
    if {".", ".."} & set(steps) or not steps[-1]:
        raise InputError(f"{where}: {uri!r} is not the URI of one file: no '.', no '..', no / at its end")
    return uri
