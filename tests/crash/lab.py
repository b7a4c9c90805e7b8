"""Runs that are killed at named points and taken up again, and what they left: bill, rows, claims, datasets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from PIL import Image

from vision_batch.enrichment.declaration import SHORTEST_SETTLE
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig

DAYS = ("2026-11-20", "2026-11-21")
OTHER_DAY = "2026-11-22"
COLOURS = ("red", "green", "blue", "white")
KILLED = -signal.SIGKILL
_NUMBERS = count(1)

DECLARATION = """
name: crash
model: gemma-3-12b-it
work_folder: ${VISION_BATCH_WORK}
source: {uri: "${VISION_BATCH_IMAGES}/{partition}/"}
destination: {type: duckdb, path: "${VISION_BATCH_WAREHOUSE}", table: crash.answers}
prompt: prompts/crash.md
answer:
  fields:
    dominant_color: {type: enum, values: [red, green, blue, white, black], description: dominant colour}
limits: {poll_interval_seconds: 0.05, max_rows_per_shard: 2}
"""


class Workers:
    """The process that forks runs; started once for all tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[int] = []
        self._ended: dict[int, int] = {}
        environ = {**os.environ, "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "0", "PYTHONWARNINGS": "default"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, bufsize=0,
        )  # fmt: skip
        self._changed = threading.Condition()
        self._ready = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wait(lambda: self._ready, 120)

    def start(self, order: Mapping[str, Any]) -> int:
        """Start a run; return its process id."""
        with self._changed:
            before = len(self._started)
        self._process.stdin.write((json.dumps(order) + "\n").encode())
        self._wait(lambda: len(self._started) > before, 120)
        return self._started[before]

    def status(self, pid: int, seconds: float = 200) -> int:
        """Wait for a run to end; return its exit code, negative for a signal."""
        self._wait(lambda: pid in self._ended, seconds)
        return self._ended[pid]

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(60)
        self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                if "ready" in message:
                    self._ready = True
                elif "status" in message:
                    self._ended[message["pid"]] = message["status"]
                else:
                    self._ended.pop(message["pid"], None)  # an earlier run had the same id
                    self._started.append(message["pid"])
                self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        with self._changed:
            assert self._changed.wait_for(done, seconds), f"nothing happened for {seconds} s"


