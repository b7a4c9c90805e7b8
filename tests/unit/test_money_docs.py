"""docs/money.md against the code: every key of the budget, every column of the jobs, every metric."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.terms import Budget
from vision_batch.steps.costs import FREE, meter_job_rows
from vision_batch.steps.resources import Resources
from vision_batch.warehouse.protocol import JOBS, arrow_schema


@pytest.fixture(scope="module")
def sections(project: Path) -> dict[str, str]:
    parts = re.split(r"^#+ (.+)$", (project / "docs" / "money.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def named(text: str) -> set[str]:
    """Return what the first cells of a text's tables name."""
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_every_key_of_the_budget_is_told(sections):
    assert named(sections["The budget"]) == set(Budget.model_fields)


def test_every_column_of_the_jobs_is_told(sections):
    assert named(sections["The table of jobs"]) == {column.name for column in JOBS}


def test_every_column_of_costs_is_told(sections):
    assert set(FREE) <= set(re.findall(r"`(\w+)`", sections["What a row has cost"]))


def test_every_metric_is_told_with_its_tags(project, sections):
    counted: dict[str, set[str]] = {}
    path = project / "include" / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=project / "include", environ={})
    resources = Resources(declaration, meter=lambda name, _, tags: counted.update({f"vision_batch.{name}": set(tags)}))
    row = {column.name: 1 if column.type == "integer" else None for column in JOBS}
    jobs = pa.Table.from_pylist([row], schema=arrow_schema({column.name: column.type for column in JOBS}))
    meter_job_rows(resources, jobs, {"answered": 1})
    told = {}
    for names, tags in re.findall(r"^\| (`vision_batch[^|]+) \| ([^|]+) \|", sections["Metrics"], re.MULTILINE):
        told.update({name: set(re.findall(r"`(\w+)`", tags)) for name in re.findall(r"`([\w.]+)`", names)})
    assert told == counted
