"""Read everything that a decision about a shard rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vision_batch.errors import ForeignJobError, NotFoundError, OtherFolderError
from vision_batch.models import may_be_same_model
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset, DatasetStatus, Job, JobStatus
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.state import Attempt, Observed, PreparedDataset
from vision_batch.steps.resources import Resources

#: The label by which a result names its job (recorded traffic).
JOB_LABEL = "foundation_models_batch_task_id"


def observe(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient) -> Observed:
    """Read the shard's folder and, if it has a dataset and is not loaded yet, what the service says of its jobs.

    Anything that cannot be read raises; it is never taken for absent.

    :raises OtherFolderError: if the service is asked in another folder than the one that the shard's dataset is in.
    :raises ForeignJobError: if somebody else has asked the dataset of another model.
    """
    closed, loaded = shard.closed() is not None, shard.loaded() is not None
    if closed:
        return Observed(closed=closed, loaded=loaded)
    dataset = shard.dataset()
    _check_folder(resources, shard, dataset)
    if loaded:
        return Observed(loaded=loaded)
    jobs: tuple[Job, ...] = ()
    if dataset is not None and dataset.dataset_id is not None:
        attempts = shard.attempts()
        jobs = known_jobs(service, dataset.dataset_id, attempts)
        _check_models(resources, shard, jobs, attempts)
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


def _check_folder(resources: Resources, shard: ShardFolder, dataset: PreparedDataset | None) -> None:
    """Refuse to take what another folder does not know for something that is not there any more."""
    here = resources.folder_id()
    if dataset is None or dataset.folder_id in (None, here):
        return
    there, connection = dataset.folder_id, resources.declaration.connection
    raise OtherFolderError(
        f"shard {shard.key} has its dataset {dataset.dataset_id}, and its job if there is one, in the service's folder "
        f"{there!r}, but the connection of this task names the folder {here!r}. Nothing was asked, loaded or changed. "
        f"Next: bring back folder_id {there!r} (the shard was claimed with connection {connection!r}), run this again, "
        f"and change the folder when no shard is open. If {there!r} is lost for good, give the shard up: create "
        f'{shard.uri}/closed.json with {{"reason": "its folder is lost"}} in it. What it has not loaded is asked, and '
        "paid, again then"
    )


def _check_models(resources: Resources, shard: ShardFolder, jobs: Sequence[Job], attempts: Sequence[Attempt]) -> None:
    foreign = foreign_jobs(resources, jobs, attempts)
    if not foreign:
        return
    named = ", ".join(f"{job.job_id} ({job.status}, {job.model_uri})" for job in foreign)
    raise ForeignJobError(
        f"others have asked dataset {foreign[0].source_dataset_id} of shard {shard.key} of another model: {named}; "
        f"the shard asks {_model_uri(resources)}. Nothing was loaded, asked or cancelled. Next: delete that job "
        "from the service's history (if it runs, cancel it first; its result stays) and run this again"
    )


def foreign_jobs(resources: Resources, jobs: Sequence[Job], attempts: Sequence[Attempt]) -> list[Job]:
    """Return the jobs that cannot be the shard's: of another model. Those that an attempt names are, in any case."""
    ours, known = _model_uri(resources), {attempt.job_id for attempt in attempts}
    return [job for job in jobs if job.job_id not in known and not may_be_same_model(ours, job.model_uri)]


def own_results(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient, dataset_id: str) -> list[str]:
    """Return the results of the jobs that asked one of the shard's datasets, but for those of foreign jobs."""
    attempts = shard.attempts()
    jobs = known_jobs(service, dataset_id, attempts)
    foreign = foreign_jobs(resources, jobs, attempts)
    return [job.result_dataset_id for job in jobs if job not in foreign and job.result_dataset_id is not None]


def _model_uri(resources: Resources) -> str:
    return resources.model.uri(resources.folder_id(), resources.declaration.branch)


def jobs_of(service: SyncAIStudioClient, dataset_id: str) -> tuple[Job, ...]:
    """List every job that was made from a dataset."""
    return tuple(job for job in service.list_jobs() if job.source_dataset_id == dataset_id)


def known_jobs(service: SyncAIStudioClient, dataset_id: str, attempts: Sequence[Attempt]) -> tuple[Job, ...]:
    """Return every job of a shard's dataset of which the service knows anything.

    A job that an attempt's record names and the list does not (yet) show is looked up by its id, and what is left of
    a deleted one by its result. A result that its job does not name (yet) is found by its label.
    """
    listed = [_with_result(service, job) for job in jobs_of(service, dataset_id)]
    return (*listed, *_unlisted(service, dataset_id, attempts, listed))


def _unlisted(
    service: SyncAIStudioClient, dataset_id: str, attempts: Sequence[Attempt], listed: Sequence[Job]
) -> Iterator[Job]:
    known = {job.job_id for job in listed}
    for attempt in attempts:
        if attempt.job_id is None or attempt.job_id in known:
            continue
        try:
            yield _with_result(service, service.describe_job(attempt.job_id))
        except NotFoundError:
            yield from _deleted(service, attempt.job_id, dataset_id, attempt)


def _deleted(service: SyncAIStudioClient, job_id: str, dataset_id: str, attempt: Attempt) -> Iterator[Job]:
    """Yield a job that was deleted from the service's history, as done, if its result is still there."""
    result = _labelled(service, job_id)
    if result is not None:
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


def _with_result(service: SyncAIStudioClient, job: Job) -> Job:
    if job.status is not JobStatus.COMPLETED or job.result_dataset_id is not None:
        return job
    result = _labelled(service, job.job_id)
    return job if result is None else replace(job, result_dataset_id=result.dataset_id)


def _labelled(service: SyncAIStudioClient, job_id: str) -> Dataset | None:
    """Return a job's result by the label that names the job."""
    found = service.list_datasets(statuses=(DatasetStatus.READY,))
    return next((each for each in found if each.labels.get(JOB_LABEL) == job_id), None)
