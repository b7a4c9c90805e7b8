"""Cancel a job."""

from __future__ import annotations

import grpc

from vision_batch.emulator.records import Job
from vision_batch.emulator.rpc import RefusalError
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.timeline import STOP_SECONDS


def cancel_job(studio: Studio, job: Job) -> Job:
    """Ask a job to stop; it is CANCELED shortly after. Asking again changes nothing.

    :raises RefusalError: it is over, or a scenario lets only running jobs be cancelled.
    """
    shown = studio.job_view(job)
    if shown.over:
        raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, f"Task {job.task_id!r} is {shown.status} already")
    early = shown.status != "IN_PROGRESS"
    if early and studio.scenarios.take("cancel_refused_before_in_progress") is not None:
        raise RefusalError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Task {job.task_id!r} is {shown.status}: only IN_PROGRESS can be canceled",
        )
    if job.canceled_at is None:
        job = job.model_copy(update={"canceled_at": studio.now() + STOP_SECONDS})
        studio.save(job)
    return job
