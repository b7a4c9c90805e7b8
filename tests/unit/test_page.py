"""The DAG's page: everything of the declaration, as Markdown that survives what people write."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.markdown import quoted
from vision_batch.enrichment.page import broken_page, page_of
from vision_batch.models import MODELS

GIVEN = {
    "name": "shelf-prices",
    "description": "What the price tags say",
    "model": "gemma-3-12b-it",
    "work_folder": "s3://work/",
    "source": {"uri": "s3://shop/{partition}/"},
    "destination": {"path": "/w.duckdb", "table": "enrichment.shelf_prices"},
    "prompt": "What does the tag say?",
    "answer": {"fields": {"price": {"type": "number", "unit": "roubles", "description": "the price"}}},
}


def page(**changes) -> str:
    return page_of(Declaration.model_validate(GIVEN | changes))


def tables(text: str) -> list[list[str]]:
    """The cells of each table's rows: a bar with a backslash before it is text."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


def test_it_tells_source_prompt_columns_schedule_destination_packing_gate_and_price():
    text = page(
        pack={"min_tokens": 200_000, "max_wait": 3 * 24 * 3600},
        gate={"min_answered": 0.95, "max_invalid": 0.02},
        budget={"per_run": 500, "per_month": 2000.5},
        repair={"deadline": 12 * 3600},
        timezone="Europe/Moscow",
    )
    for words in (
        "What the price tags say",
        "`s3://shop/{partition}/`",
        "What does the tag say?",
        "| `price` | number | the price; in roubles |",
        "`0 0 * * *`, clock of Europe/Moscow",
        "`enrichment.shelf_prices_current`",
        "wait until a job has 200 000 tokens, at most 3 days",
        "500 units a run, 2000.5 units a month; above it a run waits for approval",
        "asked again within 12 hours",
        "at least 95% answered, at most 2% invalid",
        "Gemma 3 12B (`gemma-3-12b-it/latest`), window 4096 tokens",
        "A job is charged for 200 000 tokens at least, 200 units: 678 such pictures are certain to fill it",
        "airflow backfill create --dag-id shelf-prices",
        "vision-batch plan shelf-prices --from KEY --to KEY",
    ):
        assert words in text


def test_what_people_write_does_not_break_tables():
    fields = {"kind": {"type": "enum", "values": ["a|b", "c"], "description": "one | other\nof two"}}
    assert {len(cells) for cells in tables(page(answer={"fields": fields}))} == {2, 3}


LINES = st.lists(st.text("ab1 .)-+*_`#&<>[](){}|~\\!=$\"'цвет", max_size=20), min_size=1, max_size=5).map("\n".join)


@given(LINES)
def test_a_prompt_is_shown_as_it_is(text):
    shown = MarkdownIt().render(quoted(text)).removeprefix("<blockquote>").rstrip().removesuffix("</blockquote>")
    assert not re.search("<(?!/?p>|br />)", shown)
    said = html.unescape(re.sub("<[^>]+>", "", shown))
    assert said.split() == text.split()


def test_a_mistake_is_shown_as_it_is():
    text = broken_page("photos.yaml", "line 2, field 'model': there is no 'x*y'; did you mean a or b?\nline 3: no")
    assert "- line 2, field 'model': there is no 'x\\*y'; did you mean a or b?\n- line 3: no\n" in text


def test_without_a_schedule_there_is_no_backfill():
    assert "airflow backfill" not in page(schedule=None)


@pytest.mark.parametrize("model", MODELS)
def test_the_price_of_a_picture_is_told_for_every_model(model):
    [tokens] = re.findall(r"1280 × 960 costs at most ([\d ]+) tokens", page(model=model))
    assert 300 < int(tokens.replace(" ", "")) <= 4096


def test_no_price_of_a_picture_where_the_prompt_leaves_no_room():
    assert "1280" not in page(prompt="word " * 4000)
