"""What every destination does with the table of jobs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from places import NOON, SPEC, Place, answers, batch, jobs

from vision_batch.errors import ReconcileError, SchemaConflictError
from vision_batch.warehouse.protocol import BILLED, arrow_schema

EMPTY = answers(SPEC, [])


def test_jobs_come_with_their_answers_and_a_second_load_changes_nothing(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    found = jobs({"job_id": "j1", "error": "it's \\ a % ?"}, {"job_id": "j2", "shard": "s2", "cost": 20.25})
    warehouse.load(SPEC, batch(1, range(3)), found)
    before = place.jobs("*")
    warehouse.load(SPEC, batch(1, range(3)), found)
    warehouse.load(SPEC, EMPTY, jobs({"job_id": "j1", "outcome": "FAILED", "run_id": "another"}))
    assert place.jobs("*") == before
    what = "job_id, partitions, outcome, error, units, cost"
    usual = ('{"2026-11-20": 3, "папка": 1}', "COMPLETED")
    assert place.jobs(what) == [
        ("j1", *usual, "it's \\ a % ?", 100.5, None),
        ("j2", *usual, None, 100.5, 20.25),
    ]
    assert len(place.rows()) == 3


def test_what_a_month_is_billed_is_that_of_the_enrichment_since_then(place: Place):
    warehouse = place.open()
    assert warehouse.billed(SPEC, "photos", NOON).num_rows == 0
    second = timedelta(seconds=1)
    found = jobs(
        {"job_id": "before", "created_at": NOON - second / 1000},
        {"job_id": "first"},
        {"job_id": "dead", "outcome": "FAILED", "shard": "s2", "created_at": NOON + second, "cost": 1.5},
        {"job_id": "other", "enrichment": "documents"},
    )
    warehouse.load(SPEC, EMPTY, found)
    billed = warehouse.billed(SPEC, "photos", NOON)
    assert billed.schema == arrow_schema(BILLED)
    told = sorted(map(tuple, (row.values() for row in billed.to_pylist())))
    assert told == [("s1", 200_000, 100.5, None), ("s2", 200_000, 100.5, 1.5)]


def test_a_load_that_fails_leaves_no_job(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    twice = answers(SPEC, [{"item_key": "a"}, {"item_key": "a"}])
    with pytest.raises(ReconcileError):
        warehouse.load(SPEC, twice, jobs({"job_id": "j1"}))
    assert place.jobs("job_id") == []


def test_an_older_table_of_jobs_gets_the_columns_it_lacks(place: Place):
    warehouse = place.open()
    warehouse.load(SPEC, EMPTY, jobs({"job_id": "j1"}))
    place.query(f"ALTER TABLE {place.name('enrichment', 'vision_batch_jobs')} DROP COLUMN cost")
    warehouse.load(SPEC, EMPTY, jobs({"job_id": "j2", "cost": 2.0}))
    assert place.jobs("job_id, cost") == [("j1", None), ("j2", 2.0)]


def test_somebody_elses_table_of_that_name_is_refused_before_anything_is_asked(place: Place):
    kind = {"clickhouse": "Int64) ENGINE = MergeTree ORDER BY (job_id"}.get(place.kind, "bigint")
    schema = "DATABASE" if place.kind == "clickhouse" else "SCHEMA"
    place.query(f"CREATE {schema} {place.name('enrichment')}")
    place.query(f"CREATE TABLE {place.name('enrichment', 'vision_batch_jobs')} (job_id {kind})")
    with pytest.raises(SchemaConflictError, match=r"column 'job_id' of enrichment\.vision_batch_jobs is"):
        place.open().ensure_table(SPEC)
