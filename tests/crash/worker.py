"""Carry out DAG runs as Airflow would, one forked process each, so that a test can kill them anywhere.

Reads one JSON object a line: what to run. Writes ``{"pid": ...}`` when a run has started and ``{"pid": ..., "status":
...}`` when it has ended. Forking from this process, which has imported everything, makes a run start in milliseconds.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import FinalError
from vision_batch.operators.run import VisionBatchClaimOperator, VisionBatchPlanOperator, VisionBatchPublishOperator
from vision_batch.operators.shard import VisionBatchCleanOperator, VisionBatchLoadOperator, VisionBatchPrepareOperator
from vision_batch.operators.submit import VisionBatchSubmitOperator
from vision_batch.sensors.job import VisionBatchSensor
from vision_batch.service import transfer
from vision_batch.steps.crash import CRASH_AT
from vision_batch.triggers import job as trigger_module

STEPS = ("claim", "clean", "load", "plan", "prepare", "publish", "submit")

for _heavy in ("service.client", "warehouse.duckdb", *(f"steps.{step}" for step in STEPS)):
    import_module(f"vision_batch.{_heavy}")  # once, before the forks

#: Nothing races these triggers, and nobody waits for minutes: whoever shall look again later looks soon, and again.
trigger_module.SCHEDULER_LAG_SECONDS = 0.02
SOON = timedelta(seconds=0.1)
RETRIES, RETRY_SECONDS = 600, 0.1


class Run:
    """One DAG run. What its tasks returned is kept in a file, as XCom is: a run that goes on skips what is done."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.declaration = _declaration(order)
        self.xcoms = Path(order["xcoms"])
        self.context: dict[str, Any] = {
            "run_id": order["run_id"],
            "params": {"partition_from": order["partitions"][0], "partition_to": order["partitions"][-1]},
            "outlet_events": defaultdict(_Event),
            "ti": _Instances(self.xcoms.parent),
            "dag_run": SimpleNamespace(clear_number=0),
        }
        (self.xcoms.parent / f"pid-{order['run_id']}").write_text(str(os.getpid()))

    def carry_out(self) -> None:
        """Run every task that has no result yet, in the order of the DAG."""
        declaration = self.declaration
        planned = self.task("plan", VisionBatchPlanOperator(task_id="plan", declaration=declaration))
        keys = self.task("claim", VisionBatchClaimOperator(task_id="claim", declaration=declaration, plan=planned))
        if self.order.get("reverse"):
            keys = keys[::-1]
        failed = [key for key in keys if not self._shard(key)]
        publish = VisionBatchPublishOperator(task_id="publish", declaration=declaration, plan=planned, shards=keys)
        self.task("publish", publish)
        self._send_events(publish)
        if failed:
            raise FinalError(f"tasks of {failed} failed")

    def _send_events(self, operator: Any) -> None:
        """Do what Airflow does in the moment in which a task succeeds: each of its outlets gets its events."""
        with (self.xcoms.parent / "events.jsonl").open("a") as file:
            for asset in operator.outlets:
                event = self.context["outlet_events"][asset]
                for key in event.partition_keys or (None,):
                    file.write(json.dumps([asset.name, key]) + "\n")

    def _shard(self, key: str) -> bool:
        """Run a shard's tasks; its teardown in any case."""
        given = {"declaration": self.declaration, "shard": key}
        try:
            self.task(f"prepare-{key}", VisionBatchPrepareOperator(task_id="prepare", **given))
            job = self.task(f"submit-{key}", VisionBatchSubmitOperator(task_id="submit", **given))
            wait = VisionBatchSensor(
                task_id="wait", job_id=job, conn_id=self.declaration.connection, poke_interval=0.05
            )
            self.task(f"wait-{key}", wait)
            self.task(f"load-{key}", VisionBatchLoadOperator(task_id="load", **given))
        except FinalError:
            traceback.print_exc()
            self.task(f"clean-{key}", VisionBatchCleanOperator(task_id="clean", **given))
            return False
        self.task(f"clean-{key}", VisionBatchCleanOperator(task_id="clean", **given))
        return True

    def task(self, name: str, operator: Any) -> Any:
        """Run one task with its retries, unless its result is there."""
        results = json.loads(self.xcoms.read_text()) if self.xcoms.exists() else {}
        if name not in results:
            results[name] = self._tried(operator)
            part = self.xcoms.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(results))
            part.replace(self.xcoms)
        return results[name]

    def _tried(self, operator: Any) -> Any:
        for left in reversed(range(RETRIES)):
            try:
                return self._resumed(operator)
            except FinalError:
                raise
            except Exception:
                if not left:
                    raise
                time.sleep(RETRY_SECONDS)
        raise AssertionError("unreachable")

    def _resumed(self, operator: Any) -> Any:
        """Execute; whenever the task defers, run its trigger here and go on as the triggerer would."""
        method, kwargs = "execute", {}
        while True:
            try:
                return getattr(operator, method)(self.context, **kwargs)
            except TaskDeferred as deferred:
                if operator.task_id == "wait" and os.environ.get(CRASH_AT) == "during_wait":
                    os.kill(os.getpid(), signal.SIGKILL)
                event = asyncio.run(_first_event(deferred.trigger))
                method, kwargs = deferred.method_name, {"event": event, **(deferred.kwargs or {})}


