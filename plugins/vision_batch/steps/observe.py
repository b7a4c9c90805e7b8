"""Read everything that a decision about a shard rests on."""

from __future__ import annotations

from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Job
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.state import Observed
from vision_batch.steps.resources import Resources


def observe(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient) -> Observed:
    """Read the shard's folder and, if it has a dataset and is not loaded yet, the service's list of jobs.

    Anything that cannot be read raises; it is never taken for absent.
    """
    closed, loaded = shard.closed() is not None, shard.loaded() is not None
    if closed or loaded:
        return Observed(closed=closed, loaded=loaded)
    dataset = shard.dataset()
    jobs: tuple[Job, ...] = ()
    if dataset is not None and dataset.dataset_id is not None:
        attempts = shard.attempts()
        jobs = jobs_of(service, dataset.dataset_id)
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
