"""Name the points at which a crash could lose money or rows, so that tests can crash there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

#: Set by the crash tests only: the points, separated by commas, at which a process kills itself.
CRASH_AT = "VISION_BATCH_CRASH_AT"

#: Set beside it where many processes share an environment: a folder that remembers who has crashed, once a point.
CRASH_ONCE = "VISION_BATCH_CRASH_ONCE"


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if the environment names this point; do nothing otherwise."""
    if name not in os.environ.get(CRASH_AT, "").split(","):
        return
    if folder := os.environ.get(CRASH_ONCE):
        try:
            (Path(folder) / name).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
