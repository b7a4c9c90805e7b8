"""Answer ``yandex.cloud.ai.dataset.v1.DatasetService``."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf.message import Message
from yandex.cloud.ai.dataset.v1 import dataset_pb2 as pb
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api
from yandex.cloud.operation.operation_pb2 import Operation

from vision_batch.emulator.clock import timestamp
from vision_batch.emulator.operations import validation_operation
from vision_batch.emulator.quotas import check_dataset_count
from vision_batch.emulator.records import Dataset, Validation
from vision_batch.emulator.rows import TASK_TYPES, TEXT_ANSWER, TEXT_REQUEST
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.studio import CREATED_BY, Studio
from vision_batch.emulator.upload_calls import UploadCalls
from vision_batch.emulator.validation import preview
from vision_batch.emulator.work import Work

_FORMAT = "jsonlines"
_LONGEST_NAME = 63
_LONGEST_ID = 50


class DatasetService(UploadCalls):
    """Keep datasets: create, describe, list, change, validate, read, delete.

    :param work: reads the uploads beside the event loop.
    """

    def __init__(self, studio: Studio, work: Work) -> None:
        super().__init__(studio)
        self._work = work

    def create(self, request: api.CreateDatasetRequest, _: Call) -> Message:
        """Make a DRAFT."""
        _check_new(request)
        self._studio.check_folder(request.folder_id)
        if request.allow_data_log and not self._studio.settings.allow_data_logging:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "allow_data_log is true: data logging must be off")
        check_dataset_count(self._studio)
        now = self._studio.now()
        dataset = Dataset(
            dataset_id=self._studio.new_id("fds"),
            folder_id=request.folder_id,
            name=request.name,
            description=request.description,
            metadata=request.metadata,
            task_type=request.task_type,
            upload_format=request.upload_format,
            labels=dict(request.labels),
            allow_data_log=request.allow_data_log,
            created_at=now,
            updated_at=now,
        )
        self._studio.save(dataset)
        return api.CreateDatasetResponse(dataset_id=dataset.dataset_id, dataset=self._info(dataset))

    def describe(self, request: api.DescribeDatasetRequest, _: Call) -> Message:
        """Show one dataset."""
        return api.DescribeDatasetResponse(dataset=self._info(self._studio.dataset(request.dataset_id)))

    def update(self, request: api.UpdateDatasetRequest, _: Call) -> Message:
        """Change name, description or labels, as the mask says; an empty mask changes all three."""
        dataset = self._studio.dataset(request.dataset_id).model_copy(deep=True)
        changeable = {"name": request.name, "description": request.description, "labels": dict(request.labels)}
        asked = list(request.update_mask.paths) or list(changeable)
        if unknown := set(asked) - set(changeable):
            raise RefusalError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"update_mask names {', '.join(sorted(unknown))}; known: {', '.join(changeable)}",
            )
        for name in asked:
            setattr(dataset, name, changeable[name])
        if "name" in asked and not 0 < len(dataset.name) <= _LONGEST_NAME:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"name must have 1 to {_LONGEST_NAME} characters")
        dataset.updated_at = self._studio.now()
        self._studio.save(dataset)
        return api.UpdateDatasetResponse(dataset=self._info(dataset))

    def list(self, request: api.ListDatasetsRequest, _: Call) -> Message:
        """Show a page of the folder's datasets, oldest first."""
        self._studio.check_folder(request.folder_id)
        found = [dataset for dataset in self._studio.stored() if self._matches(dataset, request)]
        page, token = self._studio.page_of(found, request, lambda dataset: dataset.dataset_id)
        return api.ListDatasetsResponse(datasets=[self._info(dataset) for dataset in page], next_page_token=token)

    def delete(self, request: api.DeleteDatasetRequest, _: Call) -> Message:
        """Remove a dataset and its files at once."""
        dataset = self._studio.dataset(request.dataset_id)
        if dataset.result_of and not self._studio.job_view(self._studio.jobs[dataset.result_of]).over:
            raise RefusalError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Dataset {dataset.dataset_id!r} is being written by a running task",
            )
        self._studio.save(dataset.model_copy(update={"deleted": True}))
        self._studio.folder.drop_dataset(dataset.dataset_id)
        return api.DeleteDatasetResponse()

    def validate(self, request: api.ValidateDatasetRequest, _: Call) -> Operation:
        """Begin to read the upload; the same operation again if that has begun."""
        dataset = self._studio.dataset(request.dataset_id)
        if dataset.validation is None:
            if dataset.uploaded_bytes is None:
                raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, f"Dataset {dataset.dataset_id!r} has no upload")
            dataset = dataset.model_copy(deep=True)
            dataset.validation = Validation(
                operation_id=self._studio.new_id("fds"),
                started_at=self._studio.now(),
                forced=self._studio.scenarios.take("validation_failure"),
                broken=self._studio.scenarios.take("validation_breaks"),
            )
            self._studio.save(dataset)
            self._work.validate(dataset)
        return validation_operation(dataset, self._studio.now())

    def get_download_urls(self, request: api.GetDownloadUrlsRequest, _: Call) -> Message:
        """Give a presigned URL for each file, in the order of their names as texts."""
        dataset = self._ready(request.dataset_id)
        urls = [
            pb.DatasetFileDownloadUrl(
                key=file.key, url=self._url("GET", f"/{dataset.folder_id}/{self._object(dataset, file.key)}")
            )
            for file in sorted(self._studio.files(dataset), key=lambda file: file.key)
        ]
        return api.GetDownloadUrlsResponse(dataset_id=dataset.dataset_id, download_urls=urls)

    def get_preview(self, request: api.GetDatasetPreviewRequest, _: Call) -> Message:
        """Show the first rows of an upload as they came."""
        dataset = self._ready(request.dataset_id)
        lines = [] if dataset.result_of else preview(self._studio.folder.dataset_folder(dataset.dataset_id))
        return api.GetDatasetPreviewResponse(dataset_id=dataset.dataset_id, preview_lines=lines)

    def list_operations_ids(self, request: api.ListOperationsIdsRequest, _: Call) -> Message:
        """Give the validation of each dataset that has one; unknown ids are left out."""
        found = {}
        for dataset_id in request.dataset_id:
            dataset = self._studio.datasets.get(dataset_id)
            if dataset is not None and not dataset.deleted and dataset.validation is not None:
                self._studio.check_folder(dataset.folder_id)
                found[dataset_id] = dataset.validation.operation_id
        return api.ListOperationsIdsResponse(dataset_id_to_operation_id=found)

    def list_types(self, request: api.ListTypesRequest, _: Call) -> Message:
        """Give the task types that can be made."""
        if request.folder_id:
            self._studio.check_folder(request.folder_id)
        return api.ListTypesResponse(types=TASK_TYPES)

    def list_upload_formats(self, request: api.ListUploadFormatsRequest, _: Call) -> Message:
        """Give the one format."""
        _check_type(request.task_type)
        return api.ListUploadFormatsResponse(formats=[_FORMAT])

    def list_upload_schemas(self, request: api.ListUploadSchemasRequest, _: Call) -> Message:
        """Give the JSON Schema of a row, as the Python literal that the vendor's SDK expects."""
        _check_type(request.task_type)
        schema = pb.DatasetUploadSchema(
            task_type=request.task_type, upload_format=_FORMAT, schema=repr(_row_schema(request.task_type))
        )
        return api.ListUploadSchemasResponse(schemas=[schema])

    def _matches(self, dataset: Dataset, request: api.ListDatasetsRequest) -> bool:
        status = pb.DatasetInfo.Status.Value(self._studio.dataset_view(dataset).status)
        return (
            dataset.folder_id == request.folder_id
            and (not request.status or status in request.status)
            and request.dataset_name_pattern in dataset.name
            and (not request.task_type_filter or dataset.task_type in request.task_type_filter)
            and (not request.dataset_ids or dataset.dataset_id in request.dataset_ids)
        )

    def _ready(self, dataset_id: str) -> Dataset:
        dataset = self._studio.dataset(dataset_id)
        status = self._studio.dataset_view(dataset).status
        if status != "READY":
            raise RefusalError(grpc.StatusCode.FAILED_PRECONDITION, f"Dataset {dataset_id!r} is {status}, not READY")
        return dataset

    def _info(self, dataset: Dataset) -> pb.DatasetInfo:
        shown = self._studio.dataset_view(dataset)
        return pb.DatasetInfo(
            dataset_id=dataset.dataset_id,
            folder_id=dataset.folder_id,
            name=dataset.name,
            description=dataset.description,
            metadata=dataset.metadata,
            status=pb.DatasetInfo.Status.Value(shown.status),
            task_type=dataset.task_type,
            created_at=timestamp(dataset.created_at),
            updated_at=timestamp(shown.updated_at),
            rows=shown.rows,
            size_bytes=shown.size_bytes,
            created_by_id=CREATED_BY,
            labels=dataset.labels,
            created_by=CREATED_BY,
            validation_error=[
                pb.ValidationError(error=fault.error, error_description=fault.description, row_numbers=fault.rows)
                for fault in shown.faults
            ],
            allow_data_log=dataset.allow_data_log,
        )


