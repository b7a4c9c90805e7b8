"""Keep every test away from the person's own Airflow and settings; start emulators."""

import atexit
import json
import os
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forks import CONTEXT, ForkedEmulator
from hypothesis import settings

PROJECT = Path(__file__).resolve().parents[1]
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# The same examples every time, so that a red build speaks of its change; `make explore` looks for new ones. No deadline:
# how long an example takes says more about the machine than about the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("exploring", derandomize=False, deadline=None)
settings.load_profile("repeatable")

# What is forked has imported these: emulators, and the processes of tests/warehouse. One list counts for all.
CONTEXT.set_forkserver_preload(["vision_batch.emulator.main", "loaders"])

# Airflow reads these when it is first imported, which is before any fixture runs.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "VISION_BATCH_", "AI_STUDIO_"))]:
    del os.environ[_name]
_home = tempfile.mkdtemp(prefix="vision-batch-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(PROJECT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PROJECT / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"


@pytest.fixture(scope="session")
def project() -> Path:
    """Give the folder of the project."""
    return PROJECT


@dataclass
class RunningEmulator:
    """A real emulator process on free ports, with its own state folder."""

    state: Path
    options: tuple[str, ...] = ()
    process: ForkedEmulator | None = None
    grpc: str = ""
    http: str = ""

    def start(self, *options: str) -> None:
        """Start it (again, on the same state) and prove that it is ours: its own line, and its health."""
        self.options = options or self.options
        self.process = ForkedEmulator(["--state", str(self.state), "--end-with-stdin", *self.options])
        line = json.loads(self.process.first_line)
        self.grpc, self.http = line["grpc"], line["http"]
        assert self._open("health")["status"] == "ok"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by its process id and return the exit code."""
        self.process.kill(number)
        self.process.close_stdin()
        return self.process.wait()

    def bill(self, *, rows: bool = False) -> list[dict[str, Any]]:
        return self._open("bill?rows=1" if rows else "bill")["jobs"]

    def refused(self) -> list[dict[str, Any]]:
        return self._open("log")["refused"]

    def scenario(self, name: str, times: int | None = 1, **params: Any) -> None:
        self._open("scenario", {"name": name, "times": times, "params": params})

    def clear(self, name: str = "") -> None:
        """Forget all scenarios, or those of one name; what they held up goes on."""
        self._open(f"scenario?name={name}" if name else "scenario", method="DELETE")

    @contextmanager
    def holding(self, status: str = "IN_PROGRESS") -> Iterator[None]:
        """Let jobs that are made meanwhile come as far as a state and stay there."""
        self.scenario("hold_job", times=None, status=status)
        yield
        self.clear("hold_job")

    def freeze(self) -> None:
        """Let its clock stand still."""
        self._open("clock", {"frozen": True})

    def resume(self) -> None:
        """Let its clock go on."""
        self._open("clock", {"frozen": False})

    def advance(self, seconds: float) -> None:
        """Let so much of its time pass at once."""
        self._open("clock", {"advance": seconds})

    def hanging(self, name: str) -> int:
        """Give the number of calls that a scenario lets hang."""
        return self._open("scenario")["hanging"].get(name, 0)

    def waiting(self) -> list[dict[str, Any]]:
        """Give the scenarios that still wait for their occasion."""
        return self._open("scenario")["active"]

    def _open(self, page: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.http}/_emulator/{page}", data, method=method)
        with _DIRECT.open(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def _emulators(new_folder: Callable[[], Path]) -> Iterator[Callable[..., RunningEmulator]]:
    started: list[RunningEmulator] = []

    def start(*options: str, speed: float = 600) -> RunningEmulator:
        emulator = RunningEmulator(new_folder())
        started.append(emulator)
        emulator.start("--speed", f"{speed:g}", *options)
        return emulator

    try:
        yield start
    finally:
        for emulator in started:
            if emulator.process is not None:
                emulator.stop()


@pytest.fixture
def emulator(tmp_path_factory) -> Iterator[Callable[..., RunningEmulator]]:
    """Give a function that starts an emulator: ``emulator("--api-key", "k", speed=600)``. It ends with the test."""
    with _emulators(lambda: tmp_path_factory.mktemp("emulator")) as start:
        yield start


@pytest.fixture(scope="session")
def emulators(tmp_path_factory) -> Iterator[Callable[..., RunningEmulator]]:
    """Give the same function for fixtures of a wider scope. They end with the session."""
    with _emulators(lambda: tmp_path_factory.mktemp("emulator")) as start:
        yield start
