"""Do what every command of the demo does: read the declaration, place pictures, start the stack, find the DAG."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from vision_batch.demo.days import Days, kept_days
from vision_batch.demo.pictures import draw_pictures, holds_drawn_only, place_own_pictures
from vision_batch.demo.stack import Stack
from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import ServiceUnavailableError

PROJECT = Path(__file__).resolve().parents[3]
DECLARATION = "photo_quality.yaml"
_DAG_SECONDS = 90.0


def declaration_of(stack: Stack) -> Declaration:
    """Read the demo's declaration as the stack's Airflow reads it."""
    include = stack.project / "include"
    return load_declaration(include / "enrichments" / DECLARATION, include_folder=include, environ=stack.environ)


def days_of(stack: Stack, declaration: Declaration) -> Days:
    """Give the seven days of the stack's folder."""
    key_format = declaration.source.partition_format
    now = datetime.now(UTC)
    return kept_days(stack.folder / "demo.json", timezone=declaration.timezone, key_format=key_format, now=now)


def place_pictures(stack: Stack, days: Days, images: Path | None, out: Console) -> None:
    """Put pictures into the bucket: the person's own, or drawn ones where no own ones are."""
    stack.bucket.mkdir(parents=True, exist_ok=True)
    if images:
        place_own_pictures(images, stack.bucket, days.keys)
    elif holds_drawn_only(stack.bucket):
        draw_pictures(stack.bucket, partitions=days.keys)
    count = sum(path.is_file() for path in stack.bucket.rglob("*"))
    where = f"{escape(str(stack.bucket))}, for {days.keys[0]} to {days.keys[-1]}"
    out.print(f"{count} pictures are in {where}", soft_wrap=True)


@contextmanager
def running(stack: Stack, out: Console) -> Iterator[None]:
    """Keep everything that a demo needs up inside the block, and say how long the start took."""
    started = time.monotonic()
    emulator = "the emulator and " if stack.emulator_url else ""
    out.print(f"Starting PostgreSQL, {emulator}Airflow ...")
    with stack:
        logs = escape(str(stack.folder / "log"))
        out.print(f"All is up after {time.monotonic() - started:.0f} s; the logs are in {logs}", soft_wrap=True)
        yield


def wait_for_dag(stack: Stack, dag_id: str) -> None:
    """Wait until Airflow knows a DAG.

    :raises ServiceUnavailableError: it does not know it in time; the message holds the import errors.
    """
    deadline = time.monotonic() + _DAG_SECONDS
    while stack.api.dag(dag_id) is None:
        stack.check()
        if time.monotonic() > deadline:
            errors = "\n".join(stack.api.import_errors()) or stack.processes.log_tail("dag-processor")
            raise ServiceUnavailableError(f"Airflow does not show the DAG {dag_id!r}.\n{errors}")
        time.sleep(0.5)
