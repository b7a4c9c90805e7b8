"""Read what the emulator would have charged."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from vision_batch.errors import ServiceUnavailableError


@dataclass(frozen=True)
class BilledJob:
    """Hold one accepted job. ``billed_tokens`` includes the minimum charge of a job."""

    job_id: str
    rows: int
    tokens: int
    billed_tokens: int
    status: str

    @property
    def over(self) -> bool:
        """Tell whether the job has ended, in whatever way."""
        return self.status in {"COMPLETED", "FAILED", "CANCELED"}


def read_bill(emulator_url: str) -> tuple[BilledJob, ...]:
    """Give every job that the emulator has accepted, in the order of acceptance.

    :raises ServiceUnavailableError: the emulator does not answer.
    """
    try:
        answer = httpx.get(f"{emulator_url}/_emulator/bill", timeout=30, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceUnavailableError(f"The emulator does not show its bill: {error}") from error
    return tuple(
        BilledJob(job["task_id"], job["rows"], job["tokens"], job["billed_tokens"], job["status"])
        for job in answer.json()["jobs"]
    )
