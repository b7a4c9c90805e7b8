"""Ask about seven days of pictures by an Airflow backfill, against the emulator, and show what came of it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from vision_batch.demo import report
from vision_batch.demo.airflow_api import DagRun
from vision_batch.demo.bill import read_bill
from vision_batch.demo.days import Days
from vision_batch.demo.session import days_of, declaration_of, place_pictures, running, wait_for_dag
from vision_batch.demo.stack import Stack
from vision_batch.demo.watch import Patience, explain_failures, follow
from vision_batch.errors import ServiceUnavailableError

RUN_SECONDS = 900.0
_CLOSE_SECONDS = 300.0


def ask_seven_days(stack: Stack, images: Path | None, out: Console) -> int:
    """Carry out the whole demo and give its exit code: 0 only if every image has its row.

    :param images: a folder of the person's own pictures; ``None`` draws some.
    """
    declaration = declaration_of(stack)
    days = days_of(stack, declaration)
    place_pictures(stack, days, images, out)
    uris = report.images_in(stack.bucket, days.keys, declaration.source.extensions)
    before = report.read_answers(stack.warehouse, declaration)
    with running(stack, out):
        jobs_before = read_bill(stack.emulator_url)
        runs = _backfill(stack, declaration.name, days, len(uris), out)
        explain_failures(stack.api, declaration.name, runs, out)
        jobs = read_bill(stack.emulator_url)
    answers = report.read_answers(stack.warehouse, declaration)
    report.show_answers(answers, out)
    report.show_partitions(answers, out)
    report.show_bill(jobs, out)
    if jobs_before and len(jobs) == len(jobs_before) and len(answers.rows) == len(before.rows):
        out.print("[bold]No job and no row was added: everything had been answered before.[/]")
    verdict = report.judge(uris, answers)
    report.show_verdict(verdict, out)
    table, file = declaration.destination.table, escape(str(stack.warehouse))
    out.print(f"The answers: table {table} in {file}", soft_wrap=True)
    out.print("To look at it in Airflow: `make up` shows the address of its UI, `make down` ends it.")
    return 0 if verdict.good and all(run.state == "success" for run in runs) else 1


def close_backfills(stack: Stack, dag_id: str) -> None:
    """Let an earlier, perhaps interrupted, backfill come to its end: Airflow allows one at a time.

    :raises ServiceUnavailableError: it does not end in time.
    """
    if not stack.api.open_backfills(dag_id):
        return
    stack.api.pause(dag_id, paused=False)
    deadline = time.monotonic() + _CLOSE_SECONDS
    while stack.api.open_backfills(dag_id):
        stack.check()
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(f"A backfill of {dag_id!r} is still open after {_CLOSE_SECONDS:g} s")
        time.sleep(1)


def _backfill(stack: Stack, dag_id: str, days: Days, images: int, out: Console) -> list[DagRun]:
    wait_for_dag(stack, dag_id)
    close_backfills(stack, dag_id)
    stack.api.backfill(dag_id, days.starts[0], days.starts[-1])
    out.print(f"Backfill of {dag_id} over {len(days.keys)} days, {days.keys[0]} to {days.keys[-1]}:")
    stack.api.pause(dag_id, paused=False)
    wanted = set(days.starts)

    def find() -> list[DagRun]:
        return [run for run in stack.api.runs(dag_id) if run.logical and run.logical in wanted]

    def progress() -> str:
        jobs = read_bill(stack.emulator_url)
        rows = sum(job.rows for job in jobs if job.status == "COMPLETED")
        return f"{len(jobs)} jobs, {sum(job.over for job in jobs)} over | {rows} answers for {images} images"

    runs = follow(stack, find, progress, Patience(RUN_SECONDS), out)
    stack.api.pause(dag_id, paused=True)
    return runs
