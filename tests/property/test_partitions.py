"""Partitions of any cron in any timezone: complete means over for good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.steps.partitions import last_complete_partition

CRONS = [
    *((f"{minute} {hour} * * *", "%Y-%m-%d") for minute in (0, 30) for hour in (0, 1, 2, 3, 23)),
    ("15 1-2 * * *", "%Y-%m-%d"),
    ("0 2 * * 0", "%Y-%m-%d"),
    ("30 1 * * 1-5", "%d.%m.%Y"),
    ("0 * * * *", "%Y-%m-%d"),
    ("0 * * * *", "%Y-%m-%dT%H"),
    ("15,45 * * * *", "%Y-%m-%dT%H"),
    ("*/30 * * * *", "%Y-%m-%dT%H-%M"),
    ("0 */6 * * *", "%Y-%m-%d"),
    ("@monthly", "%Y-%m"),
    ("0 2 * * *", "%Y-%m"),
]
ZONES = sorted(available_timezones())
#: Where the clock is turned back at midnight, by half an hour, by two hours, or where winter is what is saved.
ODD_ZONES = [
    "America/Havana", "America/New_York", "Antarctica/Troll", "Asia/Beirut", "Atlantic/Azores", "Australia/Lord_Howe",
    "Europe/Berlin", "Europe/Dublin",
]  # fmt: skip


@cache
def turned(zone: str) -> list[datetime]:
    """Return the quarters of days of three years after which the clock is another one; the first, if it never is."""
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=6 * number) for number in range(4 * 365 * 3)]
    offsets = [time.astimezone(ZoneInfo(zone)).utcoffset() for time in times]
    return [time for time, (one, other) in zip(times, pairwise(offsets), strict=False) if one != other] or times[:1]


def intervals(now: datetime, cron: str, zone: str, key_format: str) -> Iterator[tuple[str, datetime]]:
    """Yield what begins before a time, from two partitions back, and in the two days behind it: key and end."""
    back = timedelta(days=20 if "%d" in key_format else 70)
    times = croniter(cron, (now - back).astimezone(ZoneInfo(zone)))
    start = times.get_next(datetime)
    while start.astimezone(UTC) < now + timedelta(days=2):
        end = times.get_next(datetime)
        yield start.strftime(key_format), end.astimezone(UTC)
        start = end


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(CRONS), st.sampled_from(ODD_ZONES) | st.sampled_from(ZONES), st.data(), st.integers(-360, 1800))
def test_the_last_complete_partition_is_over_and_the_newest_one_that_is(schedule, zone, data, minutes):
    (cron, key_format), turns = schedule, data.draw(st.sampled_from(turned(zone)))
    now = turns + timedelta(minutes=minutes)
    found = last_complete_partition(now, cron=cron, timezone=zone, key_format=key_format)
    ends = {}
    for key, end in intervals(now, cron, zone, key_format):
        ends[key] = max(end, ends.get(key, end))
    complete = [key for key, end in ends.items() if end <= now]
    assert found in complete
    assert ends[found] == max(ends[key] for key in complete)
