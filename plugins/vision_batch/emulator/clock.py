"""Keep the service's time, which may run faster than the real one.

Everything the emulator shows or counts (timestamps, durations, quota windows, the life of presigned URLs) is in virtual
seconds since 1970. The clock goes on while the emulator is down, as the service's would, unless it is frozen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

_MICROSECONDS = 6
#: Ten years. More at once could leave what a calendar can show.
_LONGEST_ADVANCE = 3650 * 86_400
#: The year 9990. The clock stands there: what is planned from then on must stay within what a calendar can show.
_END = datetime(9990, 1, 1, tzinfo=UTC).timestamp()


class ClockChangeError(ValueError):
    """Say that a change of the clock cannot be understood."""


@dataclass(frozen=True)
class ClockChange:
    """Ask the clock to stand, to go, or to be later.

    :param frozen: ``None`` leaves it as it is.
    :param advance: virtual seconds that pass at once.
    """

    frozen: bool | None = None
    advance: float = 0.0


@dataclass(frozen=True)
class ClockOrigin:
    """Say which virtual second belonged to which real one, and how fast it went from there, if it was not frozen."""

    real: float
    virtual: float
    speed: float
    frozen: bool = False

    def at(self, real: float) -> float:
        """Return the virtual time of a real one; never before the origin, whatever the machine's clock did."""
        return self.virtual + self.passed(real - self.real)

    def passed(self, real_seconds: float) -> float:
        """Return how many virtual seconds pass in so many real ones."""
        passed = 0.0 if self.frozen else max(0.0, real_seconds) * self.speed
        return min(passed, max(0.0, _END - self.virtual))


class VirtualClock:
    """Tell the virtual time.

    :param speed: virtual seconds in a real one.
    :param before: the origin of an earlier run, or ``None`` for a new state: then virtual time starts as real time.
    """

    def __init__(self, *, speed: float, before: ClockOrigin | None = None) -> None:
        real = time.time()
        virtual = before.at(real) if before else real
        self._begin(ClockOrigin(real, virtual, speed, frozen=before is not None and before.frozen))

    @property
    def speed(self) -> float:
        """Give the virtual seconds in a real one."""
        return self.origin.speed

    def now(self) -> float:
        """Return the virtual seconds since 1970."""
        return self.origin.virtual + self.origin.passed(time.monotonic() - self._started)

    def change(self, asked: ClockChange) -> None:
        """Freeze, resume or advance; the time never goes back by it."""
        frozen = self.origin.frozen if asked.frozen is None else asked.frozen
        self._begin(ClockOrigin(time.time(), min(self.now() + asked.advance, _END), self.speed, frozen=frozen))

    def _begin(self, origin: ClockOrigin) -> None:
        self.origin = origin
        self._started = time.monotonic()


def parse_clock_change(found: Any) -> ClockChange:
    """Read ``{"frozen": true}``, ``{"frozen": false}``, ``{"advance": seconds}``, or two of them together.

    :raises ClockChangeError: names what was found and what is allowed.
    """
    if not isinstance(found, dict) or not found or set(found) - {"frozen", "advance"}:
        raise ClockChangeError(f'found {found!r}; write {{"frozen": true or false}}, {{"advance": seconds}}, or both')
    frozen, advance = found.get("frozen"), found.get("advance", 0)
    if not (frozen is None or isinstance(frozen, bool)):
        raise ClockChangeError(f"frozen is {frozen!r}; write true or false")
    if not isinstance(advance, int | float) or isinstance(advance, bool) or not 0 <= advance <= _LONGEST_ADVANCE:
        raise ClockChangeError(f"advance is {advance!r}; write seconds from 0 to {_LONGEST_ADVANCE}")
    return ClockChange(frozen, float(advance))


def http_date(seconds: float) -> str:
    """Return a time as HTTP headers write it (RFC 7231)."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def timestamp(seconds: float, *, digits: int = 0) -> Timestamp:
    """Return a time as protobuf writes it, cut to so many digits of a second.

    The recordings show whole seconds for datasets and operations, milliseconds for the creation of a job, microseconds
    for its start and end.
    """
    whole, micro = divmod(round(seconds * 10**_MICROSECONDS), 10**_MICROSECONDS)
    step = 10 ** (_MICROSECONDS - digits)
    return Timestamp(seconds=whole, nanos=micro // step * step * 1000)
