"""Answer ``yandex.cloud.operation.OperationService`` for validations and jobs."""

from __future__ import annotations

import math

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from yandex.cloud.ai.dataset.v1 import dataset_pb2, dataset_service_pb2
from yandex.cloud.ai.foundation_models.v1.batch_inference_task_status_pb2 import BatchInferenceTaskStatus
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as text_pb
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest, GetOperationRequest

from vision_batch.emulator.cancel import cancel_job
from vision_batch.emulator.clock import timestamp
from vision_batch.emulator.records import Dataset, Job
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.timeline import JobView, validation_view

#: How many rows the emulator calls a batch in the progress of an operation.
_BATCH_ROWS = 5


class OperationService:
    """Show and cancel long operations; any id on every port."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def get(self, request: GetOperationRequest, _: Call) -> Message:
        """Show one operation."""
        found = self._find(request.operation_id)
        now = self._studio.now()
        return validation_operation(found, now) if isinstance(found, Dataset) else self._job_operation(found)

    def cancel(self, request: CancelOperationRequest, _: Call) -> Message:
        """Cancel the job of an operation; a validation cannot be cancelled."""
        found = self._find(request.operation_id)
        if isinstance(found, Dataset):
            raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "A validation cannot be cancelled")
        return self._job_operation(cancel_job(self._studio, found))

    def _find(self, operation_id: str) -> Dataset | Job:
        for job in self._studio.jobs.values():
            if job.operation_id == operation_id:
                self._studio.check_folder(job.folder_id)
                return job
        for dataset in self._studio.datasets.values():
            if dataset.validation is not None and dataset.validation.operation_id == operation_id:
                self._studio.check_folder(dataset.folder_id)
                return dataset
        raise RefusalError(grpc.StatusCode.NOT_FOUND, f"Operation {operation_id!r} is not found")

    def _job_operation(self, job: Job) -> Operation:
        shown, now = self._studio.job_view(job), self._studio.now()
        operation = new_job_operation(job)
        moments = (shown.started_at, shown.finished_at, job.created_at)
        operation.modified_at.CopyFrom(timestamp(max(moment for moment in moments if moment is not None)))
        status = BatchInferenceTaskStatus.Value(shown.status)
        total = math.ceil(job.rows / _BATCH_ROWS)
        operation.metadata.Pack(
            text_pb.BatchCompletionMetadata(
                task_id=job.task_id,
                task_status=status,
                completed_batches=math.floor(total * _share_done(job, shown, now)),
                total_batches=total,
            )
        )
        operation.done = shown.over
        if shown.status == "COMPLETED":
            operation.response.Pack(
                text_pb.BatchCompletionResponse(
                    task_id=job.task_id, task_status=status, result_dataset_id=shown.result_dataset_id or ""
                )
            )
        elif shown.over:
            operation.error.CopyFrom(_job_error(job, shown))
        return operation


def new_job_operation(job: Job) -> Operation:
    """Show a job's operation as the submit call does: nothing but the job's id."""
    operation = Operation(
        id=job.operation_id, created_at=timestamp(job.created_at), modified_at=timestamp(job.created_at)
    )
    operation.metadata.Pack(text_pb.BatchCompletionMetadata(task_id=job.task_id))
    return operation


def validation_operation(dataset: Dataset, now: float) -> Operation:
    """Show the validation of a dataset: no metadata until the rows are counted."""
    shown, validation = validation_view(dataset, now), dataset.validation
    assert validation is not None  # noqa: S101 - callers look first
    operation = Operation(
        id=validation.operation_id,
        created_at=timestamp(validation.started_at),
        modified_at=timestamp(shown.modified_at),
        done=shown.done,
    )
    work = validation.work
    if not shown.counted or work is None:
        return operation
    operation.metadata.Pack(
        dataset_service_pb2.ValidateDatasetMetadata(
            dataset_id=dataset.dataset_id,
            valid_rows=work.valid_rows,
            processed_rows=work.total_rows,
            total_rows=work.total_rows,
        )
    )
    if shown.done and work.breakdown is not None:
        code = grpc.StatusCode[(validation.broken or {}).get("code", "INTERNAL")]
        operation.error.CopyFrom(Status(code=code.value[0], message=work.breakdown))
    elif shown.done:
        errors = [
            dataset_pb2.ValidationError(error=fault.error, error_description=fault.description, row_numbers=fault.rows)
            for fault in work.faults
        ]
        operation.response.Pack(
            dataset_service_pb2.ValidateDatasetResponse(
                dataset_id=dataset.dataset_id, is_valid=shown.valid, errors=errors
            )
        )
    return operation


def _share_done(job: Job, shown: JobView, now: float) -> float:
    if shown.status == "COMPLETED" or shown.settled:
        return 1.0
    if shown.started_at is None:
        return 0.0
    length = job.schedule.finished_at - shown.started_at
    return min(0.99, (now - shown.started_at) / length) if length > 0 else 0.0


def _job_error(job: Job, shown: JobView) -> Status:
    if shown.status == "CANCELED":
        return Status(code=grpc.StatusCode.CANCELLED.value[0], message="The task was canceled")
    if job.work is not None and job.work.status is not None:
        return Status(code=job.work.status[0], message=job.work.status[1])
    return Status(code=grpc.StatusCode.INTERNAL.value[0], message="The task failed")
