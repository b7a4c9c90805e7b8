"""Say what is wrong with a declaration's values, in words that a newcomer can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vision_batch.enrichment.declaration import Declaration, allowed_names
from vision_batch.enrichment.document import Document, Place
from vision_batch.errors import DeclarationError

#: What a run or another file sets, never the declaration's.
SET_BY_RUNS = frozenset({"own", "added_models"})

#: How many mistakes are told at once.
MAX_MISTAKES = 10

#: What to write, by the beginning of the validator's name for a mistake.
_ALLOWED = {
    "string_too_short": "at least 1 character",
    "string_type": "a text; put it in quotes if it looks like a number, a date or yes and no",
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a number",
    "bool_": "true or false",
    "tuple_type": "a list such as [a, b]",
    "dict_type": "a list of names such as [product], or names with their columns such as {product: product_name}",
    "model_type": "fields of its own, indented below it",
    "date_": "a date such as 2026-11-22",
    "time_delta_": "seconds, or a duration such as PT2M",
}

#: How to write what has to be there.
_EXAMPLES = {
    "name": "shelf-prices",
    "model": "gemma-3-12b-it",
    "work_folder": "s3://bucket/vision-batch/",
    "source": "{uri: 's3://bucket/photos/{partition}/'}",
    "destination": "{path: var/warehouse.duckdb, table: enrichment.photos}",
    "table": "enrichment.photos",
    "answer": "{fields: {price: {type: number, description: the price on the tag}}}",
    "fields": "{price: {type: number, description: the price on the tag}}",
    "type": "string",
    "description": "the price on the tag",
}

#: Bounds as a library writes them, and as people do.
_BOUNDS = (
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "more than"),
    ("less than", "below"),
)


def mistakes(document: Document, error: ValidationError) -> DeclarationError:
    """Put all mistakes into one error, in the order of the file."""
    told = [(_place(detail, document.values), _words(detail)) for detail in error.errors(include_url=False)]
    told.sort(key=lambda mistake: document.line(mistake[0]))
    lines = [document.explain(place, words) for place, words in told[:MAX_MISTAKES]]
    more = [f"and {len(told) - MAX_MISTAKES} more"] if len(told) > MAX_MISTAKES else []
    return DeclarationError("\n".join([*lines, *more]))


def _place(detail: ErrorDetails, values: Any) -> Place:
    """Return a mistake's place in the file, where fields of the answer have names, not numbers."""
    place: Place = ()
    for step in detail["loc"]:
        if isinstance(values, Mapping):
            names = list(values)
            here = names[step] if isinstance(step, int) and step < len(names) else step
            values = values.get(here)
        else:
            here = step
            values = values[step] if isinstance(values, list) and isinstance(step, int) and step < len(values) else None
        place = (*place, here)
    return place


def _words(detail: ErrorDetails) -> str:
    """Return what was found and what is allowed."""
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return no_such_field(tuple(detail["loc"][:-1]), str(detail["loc"][-1]))
    if kind == "missing":
        name = str(detail["loc"][-1])
        return "the field is missing" + (f"; write it like {name}: {_EXAMPLES[name]}" if name in _EXAMPLES else "")
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message
    allowed = next((words for start, words in _ALLOWED.items() if kind.startswith(start)), None)
    return f"found {_short(found)}; allowed: {allowed or _bounds(message)}"


def _bounds(message: str) -> str:
    """Return the library's words for what is allowed, in plain ones."""
    words = re.sub("^(Input should be|String should have) ", "", message)
    for theirs, plain in _BOUNDS:
        words = words.replace(theirs, plain)
    return words


def _short(found: Any) -> str:
    if isinstance(found, timedelta):
        return str(found).removesuffix(", 0:00:00") if found else "0 seconds"
    if isinstance(found, date):
        return str(found)
    return "nothing" if found is None else shorten(repr(found), 100, placeholder=" ...")


def no_such_field(place: Place, name: str) -> str:
    """Return what is said of a field that is not known at a place."""
    return f"there is no such field; {allowed_names(sorted({*_fields_at(place)} - SET_BY_RUNS), name)}"


def _fields_at(place: Place) -> list[str]:
    """Return the names of the fields that a declaration has at a place."""
    model: type[BaseModel] = Declaration
    for name in place:
        if isinstance(name, int):
            continue
        annotation = model.model_fields[name].annotation
        inner = [each for each in (annotation, *getattr(annotation, "__args__", ())) if isinstance(each, type)]
        model = next(each for each in inner if issubclass(each, BaseModel))
    return list(model.model_fields)
