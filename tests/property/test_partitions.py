"""Partitions of any cron in any timezone: complete means over for good, and a key may be spelled in several ways."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_batch.steps.partitions import last_complete_partition, partitions_between

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


#: How a key is written, and how people and other programs write the same: no zeros, blanks, other case, other digits.
SPELLINGS = {
    "%d.%m.%Y": ["{d}.{m}.{Y}", "{d:02}.{m}.{Y}", "{d}.{m:02}.{Y}", "{d:2}.{m}.{Y}"],
    "%Y-%m-%d": ["{Y}-{m}-{d}", "{Y}-{m:02}-{d}", "{Y}-{m}-{d:02}", "{Y}-{m:02}-{d:2}"],
    "%Y-%m-%dT%H": ["{Y}-{m}-{d}T{H}", "{Y}-{m:02}-{d:02}t{H:02}", "{Y}-{m:02}-{d}t{H}"],
    "%Y %b %d": ["{Y} {b} {d}", "{Y}   {b} {d:02}", "{Y}\t{b} {d}"],
    "%Y-%m": ["{Y}-{m}"],
}
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@st.composite
def ranges(draw: Callable) -> tuple[str, str, list[str], list[str]]:
    """Draw a cron and a format of keys, the ends of a range, and the same ends in other spellings."""
    key_format = draw(st.sampled_from(sorted(SPELLINGS)))
    crons = ["0 */6 * * *"] if "%H" in key_format else ["0 0 * * *", "0 3 * * *", "30 23 * * *"]
    first, days = draw(st.integers(0, 700)), draw(st.integers(0, 40))
    ends = [datetime(2025, 1, 1, 6, tzinfo=UTC) + timedelta(days=day) for day in (first, first + days)]
    keys = [day.strftime(key_format) for day in ends]
    return draw(st.sampled_from(crons)), key_format, keys, [draw(spelled(day, key_format)) for day in ends]


@st.composite
def spelled(draw: Callable, day: datetime, key_format: str) -> str:
    month = draw(st.sampled_from([str.upper, str.lower, str.title]))(day.strftime("%b"))
    year = str(day.year).translate(draw(st.sampled_from([{}, ARABIC])))
    return draw(st.sampled_from(SPELLINGS[key_format])).format(Y=year, m=day.month, d=day.day, H=day.hour, b=month)


@settings(max_examples=100, deadline=None)
@given(ranges())
@example(("0 3 * * *", "%d.%m.%Y", ["01.01.2026", "05.01.2026"], ["01.01.2026", "5.1.2026"]))
@example(("0 3 * * *", "%Y-%m-%d", ["2026-01-05", "2026-01-05"], ["2026-1-5", "2026-1-5"]))
def test_a_range_is_the_same_however_its_ends_are_spelled(drawn):
    cron, key_format, keys, spellings = drawn
    cut = {"cron": cron, "timezone": "Europe/Moscow", "key_format": key_format}
    found = partitions_between(*spellings, **cut)
    assert found == partitions_between(*keys, **cut)
    assert [found[0], found[-1]] == keys
