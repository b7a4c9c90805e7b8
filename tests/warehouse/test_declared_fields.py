"""From the declaration to the database's own columns: every type of field, asked, read, stored, described."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from places import Place, answers

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.parsing import parse_answer
from vision_batch.enrichment.reader import load_declaration
from vision_batch.steps.table import table_spec

YAML = """
name: shelves
description: What is on the shelf
model: qwen2.5-vl-32b-instruct
work_folder: var/work
source: {uri: "file:///photos/{partition}/"}
destination: {path: var/w.duckdb, table: enrichment.shelves}
language: ru
prompt: prompts/shelves.md
answer:
  fields:
    title: {type: string, description: надпись}
    facings: {type: integer, description: число фейсингов, minimum: 0}
    weight: {type: number, description: вес, unit: кг}
    readable: {type: boolean, description: читается ли}
    best_before: {type: date, description: годен до}
    tag: {type: enum, values: [жёлтый, белый], description: цвет ценника}
    words: {type: list, items: string, description: слова}
    counts: {type: list, items: integer, description: количества}
    prices: {type: list, items: number, unit: ₽, description: цены}
    seen: {type: list, items: boolean, description: видно ли}
    days: {type: list, items: date, description: дни}
    tags: {type: list, items: enum, values: [жёлтый, белый], description: цвета}
    package:
      type: object
      description: упаковка
      fields:
        material: {type: string, description: материал}
        sizes: {type: list, items: number, unit: см, description: размеры}
        maker: {type: object, description: изготовитель, fields: {country: {type: string, description: страна}}}
        seal:
          type: object
          store: json
          description: пломба
          fields:
            number: {type: integer, description: номер}
            set_on: {type: date, description: когда поставлена}
            marks: {type: list, items: number, description: отметки}
            by: {type: object, description: кем, fields: {name: {type: string, description: имя, required: true}}}
"""
TEXT = """Вот ответ:
```json
{"title": "Молоко «Утро»", "facings": "12", "weight": "0,5 кг", "readable": "да", "best_before": "22.11.2026",
 "tag": "ЖЁЛТЫЙ", "words": ["a", "б"], "counts": [1, 2], "prices": ["99,90 ₽", 5], "seen": [true, false],
 "days": ["2026-11-22"], "tags": ["белый"],
 "package": {"material": "тетрапак", "sizes": [7.5, 10], "maker": {"country": "Россия"},
  "seal": {"number": "7", "set_on": "22.11.2026", "marks": ["0,5"], "by": {"name": "O'Brien \\"Ж\\" \\\\ 🙂"}}},}
```"""
READ = {
    "title": "Молоко «Утро»",
    "facings": 12,
    "weight": 0.5,
    "readable": True,
    "best_before": date(2026, 11, 22),
    "tag": "жёлтый",
    "words": ["a", "б"],
    "counts": [1, 2],
    "prices": [99.9, 5.0],
    "seen": [True, False],
    "days": [date(2026, 11, 22)],
    "tags": ["белый"],
    "package_material": "тетрапак",
    "package_sizes": [7.5, 10.0],
    "package_maker_country": "Россия",
}
SEAL = {"number": 7, "set_on": "2026-11-22", "marks": [0.5], "by": {"name": 'O\'Brien "Ж" \\ 🙂'}}
#: In the words of each database: text, whole number, number, true or false, date, how a list of them is written, JSON.
WORDS = {
    "duckdb": ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "{}[]", "JSON"),
    "postgres": ("text", "bigint", "double precision", "boolean", "date", "{}[]", "jsonb"),
    "greenplum": ("text", "bigint", "double precision", "boolean", "date", "{}[]", "jsonb"),
    "redshift": ("character varying(65535)", "bigint", "double precision", "boolean", "date", "super", "super"),
    "clickhouse": ("Nullable(String)", "Nullable(Int64)", "Nullable(Float64)", "Nullable(Bool)", "Nullable(Date32)", "Array({})", "Nullable(String)"),
}  # fmt: skip
OF_POSTGRES = """
SELECT attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '') FROM pg_attribute
WHERE attrelid = 'enrichment.shelves'::regclass AND attnum > 0
"""
CATALOGS = {
    "duckdb": "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'shelves'",
    "clickhouse": "SELECT name, type, comment FROM system.columns WHERE database = 'enrichment' AND table = 'shelves'",
}


@pytest.fixture
def declaration(tmp_path: Path) -> Declaration:
    for name in ("enrichments", "prompts"):
        (tmp_path / "include" / name).mkdir(parents=True)
    (tmp_path / "include" / "prompts" / "shelves.md").write_text("Что на полке?")
    path = tmp_path / "include" / "enrichments" / "shelves.yaml"
    path.write_text(YAML)
    return load_declaration(path, include_folder=tmp_path / "include", environ={})


def test_every_declared_type_becomes_the_databases_own(place: Place, declaration: Declaration):
    spec, warehouse = table_spec(declaration), place.open()
    warehouse.ensure_table(spec)
    text, integer, number, boolean, day, a_list, json_type = WORDS[place.kind]
    of = {"title": text, "facings": integer, "weight": number, "readable": boolean, "best_before": day, "tag": text}
    of |= {name: a_list.format(of[like]) for name, like in
           {"words": "title", "counts": "facings", "prices": "weight", "seen": "readable", "days": "best_before",
            "tags": "tag", "package_sizes": "weight"}.items()}  # fmt: skip
    of |= {"package_material": text, "package_maker_country": text, "package_seal": json_type}
    rows = place.query(CATALOGS.get(place.kind, OF_POSTGRES))
    assert {name: kind for name, kind, _ in rows if name in of} == of
    assert not [name for name, _, _ in rows if name.startswith("package_seal_")]
    said = {name: comment for name, _, comment in rows}
    assert (said["weight"], said["package_sizes"], said["package_maker_country"]) == (
        "вес, кг",
        "размеры, см",
        "страна",
    )
    assert all(said[column.name] for column in spec.columns)


def test_what_was_read_is_what_is_in_the_table(place: Place, declaration: Declaration):
    spec, warehouse = table_spec(declaration), place.open()
    parsed = parse_answer(declaration.answer, TEXT, declaration.language)
    assert (parsed.status, parsed.error) == ("answered", None)
    empty = parse_answer(declaration.answer, "{}", declaration.language)
    rows = [{"item_key": "a", **parsed.fields}, {"item_key": "b", **empty.fields}]
    warehouse.load(spec, answers(spec, rows))
    found = {row["item_key"]: row for batch in warehouse.answers(spec) for row in batch.to_pylist()}
    assert {name: found["a"][name] for name in READ} == READ
    nothing = [] if place.kind == "clickhouse" else None  # it has no null lists
    lists = {field.name for field in spec.arrow_schema() if pa.types.is_list(field.type)}
    assert json.loads(found["a"]["package_seal"]) == SEAL
    assert found["b"]["package_seal"] is None
    assert {name: found["b"][name] for name in READ} == {name: nothing if name in lists else None for name in READ}
