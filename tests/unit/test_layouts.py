"""Which places of a source tell partitions apart: by their look, or written out for the declared cron."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import example, given
from hypothesis import strategies as st

from vision_batch.enrichment import layouts
from vision_batch.enrichment.layouts import mistake_in_layout
from vision_batch.enrichment.places import Source
from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.stored import read_stored, stored_question

DAILY, HOURLY, MINUTELY, WEEKLY = "0 0 * * *", "0 * * * *", "* * * * *", "0 0 * * 1"
DAY, HOUR, MINUTE = "%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H-%M"


@pytest.mark.parametrize(
    ("pattern", "key_format", "cron"),
    [
        ("{partition}/", DAY, DAILY),
        ("{partition}", DAY, None),
        ("dt={partition}/", DAY, HOURLY),
        ("year={partition:%Y}/month={partition:%m}/day={partition:%d}/", DAY, DAILY),
        ("year={partition:%Y}/month={partition:%-m}/day={partition:%-d}/", DAY, DAILY),
        ("{partition:%Y%m%d}-", DAY, DAILY),
        ("{partition:%Y/%m/%d}/{partition:%H}/", HOUR, HOURLY),
        ("{partition:%Y/%m/%d}/{partition:%-H}h", HOUR, HOURLY),
        ("{partition:%Y/%m/%d}/{partition:%I%p}/", HOUR, HOURLY),
        ("{partition:%Y/%m/%d}/{partition:%I}/", HOUR, "0 3 * * *"),
        ("{partition:%y%j}/{partition:%H:%M}/", MINUTE, MINUTELY),
        ("{partition:%Y/%j}/", DAY, DAILY),
        ("{partition:%Y/%-j}/", DAY, DAILY),
        ("{partition:%Y}/{partition:%B}/{partition:%d}/", DAY, DAILY),
        ("{partition:%Y}/{partition:%B}", "%Y-%m", "@monthly"),
        ("{partition:%Y-%m}/", DAY, "@monthly"),
        ("{partition:%G}/{partition:%V}/", DAY, WEEKLY),
        ("{partition:%G-W%V}", DAY, "0 0 * * 0"),
        ("{partition}", "%G-W%V-%u", DAILY),
        ("{partition}", "%d.%m.%Y", DAILY),
        ("{partition}", "%Y-%m-%d-%p", HOURLY),
        ("100%{partition:%Y}/{partition:%m}%d{partition:%d}", DAY, DAILY),
    ],
)
def test_places_that_tell_partitions_apart_are_taken(pattern, key_format, cron):
    source = Source(uri=f"s3://shop/photos/{pattern}", partition_format=key_format)
    assert mistake_in_layout(source, cron) is None


@pytest.mark.parametrize(
    ("pattern", "key_format", "cron"),
    [
        ("{partition:%Y}/{partition:%W}/", DAY, DAILY),
        ("{partition:%Y}/{partition:%a}/", DAY, DAILY),
        ("{partition:%a}/{partition:%m-%d}/", DAY, DAILY),
        ("{partition:%m}/{partition:%d}/", DAY, DAILY),
        ("{partition:%Y/%m}/", DAY, DAILY),
        ("{partition:%Y/%m}/", DAY, "0 0 1,15 * *"),
        ("{partition:%Y}-{partition:%-m}", "%Y-%m", "@monthly"),
        ("{partition:%Y/%m}/{partition:%-d}{partition:%-H}/", HOUR, HOURLY),
        ("{partition:%Y/%m/%d}", HOUR, HOURLY),
        ("{partition:%Y/%m/%d}", HOUR, "0 8,20 * 12 *"),
        ("{partition:%Y/%m/%d}/{partition:%-H%-M}/", MINUTE, MINUTELY),
        ("{partition:%Y/%m/%d}/{partition:%H}/", MINUTE, "*/30 * * * *"),
        ("{partition:%Y/%m/%d}/{partition:%Q}", HOUR, HOURLY),
    ],
)
def test_places_that_mix_partitions_are_refused(pattern, key_format, cron):
    source = Source(uri=f"s3://shop/photos/{pattern}", partition_format=key_format)
    field, said = mistake_in_layout(source, cron)
    assert field == "uri"
    assert "mixes partitions: " in said


def test_a_list_is_one_file_whatever_other_names_begin_like_its_own():
    source = {"manifest": "s3://shop/{partition:%Y/%m}/{partition:%-d}", "format": "csv"}
    assert mistake_in_layout(Source.model_validate(source), DAILY) is None


PIECES = ["%Y", "%m", "%-m", "%d", "%-d", "%H", "%-H", "%M", "%-M", "%j", "%y", "%%", "", "/", "-", "x", "1", "%"]
PATTERNS = st.lists(
    st.sampled_from([*PIECES, "%Y/%m/%d", "%Y%m%d"]).map(lambda piece: f"{{partition:{piece}}}")
    | st.sampled_from(["{partition}", "/", "-", "1", "x", "%", "T"]),
    min_size=1,
    max_size=6,
).map("".join)


@st.composite
def likely(draw: Callable) -> tuple[str, str, str]:
    """Draw a pattern that has all parts of a key in any order, with zeros or without, and the key's format and cron."""
    key_format, cron = draw(
        st.sampled_from([(DAY, DAILY), (DAY, HOURLY), (HOUR, HOURLY), ("%Y-%m", "@monthly"), (MINUTE, "*/15 * * * *")])
    )
    parts = draw(st.permutations(re.findall("%.", key_format)))
    signs = st.sampled_from(["", "/", "-", "/", "1", "x", "%", "/d=", "{partition:%-d}", "{partition}"])
    inner = [f"{{partition:{part.replace('%', draw(st.sampled_from(['%', '%-'])))}}}{draw(signs)}" for part in parts]
    return draw(signs) + "".join(inner), key_format, cron


