"""docs/declarations.md against the code: every key, its default, and an example that loads."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from vision_batch.enrichment.answer import AnswerField
from vision_batch.enrichment.declaration import Declaration, Destination, Limits, Options
from vision_batch.enrichment.layouts import mistake_in_layout
from vision_batch.enrichment.mistakes import SET_BY_RUNS
from vision_batch.enrichment.places import Source
from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.terms import Alerts, Budget, Gate, Notifier, Pack, Repair

SECTIONS = {
    "Keys": Declaration,
    "`source`": Source,
    "`destination`": Destination,
    "`answer.fields`": AnswerField,
    "`options`": Options,
    "`pack`": Pack,
    "`gate`": Gate,
    "`alerts`": Alerts,
    "`alerts.notifiers`": Notifier,
    "`budget`": Budget,
    "`repair`": Repair,
    "`limits`": Limits,
}

#: Defaults that the page writes in words.
IN_WORDS = {
    "description": "empty",
    "tags": "none",
    "values": "none",
    "items": "none",
    "fields": "none",
    "minimum": "none",
    "maximum": "none",
    "unit": "none",
    "window_tokens": "none",
} | {
    "connection": "`aws_default`",
    "path": "none",
    "staging": "none",
    "uri": "none",
    "manifest": "none",
    "query": "none",
    "query_connection": "none",
    "query_file": "none",
    "key_column": "none",
    "variables": "none",
    "format": "by the ending",
    "allowed_prefixes": "the manifest's folder",
    "extensions": "common image endings",
    "options": "see below",
    "limits": "see below",
    "pack": "see below",
    "alerts": "see below",
    "notifiers": "none",
    "late_after": "none",
    "gate": "see below",
    "budget": "see below",
    "per_run": "none",
    "per_month": "none",
    "repair": "see below",
    "deadline": "none",
    "min_answered": "none",
    "max_invalid": "none",
}


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "declarations.md").read_text()


def rows(page: str, section: str) -> dict[str, str]:
    """The defaults in a section's table, by key."""
    text = re.split(r"^##+ ", page.partition(f"# {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE))


def default(name: str, field: FieldInfo, model: type[BaseModel]) -> str:
    if field.is_required():
        return "required"
    if (model, name) in ((Destination, "connection"), (Notifier, "options")):
        return "none"
    if name in IN_WORDS and not (name == "connection" and model is Declaration):
        return IN_WORDS[name]
    value = (
        TypeAdapter(timedelta).dump_python(field.default, mode="json")
        if isinstance(field.default, timedelta)
        else field.default
    )
    return f"`{str(value).lower() if isinstance(value, bool) else str(value).removesuffix('.0')}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_described_with_its_default(page, section):
    model = SECTIONS[section]
    expected = {name: default(name, field, model) for name, field in model.model_fields.items()}
    hidden = SET_BY_RUNS | ({"name"} if model is AnswerField else set())
    assert rows(page, section) == {name: value for name, value in expected.items() if name not in hidden}


@pytest.mark.parametrize("number", [0, 1])
def test_the_sources_of_the_page_are_good(page, number):
    text = page.partition("#### Manifests and queries")[2].split("```yaml\n")[number + 1].partition("```")[0]
    assert Source.model_validate(yaml.safe_load(text)["source"]).variables.keys() == {"product"}


def test_the_layouts_of_the_page_tell_partitions_apart(page):
    layouts = re.findall(r"^\| .* \| (`(?:uri|manifest): .*\{partition.*) \|$", page, re.MULTILINE)
    assert len(layouts) == 7
    for layout in layouts:
        source = {key: text for code in re.findall("`(.*?)`", layout) for key, text in yaml.safe_load(code).items()}
        cron = source.pop("schedule", None)
        assert mistake_in_layout(Source.model_validate(source), cron) is None


def test_the_example_of_the_page_loads(page, tmp_path):
    example = page.partition("```yaml\n")[2].partition("```")[0]
    for folder in ("enrichments", "prompts"):
        (tmp_path / "include" / folder).mkdir(parents=True)
    (tmp_path / "include" / "prompts" / "shelf_prices.md").write_text("What does the price tag say?")
    path = tmp_path / "include" / "enrichments" / "shelf_prices.yaml"
    path.write_text(example)
    declaration = load_declaration(path, include_folder=tmp_path / "include", environ={})
    assert [field.name for field in declaration.answer.fields] == ["price", "tag_colour", "readable"]
