"""Merging any batches, in any order and any number of times, gives the newest answer to each key."""

from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision_batch.warehouse.duckdb import DuckDBWarehouse
from vision_batch.warehouse.protocol import Column, TableSpec

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = (Column("kind", "string"),)

ITEMS = st.text(alphabet="aб'\"%\\ ", max_size=2)
BATCHES = st.lists(
    st.tuples(st.sampled_from(["q1", "q2"]), st.dictionaries(ITEMS, st.integers(0, 3), max_size=5)), max_size=5
)


def load(warehouse: DuckDBWarehouse, question: str, asked: dict[str, int]) -> tuple[int, int, int]:
    """Load one answer a key; the minute it was asked at is its value, so that equal times have equal answers."""
    spec = TableSpec("enrichment", "photos", FIELDS, question)
    rows = [
        {"question_key": question, "item_key": item, "kind": str(minute), "asked_at": NOON + timedelta(minutes=minute)}
        for item, minute in asked.items()
    ]
    counts = warehouse.load(spec, pa.Table.from_pylist(rows, schema=spec.arrow_schema()))
    return counts.inserted, counts.updated, counts.kept


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), batches=BATCHES)
def test_any_order_and_repetition_gives_the_newest_answers(data, batches):
    expected: dict[tuple[str, str], int] = {}
    order = data.draw(
        st.permutations([*batches, *data.draw(st.lists(st.sampled_from(batches)) if batches else st.just([]))])
    )
    with TemporaryDirectory() as folder:
        warehouse = DuckDBWarehouse(f"{folder}/w.duckdb")
        for question, asked in order:
            known = {item: expected.get((question, item)) for item in asked}
            inserted, updated, kept = load(warehouse, question, asked)
            assert inserted == sum(before is None for before in known.values())
            assert kept == sum(before is not None and before > asked[item] for item, before in known.items())
            assert inserted + updated + kept == len(asked)
            for item, minute in asked.items():
                expected[question, item] = max(minute, expected.get((question, item), 0))
        if order:
            with duckdb.connect(warehouse.path) as db:
                found = db.execute("select question_key, item_key, kind::int from enrichment.photos").fetchall()
            assert sorted(found) == sorted((*key, minute) for key, minute in expected.items())
