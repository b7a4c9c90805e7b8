"""Declare what an answer holds: the one source of prompt text, validator and columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ItemType = Literal["string", "integer", "number", "boolean", "date", "enum"]
FieldType = Literal[ItemType, "list", "object"]
Scalar = Literal["string", "integer", "number", "boolean", "date"]
ColumnType = Literal[Scalar, "list[string]", "list[integer]", "list[number]", "list[boolean]", "list[date]"]

#: The longest name that every database takes for a column.
MAX_NAME = 63

#: Column names that the destination table uses itself.
RESERVED = frozenset(
    {
        "item_key", "image_uri", "image_sha256", "etag", "image_width", "image_height", "partition", "question_key",
        "revision", "model", "job_id", "source_dataset_id", "result_dataset_id", "shard", "attempt", "run_id",
        "input_id", "request_key", "estimated_tokens", "estimated_units", "estimated_cost", "asked_at", "answered_at",
        "copied_from", "status", "raw_text", "error",
    }
)  # fmt: skip

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

_TYPE_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "string": "string",
        "integer": "integer",
        "number": "number",
        "boolean": "true/false",
        "date": "date YYYY-MM-DD",
        "enum": "string",
        "object": "object",
    },
    "ru": {
        "string": "строка",
        "integer": "целое число",
        "number": "число",
        "boolean": "true/false",
        "date": "дата ГГГГ-ММ-ДД",
        "enum": "строка",
        "object": "объект",
    },
}

_LIST_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "string": "list of strings",
        "integer": "list of integers",
        "number": "list of numbers",
        "boolean": "list of true/false",
        "date": "list of dates YYYY-MM-DD",
        "enum": "list of strings",
    },
    "ru": {
        "string": "список строк",
        "integer": "список целых чисел",
        "number": "список чисел",
        "boolean": "список из true/false",
        "date": "список дат ГГГГ-ММ-ДД",
        "enum": "список строк",
    },
}


#: How types are called in prompts, in every language, without case.
TYPE_WORDS = frozenset(
    word.casefold()
    for language in ("en", "ru")
    for words in (_TYPE_WORDS, _LIST_WORDS)
    for word in words[language].values()
)


class _Frame(NamedTuple):
    """The words around the fields."""

    before: str
    after: str
    one_of: str
    unit: str
    between: str
    at_least: str
    at_most: str
    each: str
    parts: str


_FRAMES: Mapping[str, _Frame] = {
    "en": _Frame(
        before="Answer with one JSON object and nothing else: no explanations, no code fences. Its fields:",
        after="If a field cannot be told from the image, give null.",
        one_of="one of",
        unit="in",
        between="from {} to {}",
        at_least="at least {}",
        at_most="at most {}",
        each="each value",
        parts="its fields",
    ),
    "ru": _Frame(
        before="Ответь одним объектом JSON и ничем больше: без пояснений и без оформления кода. Его поля:",
        after="Если значение поля нельзя определить по изображению, укажи null.",
        one_of="одно из",
        unit="единица:",
        between="от {} до {}",
        at_least="не меньше {}",
        at_most="не больше {}",
        each="каждое значение",
        parts="его поля",
    ),
}


def _named(fields: Any) -> Any:
    """Return a mapping from name to field, as YAML writes it, as a list of fields that know their names."""
    if not isinstance(fields, Mapping):
        return fields
    for name, entry in fields.items():
        if isinstance(entry, Mapping) and "name" in entry:
            raise ValueError(f"field {name!r}: its name is the key, take 'name' out")
    return [{"name": name, **entry} if isinstance(entry, Mapping) else entry for name, entry in fields.items()]


class PartField(BaseModel):
    """Declare a field, of the answer or of an object in it.

    :param required: a null, or a field that is left out, makes the whole answer ``invalid``.
    :param items: what a ``list`` holds.
    :param values: what an ``enum``, or each value of a list of them, may be.
    :param unit: the unit of a number, for the prompt and the column's comment.
    :param fields: what an ``object`` holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    type: FieldType
    description: str = Field(min_length=1)
    required: bool = False
    items: ItemType | None = None
    values: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    minimum: float | None = Field(None, allow_inf_nan=False)
    maximum: float | None = Field(None, allow_inf_nan=False)
    unit: str | None = None
    fields: tuple[PartField, ...] = ()

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a field name; allowed: lower-case letters, digits and _, a letter first")
        return name

    @model_validator(mode="before")
    @classmethod
    def _named_fields(cls, found: Any) -> Any:
        return (
            {**found, "fields": _named(found["fields"])} if isinstance(found, Mapping) and "fields" in found else found
        )

    @property
    def kind(self) -> FieldType:
        """Return the type of one value: of a list's values, or the field's own."""
        return self.items or self.type

    @property
    def column_type(self) -> ColumnType:
        """Return the type of the column that holds it; an object has none, its fields have."""
        scalar = cast("Scalar", "string" if self.kind == "enum" else self.kind)
        return cast("ColumnType", f"list[{scalar}]") if self.type == "list" else scalar

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if (self.type == "list") != (self.items is not None):
            raise ValueError("'items' belong to type 'list', and a list needs them, such as string")
        if (self.type == "object") != bool(self.fields):
            raise ValueError("'fields' belong to type 'object', and an object needs them, each by its name")
        if (self.kind == "enum") != bool(self.values):
            raise ValueError("'values' belong to type 'enum', and an enum needs them, such as [low, high]")
        if len({value.strip().casefold() for value in self.values}) != len(self.values):
            raise ValueError("'values' hold one value twice; case and outer spaces do not count")
        bounded = self.minimum is not None or self.maximum is not None
        if bounded and self.kind not in {"integer", "number"}:
            raise ValueError("'minimum' and 'maximum' belong to the types integer and number")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("'minimum' is above 'maximum'")
        return self


