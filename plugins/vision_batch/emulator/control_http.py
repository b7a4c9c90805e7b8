"""Serve the emulator's own pages: bill, scenarios, clock, health, the log of refused calls."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vision_batch.emulator.clock import parse_clock_change, timestamp
from vision_batch.emulator.records import Job
from vision_batch.emulator.scenarios import KINDS, ScenarioError, parse_scenario
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.tokens import MINIMUM_JOB_TOKENS
from vision_batch.emulator.validation import REQUESTS
from vision_batch.emulator.work import Work


class ControlHttp:
    """Show and steer the emulator.

    :param work: has to be done before time may leap.
    """

    def __init__(self, studio: Studio, work: Work) -> None:
        self._studio = studio
        self._work = work

    def routes(self) -> list[Route]:
        """Return the routes under ``/_emulator``."""
        return [
            Route("/_emulator/bill", self.bill, methods=["GET"]),
            Route("/_emulator/clock", self.clock, methods=["POST"]),
            Route("/_emulator/health", self.health, methods=["GET"]),
            Route("/_emulator/log", self.log, methods=["GET"]),
            Route("/_emulator/scenario", self.scenario, methods=["GET", "POST", "DELETE"]),
        ]

    async def bill(self, request: Request) -> Response:
        """Show every accepted job with its price in tokens; ``?rows=1`` adds the hash of each request.

        ``?job=<id>`` shows one job.
        """
        with_rows = request.query_params.get("rows", "0") not in {"", "0"}
        wanted = request.query_params.get("job")
        jobs = [job for job in self._studio.jobs.values() if wanted in (None, job.task_id)]
        return JSONResponse({"jobs": [self._billed(job, with_rows=with_rows) for job in jobs]})

    async def health(self, _: Request) -> Response:
        """Show that it is there, and its time."""
        return JSONResponse({"status": "ok", **self._time()})

    async def clock(self, request: Request) -> Response:
        """Freeze, resume or advance the clock.

        What rows there are to read and to answer is done first: a job that has been made is over when its time has
        passed, however slow the machine is.
        """
        try:
            asked = parse_clock_change(json.loads(await request.body()))
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        await self._work.idle()
        self._studio.change_clock(asked)
        return JSONResponse(self._time())

    async def log(self, _: Request) -> Response:
        """Show the calls that were refused lately."""
        return JSONResponse({"refused": list(self._studio.log)})

    async def scenario(self, request: Request) -> Response:
        """Show, add or clear scenarios."""
        scenarios = self._studio.scenarios
        if request.method == "DELETE":
            self._studio.clear_scenarios(request.query_params.get("name"))
        if request.method == "POST":
            try:
                scenarios.add(parse_scenario(json.loads(await request.body())))
            except (ScenarioError, ValueError, RecursionError) as error:
                return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(
            {
                "active": [scenario.model_dump() for scenario in scenarios.active],
                "hanging": +scenarios.hanging,
                "known": {name: list(kind.params) for name, kind in KINDS.items()},
            }
        )

    def _time(self) -> dict[str, Any]:
        clock = self._studio.clock
        now = timestamp(clock.now(), digits=3).ToJsonString()
        return {"time": now, "speed": clock.speed, "frozen": clock.origin.frozen}

    def _billed(self, job: Job, *, with_rows: bool) -> dict[str, Any]:
        tokens = job.work.tokens if job.work is not None else 0
        entry: dict[str, Any] = {
            "task_id": job.task_id,
            "source_dataset_id": job.source_dataset_id,
            "model_uri": job.model_uri,
            "rows": job.rows,
            "tokens": tokens,
            "billed_tokens": max(tokens, MINIMUM_JOB_TOKENS),
            "created_at": timestamp(job.created_at, digits=3).ToJsonString(),
            "cancel_accepted": job.canceled_at is not None,
            "status": self._studio.job_view(job).status,
        }
        if with_rows:
            hashes = self._studio.folder.job_folder(job.task_id) / REQUESTS
            entry["requests"] = hashes.read_text().split()
        return entry
