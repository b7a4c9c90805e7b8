"""What a wrong list of one day does to the others: nothing. Manifests give the keys."""

from dataclasses import replace

import pytest
from enrichment_lab import COLOURS

from vision_batch.enrichment.places import Source
from vision_batch.errors import DuplicateItemError, InputError
from vision_batch.steps.plan import plan
from vision_batch.steps.plan_file import read_plan

ONE, TWO, THREE = "2026-11-20", "2026-11-21", "2026-11-22"


@pytest.fixture
def shop(enrichment):
    """Give the enrichment with one list of articles a day."""
    source = Source.model_validate(
        {
            "manifest": f"file://{enrichment.folder}/bucket/{{partition}}.csv",
            "allowed_prefixes": [f"file://{enrichment.folder}/bucket/"],
            "key_column": "sku",
        }
    )
    declare(enrichment, source=source)
    return enrichment


def declare(enrichment, **changes):
    declaration = enrichment.resources.declaration.model_copy(update=changes)
    enrichment.resources = replace(enrichment.resources, declaration=declaration)


def write_list(enrichment, day, *skus):
    """Draw a picture for each article and list it; the same article looks otherwise on another day."""
    lines = ["sku,uri"]
    for number, sku in enumerate(skus):
        colour = list(COLOURS)[(number + int(day[-2:])) % 4]
        lines.append(f"{sku},file://{enrichment.picture(day, f'{sku}.png', colour, (300 + int(day[-2:]), 200))}")
    path = enrichment.folder / "bucket" / f"{day}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def asked(enrichment, uri):
    found = read_plan(enrichment.resources.work(), uri)
    return sorted((item.item_key, item.partition) for shard in found.each_shard() for item in shard)


def test_a_day_that_is_looked_back_at_and_whose_list_is_wrong_is_left_out_and_told(shop, caplog):
    declare(shop, lookback=2)
    write_list(shop, ONE, "a").write_text("sku,url\na,b\n")
    write_list(shop, TWO, "b")
    write_list(shop, THREE, "c")
    found = plan(shop.resources, [THREE])
    assert asked(shop, found.uri) == [("b", TWO), ("c", THREE)]
    assert list(found.skipped) == [ONE]
    assert "there is no column 'uri'" in found.skipped[ONE]
    assert f"{ONE} is left out, its list is wrong" in caplog.text
    with pytest.raises(InputError, match="there is no column 'uri'"):
        plan(shop.resources, [ONE])


def test_rows_before_the_wrong_one_of_another_day_are_not_asked_either(shop):
    declare(shop, lookback=1)
    path = write_list(shop, TWO, "a", "b")
    path.write_text(path.read_text() + "c,s3://elsewhere/c.png\n")
    write_list(shop, THREE, "d")
    assert asked(shop, plan(shop.resources, [THREE]).uri) == [("d", THREE)]


def test_a_waiting_day_whose_list_is_wrong_goes_on_waiting(shop):
    pack = shop.resources.declaration.pack.model_copy(update={"min_tokens": 1500})
    declare(shop, pack=pack)
    path = write_list(shop, ONE, "a")
    good = path.read_text()
    shop.run([ONE], run_id="one")
    waits = shop.resources.work().open_state().waiting
    assert list(waits) == [ONE]
    path.write_text("nonsense")
    write_list(shop, TWO, "b", "c", "d", "e")
    published = shop.run([TWO], run_id="two")
    assert published.partitions == {TWO: {"answered": 4}}
    assert shop.resources.work().open_state().waiting == waits
    path.write_text(good)
    shop.flush(THREE)
    assert shop.resources.work().open_state().waiting == {}
    assert {row["partition"]: row["status"] for row in shop.rows()} == {ONE: "answered", TWO: "answered"}


def test_an_article_that_two_days_list_is_the_newer_days(shop):
    declare(shop, lookback=2)
    write_list(shop, ONE, "a", "b", "c")
    write_list(shop, TWO, "a", "b")
    write_list(shop, THREE, "a")
    found = plan(shop.resources, [THREE])
    assert asked(shop, found.uri) == [("a", THREE), ("b", TWO), ("c", ONE)]
    assert (found.moved, found.skipped) == (3, {})
    with pytest.raises(DuplicateItemError, match="item key 'a' is there twice"):
        plan(shop.resources, [ONE, TWO])
    shop.run([THREE], run_id="first")
    assert plan(shop.resources, [THREE]).planned == 0, "an older picture of an article is not asked again"


def test_a_day_whose_list_became_wrong_after_it_was_asked_holds_no_announcement_but_its_own(shop):
    path = write_list(shop, ONE, "a", "b")
    good = path.read_text()
    shop.emulator.scenario("null_response", rows=[0])
    assert shop.run([ONE], run_id="one").announced == {}
    shop.run([ONE], run_id="repaired-but-not-told-yet", publish=False)
    path.write_text("nonsense")
    write_list(shop, TWO, "c")
    published = shop.run([TWO], run_id="two")
    assert list(published.announced) == [TWO]
    assert "its list is wrong" in published.held[ONE]
    path.write_text(good)
    write_list(shop, THREE, "d")
    assert list(shop.run([THREE], run_id="three").announced) == [ONE, THREE]


def test_a_plan_changes_nothing_but_its_plan_file(enrichment):
    enrichment.picture(ONE, "a.png")
    plan(enrichment.resources, [ONE])
    assert not (enrichment.folder / "warehouse.duckdb").exists()
    assert not (enrichment.folder / "work" / "photo-quality" / "open.json").exists()
    enrichment.run([ONE])
    before = (enrichment.folder / "warehouse.duckdb").read_bytes()
    declare(enrichment, prompt="Which colour is it?")
    assert plan(enrichment.resources, [ONE]).planned == 1
    assert (enrichment.folder / "warehouse.duckdb").read_bytes() == before
