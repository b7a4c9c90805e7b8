"""Follow DAG runs until they are over, and say what changes meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from vision_batch.demo.airflow_api import AirflowApi, DagRun
from vision_batch.demo.stack import Stack
from vision_batch.errors import ServiceUnavailableError

OVER = frozenset({"success", "failed"})
_FAILED = frozenset({"failed"})
_LOG_LINES = 20
_LOOK_SECONDS = 1.0
_UNHEALTHY_SECONDS = 90.0


@dataclass(frozen=True)
class Patience:
    """Say how long to wait, in seconds from the start."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Give the seconds since the start."""
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Tell whether the time is up."""
        return self.elapsed > self.seconds


def follow(
    stack: Stack, find: Callable[[], Collection[DagRun]], progress: Callable[[], str], patience: Patience, out: Console
) -> list[DagRun]:
    """Print one line for each change until every run is over, and give the runs.

    :param find: gives the runs to wait for; none yet means waiting.
    :param progress: gives words about the remote side for the line.
    :raises ServiceUnavailableError: a process died, Airflow is sick for long, or the time is up.
    """
    line, illness = "", _Illness(stack)
    while not patience.over:
        with illness.tolerated():
            runs = list(find())
            shown, line = line, " | ".join(filter(None, [_states(runs), progress()]))
            if line != shown:
                out.print(f"[dim]{patience.elapsed:5.0f} s[/]  {escape(line)}")
            if runs and all(run.state in OVER for run in runs):
                return runs
        time.sleep(_LOOK_SECONDS)
    raise ServiceUnavailableError(f"The runs are not over after {patience.seconds:g} s: {line}")


def explain_failures(api: AirflowApi, dag_id: str, runs: Collection[DagRun], out: Console) -> None:
    """Print which task of which run failed, and the end of its log."""
    for run in runs:
        if run.state != "failed":
            continue
        out.print(f"\n[bold red]Run {escape(run.run_id)} failed.[/]")
        for task in api.tasks(dag_id, run.run_id):
            if task.state in _FAILED:
                index = f", map index {task.map_index}" if task.map_index >= 0 else ""
                out.print(f"Task {escape(task.task_id)}{index}, try {task.try_number}; the end of its log:")
                lines = api.log(dag_id, run.run_id, task).splitlines()[-_LOG_LINES:]
                out.print(escape("\n".join(f"  {line}" for line in lines)), highlight=False, soft_wrap=True)


def _states(runs: Collection[DagRun]) -> str:
    counts = Counter(run.state for run in runs)
    done = counts.pop("success", 0)
    others = [f"{number} {state}" for state, number in sorted(counts.items())]
    return ", ".join([f"{done} of {len(runs)} runs done", *others])


class _Illness:
    """Tell a busy Airflow from one that does not work although its processes live."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._since: float | None = None

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Let calls fail for a while, but not when a process has died."""
        trouble = ""
        try:
            yield
        except ServiceUnavailableError as error:
            trouble = str(error)
        self._stack.check()
        unhealthy = self._stack.unhealthy()
        if not trouble and not unhealthy:
            self._since = None
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > _UNHEALTHY_SECONDS:
            name = next(iter(unhealthy), "api-server").replace("_", "-")
            log = self._stack.processes.log_tail(name)
            raise ServiceUnavailableError(f"Airflow does not work: {trouble or unhealthy}.\n{log}")
