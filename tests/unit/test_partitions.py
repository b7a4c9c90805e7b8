"""Which partitions a run is about."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vision_batch.errors import DeclarationError
from vision_batch.steps.partitions import last_complete_partition, partition_of, partitions_before, partitions_between

DAILY = {"timezone": "Europe/Moscow", "key_format": "%Y-%m-%d"}


def test_a_partition_is_named_after_the_start_of_its_interval_in_the_declared_timezone():
    assert partition_of(datetime(2026, 11, 21, 21, tzinfo=UTC), **DAILY) == "2026-11-22"
    assert partition_of(datetime(2026, 11, 21, 20, 59, tzinfo=UTC), **DAILY) == "2026-11-21"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 23, 20, 59, 59, tzinfo=UTC), "2026-11-22"),
        (datetime(2026, 11, 23, 21, 0, tzinfo=UTC), "2026-11-23"),
        (datetime(2026, 11, 24, 12, 0, tzinfo=UTC), "2026-11-23"),
    ],
)
def test_the_last_complete_partition_has_ended(now, expected):
    assert last_complete_partition(now, cron="0 0 * * *", **DAILY) == expected
    assert last_complete_partition(now, cron=None, **DAILY) == expected


def test_short_schedules_have_short_partitions():
    now = datetime(2026, 11, 24, 12, 5, 30, tzinfo=UTC)
    assert (
        last_complete_partition(now, cron="* * * * *", timezone="UTC", key_format="%Y-%m-%dT%H-%M")
        == "2026-11-24T12-04"
    )


@pytest.mark.parametrize("cron", ["0 0 * * *", "0 3 * * *", "30 23 * * *", "0 * * * *", None])
def test_a_range_names_every_day_once_with_both_ends(cron):
    days = partitions_between("2026-03-27", "2026-03-30", cron=cron, timezone="Europe/Berlin", key_format="%Y-%m-%d")
    assert days == ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"]
    assert partitions_between("2026-03-27", "2026-03-27", cron=cron, **DAILY) == ["2026-03-27"]


def test_a_year_is_365_partitions():
    assert len(partitions_between("2025-01-01", "2025-12-31", cron="0 0 * * *", **DAILY)) == 365


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-11-23", "2026-11-22", "after partition_to"),
        ("22.11.2026", "2026-11-22", "'22.11.2026' does not fit .* write it like '2026-11-22'"),
        ("0001-01-02", "2026-11-22", "shorter range"),
    ],
)
def test_a_wrong_range_says_what_to_write(first, last, message):
    with pytest.raises(DeclarationError, match=message):
        partitions_between(first, last, cron="0 0 * * *", **DAILY)


@pytest.mark.parametrize(
    ("partitions", "days", "cron", "key_format", "expected"),
    [
        (["2026-11-22"], 0, "0 0 * * *", "%Y-%m-%d", []),
        (["2026-11-22"], 2, "0 3 * * *", "%Y-%m-%d", ["2026-11-20", "2026-11-21"]),
        (["2026-11-22", "2026-11-24"], 1, "0 0 * * *", "%Y-%m-%d", ["2026-11-21"]),
        (["01.12.2026", "30.11.2026"], 1, None, "%d.%m.%Y", ["29.11.2026"]),
        (["2026-11"], 40, "@monthly", "%Y-%m", ["2026-10"]),
        (["2026-11-23"], 3, "0 0 * * 1-5", "%Y-%m-%d", ["2026-11-20"]),
        (["2026-11-22T01"], 1, "0 */12 * * *", "%Y-%m-%dT%H", ["2026-11-21T12", "2026-11-22T00"]),
    ],
)
def test_lookback_is_counted_in_days_before_the_first_partition(partitions, days, cron, key_format, expected):
    found = partitions_before(partitions, days, cron=cron, timezone="Europe/Moscow", key_format=key_format)
    assert found == expected


def test_lookback_names_each_day_once_where_the_clock_is_turned():
    found = partitions_before(["2026-03-31"], 3, cron="30 2 * * *", timezone="Europe/Berlin", key_format="%Y-%m-%d")
    assert found == ["2026-03-28", "2026-03-29", "2026-03-30"]
