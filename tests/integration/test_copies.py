"""Renamed and copied images are never paid again, with prompt variables neither; other values are another question."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest
from enrichment_lab import DAYS, Enrichment

from vision_batch.enrichment.declaration import Declaration


@pytest.fixture
def products(enrichment: Enrichment) -> Enrichment:
    """Ask about a product by its name, from a manifest for each day."""
    found = enrichment.resources.declaration.model_dump(mode="json")
    found["source"] = {
        "manifest": f"file://{enrichment.folder}/bucket/{{partition}}.csv",
        "variables": ["product"],
        "key_column": "sku",
    }
    found["prompt"] = "Is this a {product}?"
    enrichment.resources = replace(enrichment.resources, declaration=Declaration.model_validate(found))
    return enrichment


def listed(products: Enrichment, day: str, *rows: str) -> None:
    """Write a manifest of lines such as ``1,red.png,kettle``; a picture has the colour of its file's name."""
    lines = ["sku,uri,product"]
    for sku, name, product in (row.split(",") for row in rows):
        lines.append(
            f"{sku},file://{products.picture(day, name, name.partition('-')[0].removesuffix('.png'))},{product}"
        )
    (products.folder / "bucket" / f"{day}.csv").write_text("\n".join(lines))


def paid(products: Enrichment) -> list[int]:
    return [job["rows"] for job in products.emulator.bill()]


def test_a_copy_with_the_same_values_copies_the_answer_and_one_with_others_is_asked(products):
    listed(products, DAYS[0], "1,red.png,kettle", "2,blue.png,kettle")
    products.run(DAYS[:1])
    listed(products, DAYS[1], "3,red-renamed.png,kettle", "4,red-copy.png,mug", "5,blue-copy.png,kettle")
    products.run(DAYS[1:], "second")

    assert paid(products) == [2, 1]
    rows = {row["item_key"]: row for row in products.rows("item_key, status, copied_from, request_key, raw_text")}
    assert {key: row["copied_from"] for key, row in rows.items()} == {
        "1": None,
        "2": None,
        "3": "1",
        "4": None,
        "5": "2",
    }
    assert {row["status"] for row in rows.values()} == {"answered"}
    for copy, first in (("3", "1"), ("5", "2")):
        assert [rows[copy][name] for name in ("request_key", "raw_text")] == [
            rows[first][name] for name in ("request_key", "raw_text")
        ]
    assert len({row["request_key"] for row in rows.values()}) == 3


def test_a_copy_is_found_by_another_copy_when_the_first_row_is_gone(products):
    listed(products, DAYS[0], "1,red.png,kettle")
    products.run(DAYS[:1])
    listed(products, DAYS[1], "2,red-renamed.png,kettle")
    products.run(DAYS[1:], "second")
    with duckdb.connect(f"{products.folder}/warehouse.duckdb") as db:
        db.execute("DELETE FROM enrichment.photo_quality WHERE item_key = '1'")
    listed(products, DAYS[1], "3,red-again.png,kettle")
    products.run(DAYS[1:], "third")
    assert paid(products) == [1]
    assert {row["item_key"]: row["copied_from"] for row in products.rows("item_key, copied_from")} == {
        "2": "1",
        "3": "2",
    }


def test_rows_of_a_version_that_kept_no_request_key_are_found_where_there_are_no_variables(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    with duckdb.connect(f"{enrichment.folder}/warehouse.duckdb") as db:
        db.execute("UPDATE enrichment.photo_quality SET request_key = NULL")
    enrichment.picture(DAYS[1], "renamed.png")
    enrichment.run(DAYS[1:], "second")
    assert paid(enrichment) == [1]
    first, copy = enrichment.rows("item_key, copied_from, request_key")
    assert copy["copied_from"] == first["item_key"]
    assert (first["request_key"], len(copy["request_key"])) == (None, 64)
