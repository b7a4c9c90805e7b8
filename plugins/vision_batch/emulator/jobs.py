"""Answer ``TextGenerationBatchService`` and ``BatchInferenceService``: submit, describe, list, cancel, delete."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from yandex.cloud.ai.batch_inference.v1 import batch_inference_service_pb2 as api
from yandex.cloud.ai.batch_inference.v1 import inference_options_pb2 as options_pb
from yandex.cloud.ai.batch_inference.v1.batch_inference_task_pb2 import BatchInferenceTask
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as text_pb
from yandex.cloud.operation.operation_pb2 import Operation

from vision_batch.emulator.cancel import cancel_job
from vision_batch.emulator.clock import timestamp
from vision_batch.emulator.operations import new_job_operation
from vision_batch.emulator.records import Job
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.studio import CREATED_BY, Studio
from vision_batch.emulator.submit import Accepted, accept
from vision_batch.emulator.timeline import is_late
from vision_batch.emulator.work import Work

_KILLED = 137
_HANG_SECONDS = 3600.0


class BatchCompletionService:
    """Accept jobs. An accepted job is on disk before the reply leaves.

    :param work: answers the rows beside the event loop.
    """

    def __init__(self, studio: Studio, work: Work) -> None:
        self._studio = studio
        self._work = work

    async def completion(self, request: text_pb.BatchCompletionRequest, _: Call) -> Operation:
        """Make a job. It is not asked whether the same one is there already: the service does not ask either."""
        accepted: Accepted = accept(self._studio, request)
        if accepted.needs_work:
            self._work.answer(accepted.job)
        lost = self._studio.scenarios.take("reply_lost")
        if lost is not None:
            await self._lose_reply(lost)
        return new_job_operation(accepted.job)

    async def _lose_reply(self, params: dict[str, Any]) -> None:
        """Keep the reply of a job that exists: refuse, hang, or let the whole emulator die."""
        how = params.get("how", "refuse")
        if how == "die":
            os._exit(_KILLED)
        if how == "hang":
            with suppress(TimeoutError):
                async with asyncio.timeout(float(params.get("seconds", _HANG_SECONDS))):
                    await self._studio.scenarios.until_cleared("reply_lost")
        raise RefusalError(grpc.StatusCode[params.get("code", "UNAVAILABLE")], "Connection to the service was lost")


class BatchInferenceService:
    """Show, cancel and delete jobs."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def describe(self, request: api.DescribeBatchInferenceRequest, _: Call) -> Message:
        """Show one job."""
        return api.DescribeBatchInferenceResponse(task=self._task(self._studio.job(request.task_id)))

    def list(self, request: api.ListBatchInferencesRequest, _: Call) -> Message:
        """Show a page of the folder's jobs, oldest first, without the deleted ones."""
        self._studio.check_folder(request.folder_id)
        now = self._studio.now()
        jobs = sorted(self._studio.jobs.values(), key=lambda job: job.created_at)
        found = [
            job
            for job in jobs
            if job.folder_id == request.folder_id
            and not job.deleted
            and job.visible_at <= now
            and self._has(job, request)
        ]
        page, token = self._studio.page_of(found, request, lambda job: job.task_id)
        return api.ListBatchInferencesResponse(tasks=[self._task(job) for job in page], next_page_token=token)

    def cancel(self, request: api.CancelBatchInferenceRequest, _: Call) -> Message:
        """Ask a job to stop."""
        cancel_job(self._studio, self._studio.job(request.task_id))
        return api.CancelBatchInferenceResponse(task_id=request.task_id)

    def delete(self, request: api.DeleteBatchInferenceRequest, _: Call) -> Message:
        """Take a job that is over out of the history; its result stays, and it stays on the bill."""
        job = self._studio.job(request.task_id)
        status = self._studio.job_view(job).status
        if not self._studio.job_view(job).over:
            raise RefusalError(
                grpc.StatusCode.FAILED_PRECONDITION, f"Task {job.task_id!r} is {status}: cancel it first"
            )
        self._studio.save(job.model_copy(update={"deleted": True}))
        return api.DeleteBatchInferenceResponse(task_id=request.task_id)

    def _has(self, job: Job, request: api.ListBatchInferencesRequest) -> bool:
        shown = BatchInferenceTask.Status.Value(self._studio.job_view(job).status)
        return request.status in {0, shown}

    def _task(self, job: Job) -> BatchInferenceTask:
        shown, now = self._studio.job_view(job), self._studio.now()
        named = not (is_late(job, "name", now) or is_late(job, "dataset", now))
        task = BatchInferenceTask(
            task_id=job.task_id,
            operation_id=job.operation_id,
            folder_id=job.folder_id,
            model_uri=job.model_uri,
            source_dataset_id=job.source_dataset_id,
            completion_request=options_pb.BatchCompletionRequest(
                model_uri=job.model_uri,
                source_dataset_id=job.source_dataset_id,
                completion_options=_options(job.options),
            ),
            status=BatchInferenceTask.Status.Value(shown.status),
            result_dataset_id=(shown.result_dataset_id or "") if named else "",
            created_by=CREATED_BY,
            created_at=timestamp(job.created_at, digits=3),
        )
        if shown.started_at is not None:
            task.started_at.CopyFrom(timestamp(shown.started_at, digits=6))
        if shown.finished_at is not None:
            task.finished_at.CopyFrom(timestamp(shown.finished_at, digits=6))
        if shown.settled and "failed_with_result" not in job.scenarios:
            task.errors.CopyFrom(_errors(job))
        return task


def _errors(job: Job) -> BatchInferenceTask.ErrorsInfo:
    """Show what went wrong; a status without a code means nothing did."""
    info = BatchInferenceTask.ErrorsInfo(status=Status())
    if job.work is None:
        return info
    if job.work.status is not None:
        info.status.CopyFrom(Status(code=job.work.status[0], message=job.work.status[1]))
    for line in job.work.line_faults:
        info.line_errors.add(line_number=line.line, message=line.message)
    for batch in job.work.batch_faults:
        info.batch_errors.add(
            batch_number=batch.batch, first_line=batch.first, last_line=batch.last, message=batch.message
        )
    return info


def _options(found: dict[str, Any]) -> options_pb.CompletionOptions:
    options = options_pb.CompletionOptions()
    if "temperature" in found:
        options.temperature.value = found["temperature"]
    if "max_tokens" in found:
        options.max_tokens.value = found["max_tokens"]
    if "reasoning_mode" in found:
        options.reasoning_options.mode = found["reasoning_mode"]
    return options
