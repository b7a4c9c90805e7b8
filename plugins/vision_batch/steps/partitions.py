"""Say which partitions a run is about. Pure: a partition is one interval of the declared cron, in its timezone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from croniter import croniter

from vision_batch.enrichment.layouts import DAILY
from vision_batch.errors import DeclarationError

#: A range of more partitions than this is taken for a slip of the pen.
MAX_PARTITIONS = 50_000

#: As many of a pause are taken along by one run; the next one goes on where it stopped.
MOST_MISSED = 366


@dataclass(frozen=True)
class Missed:
    """Name the partitions that no run by schedule has planned, because there was a pause before this one.

    :param partitions: oldest first, without the run's own.
    :param until: when the last interval begins up to which everything is planned with them, the run's own or an
        earlier one; ``None`` for a run that is not by schedule.
    """

    partitions: tuple[str, ...] = ()
    until: datetime | None = None


def partition_of(interval_start: datetime, *, timezone: str, key_format: str) -> str:
    """Return the key of the partition whose data interval starts at a time."""
    return interval_start.astimezone(ZoneInfo(timezone)).strftime(key_format)


def last_complete_partition(now: datetime, *, cron: str | None, timezone: str, key_format: str) -> str:
    """Return the key of the newest partition whose interval has ended, and does not begin once more.

    A cron comes to pass twice in an hour that the clock repeats: what begins then has one key and one interval, which
    ends when the second one does.
    """
    zone = ZoneInfo(timezone)

    def before(moment: datetime) -> datetime:
        found: datetime = _cron(cron, moment.astimezone(UTC).astimezone(zone)).get_prev(datetime)
        return found.astimezone(UTC).astimezone(zone)  # with the right fold

    start = before(now.astimezone(UTC) + timedelta(microseconds=1))
    clock = _least_clock(start)
    while start.replace(tzinfo=None) >= clock or start.strftime(key_format) == clock.strftime(key_format):
        # Straight to what lies before all of its partition: a month of minutes would be a long way.
        begins = _parse(start.strftime(key_format), timezone, key_format)
        start = before(min(start.astimezone(UTC), begins.astimezone(UTC)))
    return start.strftime(key_format)


def _least_clock(when: datetime) -> datetime:
    """Return the least that the clock shows from a time on; less than it shows then, if it is turned back before long.

    Holds for times at which a cron comes to pass: whole minutes, as are those at which clocks are turned.
    """
    clock = when.replace(tzinfo=None)
    if when.fold or not _comes_twice(clock, when.tzinfo):
        return clock
    while _comes_twice(clock - timedelta(minutes=1), when.tzinfo):
        clock -= timedelta(minutes=1)
    return clock


def _comes_twice(clock: datetime, zone: tzinfo | None) -> bool:
    first, second = (clock.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first < second


def partitions_between(first: str, last: str, *, cron: str | None, timezone: str, key_format: str) -> list[str]:
    """Return the keys of all partitions from ``first`` to ``last``, both included, oldest first.

    The two may be spelled in any way in which ``key_format`` reads them, such as ``2026-1-5``.

    :raises DeclarationError: if a key does not fit ``key_format``, or the range is the wrong way round, empty or
        absurdly long.
    """
    start, end = (_parse(key, timezone, key_format) for key in (first, last))
    if start > end:
        raise DeclarationError(f"partition_from is {first!r}, after partition_to {last!r}: swap them")
    keys = list(dict.fromkeys(_keys(start, end, end.strftime(key_format), cron, key_format)))
    if not keys:
        before, after = (_cron(cron, start).get_prev(datetime), _cron(cron, end).get_next(datetime))
        raise DeclarationError(
            f"no partition begins from {first!r} to {last!r}; the nearest are {before.strftime(key_format)!r} and "
            f"{after.strftime(key_format)!r}"
        )
    if len(keys) > MAX_PARTITIONS:
        raise DeclarationError(
            f"{first!r} to {last!r} are more than {MAX_PARTITIONS} partitions: ask for a shorter range"
        )
    return keys


def partitions_before(
    partitions: Sequence[str], days: int, *, cron: str | None, timezone: str, key_format: str
) -> list[str]:
    """Return the keys of the partitions that begin at most so many days before the first one of a run."""
    if not days:
        return []
    first = min(partitions, key=lambda key: _parse(key, timezone, key_format))
    start = _parse(first, timezone, key_format)
    keys = _keys(start - timedelta(days=days), start, first, cron, key_format)
    return [key for key in dict.fromkeys(keys) if key not in partitions]


def missed_partitions(
    last: datetime, start: datetime, *, cron: str | None, timezone: str, key_format: str, most: int = MOST_MISSED
) -> Missed:
    """Return the partitions between the last interval that was planned and a run's own one, the oldest ones first.

    Both are moments, so that the schedule, its timezone and the format of keys may have changed between them.

    :param last: when the one begins.
    :param start: when the other begins; not after ``last`` if a run is done again.
    """
    own = partition_of(start, timezone=timezone, key_format=key_format)
    keys: dict[str, None] = {}
    times, until = _cron(cron, last.astimezone(ZoneInfo(timezone))), last
    for _ in range(MAX_PARTITIONS):
        when: datetime = times.get_next(datetime)
        if when >= start:
            return Missed(tuple(keys), start)
        key = when.strftime(key_format)
        if key not in keys and key != own:
            if len(keys) == most:
                break
            keys[key] = None
        until = when
    return Missed(tuple(keys), until)


def _keys(start: datetime, end: datetime, last: str, cron: str | None, key_format: str) -> Iterator[str]:
    times = _cron(cron, start - timedelta(microseconds=1))
    for _ in range(MAX_PARTITIONS + 1):
        when: datetime = times.get_next(datetime)
        key = when.strftime(key_format)
        if when > end and key != last:  # a daily cron at 03:00 starts after the midnight that its key names
            return
        if when >= start:  # by the clock, which may be turned back behind the start
            yield key


def _cron(cron: str | None, start: datetime) -> croniter:
    return croniter(cron or DAILY, start)


def _parse(key: str, timezone: str, key_format: str) -> datetime:
    try:
        return datetime.strptime(key, key_format).replace(tzinfo=ZoneInfo(timezone))
    except ValueError:
        example = datetime(2026, 11, 22, tzinfo=ZoneInfo(timezone)).strftime(key_format)
        raise DeclarationError(
            f"partition {key!r} does not fit the format {key_format!r}: write it like {example!r}"
        ) from None
