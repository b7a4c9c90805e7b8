"""What a person sees and clicks: a real headless browser before a real Airflow. `make screenshots` keeps the pictures."""

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from vision_batch.demo.bill import read_bill
from vision_batch.demo.pictures import draw_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAG = "photo-quality"
DAYS = ("2026-11-03", "2026-11-04", "2026-11-05")
QWEN = "qwen2.5-vl-7b-instruct"
WAITING = ("shard.wait", "deferred")
PATIENCE_MS = 60_000
#: Chromium looks for the rest of the world otherwise, and root may not use its sandbox.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:  # without a path: the browser of `playwright install chromium`
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser, stack, eventually) -> Iterator[Page]:
    eventually(lambda: stack.api.dag(DAG) and stack.api.dag("shelf-prices"))
    expect.set_options(timeout=PATIENCE_MS)
    page = browser.new_page(base_url=stack.url, viewport={"width": 1240, "height": 1120})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


@pytest.fixture
def keep(tmp_path) -> Callable[[str, Page | Locator], Path]:
    """Give a function that takes a small picture."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str, of: Page | Locator) -> Path:
        picture = Image.open(io.BytesIO(of.screenshot(animations="disabled")))
        path = folder / f"{name}.png"
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < 150_000
        return path

    return take


def open_docs(page: Page, dag_id: str, *, height: int) -> Locator:
    """Open the docs of a DAG, and draw the window larger as a person would."""
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Dag Docs").click()
    docs = page.locator("[role=dialog][data-state=open]")
    expect(docs).to_be_visible()
    docs.evaluate(
        "(window, height) => { window.style.maxWidth = 'none';"
        " Object.assign(window.firstElementChild.style, {width: '860px', height: height + 'px', maxHeight: 'none'}) }",
        height,
    )
    return docs


def open_form(page: Page) -> Locator:
    page.goto(f"/dags/{DAG}")
    page.get_by_role("button", name="Trigger Dag").first.click()
    form = page.get_by_role("dialog").filter(has_text="Run Parameters")
    expect(form.locator("input[type=date]").first).to_be_visible()
    return form


def choose(form: Locator, first: str, last: str) -> None:
    days = form.locator("input[type=date]")
    days.nth(0).fill(first)
    days.nth(1).fill(last)


def trigger(page: Page, form: Locator) -> str:
    form.get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(re.compile("/runs/"))
    return page.url.partition("/runs/")[2].partition("/")[0].partition("?")[0]


def rows(stack, table: str) -> list[dict]:
    with duckdb.connect(str(stack.warehouse), read_only=True) as connection:
        return connection.sql(f"select * from enrichment.{table} order by image_uri").to_arrow_table().to_pylist()


def test_the_page_of_an_enrichment_tells_what_it_asks_and_costs(page, keep):
    docs = open_docs(page, DAG, height=1080)
    for words in ("Ты проверяешь фотографии товаров", "dominant_color", "enrichment.photo_quality", "Europe/Moscow"):
        expect(docs).to_contain_text(words)
    expect(docs.get_by_role("heading", name="What it costs")).to_have_count(1)
    keep("enrichment", docs)


def test_a_broken_declaration_tells_what_to_change(page, keep):
    page.goto("/dags")
    expect(page.get_by_role("link", name="shelf-prices (broken: see its docs)")).to_be_visible()
    docs = open_docs(page, "shelf-prices", height=420)
    expect(docs).to_contain_text("line 2, field 'model': there is no model 'gema-3-12b': did you mean gemma-3-12b-it")
    expect(docs).to_contain_text("line 3, field 'scedule': there is no such field; did you mean 'schedule'?")
    keep("broken", docs)


def test_a_person_asks_another_model_about_a_range_of_days(page, keep, stack, eventually, finished):
    draw_pictures(stack.bucket, partitions=DAYS)
    form = open_form(page)
    choose(form, DAYS[0], DAYS[-1])
    form.get_by_role("combobox").first.click()
    option = page.get_by_role("option", name=re.compile(r"Qwen2.5 VL 7B · window 4096 tokens · price ×0.5"))
    expect(option).to_be_visible()
    keep("form", form)
    option.click()
    run = trigger(page, form)

    def waiting():
        stack.check()
        return [each for each in stack.api.tasks(DAG, unquote(run)) if (each.task_id, each.state) == WAITING]

    eventually(waiting, seconds=200)
    page.goto(f"/dags/{DAG}/runs/{run}/tasks/shard.wait/mapped/0")
    told = page.get_by_text(re.compile(r"IN_PROGRESS, \d of 4 batches completed, about \d+ of 18 rows")).first
    expect(told).to_be_visible()
    page.goto(f"/dags/{DAG}/runs/{run}/tasks/shard.wait/mapped/0/details")
    link = page.get_by_role("link", name="Job in the console")
    [job] = [job for job in read_bill(stack.emulator_url) if job.rows == 18]
    expect(link).to_have_attribute("href", f"{stack.emulator_url}/_emulator/bill?job={job.job_id}")

    assert finished(DAG, unquote(run)).state == "success"
    page.goto(f"/dags/{DAG}/runs/{run}/tasks/shard.wait/mapped/0")
    page.set_viewport_size({"width": 1560, "height": 480})
    expect(page.get_by_text(re.compile("batches completed")).first).to_be_visible()
    keep("progress", page)
    found = [row for row in rows(stack, "photo_quality") if row["partition"] in DAYS]
    assert len(found) == 18
    assert {(row["status"], row["model"].split("/")[0], row["job_id"]) for row in found} == {
        ("answered", QWEN, job.job_id)
    }
    assert {row["partition"] for row in rows(stack, "photo_quality_current")}.isdisjoint(DAYS)


def test_a_range_that_is_the_wrong_way_round_fails_in_words_and_asks_nothing(page, stack, finished):
    jobs = len(read_bill(stack.emulator_url))
    form = open_form(page)
    choose(form, DAYS[-1], DAYS[0])
    run = trigger(page, form)
    assert finished(DAG, unquote(run)).state == "failed"
    page.goto(f"/dags/{DAG}/runs/{run}/tasks/plan")
    expect(
        page.get_by_text(f"partition_from is '{DAYS[-1]}', after partition_to '{DAYS[0]}': swap them").first
    ).to_be_visible()
    assert len(read_bill(stack.emulator_url)) == jobs


def test_the_form_backfills_with_the_same_fields(page, keep):
    open_form(page)
    page.set_viewport_size({"width": 1240, "height": 1500})
    page.get_by_text("Run this Dag for a range of dates").click()
    backfill = page.get_by_role("dialog").filter(has_text="Reprocess Behavior")
    expect(backfill).to_contain_text("First partition")
    expect(backfill).to_contain_text("Run Backwards")
    keep("backfill", backfill)
