"""Choose the demo's seven days once, and keep them: a later run asks about the same days."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

DAYS = 7


@dataclass(frozen=True)
class Days:
    """Hold the partitions of a demo, oldest first.

    :param starts: the start of each partition's data interval, which is its run's logical date.
    """

    keys: tuple[str, ...]
    starts: tuple[datetime, ...]


def kept_days(file: Path, *, timezone: str, key_format: str, now: datetime) -> Days:
    """Read the days that were chosen earlier, or choose the last seven complete ones.

    :param file: a JSON file; the chosen dates are written to it.
    """
    zone = ZoneInfo(timezone)
    dates = _read(file) or _choose(now.astimezone(zone))
    _write(file, dates)
    starts = tuple(datetime.fromisoformat(date).replace(tzinfo=zone) for date in dates)
    return Days(tuple(start.strftime(key_format) for start in starts), starts)


def _choose(today: datetime) -> list[str]:
    return [(today - timedelta(days=back)).date().isoformat() for back in range(DAYS, 0, -1)]


def _read(file: Path) -> list[str]:
    if not file.exists():
        return []
    return [str(date) for date in json.loads(file.read_text())["dates"]]


def _write(file: Path, dates: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"dates": list(dates)}, indent=2) + "\n")
    part.replace(file)
