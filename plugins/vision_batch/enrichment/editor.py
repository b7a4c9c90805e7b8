"""Describe declarations as a JSON Schema, by which editors complete keys, show their meaning and mark mistakes.

``make schema`` writes it. What each key means is read from the tables of ``docs/declarations.md``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.mistakes import SET_BY_RUNS
from vision_batch.models import MODELS

#: Parts of the answer's schema are described in one table; notifiers in another.
_FIELDS = "answer.fields"
_NOTIFIERS = "alerts.notifiers"

_ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| (.+) \|$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")

Schema = dict[str, Any]


def editor_schema(page: str) -> Schema:
    """Return the JSON Schema of a declaration's file.

    :param page: the text of the page that says what each key means.
    """
    found = Declaration.model_json_schema()
    parts: dict[str, Schema] = found.pop("$defs")
    meanings = _meanings(page)
    _finish(found, meanings["Keys"])
    for name, part in found["properties"].items():
        if "$ref" in part:
            _finish(parts[part["$ref"].rpartition("/")[2]], meanings.get(name, {}))
    for part in parts.values():
        if "fields" in part["properties"] and "type" in part["properties"]:
            _finish(part, meanings[_FIELDS])
    _finish(parts["Notifier"], meanings[_NOTIFIERS])
    for part in (found, *parts.values()):
        _name_fields_by_keys(part, parts)
    for hidden in SET_BY_RUNS:
        del found["properties"][hidden]
    found["properties"]["model"]["anyOf"] = [{"enum": sorted(MODELS)}, {"type": "string"}]
    schema: Schema = _plain({"title": "Enrichment", **found, "$defs": parts})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _meanings(page: str) -> dict[str, dict[str, str]]:
    """Return what each key means, by the heading of its table."""
    sections = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)[1:]
    return {
        heading.strip("`"): {key: _LINK.sub(r"\1", meaning).replace("`", "'") for key, meaning in _ROW.findall(text)}
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }


def _finish(part: Schema, meanings: Mapping[str, str]) -> None:
    """Say what a part's keys mean instead of what its class does."""
    part.pop("description", None)
    for name, value in part["properties"].items():
        if name in meanings:
            value["description"] = meanings[name]


def _name_fields_by_keys(part: Schema, parts: Mapping[str, Schema]) -> None:
    """Let ``fields`` be a mapping from name to field, as people write it."""
    fields = part["properties"].get("fields")
    if fields is None:
        return
    of = fields.pop("items")
    named = parts[of["$ref"].rpartition("/")[2]]
    named["properties"].pop("name", None)
    named["required"] = [name for name in named["required"] if name != "name"]
    fields.pop("default", None)
    fields.update(type="object", additionalProperties=of)


def _plain(value: Any) -> Any:
    """Leave out generated titles; a duration is written as seconds too."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("format") == "duration":
        rest = {key: inner for key, inner in value.items() if key not in {"format", "type", "title"}}
        return {**rest, "anyOf": [{"type": "number"}, {"type": "string"}]}
    generated = isinstance(value.get("title"), str) and value["title"] != "Enrichment"
    return {key: _plain(inner) for key, inner in value.items() if not (key == "title" and generated)}


if __name__ == "__main__":
    print(json.dumps(editor_schema(Path(sys.argv[1]).read_text()), ensure_ascii=False, indent=2))  # noqa: T201
