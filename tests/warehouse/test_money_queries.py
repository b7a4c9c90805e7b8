"""The queries of docs/money.md, on every destination."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from places import NOON, SPEC, Place, answers, jobs


@pytest.fixture
def queries(project: Path) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", (project / "docs" / "money.md").read_text(), re.MULTILINE | re.DOTALL)


def test_they_say_what_the_page_says_of_them(place: Place, queries: list[str]):
    spec = replace(SPEC, table="photo_quality")
    rows = [
        {"item_key": "a", "partition": "2026-11-22", "estimated_units": 1.5, "estimated_cost": 0.3},
        {"item_key": "same", "partition": "2026-11-22", "estimated_units": 0.0, "estimated_cost": 0.0},
        {"item_key": "copied", "partition": "2026-11-23"},
    ]
    done = {"enrichment": "photo-quality", "model": "m", "answered": 4, "wasted_tokens": 198_766, "cost": 20.1}
    dead = {"outcome": "FAILED", "answered": None, "created_at": NOON + timedelta(days=10)}
    books = jobs({**done, "job_id": "j1"}, {**done, "job_id": "j2", **dead})
    place.open().load(spec, answers(spec, rows), books)
    by_month, by_waste, by_answer, by_day = (place.query(query) for query in queries)
    assert [(row[0], row[1].strftime("%Y-%m"), *row[2:]) for row in by_month] == [
        ("photo-quality", "2026-11", 1, 200_000, 100.5, 20.1),
        ("photo-quality", "2026-12", 1, 200_000, 100.5, 20.1),
    ]
    assert {row[0] for row in by_waste} == {"j1", "j2"}
    assert float(by_waste[0][-1]) == pytest.approx(99.383)
    [(_, model, units, cost)] = by_answer
    assert (model, float(units), float(cost)) == ("m", pytest.approx(201 / 4), pytest.approx(40.2 / 4))
    assert [tuple(row) for row in by_day] == [("2026-11-22", 2, 1.5, 0.3), ("2026-11-23", 1, None, None)]
