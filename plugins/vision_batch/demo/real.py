"""Ask the real service about a person's pictures: one job, after its price was shown and agreed to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from vision_batch.demo import report
from vision_batch.demo.airflow_api import DagRun
from vision_batch.demo.session import days_of, declaration_of, place_pictures, running, wait_for_dag
from vision_batch.demo.settings import Service
from vision_batch.demo.stack import Stack
from vision_batch.demo.watch import Patience, explain_failures, follow
from vision_batch.enrichment.spending import Price, shown
from vision_batch.errors import ConnectionInputError
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources

_REQUIRED = {
    "AI_STUDIO_API_KEY": "an API key of a service account with the role ai.editor",
    "AI_STUDIO_FOLDER_ID": "the id of the cloud folder that pays, such as b1g...",
}
# A job may take a day; the service's own limit for results is later than this.
_WAIT_SECONDS = 3 * 24 * 3600.0


def read_service(environ: Mapping[str, str]) -> Service:
    """Read where and as whom the service is called.

    :raises ConnectionInputError: names every variable that is missing, or one that cannot be read.
    """
    missing = [f"  {name}: {meaning}" for name, meaning in _REQUIRED.items() if not environ.get(name)]
    if missing:
        raise ConnectionInputError("\n".join(["Set these variables first, then run `make real` again:", *missing]))
    return Service(
        folder_id=environ["AI_STUDIO_FOLDER_ID"],
        api_key=environ["AI_STUDIO_API_KEY"],
        endpoint=_read(environ, "AI_STUDIO_ENDPOINT", r"|[^:\s]+(:\d+)?", "a host, or host:port"),
        tls=_read(environ, "AI_STUDIO_TLS", "|true|false", "true or false") != "false",
        unit_price=_read(environ, "AI_STUDIO_UNIT_PRICE", r"|\d+(\.\d+)?", "a number such as 0.2"),
    )


def _read(environ: Mapping[str, str], name: str, pattern: str, allowed: str) -> str:
    found = environ.get(name, "").strip()
    if not re.fullmatch(pattern, found):
        raise ConnectionInputError(f"{name} is {found!r}; allowed: {allowed}, or nothing")
    return found


def ask_the_service(stack: Stack, images: Path, out: Console) -> int:
    """Show the price, ask for a yes, run once over all partitions, and show the answers.

    Only what has no answer yet and is not being asked by an earlier run costs anything.

    :returns: 0 only if every image has its row.
    """
    declaration = declaration_of(stack)
    days = days_of(stack, declaration)
    place_pictures(stack, days, images, out)
    unit_price = Decimal(stack.unit_price) if stack.unit_price else None
    resources = Resources(declaration, unit_price=unit_price)
    summary = plan(resources, days.keys)
    if summary.planned:
        show_price(summary.price, summary.settled, out)
        if not _agreed(out):
            out.print("Nothing was sent and nothing was paid.")
            return 1
    elif summary.claimed:
        out.print(f"{summary.claimed} images are being asked about already: this run waits for their answers.")
    else:
        out.print("Every image has its answer already: nothing will be sent or paid.")
    if summary.planned or summary.claimed:
        with running(stack, out):
            runs = _run_once(stack, declaration.name, days.keys[0], days.keys[-1], out)
            explain_failures(stack.api, declaration.name, runs, out)
    answers = report.read_answers(stack.warehouse, declaration)
    report.show_answers(answers, out)
    report.show_partitions(answers, out)
    verdict = report.judge(report.images_in(stack.bucket, days.keys, declaration.source.extensions), answers)
    report.show_verdict(verdict, out)
    table, file = declaration.destination.table, escape(str(stack.warehouse))
    out.print(f"The answers: table {table} in {file}", soft_wrap=True)
    return 0 if verdict.good else 1


def show_price(price: Price, settled: int, out: Console) -> None:
    """Print what the job will cost at most."""
    out.print(f"{price.images} images are to be asked about; {settled} have an answer already.")
    if price.rejected:
        out.print(f"{price.rejected} of them cannot be read: they become rejected rows and cost nothing.")
    out.print(f"Model {price.model}: at most {price.tokens:,} tokens in {price.jobs} job(s).")
    cost = price.cost
    out.print(f"Billed: {cost.tokens:,} tokens (a job costs at least 200,000), {shown(cost.units)} billing units.")
    if cost.money is None:
        out.print("Set AI_STUDIO_UNIT_PRICE to the price of one unit to see the sum in money.")
    else:
        out.print(f"That is {shown(cost.money)} at your price of one unit.")


def _agreed(out: Console) -> bool:
    try:
        return out.input("Type [bold]yes[/] to send this and pay for it: ").strip().lower() == "yes"
    except EOFError:
        return False


def _run_once(stack: Stack, dag_id: str, first: str, last: str, out: Console) -> list[DagRun]:
    wait_for_dag(stack, dag_id)
    run_id = stack.api.trigger(dag_id, conf={"partition_from": first, "partition_to": last})
    stack.api.pause(dag_id, paused=False)
    out.print("The job is on its way. It may take hours; Ctrl-C and a later `make real` go on where this stops.")

    def find() -> list[DagRun]:
        return [stack.api.run(dag_id, run_id)]

    def progress() -> str:
        tasks = stack.api.tasks(dag_id, run_id)
        return ", ".join(f"{task.task_id} {task.state}" for task in tasks if task.state not in {None, "success"})

    runs = follow(stack, find, progress, Patience(_WAIT_SECONDS), out)
    stack.api.pause(dag_id, paused=True)
    return runs
