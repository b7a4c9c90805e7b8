"""The JSON Schema by which editors know declarations: as checked in, and as strict as it can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from vision_batch.enrichment.editor import editor_schema


@pytest.fixture(scope="module")
def schema(project: Path) -> dict[str, Any]:
    return json.loads((project / "include" / "enrichment.schema.json").read_text())


def mistakes(schema: dict[str, Any], found: Any) -> list[str]:
    return sorted(error.json_path for error in Draft202012Validator(schema).iter_errors(found))


def test_the_schema_is_the_one_of_this_version(project, schema):
    page = (project / "docs" / "declarations.md").read_text()
    assert schema == editor_schema(page), "run `make schema`"


def test_it_is_a_schema_and_every_key_says_what_it_means(schema):
    Draft202012Validator.check_schema(schema)
    places = {"": schema, **schema["$defs"]}
    silent = [
        (name, key)
        for name, part in places.items()
        for key, value in part["properties"].items()
        if not value.get("description")
    ]
    assert silent == [("AnswerSchema", "fields")]
    assert not {"own", "added_models"} & schema["properties"].keys()


@pytest.mark.parametrize("file", ["photo_quality"])
def test_declarations_of_the_project_are_good(project, schema, file):
    path = project / "include" / "enrichments" / f"{file}.yaml"
    assert path.read_text().startswith("# yaml-language-server: $schema=../enrichment.schema.json\n")
    assert mistakes(schema, yaml.safe_load(path.read_text())) == []


SOURCE = {"manifest": "s3://shop/{partition}.csv", "variables": ["a"]}


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({}, []),
        ({"source": SOURCE}, []),
        ({"source": {**SOURCE, "variables": {"a": "b"}}}, []),
        ({"limits": {"adopt_after": 60}, "pack": {"max_wait": "PT2H"}}, []),
        ({"schedule": None, "model": "my-own"}, []),
        ({"shedule": None}, ["$"]),
        ({"source": {}}, ["$.source"]),
        ({"source": {**SOURCE, "uri": "s3://shop/{partition}/"}}, ["$.source"]),
        ({"source": {**SOURCE, "format": "xlsx"}}, ["$.source.format"]),
        ({"gate": {"min_answered": 95}}, ["$.gate.min_answered"]),
        ({"branch": "newest"}, ["$.branch"]),
        ({"answer": {"fields": {"a": {"type": "text", "description": "d"}}}}, ["$.answer.fields.a.type"]),
        ({"answer": {"fields": {"a": {"type": "string"}}}}, ["$.answer.fields.a"]),
        ({"answer": {"fields": {"a": {"type": "object", "description": "d", "store": "json", "fields": {"b": {"type": "date", "description": "d"}}}}}}, []),
        ({"answer": {"fields": {"a": {"type": "object", "description": "d", "store": "jsonb", "fields": {}}}}}, ["$.answer.fields.a.store"]),
        ({"answer": {"fields": {"a": {"type": "object", "description": "d", "fields": {"b": {}}}}}}, ["$.answer.fields.a.fields.b"] * 2),
    ],
)  # fmt: skip
def test_mistakes_are_marked_where_they_are(project, schema, change, places):
    good = yaml.safe_load((project / "include" / "enrichments" / "photo_quality.yaml").read_text())
    assert mistakes(schema, good | change) == places