def _check_new(request: api.CreateDatasetRequest) -> None:
    limits = {"name": _LONGEST_NAME, "folder_id": _LONGEST_ID, "task_type": _LONGEST_ID, "upload_format": _LONGEST_ID}
    for field, longest in limits.items():
        # The vendor's SDK sends an empty name when its caller gives none.
        least = 0 if field == "name" else 1
        if not least <= len(getattr(request, field)) <= longest:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"{field} must have {least} to {longest} characters")
    _check_type(request.task_type)
    if request.upload_format != _FORMAT:
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"upload_format must be {_FORMAT!r}")


def _check_type(task_type: str) -> None:
    if task_type not in TASK_TYPES:
        raise RefusalError(
            grpc.StatusCode.INVALID_ARGUMENT, f"task_type {task_type!r} is not one of {', '.join(TASK_TYPES)}"
        )


def _row_schema(task_type: str) -> dict[str, object]:
    string = {"type": "string"}
    part = {"type": "object", "properties": {"type": {"enum": ["text", "image"]}, "text": string, "image": string}}
    is_text = task_type in {TEXT_REQUEST, TEXT_ANSWER}
    body: tuple[str, object] = ("text", string) if is_text else ("content", {"type": "array", "items": part})
    message = {
        "type": "object",
        "properties": {"role": {"enum": ["system", "user", "assistant"]}, body[0]: body[1]},
        "required": ["role", body[0]],
    }
    properties: dict[str, object] = {"request": {"type": "array", "items": message, "minItems": 1}}
    required: Sequence[str] = ["request"]
    if not task_type.endswith("Request"):
        properties["response"] = string
        required = ["request", "response"]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
