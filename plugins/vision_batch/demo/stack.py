"""Run PostgreSQL, the emulator and Airflow's components as one stack.

Everything it writes is below one folder, and everything listens on 127.0.0.1. As a context manager it is up inside the
block and gone after it, however the block is left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import httpx

from vision_batch.demo import postgres
from vision_batch.demo.airflow_api import AirflowApi
from vision_batch.demo.processes import Component, Processes, end_leftovers, read_record, same_process
from vision_batch.demo.settings import HOST, Service, airflow_environ, base_environ, free_port, load_keys
from vision_batch.errors import InputError, ServiceUnavailableError

EMULATOR_FOLDER_ID = "b1gdemo0000000000000"
EMULATOR_SPEED = 600.0
START_SECONDS = 240.0
_HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_AIRFLOW = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
_STAGES = {"postgres": 0, "emulator": 1, "api-server": 2}
LAST_STAGE = 3


class Stack:
    """Start and end one stack.

    :param folder: everything is below it; two stacks need two folders.
    :param project: the folder that holds ``dags``, ``plugins`` and ``include``.
    :param service: where AI Studio is; ``None`` runs the emulator.
    :param speed: how many times faster the emulator's clock runs.
    :param schedule: let Airflow start runs by schedule; without it only backfills and manual runs happen.
    :param environ: variables for Airflow's processes and the emulator, on top of the stack's own.
    :param emulator_options: further words for the emulator's command line.
    """

    def __init__(
        self,
        folder: Path,
        project: Path,
        *,
        service: Service | None = None,
        speed: float = EMULATOR_SPEED,
        schedule: bool = True,
        environ: Mapping[str, str] | None = None,
        emulator_options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.project = project.resolve()
        self.keys = load_keys(self.folder / "keys.json")
        self.url = f"http://{HOST}:{free_port()}"
        self.emulator_url = "" if service else f"http://{HOST}:{free_port()}"
        self._grpc_port = free_port()
        self._speed = speed
        self._schedule = schedule
        self._emulator_options = emulator_options
        self._service = service or Service(
            folder_id=EMULATOR_FOLDER_ID,
            api_key=self.keys.api_key,
            endpoint=f"{HOST}:{self._grpc_port}",
            tls=False,
            console_url=f"{self.emulator_url}/_emulator/bill?job={{job_id}}",
        )
        self._extra = dict(environ or {})
        self.api = AirflowApi(self.url)
        self.processes = Processes(self.folder / "log", self.record)
        self._lock: TextIO | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def record(self) -> Path:
        """Give the file that says which processes run."""
        return self.folder / "stack.json"

    @property
    def warehouse(self) -> Path:
        """Give the file of the answers."""
        return self.folder / "warehouse.duckdb"

    @property
    def bucket(self) -> Path:
        """Give the folder that stands for the bucket of images."""
        return self.folder / "bucket"

    @property
    def unit_price(self) -> str:
        """Give the price of one billing unit; empty when it is not known."""
        return self._service.unit_price

    @property
    def environ(self) -> dict[str, str]:
        """Give the environment of the Airflow processes. It holds secrets."""
        data = self.folder / "postgres"
        port = int(self.url.rsplit(":", 1)[1])
        return {
            **base_environ(os.environ),
            **airflow_environ(
                self.folder, self.project, database_url=postgres.database_url(data), port=port, keys=self.keys
            ),
            "AIRFLOW_CONN_AI_STUDIO_DEFAULT": self._service.connection(),
            "VISION_BATCH_IMAGES": f"file://{self.bucket}",
            "VISION_BATCH_WORK": f"file://{self.folder / 'work'}",
            "VISION_BATCH_WAREHOUSE": str(self.warehouse),
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(self._schedule),
            **self._extra,
        }

    def start(self, *, seconds: float = START_SECONDS) -> None:
        """Bring everything up and wait until all of it is healthy.

        :param seconds: deadline for the whole start.
        :raises InputError: a stack runs in this folder already.
        :raises ServiceUnavailableError: something died or did not come up; the message ends with its log.
        """
        deadline = time.monotonic() + seconds
        self._take_folder()
        for folder in (self.bucket, self.folder / "work", self.folder / "airflow"):
            folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "postgres"
        postgres.prepare(data, os.environ)
        self.processes.start(postgres.component(data, os.environ))
        self.processes.note(url=self.url, emulator=self.emulator_url)
        for each in self.backing():
            self.processes.start(each)
        postgres.wait_ready(data, self.processes)
        self._migrate()
        for each in self.airflow():
            self.processes.start(each)
        self._await_healthy(deadline)

    def backing(self) -> list[Component]:
        """Describe what has to run before Airflow, beside PostgreSQL."""
        return [self._emulator()] if self.emulator_url else []

    def airflow(self) -> list[Component]:
        """Describe Airflow's own processes."""
        return [
            Component(
                name=name,
                command=(sys.executable, "-m", "airflow", *words),
                environ=self.environ,
                stage=_STAGES.get(name, LAST_STAGE),
            )
            for name, words in _AIRFLOW.items()
        ]

    def stop(self) -> None:
        """End everything. Does nothing when nothing runs."""
        if self._lock is None:
            return
        self.processes.stop_all()
        postgres.clean_socket(self.folder / "postgres")
        self.api.close()
        self._lock.close()
        self._lock = None

    def unhealthy(self) -> dict[str, str]:
        """Give the components that Airflow does not call healthy, with what it says of them."""
        try:
            health = self.api.health()
        except httpx.HTTPError as error:
            return {"api-server": type(error).__name__}
        return {name: health.get(name) or "no sign yet" for name in _HEALTHY if health.get(name) != "healthy"}

    def check(self) -> None:
        """Raise, with the end of its log, when a process has died."""
        self.processes.check()

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "stack.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise InputError(
                f"A stack runs in {self.folder} already ({_owner(self.record)}). End it with `make down`."
            ) from error
        self._lock = lock
        end_leftovers(self.record)

    def _emulator(self) -> Component:
        return Component(
            name="emulator",
            command=(
                *(sys.executable, "-m", "vision_batch.cli", "emulator"),
                *("--state", str(self.folder / "emulator"), "--speed", f"{self._speed:g}"),
                *("--grpc-port", str(self._grpc_port), "--http-port", self.emulator_url.rsplit(":", 1)[1]),
                *("--folder", self._service.folder_id, "--api-key", self._service.api_key),
                *self._emulator_options,
            ),
            environ={**base_environ(os.environ), **self._extra},
            stage=_STAGES["emulator"],
        )

    def _migrate(self) -> None:
        log = self.folder / "log" / "migrate.log"
        with log.open("ab") as output:
            done = subprocess.run(
                (sys.executable, "-m", "airflow", "db", "migrate"),
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise ServiceUnavailableError(
                f"Airflow's database could not be made.\n{self.processes.log_tail('migrate')}"
            )

    def _await_healthy(self, deadline: float) -> None:
        while missing := self.unhealthy():
            self.processes.check()
            if time.monotonic() > deadline:
                name = next(iter(missing)).replace("_", "-")
                name = "postgres" if name == "metadatabase" else name
                said = ", ".join(f"{part}: {state}" for part, state in missing.items())
                raise ServiceUnavailableError(
                    f"Airflow is not healthy in time ({said}).\n{self.processes.log_tail(name)}"
                )
            time.sleep(0.5)


def request_stop(folder: Path, *, seconds: float = 60) -> bool:
    """Ask whoever runs a stack in a folder to end it, and wait; end leftovers when nobody does.

    :returns: whether anything ran.
    :raises ServiceUnavailableError: it is still there after ``seconds``.
    """
    record = folder.resolve() / "stack.json"
    owner = same_process(read_record(record))
    if owner is None:
        return bool(end_leftovers(record))
    owner.terminate()
    deadline = time.monotonic() + seconds
    while owner.is_running() and owner.status() != "zombie":
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(f"Process {owner.pid} has not ended its stack after {seconds:g} s")
        time.sleep(0.2)
    return True


def forget(folder: Path) -> None:
    """Remove everything a stack has written."""
    shutil.rmtree(folder, ignore_errors=True)


def _owner(record: Path) -> str:
    body = read_record(record) or {}
    return f"process {body.get('pid', 'unknown')}, UI {body.get('url', 'unknown')}"
