"""The demo's stack grown to a cluster: Redis, an S3 stand-in, and Celery workers that share no folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from vision_batch.demo import postgres
from vision_batch.demo.processes import Component
from vision_batch.demo.settings import HOST, base_environ, free_port
from vision_batch.demo.stack import LAST_STAGE, Stack

WORKERS = ("w1", "w2")
IMAGES, WORK = "images", "vision-batch-work"
TABLE = "cluster.answers"
DAG = "cluster"
COLOURS = ("red", "green", "blue", "white")
DAYS = tuple(f"2026-11-{day:02}" for day in range(1, 11))
DECLARATION = """
name: cluster
model: gemma-3-12b-it
schedule: "0 0 * * *"
work_folder: s3://vision-batch-work/one
source: {uri: "s3://images/photos/{partition}/"}
destination: {type: postgres, connection: warehouse, table: cluster.answers}
prompt: prompts/colour.md
answer:
  fields:
    dominant_color: {type: enum, values: [red, green, blue, white, black], description: dominant colour}
limits: {poll_interval_seconds: 2, max_active_runs: 5}
"""
_KEYS = {"aws_access_key_id": "cluster", "aws_secret_access_key": "cluster-secret"}


class Cluster(Stack):
    """Run Airflow with the CeleryExecutor and two workers, each with a copy of the project and folders of its own.

    :param redis: the program of the Redis server.
    """

    def __init__(self, folder: Path, project: Path, *, redis: Path, speed: float, emulator_options: tuple[str, ...]):
        self._redis_port, self._s3_port = free_port(), free_port()
        self._redis = redis
        broker = f"redis://{HOST}:{self._redis_port}/0"
        data = folder.resolve() / "postgres"
        results = postgres.database_url(data)
        super().__init__(
            folder,
            project,
            speed=speed,
            schedule=False,
            emulator_options=emulator_options,
            environ={
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__HOSTNAME_CALLABLE": "machine.name",
                "AIRFLOW__CELERY__BROKER_URL": broker,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{results}",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
                "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
                # What was in Redis when it went is queued again after so long.
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
                "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                    {
                        "conn_type": "aws",
                        "login": _KEYS["aws_access_key_id"],
                        "password": _KEYS["aws_secret_access_key"],
                        "extra": {"endpoint_url": self.s3_url, "region_name": "us-east-1"},
                    }
                ),
                "AIRFLOW_CONN_WAREHOUSE": json.dumps(
                    {
                        "conn_type": "postgres",
                        "login": postgres.USER,
                        "host": str(postgres.socket_folder(data)),
                        "schema": postgres.USER,
                    }
                ),
            },
        )

    @property
    def s3_url(self) -> str:
        """Give the address of the S3 stand-in."""
        return f"http://{HOST}:{self._s3_port}"

    def backing(self) -> list[Component]:
        """Describe the emulator, Redis and the S3 stand-in."""
        return [*super().backing(), self._redis_server(), self._s3_server()]

    def airflow(self) -> list[Component]:
        """Describe Airflow's processes, each with the name of its machine, and the workers."""
        central = [
            Component(each.name, each.command, self._machine(each.name), each.stop_signal, each.stage)
            for each in super().airflow()
        ]
        return [*central, *(self._worker(name) for name in WORKERS)]

    def _redis_server(self) -> Component:
        words = ("--bind", HOST, "--port", str(self._redis_port), "--save", "", "--daemonize", "no")
        return Component("redis", (str(self._redis), *words), base_environ(os.environ), signal.SIGTERM)

    def _s3_server(self) -> Component:
        command = (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self._s3_port))
        return Component("s3", command, base_environ(os.environ))

    def _worker(self, name: str) -> Component:
        """Describe a worker that imports, writes and unpacks in folders that nobody else reads."""
        return Component(
            name=name,
            command=(sys.executable, "-m", "airflow", "celery", "worker", "-H", f"{name}@{name}", "--skip-serve-logs"),
            environ=self._machine(name),
            stop_signal=signal.SIGTERM,
            stage=LAST_STAGE + 1,
        )

    def _machine(self, name: str) -> dict[str, str]:
        """Make the folders of one machine; give its environment."""
        home = self.folder / "machines" / name
        project, temporary = home / "project", home / "tmp"
        if not home.exists():
            temporary.mkdir(parents=True)
            for part in ("dags", "plugins", "include"):
                shutil.copytree(self.project / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
            (project / "machine.py").write_text(f"def name():\n    return {name!r}\n")
        return {
            **self.environ,
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "PYTHONPATH": f"{project / 'plugins'}{os.pathsep}{project}",
            "TMPDIR": str(temporary),
        }

    def s3(self) -> Any:
        """Connect to the S3 stand-in."""
        config = Config(proxies={})
        return boto3.client("s3", endpoint_url=self.s3_url, region_name="us-east-1", config=config, **_KEYS)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """Connect to the database server: Airflow's metadata and the warehouse are both in it."""
        host = str(postgres.socket_folder(self.folder / "postgres"))
        with psycopg.connect(host=host, user=postgres.USER, dbname=postgres.USER) as connection:
            yield connection

    def place(self, uri_key: str, body: bytes) -> None:
        """Put a picture where the declaration looks."""
        self.s3().put_object(Bucket=IMAGES, Key=uri_key, Body=body)

    def make_buckets(self, *, seconds: float = 60) -> None:
        """Make the buckets, as soon as the stand-in answers."""
        deadline = time.monotonic() + seconds
        for name in (IMAGES, WORK):
            while True:
                try:
                    self.s3().create_bucket(Bucket=name)
                except EndpointConnectionError:
                    self.check()
                    assert time.monotonic() < deadline, "the S3 stand-in does not answer"
                    time.sleep(0.2)
                else:
                    break
