"""Find out whether every partition has a place of its own: an image that two partitions list may be paid for twice.

Most patterns show by their look that they tell partitions apart. The others are written out, for the partitions that
the cron really makes: the weeks of a year are good places for the partitions of a weekly cron, and bad ones for days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise, takewhile
from typing import NamedTuple

from croniter import croniter

from vision_batch.enrichment.places import PARTITION, Source, filled

#: The cron that cuts the source of an enrichment without a schedule.
DAILY = "0 0 * * *"

# Keys have no timezone, so that none of these times has one.

#: Years that begin on each day of the week, some of them leap years, and two with the same weekdays throughout.
_FIRST, _LAST = datetime(2025, 1, 1), datetime(2036, 12, 31)  # noqa: DTZ001

#: The hours are written out for two months of one year, whose numbers are one digit, and that digit twice.
_YEAR, _MONTHS = 2026, (1, 11)

#: The hours are written out for so many days of a cron that has none in these months.
_SOME_DAYS = 60

#: What these stand for has as many digits as ever, and a key is read back to the very same.
_PLAIN = frozenset("YmdHMS")

_TOKEN = re.compile(r"%-?[A-Za-z%]|[^%]", re.DOTALL)


class _Mixed(NamedTuple):
    """Name two partitions with one place, or the first of which has the place of the second within its own."""

    one: str
    other: str
    place: str
    within: str


def mistake_in_layout(source: Source, cron: str | None) -> tuple[str, str] | None:
    """Return the field of a source that mixes partitions, and what is said about it; ``None`` if none does.

    :param cron: the declared schedule, which cuts partitions.
    """
    cron, key_format = cron or DAILY, source.partition_format
    if twice := _named_twice(key_format, cron):
        return "partition_format", f"{key_format!r} mixes partitions: {twice}"
    field, pattern = ("uri", source.uri) if source.manifest is None else ("manifest", source.manifest)
    if pattern is None or _tells_by_its_look(pattern, key_format):
        return None
    start = pattern.index("{")
    mixed = _mixed(pattern[start:], key_format, cron, is_file=field == "manifest")
    if mixed is None:
        return None
    place, within = pattern[:start] + mixed.place, pattern[:start] + mixed.within
    if place == within:
        found = f"{mixed.one} and {mixed.other} are both at {place!r}"
    else:
        found = f"{within!r}, that of {mixed.other}, begins with {place!r}, that of {mixed.one}"
    return field, f"{pattern!r} mixes partitions: {found}; write it like {' or '.join(_instead(pattern, key_format))}"


def _instead(pattern: str, key_format: str) -> Iterator[str]:
    """Yield patterns of the same folder and with the same end that mix nothing."""
    folder = pattern.partition("{")[0].rpartition("/")[0]
    end = pattern.rpartition("}")[2] or "/"
    yield f"{folder}/{{partition}}{end}"
    parts = f"{folder}/{{partition:{'/'.join(filter(_is_directive, _TOKEN.findall(key_format)))}}}{end}"
    if _tells_by_its_look(parts, key_format):
        yield parts


def _tells_by_its_look(pattern: str, key_format: str) -> bool:
    """Say whether a pattern holds each part of the key, and each has one length or ends at a sign such as ``/``."""
    pieces = PARTITION.split(pattern)
    formats = [found or key_format for found in pieces[1::2]]
    if any("".join(_TOKEN.findall(each)) != each for each in (key_format, *formats)):
        return False
    literals = [piece.replace("%", "%%") for piece in pieces[::2]]
    tokens = _TOKEN.findall("".join(piece for pair in zip(literals, [*formats, ""], strict=True) for piece in pair))
    told = set()
    for token, following in pairwise([*tokens, ""]):
        if _is_directive(token):
            ends = following and not _is_directive(following) and not following.isalnum()
            if token[-1] not in _PLAIN or (token[1] == "-" and not ends):
                return False
            told.add(token[-1])
    return {token[-1] for token in _TOKEN.findall(key_format) if _is_directive(token)} <= told


def _is_directive(token: str) -> bool:
    return len(token) > 1 and token != "%%"  # noqa: S105 - no secret


@lru_cache(maxsize=1024)
def _mixed(pattern: str, key_format: str, cron: str, *, is_file: bool) -> _Mixed | None:
    """Return two partitions that a pattern mixes, if any: those with one place, and below a prefix also others."""
    begin = _partitions(key_format, cron)
    keys: dict[str, str] = {}
    for key in begin:
        place = filled(pattern, key, begin.__getitem__)
        if (first := keys.setdefault(place, key)) != key:
            return _Mixed(first, key, place, place)
    if is_file:
        return None
    for place, within in pairwise(sorted(keys)):  # what begins with a text stands behind it
        if within.startswith(place):
            return _Mixed(keys[place], keys[within], place, within)
    return None


@lru_cache(maxsize=1024)
def _named_twice(key_format: str, cron: str) -> str | None:
    """Say which two times of a day have one key, though another key stands between them."""
    minutes, hours = _times(cron)
    times = [_FIRST.replace(hour=hour, minute=minute) for hour in hours for minute in minutes]
    keys: dict[str, datetime] = {}
    for key, same in groupby(times, lambda time: time.strftime(key_format)):
        time = next(same)
        if (first := keys.setdefault(key, time)) != time:
            better = "%Y-%m-%dT%H-%M" if len(minutes) > 1 else "%Y-%m-%dT%H"
            return f"what begins at {first:%H:%M} and at {time:%H:%M} is {key!r} both times; write it like {better!r}"
    return None


@lru_cache(maxsize=16)
def _partitions(key_format: str, cron: str) -> dict[str, datetime]:
    """Return enough keys of a cron to find those that are mixed, each with when its partition begins."""
    minutes, hours = _times(cron)
    days = _days(" ".join(croniter(cron).expressions[2:5]))
    some = [day for day in days if day.year == _YEAR and day.month in _MONTHS] or days[:_SOME_DAYS]
    times = [day.replace(hour=hours[0], minute=minutes[0]) for day in days]
    times += [day.replace(hour=hour, minute=minutes[0]) for day in some for hour in hours]
    times += [day.replace(hour=hour, minute=minute) for day in some[:31:10] for hour in hours for minute in minutes]
    keys = dict.fromkeys(time.strftime(key_format) for time in times)
    return {key: datetime.strptime(key, key_format) for key in keys}  # noqa: DTZ007


def _times(cron: str) -> tuple[list[int], list[int]]:
    """Return the minutes and the hours of a cron."""
    minutes, hours = croniter.expand(cron)[0][:2]
    return (list(range(60)) if minutes == ["*"] else minutes), (list(range(24)) if hours == ["*"] else hours)


@lru_cache(maxsize=64)
def _days(cron: str) -> list[datetime]:
    """Return the days of some years on which a cron comes to pass.

    :param cron: its last three fields.
    """
    times = croniter(f"0 0 {cron}", _FIRST - timedelta(days=1))
    days, months, weekdays = (None if field == ["*"] else set(field) for field in times.expanded[2:5])
    if re.search(r"#|L|[0-9]W", cron, re.IGNORECASE) or (days and weekdays):  # rare ones, and few days
        return list(takewhile(lambda day: day <= _LAST, iter(lambda: times.get_next(datetime), None)))
    every = (_FIRST + timedelta(days=number) for number in range((_LAST - _FIRST).days + 1))  # croniter takes a second
    return [
        day
        for day in every
        if (not months or day.month in months)
        and (not days or day.day in days)
        and (not weekdays or day.isoweekday() % 7 in weekdays)
    ]
