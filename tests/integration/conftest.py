"""A running Airflow with the emulator, shared by the tests that need one."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from enrichment_lab import FOLDER, KEY, Enrichment

from vision_batch.demo.airflow_api import DagRun
from vision_batch.demo.stack import Stack
from vision_batch.errors import StaleWriteError
from vision_batch.service.calls import ReadRetries
from vision_batch.store.files import FileStore

PROJECT = Path(__file__).resolve().parents[2]
# A job of a few rows takes minutes on the service: long enough here to look at what waits for it.
SPEED = 15
EVERY_MINUTE = {
    "name: photo-quality": "name: every-minute",
    'schedule: "0 0 * * *"': 'schedule: "* * * * *"',
    "/{partition}/": "/{partition}/\n  partition_format: '%Y-%m-%dT%H-%M'",
    "enrichment.photo_quality": "enrichment.every_minute",
}
BUDGETED = {
    "name: photo-quality": "name: budgeted",
    'schedule: "0 0 * * *"': "schedule: null",
    "enrichment.photo_quality": "enrichment.budgeted",
    "limits:": "budget: {per_run: 150}\n\nlimits:",
}
HURRIED = {
    **BUDGETED,
    "name: photo-quality": "name: hurried",
    "limits:": "budget: {per_run: 150, approve_within: PT1S}\n\nlimits:",
}
BROKEN = """\
name: shelf-prices
model: gema-3-12b
scedule: "0 3 * * *"
work_folder: var/work
source:
  uri: s3://pricing-photos/shelves/
destination:
  path: var/warehouse.duckdb
  table: enrichment.shelf_prices
prompt: prompts/photo_quality.md
answer:
  fields:
    price: {type: number, description: the price on the largest tag}
"""


@pytest.fixture(scope="session")
def airflow_project(tmp_path_factory) -> Path:
    """Copy what Airflow reads and add declarations; the package itself is linked."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plugins").symlink_to(PROJECT / "plugins", target_is_directory=True)
    enrichments = folder / "include" / "enrichments"
    for name, changes in {"every_minute": EVERY_MINUTE, "budgeted": BUDGETED, "hurried": HURRIED}.items():
        text = (enrichments / "photo_quality.yaml").read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (enrichments / f"{name}.yaml").write_text(text)
    (enrichments / "shelf_prices.yaml").write_text(BROKEN)
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory, airflow_project) -> Iterator[Stack]:
    """Run PostgreSQL, the emulator and Airflow."""
    folder = tmp_path_factory.mktemp("stack")
    own = {"PYTHONPATH": str(PROJECT / "plugins")}  # a work tree of git tests itself, whichever one is installed
    quota = ("--quota", "jobs_per_hour=100")
    with Stack(folder, airflow_project, speed=SPEED, environ=own, emulator_options=quota) as running:
        yield running


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Give a function that waits for the first true value of another."""

    def wait(look: Callable[[], Any], *, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"still {found!r} after {seconds:g} s"
            time.sleep(0.3)
        return found

    return wait


@pytest.fixture(scope="session")
def finished(stack, eventually) -> Callable[..., DagRun]:
    """Give a function that waits until a run is over."""

    def wait(dag_id: str, run_id: str, *, seconds: float = 200) -> DagRun:
        def look() -> DagRun | None:
            stack.check()
            run = stack.api.run(dag_id, run_id)
            return run if run.state in {"success", "failed"} else None

        return eventually(look, seconds=seconds)

    return wait


@pytest.fixture
def hurried(monkeypatch) -> None:
    """Let reads that fail be repeated at once."""
    at_once = ReadRetries(wait_initial_seconds=0.01, wait_max_seconds=0.02)
    monkeypatch.setattr("vision_batch.service.client.ReadRetries", lambda: at_once)


@pytest.fixture
def enrichment(tmp_path, project, emulator) -> Enrichment:
    """Give an enrichment over an empty bucket."""
    running = emulator("--api-key", KEY, "--folder", FOLDER, speed=20_000)
    return Enrichment(tmp_path, project, running)


@pytest.fixture
def lose_reply(monkeypatch) -> Callable[[bytes], list[str]]:
    """Give a function that loses the reply to one swap: it arrives, the client repeats it, and that is refused."""

    def lose(word: bytes) -> list[str]:
        lost: list[str] = []

        def swap(store: FileStore, uri: str, body: bytes, *, version: str | None) -> str:
            written = real(store, uri, body, version=version)
            if word in body and not lost:
                lost.append(uri)
                raise StaleWriteError(uri)
            return written

        real = FileStore.swap
        monkeypatch.setattr(FileStore, "swap", swap)
        return lost

    return lose
