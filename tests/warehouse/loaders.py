"""What other processes do to a destination while a test looks on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pyarrow as pa
from places import Place, answers, jobs

import vision_batch.warehouse
from vision_batch.warehouse.protocol import TableSpec

OURS = str(Path(vision_batch.warehouse.__file__).parent)


def load_all(place: Place, spec: TableSpec, batches: Sequence[pa.Table]) -> None:
    """Do what runs of a DAG do: see to the table, look up what is there, load."""
    warehouse = place.open()
    for each in batches:
        warehouse.ensure_table(spec)
        warehouse.settled(spec, each.select(["item_key"]))
        warehouse.load(spec, each)


def load_jobs(place: Place, spec: TableSpec) -> None:
    """Do what loads of shards without answers do: add jobs, each of them alone."""
    for number in range(10):
        place.open().load(spec, answers(spec, []), jobs({"job_id": f"j{number}"}, {"job_id": f"k{number}"}))


def load_counting_lines(
    place: Place, spec: TableSpec, table: pa.Table, job: pa.Table, *, kill_at: int | None = None
) -> int:
    """Load, and count the lines of the warehouse's modules that this takes; die at one of them."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            lines += 1
            if lines == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    warehouse, before = place.open(), sys.gettrace()
    sys.settrace(trace)
    try:
        warehouse.load(spec, table, job)
    finally:
        sys.settrace(before)
    return lines
