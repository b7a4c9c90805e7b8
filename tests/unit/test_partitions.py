"""Which partitions a run is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from vision_batch.errors import DeclarationError
from vision_batch.steps.partitions import (
    MOST_MISSED,
    Missed,
    last_complete_partition,
    missed_partitions,
    partition_of,
    partitions_before,
    partitions_between,
)

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


@pytest.mark.parametrize(
    ("zone", "cron", "day"),
    [
        ("Europe/Berlin", "0 2 * * *", "2026-10-25"),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25"),
        ("Europe/Berlin", "0 3 * * *", "2026-10-25"),
        ("America/New_York", "0 1 * * *", "2026-11-01"),
        ("Atlantic/Azores", "0 0 * * *", "2026-10-25"),
        ("America/Havana", "0 0 * * *", "2026-11-01"),
        ("Asia/Beirut", "30 23 * * *", "2026-10-24"),
    ],
)
def test_the_hour_that_summer_time_repeats_at_its_end_completes_no_day(zone, cron, day):
    began = croniter(cron, datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) - timedelta(minutes=1))
    began = began.get_next(datetime).astimezone(UTC)
    before = (datetime.fromisoformat(day) - timedelta(days=1)).date().isoformat()
    cut = {"cron": cron, "timezone": zone, "key_format": "%Y-%m-%d"}
    for minutes in (0, 20, 59, 60, 61, 119, 120, 300, 23 * 60):
        assert last_complete_partition(began + timedelta(minutes=minutes), **cut) == before
    assert last_complete_partition(began + timedelta(hours=25), **cut) == day


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-10-25T00:10", "2026-10-25T01-30"),  # 02:10, and 02:00 comes once more
        ("2026-10-25T00:50", "2026-10-25T01-30"),
        ("2026-10-25T01:10", "2026-10-25T01-30"),  # 02:10 again
        ("2026-10-25T01:30", "2026-10-25T02-00"),
        ("2026-10-25T02:00", "2026-10-25T02-30"),
    ],
)
def test_half_hours_that_come_twice_are_complete_after_the_second_time(now, expected):
    cut = {"cron": "*/30 * * * *", "timezone": "Europe/Berlin", "key_format": "%Y-%m-%dT%H-%M"}
    assert last_complete_partition(datetime.fromisoformat(now).replace(tzinfo=UTC), **cut) == expected


@pytest.mark.parametrize(("key_format", "expected"), [("%Y-%m-%d", "2026-11-23"), ("%Y-%m", "2026-10")])
def test_a_day_or_a_month_of_minutes_is_complete_when_it_is_over(key_format, expected):
    now = datetime(2026, 11, 24, 12, 5, 30, tzinfo=UTC)
    assert last_complete_partition(now, cron="* * * * *", timezone="UTC", key_format=key_format) == expected


@pytest.mark.parametrize(
    ("first", "last", "key_format"),
    [
        ("01.01.2026", "5.1.2026", "%d.%m.%Y"),
        ("2026-1-1", "2026-1-5", "%Y-%m-%d"),
        ("2026 jan 1", "2026  JAN 5", "%Y %b %d"),
    ],
)
def test_a_range_holds_its_last_day_however_that_is_spelled(first, last, key_format):
    days = partitions_between(first, last, cron="0 3 * * *", timezone="UTC", key_format=key_format)
    assert days == [datetime(2026, 1, day, tzinfo=UTC).strftime(key_format) for day in range(1, 6)]


@pytest.mark.parametrize("cron", ["0 0 * * *", "0 3 * * *", "30 23 * * *", "0 * * * *", None])
def test_a_range_names_every_day_once_with_both_ends(cron):
    days = partitions_between("2026-03-27", "2026-03-30", cron=cron, timezone="Europe/Berlin", key_format="%Y-%m-%d")
    assert days == ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"]
    assert partitions_between("2026-03-27", "2026-03-27", cron=cron, **DAILY) == ["2026-03-27"]


def test_a_range_from_an_hour_that_comes_twice_holds_nothing_before_it():
    cut = {"cron": "*/30 * * * *", "timezone": "Europe/Berlin", "key_format": "%Y-%m-%dT%H-%M"}
    first, second, third = "2026-10-25T02-00", "2026-10-25T02-30", "2026-10-25T03-00"
    assert partitions_between(second, second, **cut) == [second]
    assert partitions_between(second, third, **cut) == [second, third]
    assert partitions_between(first, third, **cut) == [first, second, third]


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


def begins(text: str, timezone: str = "Europe/Moscow") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("last", "start", "cron", "key_format", "expected"),
    [
        ("2026-11-21", "2026-11-22", "0 0 * * *", "%Y-%m-%d", []),
        ("2026-11-19", "2026-11-22", "0 0 * * *", "%Y-%m-%d", ["2026-11-20", "2026-11-21"]),
        ("2026-11-22", "2026-11-22", "0 0 * * *", "%Y-%m-%d", []),
        ("2026-11-22", "2026-11-19", "0 0 * * *", "%Y-%m-%d", []),
        ("2026-11-19T03:00", "2026-11-22T03:00", "0 3 * * *", "%d.%m.%Y", ["20.11.2026", "21.11.2026"]),
        ("2026-11-20", "2026-11-24", "0 0 * * 1-5", "%Y-%m-%d", ["2026-11-23"]),
        ("2026-08-01", "2026-11-01", "@monthly", "%Y-%m", ["2026-09", "2026-10"]),
        ("2026-11-20T22:00", "2026-11-22T01:00", "0 * * * *", "%Y-%m-%d", ["2026-11-20", "2026-11-21"]),
    ],
)
def test_what_a_pause_has_left_out_is_what_lies_between_two_runs(last, start, cron, key_format, expected):
    cut = {"cron": cron, "timezone": "Europe/Moscow", "key_format": key_format}
    found = missed_partitions(begins(last), begins(start), **cut)
    assert found == Missed(tuple(expected), begins(start))


def test_a_long_pause_is_made_up_for_by_some_runs():
    cut = {"cron": "0 0 * * *", **DAILY}
    last, start = begins("2023-12-31"), begins("2026-11-22")
    first = missed_partitions(last, start, **cut)
    assert (len(first.partitions), *first.partitions[::365]) == (MOST_MISSED, "2024-01-01", "2024-12-31")
    assert first.until == begins("2024-12-31")
    second = missed_partitions(first.until, start + timedelta(days=1), **cut)
    assert (second.partitions[0], second.until) == ("2025-01-01", begins("2026-01-01"))
    third = missed_partitions(second.until, start + timedelta(days=2), **cut)
    assert (third.partitions[0], third.partitions[-1]) == ("2026-01-02", "2026-11-23")
    assert third.until == begins("2026-11-24")


@pytest.mark.parametrize(
    ("before", "after"), [("Europe/Moscow", "UTC"), ("UTC", "Europe/Moscow"), ("Asia/Tokyo", "America/New_York")]
)
@pytest.mark.parametrize("key_format", ["%Y-%m-%d", "%Y/%m/%d"])
def test_no_day_is_lost_where_timezone_or_format_has_changed(before, after, key_format):
    cut = {"cron": "0 0 * * *", "timezone": after, "key_format": key_format}
    found = missed_partitions(begins("2026-11-19", before), begins("2026-11-22", after), **cut)
    days = [datetime(2026, 11, day, tzinfo=UTC).strftime(key_format) for day in (20, 21)]
    assert [*found.partitions][-2:] == days
    assert found.until == begins("2026-11-22", after)


def test_days_of_a_pause_are_named_once_where_the_clock_is_turned():
    cut = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "key_format": "%Y-%m-%d"}
    for month, first in ((3, 27), (10, 23)):
        last, start = (begins(f"2026-{month:02d}-{day}T02:30", "Europe/Berlin") for day in (first, first + 4))
        days = [f"2026-{month:02d}-{day}" for day in range(first + 1, first + 4)]
        assert missed_partitions(last, start, **cut).partitions == tuple(days)