@given(likely())
@example(("{partition:%Y}{partition:%-m}/{partition:%d}", DAY, DAILY))
@example(("{partition:%Y/%m}/{partition:%}d", DAY, DAILY))
def test_what_tells_partitions_apart_by_its_look_does_so_written_out(drawn):
    pattern, key_format, cron = drawn
    if layouts._tells_by_its_look(pattern, key_format):
        assert layouts._mixed(pattern, key_format, cron, is_file=False) is None


@given(PATTERNS, st.dates(), st.integers(0, 23))
def test_what_is_written_out_is_where_the_images_are_looked_for(pattern, day, hour):
    pattern = f"s3://shop/a/{pattern.replace('{partition:}', '')}{{partition}}"
    begins = datetime(max(day.year, 1000), day.month, min(day.day, 28), hour)  # noqa: DTZ001
    key = begins.strftime(HOUR)
    source = Source(uri=pattern, partition_format=HOUR)
    assert layouts.filled(pattern, key, {key: begins}.__getitem__) == source.prefix(key)


DAYS = [
    "* * *", "* * 1-5", "* * mon-fri", "* * 7", "1 * *", "*/2 * *", "1,15 6 *", "* jul *", "* */3 sun", "29 2 *",
    "L * *", "15W * *", "* * 1#2", "* * L5", "1 * 1", "? * 0",
]  # fmt: skip


@pytest.mark.parametrize("cron", DAYS)
def test_days_are_those_of_the_cron(cron):
    times, found = croniter(f"0 0 {cron}", layouts._FIRST - timedelta(days=1)), layouts._days(cron)
    assert found == [times.get_next(datetime) for _ in found]
    assert times.get_next(datetime) > layouts._LAST


def test_what_one_declaration_has_found_out_is_known_for_others_in_other_folders():
    before = layouts._mixed.cache_info().misses
    for number in range(200):
        source = Source(uri=f"s3://shop/{number}/{{partition:%Y}}/{{partition:%j}}/")
        assert mistake_in_layout(source, "0 4 * * *") is None
    assert layouts._mixed.cache_info().misses == before + 1


def test_a_shard_that_was_claimed_with_a_place_that_is_refused_now_is_read(project):
    include = project / "include"
    declaration = load_declaration(include / "enrichments" / "photo_quality.yaml", include_folder=include, environ={})
    source = Source(uri="s3://shop/photos/{partition:%Y}/{partition:%V}/")
    claimed = declaration.model_copy(update={"source": source})
    assert read_stored(stored_question(claimed), shard="a" * 20) == claimed