class AnswerField(PartField):
    """Declare one field of the answer itself."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"{name!r} is a column of every table already; choose another name")
        return name


class AnswerColumn(NamedTuple):
    """Name the column of one field; a field of an object has the object's name before its own.

    :param place: where the field is declared.
    """

    name: str
    field: PartField
    place: tuple[str, ...]

    @property
    def comment(self) -> str:
        """Return what the column holds, in words."""
        return f"{self.field.description}, {self.field.unit}" if self.field.unit else self.field.description


class AnswerSchema(BaseModel):
    """Declare the fields of the answer, in the order in which they are asked and stored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: tuple[AnswerField, ...]

    @model_validator(mode="before")
    @classmethod
    def _named_fields(cls, found: Any) -> Any:
        return (
            {**found, "fields": _named(found["fields"])} if isinstance(found, Mapping) and "fields" in found else found
        )

    @model_validator(mode="after")
    def _gives_columns(self) -> Self:
        names = [column.name for column in self.columns()]
        if not names:
            raise ValueError("an answer has one field or more, each by its name below 'fields'")
        for name in names:
            if name in RESERVED or len(name) > MAX_NAME or names.count(name) > 1:
                why = "is a column of every table already" if name in RESERVED else f"is longer than {MAX_NAME} letters"
                why = "is declared twice" if names.count(name) > 1 else why
                raise ValueError(f"the column {name!r} {why}; choose another name for the field")
        return self

    def columns(self) -> tuple[AnswerColumn, ...]:
        """Return the columns of the destination, in order."""
        return tuple(_columns(self.fields, "", ("answer", "fields")))


def _columns(fields: Sequence[PartField], before: str, around: tuple[str, ...]) -> Iterator[AnswerColumn]:
    for field in fields:
        name, place = f"{before}{field.name}", (*around, field.name)
        if field.type == "object":
            yield from _columns(field.fields, f"{name}_", (*place, "fields"))
        else:
            yield AnswerColumn(name, field, place)


def schema_prompt(schema: AnswerSchema, language: str) -> str:
    """Return the prompt text that asks for an answer of this schema, in ``ru`` or ``en``."""
    frame = _FRAMES[language]
    return "\n".join([frame.before, *_lines(schema.fields, language, ""), frame.after])


def _lines(fields: Sequence[PartField], language: str, indent: str) -> Iterator[str]:
    for field in fields:
        parts = [f'"{field.name}" ({_type_words(field, language)}): {" ".join(field.description.split())}']
        parts += allowed_words(field, language)
        yield f"{indent}- {'; '.join(parts)}" + (f"; {_FRAMES[language].parts}:" if field.fields else "")
        yield from _lines(field.fields, language, f"{indent}  ")


def _type_words(field: PartField, language: str) -> str:
    return _TYPE_WORDS[language][field.type] if field.items is None else _LIST_WORDS[language][field.items]


def allowed_words(field: PartField, language: str) -> Iterator[str]:
    """Yield what a value may be, in words: one of what, of which unit, between which bounds."""
    frame = _FRAMES[language]
    each = "" if field.items is None else f"{frame.each} "
    if field.values:
        yield f"{each}{frame.one_of}: " + ", ".join(json.dumps(value, ensure_ascii=False) for value in field.values)
    if field.unit:
        yield f"{frame.unit} {field.unit}"
    if field.minimum is not None and field.maximum is not None:
        yield each + frame.between.format(plain_number(field.minimum), plain_number(field.maximum))
    elif field.minimum is not None:
        yield each + frame.at_least.format(plain_number(field.minimum))
    elif field.maximum is not None:
        yield each + frame.at_most.format(plain_number(field.maximum))


def plain_number(number: float) -> str:
    """Return a number as people write it: every digit, no exponent, no empty fraction."""
    return f"{Decimal(repr(number)):f}".removesuffix(".0")
