"""Keep the service's time, which may run faster than the real one.

Everything the emulator shows or counts (timestamps, durations, quota windows, the life of presigned URLs) is in virtual
seconds since 1970. The clock goes on while the emulator is down, as the service's would.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from google.protobuf.timestamp_pb2 import Timestamp

_MICROSECONDS = 6


@dataclass(frozen=True)
class ClockOrigin:
    """Say which virtual second belonged to which real one, and how fast it went from there."""

    real: float
    virtual: float
    speed: float

    def at(self, real: float) -> float:
        """Return the virtual time of a real one; never before the origin, whatever the machine's clock did."""
        return self.virtual + max(0.0, real - self.real) * self.speed


class VirtualClock:
    """Tell the virtual time.

    :param speed: virtual seconds in a real one.
    :param before: the origin of an earlier run, or ``None`` for a new state: then virtual time starts as real time.
    """

    def __init__(self, *, speed: float, before: ClockOrigin | None = None) -> None:
        real = time.time()
        self.origin = ClockOrigin(real, before.at(real) if before else real, speed)
        self._started = time.monotonic()

    @property
    def speed(self) -> float:
        """Give the virtual seconds in a real one."""
        return self.origin.speed

    def now(self) -> float:
        """Return the virtual seconds since 1970."""
        return self.origin.virtual + (time.monotonic() - self._started) * self.speed


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
