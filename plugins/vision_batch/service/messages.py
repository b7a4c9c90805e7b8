"""Turn the service's messages into plain values. A state that we do not know becomes ``UNKNOWN``, never success."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from yandex.cloud.ai.batch_inference.v1.batch_inference_service_pb2 import BatchInferenceMetadata
from yandex.cloud.ai.batch_inference.v1.batch_inference_task_pb2 import BatchInferenceTask
from yandex.cloud.ai.dataset.v1.dataset_pb2 import DatasetInfo, ValidationError
from yandex.cloud.ai.dataset.v1.dataset_service_pb2 import ValidateDatasetMetadata, ValidateDatasetResponse
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import BatchCompletionMetadata
from yandex.cloud.operation.operation_pb2 import Operation

from vision_batch.service.types import (
    BatchError,
    Dataset,
    DatasetStatus,
    Job,
    JobStatus,
    LineError,
    ResultFile,
    RowError,
    Validation,
)

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def read_dataset(info: DatasetInfo) -> Dataset:
    """Return a dataset; ``rows`` is 0 on the wire where the service does not tell."""
    return Dataset(
        dataset_id=info.dataset_id,
        name=info.name,
        status=_dataset_status(info.status),
        task_type=info.task_type,
        rows=info.rows or None,
        size_bytes=info.size_bytes,
        labels=dict(info.labels),
        created_at=_time(info.created_at),
        updated_at=_time(info.updated_at),
        errors=tuple(_row_error(error) for error in info.validation_error),
        folder_id=info.folder_id,
    )


def read_job(task: BatchInferenceTask) -> Job:
    """Return a job; its error is what ``errors.status`` says, if that is not OK."""
    return Job(
        job_id=task.task_id,
        operation_id=task.operation_id,
        model_uri=task.model_uri,
        source_dataset_id=task.source_dataset_id,
        result_dataset_id=task.result_dataset_id or None,
        status=_job_status(task.status),
        created_at=_time(task.created_at),
        started_at=_time(task.started_at) if task.HasField("started_at") else None,
        finished_at=_time(task.finished_at) if task.HasField("finished_at") else None,
        error=_status_text(task.errors.status),
        line_errors=tuple(LineError(each.line_number, each.message) for each in task.errors.line_errors),
        batch_errors=tuple(
            BatchError(each.batch_number, each.first_line, each.last_line, each.message)
            for each in task.errors.batch_errors
        ),
    )


def read_validation(operation: Operation) -> Validation:
    """Return how far a validation is. A refused dataset is an operation that succeeded and says so."""
    metadata, response = ValidateDatasetMetadata(), ValidateDatasetResponse()
    counted = operation.metadata.Unpack(metadata)
    answered = operation.WhichOneof("result") == "response" and operation.response.Unpack(response)
    return Validation(
        done=operation.done,
        is_valid=bool(operation.done and answered and response.is_valid),
        is_refused=bool(operation.done and answered and not response.is_valid),
        errors=tuple(_row_error(error) for error in response.errors),
        valid_rows=metadata.valid_rows if counted else None,
        total_rows=metadata.total_rows if counted else None,
        operation_error=_status_text(operation.error) if operation.WhichOneof("result") == "error" else None,
    )


def read_task_id(operation: Operation) -> str:
    """Return the id of the job that an operation made, or an empty text if it names none."""
    metadata = BatchCompletionMetadata()
    return str(metadata.task_id) if operation.metadata.Unpack(metadata) else ""


def read_progress(operation: Operation) -> tuple[int, int] | None:
    """Return the batches that are completed and all of them, if the service tells."""
    for metadata in (BatchCompletionMetadata(), BatchInferenceMetadata()):
        if operation.metadata.Unpack(metadata) and metadata.total_batches:
            return metadata.completed_batches, metadata.total_batches
    return None


def in_order(files: list[ResultFile]) -> tuple[ResultFile, ...]:
    """Sort files: numbered ones first, by number, then the others by name. A key is a name, never a path to open."""
    return tuple(sorted(files, key=_file_order))


def _file_order(file: ResultFile) -> tuple[int, int, str]:
    stem = PurePosixPath(file.key).stem
    numbered = stem.isascii() and stem.isdigit()
    return (0, int(stem), file.key) if numbered else (1, 0, file.key)


def _row_error(error: ValidationError) -> RowError:
    return RowError(error.error, error.error_description, tuple(error.row_numbers))


def _dataset_status(number: int) -> DatasetStatus:
    value = DatasetInfo.Status.DESCRIPTOR.values_by_number.get(number)
    known = value is not None and value.name in DatasetStatus.__members__
    return DatasetStatus[value.name] if value is not None and known else DatasetStatus.UNKNOWN


def _job_status(number: int) -> JobStatus:
    value = BatchInferenceTask.Status.DESCRIPTOR.values_by_number.get(number)
    known = value is not None and value.name in JobStatus.__members__
    return JobStatus[value.name] if value is not None and known else JobStatus.UNKNOWN


def _status_text(status: Any) -> str | None:
    """Return a ``google.rpc.Status`` as text, or ``None`` if it is OK."""
    if not status.code:
        return None
    return f"{_CODES.get(status.code, status.code)}: {status.message or 'no reason given'}"


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
