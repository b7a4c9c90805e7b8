"""Decide about a job, and write it down with its result dataset before anybody is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import grpc
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as text_pb

from vision_batch.emulator.quotas import check_dataset_count, check_jobs
from vision_batch.emulator.records import Dataset, Job, Schedule
from vision_batch.emulator.rows import RESULT_TYPES
from vision_batch.emulator.rpc import RefusalError
from vision_batch.emulator.state import link
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.timeline import (
    BROKEN_SECONDS,
    CANCELED_SECONDS,
    LAST_SECONDS,
    PENDING_SECONDS,
    STARTED_SECONDS,
    UNSUPPORTED_SECONDS,
    ordinary_schedule,
)
from vision_batch.emulator.validation import INDEX, REQUESTS, UPLOAD
from vision_batch.models import Model

SOURCE = "source.jsonl"
_BRANCHES = ("", "latest", "rc", "deprecated")
_URI = re.compile(r"gpt://(?P<folder>[^/@]+)/(?P<model>[^/@]+)(?:/(?P<branch>[^/@]*)(?P<tuned>@[^/@]+)?)?")
_LATE_SECONDS = 90.0


@dataclass(frozen=True)
class Accepted:
    """Hold a job that is on disk."""

    job: Job
    needs_work: bool


def accept(studio: Studio, request: text_pb.BatchCompletionRequest) -> Accepted:
    """Write a job down.

    :raises RefusalError: the request, the dataset or a quota does not allow it; nothing is written then.
    """
    parts = _URI.fullmatch(request.model_uri)
    if parts is None:
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"model_uri {request.model_uri!r} is malformed")
    studio.check_folder(parts["folder"])
    options = _checked_options(request)
    source = _checked_source(studio, request.source_dataset_id, parts["folder"])
    check_jobs(studio)
    check_dataset_count(studio)
    model = model_of(studio, request.model_uri)
    now = studio.now()
    scenarios = studio.scenarios.take_all("job") if model is not None else {}
    schedule = _schedule(now, model, scenarios)
    late = scenarios.get("late_visibility")
    validation = source.validation
    job = Job(
        task_id=studio.new_id("fbi"),
        operation_id=studio.new_id("fbi"),
        folder_id=parts["folder"],
        model_uri=request.model_uri,
        source_dataset_id=source.dataset_id,
        created_at=now,
        rows=validation.work.total_rows if validation is not None and validation.work is not None else 0,
        schedule=schedule,
        options=options,
        scenarios=scenarios,
        visible_at=now + float(late.get("seconds", _LATE_SECONDS)) if late is not None else now,
        held=scenarios["hold_job"].get("status", "IN_PROGRESS") if "hold_job" in scenarios else None,
    )
    _keep_source(studio, job)
    if schedule.pending_at is None:
        studio.save(job)
        return Accepted(job, needs_work=False)
    result = _result_dataset(studio, job, source, schedule.pending_at)
    job.result_dataset_id = result.dataset_id
    studio.save(job, result)
    return Accepted(job, needs_work=True)


def model_of(studio: Studio, model_uri: str) -> Model | None:
    """Return the model of a URI if batch mode supports it: one of the table, untuned, in a known branch."""
    parts = _URI.fullmatch(model_uri)
    if parts is None or parts["tuned"] or (parts["branch"] or "") not in _BRANCHES:
        return None
    return studio.settings.model(parts["model"])


def _checked_options(request: text_pb.BatchCompletionRequest) -> dict[str, Any]:
    if request.WhichOneof("ResponseFormat") is not None:
        raise RefusalError(
            grpc.StatusCode.INVALID_ARGUMENT, "json_object and json_schema are unsupported in batch mode"
        )
    found, options = request.completion_options, {}
    if found.HasField("temperature"):
        options["temperature"] = found.temperature.value
    if found.HasField("max_tokens"):
        options["max_tokens"] = found.max_tokens.value
    if found.HasField("reasoning_options"):
        options["reasoning_mode"] = found.reasoning_options.mode
    if not 0 <= options.get("temperature", 0) <= 1:
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "temperature must be from 0 to 1")
    if options.get("max_tokens", 1) <= 0:
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "max_tokens must be greater than 0")
    return options


def _checked_source(studio: Studio, dataset_id: str, folder_id: str) -> Dataset:
    source = studio.dataset(dataset_id)
    if source.folder_id != folder_id:
        raise RefusalError(
            grpc.StatusCode.PERMISSION_DENIED,
            f"Dataset {dataset_id!r} is not in the folder of the model, {folder_id!r}",
        )
    if source.task_type not in RESULT_TYPES:
        raise RefusalError(
            grpc.StatusCode.INVALID_ARGUMENT, f"Dataset {dataset_id!r} has type {source.task_type}, not a request type"
        )
    status = studio.dataset_view(source).status
    if status != "READY":
        raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, f"Dataset {dataset_id!r} is {status}, not READY")
    return source


def _schedule(now: float, model: Model | None, scenarios: dict[str, dict[str, Any]]) -> Schedule:
    def seconds(name: str, usual: float) -> float:
        return float(scenarios[name].get("seconds", usual))

    if model is None:
        return Schedule(outcome="FAILED", finished_at=now + UNSUPPORTED_SECONDS)
    if "canceled" in scenarios:
        return Schedule(outcome="CANCELED", finished_at=now + seconds("canceled", CANCELED_SECONDS))
    if "failed_without_reason" in scenarios:
        return Schedule(outcome="FAILED", finished_at=now + seconds("failed_without_reason", UNSUPPORTED_SECONDS))
    if "failed_with_result" in scenarios:
        finished = now + seconds("failed_with_result", BROKEN_SECONDS)
        return Schedule(
            outcome="FAILED",
            pending_at=now + PENDING_SECONDS,
            started_at=now + STARTED_SECONDS,
            settled_at=max(now + STARTED_SECONDS, finished - LAST_SECONDS),
            finished_at=max(now + STARTED_SECONDS, finished),
        )
    return ordinary_schedule(now)


def _result_dataset(studio: Studio, job: Job, source: Dataset, created_at: float) -> Dataset:
    return Dataset(
        dataset_id=studio.new_id("fds"),
        folder_id=job.folder_id,
        name=f"Batch inference {job.task_id} result",
        task_type=RESULT_TYPES[source.task_type],
        created_at=created_at,
        updated_at=created_at,
        labels={
            "foundation_models_batch_task_id": job.task_id,
            "foundation_models_source_dataset": source.dataset_id,
        },
        result_of=job.task_id,
    )


def _keep_source(studio: Studio, job: Job) -> None:
    """Keep the rows although the dataset may be deleted."""
    dataset, folder = studio.folder.dataset_folder(job.source_dataset_id), studio.folder.job_folder(job.task_id)
    for name, kept in ((UPLOAD, SOURCE), (INDEX, INDEX), (REQUESTS, REQUESTS)):
        link(dataset / name, folder / kept)
