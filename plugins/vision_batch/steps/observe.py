"""Read everything that a decision about a shard rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vision_batch.errors import NotFoundError
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import DatasetStatus, Job, JobStatus
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.state import Attempt, Observed
from vision_batch.steps.resources import Resources

#: The label by which a result names its job (recorded traffic).
JOB_LABEL = "foundation_models_batch_task_id"


def observe(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient) -> Observed:
    """Read the shard's folder and, if it has a dataset and is not loaded yet, what the service says of its jobs.

    Anything that cannot be read raises; it is never taken for absent.
    """
    closed, loaded = shard.closed() is not None, shard.loaded() is not None
    if closed or loaded:
        return Observed(closed=closed, loaded=loaded)
    dataset = shard.dataset()
    jobs: tuple[Job, ...] = ()
    if dataset is not None and dataset.dataset_id is not None:
        attempts = shard.attempts()
        jobs = known_jobs(service, dataset.dataset_id, attempts)
    else:
        attempts = ()
    return Observed(
        dataset=dataset,
        attempts=attempts,
        jobs=jobs,
        max_jobs=resources.declaration.limits.max_jobs_per_shard,
        settle=resources.declaration.limits.settle,
        salvage=resources.declaration.limits.salvage,
    )


def jobs_of(service: SyncAIStudioClient, dataset_id: str) -> tuple[Job, ...]:
    """List every job that was made from a dataset."""
    return tuple(job for job in service.list_jobs() if job.source_dataset_id == dataset_id)


def known_jobs(service: SyncAIStudioClient, dataset_id: str, attempts: Sequence[Attempt]) -> tuple[Job, ...]:
    """Return every job of a shard's dataset of which the service knows anything.

    A job that an attempt's record names and the list does not (yet) show is looked up by its id, and what is left of
    a deleted one by its result.
    """
    listed = jobs_of(service, dataset_id)
    return (*listed, *_unlisted(service, dataset_id, attempts, listed))


def _unlisted(
    service: SyncAIStudioClient, dataset_id: str, attempts: Sequence[Attempt], listed: Sequence[Job]
) -> Iterator[Job]:
    known = {job.job_id for job in listed}
    for attempt in attempts:
        if attempt.job_id is None or attempt.job_id in known:
            continue
        try:
            yield service.describe_job(attempt.job_id)
        except NotFoundError:
            yield from _deleted(service, attempt.job_id, dataset_id, attempt)


def _deleted(service: SyncAIStudioClient, job_id: str, dataset_id: str, attempt: Attempt) -> Iterator[Job]:
    """Yield a job that was deleted from the service's history, as done, if its result is still there."""
    for result in service.list_datasets(statuses=(DatasetStatus.READY,)):
        if result.labels.get(JOB_LABEL) == job_id:
            yield Job(
                job_id=job_id,
                operation_id="",
                model_uri="",
                source_dataset_id=dataset_id,
                result_dataset_id=result.dataset_id,
                status=JobStatus.COMPLETED,
                created_at=attempt.made_at,
                started_at=None,
                finished_at=result.updated_at,
                error=None,
                line_errors=(),
                batch_errors=(),
            )