@dataclass
class Lab:
    """One enrichment of its own: bucket, work folder, warehouse, and a folder of the shared emulator."""

    folder: Path
    emulator: Any
    workers: Workers
    options: dict[str, Any] = field(default_factory=dict)
    runs: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        number = next(_NUMBERS)
        self.cloud_folder = f"b1gcrash{number:012d}"
        (self.folder / "include" / "enrichments").mkdir(parents=True)
        (self.folder / "include" / "prompts").mkdir()
        self.declaration = self.folder / "include" / "enrichments" / "crash.yaml"
        self.declaration.write_text(DECLARATION)
        (self.folder / "include" / "prompts" / "crash.md").write_text(f"Which colour has this picture? ({number})")
        for day_number, day in enumerate(DAYS):
            for place in range(2):
                self.picture(day, place, COLOURS[2 * day_number + place])

    def picture(self, day: str, place: int, colour: str) -> None:
        path = self.folder / "bucket" / day / f"{colour}-{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30 + place), colour).save(path)

    def order(
        self, run_id: str, *, crash_at: str = "", partitions: tuple[str, ...] = DAYS, **more: Any
    ) -> dict[str, Any]:
        extra = json.dumps({"folder_id": self.cloud_folder, "tls": False})
        connection = {"conn_type": "ai_studio", "password": "key", "host": self.emulator.grpc, "extra": extra}
        return {
            "declaration": str(self.declaration),
            "run_id": run_id,
            "partitions": list(partitions),
            "xcoms": str(self.folder / f"xcoms-{run_id}.json"),
            "log": str(self.folder / f"log-{run_id}.txt"),
            "environ": {
                "VISION_BATCH_WORK": f"file://{self.folder}/work",
                "VISION_BATCH_IMAGES": f"file://{self.folder}/bucket",
                "VISION_BATCH_WAREHOUSE": f"{self.folder}/warehouse.duckdb",
                "AIRFLOW_CONN_AI_STUDIO_DEFAULT": json.dumps(connection),
                "VISION_BATCH_CRASH_AT": crash_at,
            },
            **self.options,
            **more,
        }  # fmt: skip

    def run(self, run_id: str = "", **given: Any) -> int:
        """Carry out a run and wait for its end; see :meth:`ended`."""
        return self.ended(self.workers.start(self.order(run_id or f"run-{next(self.runs)}", **given)))

    def at_once(self, *run_ids: str, **given: Any) -> list[int]:
        """Carry out several runs at the same time."""
        started = [self.workers.start(self.order(run_id, **given)) for run_id in run_ids]
        return [self.ended(pid) for pid in started]

    def ended(self, pid: int) -> int:
        """Wait for a run to end; of one that does not, show where it is. What a killed one has begun is long ago then."""
        try:
            status = self.workers.status(pid)
        except AssertionError as error:
            os.kill(pid, signal.SIGUSR1)
            time.sleep(1)
            raise AssertionError(f"{error}; the runs say:\n{self.log()}") from None
        if status == KILLED:
            self._let_the_settle_time_pass()
        return status

    def _let_the_settle_time_pass(self) -> None:
        """Make attempts older, so that nobody has to wait for minutes, and yet nobody alive is ever too slow."""
        for path in self.folder.glob("work/*/*/attempt-*.json"):
            attempt = json.loads(path.read_text())
            made_at = datetime.fromisoformat(attempt["made_at"]) - 3 * SHORTEST_SETTLE
            path.write_text(json.dumps({**attempt, "made_at": made_at.isoformat()}))

    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log-*.txt")))

    def jobs(self) -> list[dict[str, Any]]:
        mine = f"gpt://{self.cloud_folder}/"
        return [job for job in self.emulator.bill(rows=True) if job["model_uri"].startswith(mine)]

    @contextmanager
    def client(self) -> Iterator[SyncAIStudioClient]:
        config = ServiceConfig(folder_id=self.cloud_folder, api_key="key", endpoint=self.emulator.grpc, tls=False)
        with SyncAIStudioClient(config) as client:
            yield client

    def rows(self, table: str = "crash.answers") -> list[dict[str, Any]]:
        with duckdb.connect(f"{self.folder}/warehouse.duckdb", read_only=True) as db:
            found = db.sql(f"select * from {table} order by image_uri")
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    def clear_xcoms(self) -> None:
        for path in self.folder.glob("xcoms-*.json"):
            path.unlink()

    def events(self) -> list[tuple[str, str | None]]:
        """Give the asset events that were sent, each with its asset's name and its partition key."""
        path = self.folder / "events.jsonl"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def open_shards(self) -> dict[str, Any]:
        path = self.folder / "work" / "crash" / "open.json"
        return json.loads(path.read_text())["shards"] if path.exists() else {}

    def until(self, done: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def problems(self, pictures: int = 4) -> list[str]:
        """Say everything that is not as it must be after all work is done."""
        found: list[str] = []
        paid = Counter(request for job in self.jobs() for request in job["requests"])
        if twice := [request for request, times in paid.items() if times > 1]:
            found.append(f"{len(twice)} requests in two jobs")
        if len(paid) != pictures:
            found.append(f"{len(paid)} requests paid for {pictures} pictures")
        rows = self.rows()
        if len(rows) != pictures or len({row["item_key"] for row in rows}) != pictures:
            found.append(f"{len(rows)} rows for {pictures} pictures")
        for row in rows:
            colour = row["image_uri"].rsplit("/", 1)[1].split("-")[0]
            if (row["status"], row["dominant_color"]) != ("answered", colour):
                found.append(f"{colour} is {row['status']} {row['dominant_color']}: {row['error']}")
        if self.open_shards():
            found.append(f"open: {sorted(self.open_shards())}")
        with self.client() as client:
            if left := client.list_datasets():
                found.append(f"{len(left)} datasets are left")
        return found


def kill(pid: int) -> None:
    """End a run as a machine that loses its power would."""
    os.kill(pid, signal.SIGKILL)