class _Event:
    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.partition_keys: set[str] = set()

    def add_partitions(self, keys: list[str]) -> None:
        self.partition_keys.update(keys)


class _Instances:
    """Say what became of other runs' last tasks, as Airflow does."""

    try_number = max_tries = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def xcom_push(self, key: str, value: object) -> None:
        """Forget it: nobody marks tasks here."""

    def get_task_states(self, _: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {run_id: dict.fromkeys(task_ids, self._state(run_id)) for run_id in run_ids}

    def _state(self, run_id: str) -> str:
        results = self._folder / f"xcoms-{run_id}.json"
        if results.exists() and "publish" in json.loads(results.read_text()):
            return "success"
        process = Path("/proc") / (self._folder / f"pid-{run_id}").read_text() / "stat"
        alive = process.exists() and process.read_text().rpartition(")")[2].split()[0] != "Z"
        return "running" if alive else "failed"


async def _first_event(trigger: Any) -> Any:
    if isinstance(trigger, DateTimeTrigger):
        await asyncio.sleep(SOON.total_seconds())
        trigger = DateTimeTrigger(moment=min(trigger.moment, datetime.now(UTC)))
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def _declaration(order: dict[str, Any]) -> Declaration:
    path = Path(order["declaration"])
    declaration = load_declaration(path, include_folder=path.parents[1], environ=os.environ)
    given = {name: order.get(f"{name}_seconds") for name in ("settle", "adopt_after")}
    times = {name: timedelta(seconds=seconds) for name, seconds in given.items() if seconds is not None}
    return declaration.model_copy(update={"limits": declaration.limits.model_copy(update=times)})


def start(order: dict[str, Any]) -> int:
    """Fork a process that carries out a run, with the environment and the log of the order."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.environ.update(order["environ"])
        if parts := order.get("parts"):
            transfer.count_parts = lambda *_: parts
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(0)
        faulthandler.register(signal.SIGUSR1)
        logging.basicConfig(level=logging.INFO)
        Run(order).carry_out()
        status = 0
    except BaseException:  # noqa: BLE001 - a child must never return into the parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Start what is asked for and tell what has ended, until standard input is closed."""
    tell({"ready": True})
    running = 0
    buffer = b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                tell({"pid": start(json.loads(line))})
                running += 1
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            running -= 1
            tell({"pid": ended[0], "status": os.waitstatus_to_exitcode(ended[1])})


def tell(message: dict[str, Any]) -> None:
    """Write one line."""
    os.write(1, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
