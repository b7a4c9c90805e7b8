"""Speak with Airflow's REST API, version 2.

Only what the demo and the tests need. Airflow's command line is not used for this: a call takes seconds, and log lines
mix with its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from vision_batch.errors import RequestRefusedError, ServiceUnavailableError

_PAGE = 100


@dataclass(frozen=True)
class DagRun:
    """Hold what the demo shows of a DAG run. ``logical`` is its logical date, if it has one."""

    run_id: str
    state: str
    logical: datetime | None
    kind: str


@dataclass(frozen=True)
class TaskInstance:
    """Hold what the demo shows of a task instance. ``map_index`` is -1 for a task that is not mapped."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int


class AirflowApi:
    """Call one Airflow API server, whose login gives a token without a password.

    :param url: without ``/api/v2``, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str) -> None:
        # A proxy of the person's shell has no business between two processes of one machine.
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._token = ""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> dict[str, str]:
        """Give each component's state: ``healthy``, ``unhealthy``, or ``""`` when it never reported."""
        body = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        return {name: (value or {}).get("status") or "" for name, value in body.items()}

    def call(self, method: str, path: str, *, body: object = None, params: Mapping[str, Any] | None = None) -> Any:
        """Call one endpoint below ``/api/v2`` and give its JSON.

        :raises RequestRefusedError: the server understood and said no.
        :raises ServiceUnavailableError: it did not answer, or broke.
        """
        try:
            answer = self._request(method, path, body, params)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._token = ""
                answer = self._request(method, path, body, params)
        except httpx.HTTPError as error:
            raise ServiceUnavailableError(f"Airflow did not answer {method} {path}: {error}") from error
        if answer.is_server_error:
            raise ServiceUnavailableError(f"Airflow answered {answer.status_code} to {method} {path}")
        if answer.is_error:
            raise RequestRefusedError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Give a DAG's facts, or ``None`` while Airflow does not know it."""
        found = self.call("GET", "/dags", params={"dag_ids": dag_id, "exclude_stale": "true"})
        return next((dict(dag) for dag in found["dags"] if dag["dag_id"] == dag_id), None)

    def dags(self) -> list[dict[str, Any]]:
        """List the DAGs that Airflow knows."""
        return self._all("/dags", "dags", {"exclude_stale": "true"})

    def import_errors(self) -> list[str]:
        """Give the messages of DAG files that could not be read."""
        found = self.call("GET", "/importErrors", params={"limit": _PAGE})
        return [f"{error['filename']}: {error['stack_trace']}" for error in found["import_errors"]]

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Pause a DAG, or let it run."""
        self.call("PATCH", f"/dags/{_word(dag_id)}", body={"is_paused": paused})

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run without a logical date and give its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/dags/{_word(dag_id)}/dagRuns", body=body)["dag_run_id"])

    def backfill(
        self,
        dag_id: str,
        first: datetime,
        last: datetime,
        *,
        reprocess: str = "completed",
        max_active_runs: int = 4,
        run_backwards: bool = False,
    ) -> int:
        """Start a backfill over the logical dates from ``first`` to ``last``, both included, and give its id.

        :param reprocess: ``none``, ``failed`` or ``completed``: which existing runs are run again.
        :param run_backwards: the newest first.
        """
        body = {
            "dag_id": dag_id,
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "reprocess_behavior": reprocess,
            "max_active_runs": max_active_runs,
            "run_backwards": run_backwards,
        }
        return int(self.call("POST", "/backfills", body=body)["id"])

    def open_backfills(self, dag_id: str) -> list[int]:
        """List a DAG's backfills that Airflow has not closed yet: only one may be open."""
        found = self.call("GET", "/backfills", params={"dag_id": dag_id, "limit": _PAGE, "order_by": "-id"})
        return [int(item["id"]) for item in found["backfills"] if item["completed_at"] is None]

    def cancel_backfill(self, backfill_id: int) -> None:
        """Cancel a backfill: its queued runs are failed."""
        self.call("PUT", f"/backfills/{backfill_id}/cancel")

    def runs(self, dag_id: str) -> list[DagRun]:
        """List all runs of a DAG."""
        found = self._all(f"/dags/{_word(dag_id)}/dagRuns", "dag_runs", {})
        return [_dag_run(run) for run in found]

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Give one run of a DAG."""
        return _dag_run(self.call("GET", f"/dags/{_word(dag_id)}/dagRuns/{_word(run_id)}"))

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """List the task instances of a run."""
        found = self._all(f"/dags/{_word(dag_id)}/dagRuns/{_word(run_id)}/taskInstances", "task_instances", {})
        return [TaskInstance(task["task_id"], task["map_index"], task["state"], task["try_number"]) for task in found]

    def log(self, dag_id: str, run_id: str, task: TaskInstance) -> str:
        """Give the log of a task instance's last try, one event per line."""
        path = (
            f"/dags/{_word(dag_id)}/dagRuns/{_word(run_id)}/taskInstances/{_word(task.task_id)}/logs/{task.try_number}"
        )
        found = self.call("GET", path, params={"map_index": task.map_index, "full_content": "true"})
        return "\n".join(_log_line(line) for line in found["content"])

    def _all(self, path: str, name: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, params={**params, "limit": _PAGE, "offset": len(rows)})
            rows += page[name]
            if not page[name] or len(rows) >= page["total_entries"]:
                return rows

    def _request(self, method: str, path: str, body: object, params: Mapping[str, Any] | None) -> httpx.Response:
        if not self._token:
            self._token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._http.request(method, f"/api/v2{path}", json=body, params=params, headers=headers)


def _dag_run(run: Mapping[str, Any]) -> DagRun:
    logical = datetime.fromisoformat(run["logical_date"]) if run["logical_date"] else None
    return DagRun(run["dag_run_id"], run["state"], logical, run["run_type"])


def _word(text: str) -> str:
    return quote(text, safe="")


def _log_line(line: Any) -> str:
    if not isinstance(line, dict):
        return str(line)
    words = [str(line.get(name, "")) for name in ("timestamp", "level", "event")]
    details = [
        f"{name}={value}"
        for name, value in line.items()
        if name not in {"timestamp", "level", "event", "logger", "filename", "lineno", "loc"}
    ]
    return " ".join(word for word in [*words, *details] if word)
