"""What only DuckDB has: a file that is made, copied and attached, and names that differ in case.

What every destination does is tested in tests/warehouse.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from vision_batch.errors import ReconcileError
from vision_batch.warehouse.duckdb import DuckDBWarehouse
from vision_batch.warehouse.protocol import Column, TableSpec

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = TableSpec("enrichment", "photos", (Column("kind", "string"),), question_key="q1")
CURRENT = "select item_key, question_key, kind from enrichment.photos_current order by 1"


def ask(warehouse: DuckDBWarehouse, spec: TableSpec, hours: int = 0, *, status: str = "answered", **kinds: str) -> None:
    """Load one answer for each ``item=kind``."""
    rows = [
        {"question_key": spec.question_key, "item_key": item, "kind": kind, "status": status}
        | {"asked_at": NOON + timedelta(hours=hours)}
        for item, kind in kinds.items()
    ]
    warehouse.load(spec, pa.Table.from_pylist(rows, schema=spec.arrow_schema()))


def query(warehouse: DuckDBWarehouse, sql: str) -> list[tuple]:
    with duckdb.connect(warehouse.path) as db:
        return db.execute(sql).fetchall()


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(str(tmp_path / "w.duckdb"))


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ("w", "photos"),  # the schema is called as the file
        ("main", "batch"),  # as the merge calls its rows
        ("main", "wanted"),
        ("temp", "photos"),  # as DuckDB calls its own databases
        ("system", "photos"),
        ('Схема"с', "Фото-1; drop table x --"),
        ("order", "select"),
        ("a{b}", "100%'s"),
    ],
)
def test_any_name_works(warehouse, schema, table):
    spec = replace(SPEC, schema=schema, table=table, comment="a 'comment'")
    assert warehouse.ensure_table(spec) == [f"created {schema}.{table}"]
    assert warehouse.ensure_table(spec) == []
    ask(warehouse, spec, a="photo")
    found = warehouse.settled(spec, pa.table({"item_key": ["a"]})).to_pylist()
    assert [row["status"] for row in found] == ["answered"]
    quoted = ".".join('"' + name.replace('"', '""') + '"' for name in ("w", schema, f"{table}_current"))
    assert query(warehouse, f"select kind from {quoted}") == [("photo",)]


def test_names_that_differ_in_case_only_are_one(warehouse):
    query(
        warehouse, 'create schema "Enrichment"; create table "Enrichment"."Photos" ("Kind" varchar, "Item_Key" varchar)'
    )
    changes = warehouse.ensure_table(SPEC)
    assert "added column question_key" in changes
    assert not {"added column kind", "added column item_key"} & set(changes)
    ask(warehouse, SPEC, a="photo")
    assert query(warehouse, CURRENT) == [("a", "q1", "photo")]


@pytest.mark.parametrize("how", ["renamed", "attached"])
def test_the_view_works_in_a_copy_of_the_file(warehouse, tmp_path, how):
    warehouse.ensure_table(SPEC)
    ask(warehouse, SPEC, a="photo")
    copy = tmp_path / "enrichment.duckdb"
    shutil.copy(warehouse.path, copy)
    if how == "renamed":
        with duckdb.connect(copy) as db:
            assert db.execute("select kind from enrichment.enrichment.photos_current").fetchall() == [("photo",)]
    else:
        with duckdb.connect() as db:
            db.execute(f"attach '{copy}' as other (read_only)")
            assert db.execute("select kind from other.enrichment.photos_current").fetchall() == [("photo",)]


def test_two_tables_of_one_schema_have_views_of_their_own(warehouse):
    drawings = replace(SPEC, table="drawings")
    for spec in (SPEC, drawings):
        warehouse.ensure_table(spec)
        ask(warehouse, spec, a=spec.table)
    assert query(warehouse, CURRENT) == [("a", "q1", "photos")]
    assert query(warehouse, CURRENT.replace("photos", "drawings")) == [("a", "q1", "drawings")]


def test_repeated_keys_are_refused_before_the_file_is_touched(tmp_path):
    warehouse = DuckDBWarehouse(str(tmp_path / "new folder" / "w.duckdb"))
    rows = [{"question_key": "q1", "item_key": "a", "asked_at": NOON}] * 2
    with pytest.raises(ReconcileError, match=r"1 keys have more than one answer each, such as \('q1', 'a'\)"):
        warehouse.load(SPEC, pa.Table.from_pylist(rows, schema=SPEC.arrow_schema()))
    assert not Path(warehouse.path).parent.exists()
    warehouse.ensure_table(SPEC)
    assert Path(warehouse.path).exists()
