"""Call Yandex AI Studio: datasets, jobs and operations, over ``grpc.aio``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from google.protobuf.wrappers_pb2 import DoubleValue, Int64Value
from yandex.cloud.ai.batch_inference.v1 import batch_inference_service_pb2 as jobs_pb2
from yandex.cloud.ai.batch_inference.v1.batch_inference_service_pb2_grpc import BatchInferenceServiceStub
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as datasets_pb2
from yandex.cloud.ai.dataset.v1.dataset_pb2 import DatasetInfo
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from yandex.cloud.ai.foundation_models.v1.text_common_pb2 import CompletionOptions
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import BatchCompletionRequest
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationBatchServiceStub,
)
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

from vision_batch.errors import InputError, ServiceUnavailableError, SubmitUnknownError
from vision_batch.service.calls import ReadRetries, ServiceCalls
from vision_batch.service.messages import (
    in_order,
    read_dataset,
    read_job,
    read_progress,
    read_task_id,
    read_validation,
)
from vision_batch.service.quota import QuotaLimits
from vision_batch.service.transfer import PART_BYTES, Part, UploadUrls, put_file
from vision_batch.service.types import (
    Dataset,
    DatasetStatus,
    Job,
    ResultFile,
    ServiceConfig,
    SubmittedJob,
    Validation,
)

#: The one format that datasets are uploaded in (``DatasetService/ListUploadFormats``).
UPLOAD_FORMAT = "jsonlines"

#: Longest name of a dataset (``CreateDatasetRequest.name``).
MAX_NAME_LENGTH = 63

#: Entries asked for in one page of a list; the service may give fewer.
PAGE_SIZE = 100


Entry = TypeVar("Entry")


class AIStudioClient:
    """Call the service as one configuration says. An async context manager that belongs to one event loop.

    Nothing is sent before the first call. Reads and deletes are repeated on UNAVAILABLE, RESOURCE_EXHAUSTED and
    DEADLINE_EXCEEDED within bounds; everything else is sent once.

    :param config: where and as whom.
    :param retries: bounds of the repeated reads.
    :raises ConnectionInputError: if the credentials cannot be used.
    """

    def __init__(self, config: ServiceConfig, *, retries: ReadRetries | None = None) -> None:
        self._config = config
        self._calls = ServiceCalls(config, retries or ReadRetries())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    def service_time(self) -> datetime:
        """Return the time of the service at its last reply; without any, the time here. UTC."""
        return self._calls.last_date or datetime.now(UTC)

    def limits(self) -> QuotaLimits:
        """Return the folder's quotas: the documented ones, as the configuration corrects them."""
        return QuotaLimits(**self._config.quotas)

    async def create_dataset(
        self, name: str, task_type: str, *, labels: Mapping[str, str], description: str = ""
    ) -> Dataset:
        """Make an empty dataset, a draft to upload to.

        :raises InputError: if the name is empty or longer than 63 characters.
        """
        if not 0 < len(name) <= MAX_NAME_LENGTH:
            raise InputError(f"a dataset's name has 1 to {MAX_NAME_LENGTH} characters, {name!r} has {len(name)}")
        request = datasets_pb2.CreateDatasetRequest(
            name=name,
            folder_id=self._config.folder_id,
            task_type=task_type,
            upload_format=UPLOAD_FORMAT,
            labels=labels,
            description=description,
            allow_data_log=self._config.data_logging,
        )
        reply = await self._calls.once(DatasetServiceStub, "Create", request, f"create dataset {name}")
        return read_dataset(reply.dataset)

    async def upload(self, dataset_id: str, path: Path, *, part_bytes: int = PART_BYTES, parallel: int = 4) -> None:
        """Upload a file to a draft: in one piece, or in parts if it is larger than ``part_bytes``.

        :param parallel: parts in flight at once; each holds about one MiB in memory.
        :raises InputError: if the file is empty or above 5 GB.
        :raises TransferError: if the storage does not take it after all retries.
        """
        urls = _DraftUrls(self._calls, dataset_id)
        await put_file(path, urls, part_bytes=part_bytes, parallel=parallel)

    async def validate(self, dataset_id: str) -> str:
        """Start the validation of an uploaded dataset; return the id of its operation."""
        request = datasets_pb2.ValidateDatasetRequest(dataset_id=dataset_id)
        reply = await self._calls.once(DatasetServiceStub, "Validate", request, f"validate dataset {dataset_id}")
        return str(reply.id)

    async def validation(self, operation_id: str) -> Validation:
        """Return how far a validation is."""
        return read_validation(await self._operation(operation_id))

    async def find_validation(self, dataset_id: str) -> str | None:
        """Return the id of a dataset's operation, if it has one."""
        request = datasets_pb2.ListOperationsIdsRequest(dataset_id=[dataset_id])
        what = f"find the operation of dataset {dataset_id}"
        reply = await self._calls.repeatable(DatasetServiceStub, "ListOperationsIds", request, what)
        return reply.dataset_id_to_operation_id.get(dataset_id) or None

    async def describe_dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset.

        :raises NotFoundError: if the service does not know it.
        """
        request = datasets_pb2.DescribeDatasetRequest(dataset_id=dataset_id)
        reply = await self._calls.repeatable(DatasetServiceStub, "Describe", request, f"describe dataset {dataset_id}")
        return read_dataset(reply.dataset)

    async def list_datasets(
        self,
        *,
        name_pattern: str = "",
        statuses: Iterable[DatasetStatus] = (),
        task_types: Iterable[str] = (),
    ) -> list[Dataset]:
        """Return all datasets of the folder, of every page, each once.

        :param name_pattern: a part of the name.
        """
        request = datasets_pb2.ListDatasetsRequest(
            folder_id=self._config.folder_id,
            dataset_name_pattern=name_pattern,
            status=[DatasetInfo.Status.Value(status.name) for status in statuses],
            task_type_filter=task_types,
            page_size=PAGE_SIZE,
        )
        pages = await self._pages(DatasetServiceStub, request, "list datasets")
        return _each_once((each.dataset_id, each) for page in pages for each in map(read_dataset, page.datasets))

    async def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset.

        :raises NotFoundError: if the service does not know it.
        """
        request = datasets_pb2.DeleteDatasetRequest(dataset_id=dataset_id)
        await self._calls.repeatable(DatasetServiceStub, "Delete", request, f"delete dataset {dataset_id}")

    async def submit(
        self,
        model_uri: str,
        dataset_id: str,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout_seconds: float = 60.0,
        not_after: datetime | None = None,
    ) -> SubmittedJob:
        """Make a paid job from a READY dataset. One call on the wire, never repeated.

        :param not_after: by the clock here; later than that nothing is sent.
        :raises SubmitTooLateError: if it was too late. Nothing was sent.
        :raises RequestRefusedError: if the service refused it (so do Authentication, NotFound and QuotaExceeded).
        :raises SubmitUnknownError: if a job may have been made; look for it in the list of jobs.
        """
        request = BatchCompletionRequest(
            model_uri=model_uri,
            source_dataset_id=dataset_id,
            completion_options=CompletionOptions(
                temperature=None if temperature is None else DoubleValue(value=temperature),
                max_tokens=None if max_tokens is None else Int64Value(value=max_tokens),
            ),
        )
        what = f"submit dataset {dataset_id} to {model_uri}"
        reply = await self._calls.pay(
            TextGenerationBatchServiceStub, "Completion", request, what, timeout_seconds, not_after=not_after
        )
        job_id = read_task_id(reply)
        if not job_id:
            raise SubmitUnknownError(
                f"{what}: accepted as operation {reply.id}, but no job is named. Look for it in the list of jobs, do "
                "not send it again."
            )
        return SubmittedJob(job_id, reply.id)

    async def describe_job(self, job_id: str) -> Job:
        """Return a job.

        :raises NotFoundError: if the service does not know it.
        """
        request = jobs_pb2.DescribeBatchInferenceRequest(task_id=job_id)
        reply = await self._calls.repeatable(BatchInferenceServiceStub, "Describe", request, f"describe job {job_id}")
        return read_job(reply.task)

    async def list_jobs(self) -> list[Job]:
        """Return all jobs of the folder, of every page, each once, in the service's order."""
        request = jobs_pb2.ListBatchInferencesRequest(folder_id=self._config.folder_id, page_size=PAGE_SIZE)
        pages = await self._pages(BatchInferenceServiceStub, request, "list jobs")
        return _each_once((each.job_id, each) for page in pages for each in map(read_job, page.tasks))

    async def cancel_job(self, job_id: str) -> None:
        """Ask the service to cancel a job; it ends later, or not.

        :raises RequestRefusedError: if the job cannot be cancelled in its present state.
        """
        request = jobs_pb2.CancelBatchInferenceRequest(task_id=job_id)
        await self._calls.once(BatchInferenceServiceStub, "Cancel", request, f"cancel job {job_id}")

    async def delete_job(self, job_id: str) -> None:
        """Delete a job from the service's history."""
        request = jobs_pb2.DeleteBatchInferenceRequest(task_id=job_id)
        await self._calls.repeatable(BatchInferenceServiceStub, "Delete", request, f"delete job {job_id}")

    async def job_progress(self, operation_id: str) -> tuple[int, int] | None:
        """Return completed batches and all batches of a job's operation, if the service tells."""
        return read_progress(await self._operation(operation_id))

    async def result_files(self, dataset_id: str) -> tuple[ResultFile, ...]:
        """Return the files of a dataset with fresh URLs: numbered ones first, by number."""
        request = datasets_pb2.GetDownloadUrlsRequest(dataset_id=dataset_id)
        what = f"get the URLs of dataset {dataset_id}"
        reply = await self._calls.repeatable(DatasetServiceStub, "GetDownloadUrls", request, what)
        return in_order([ResultFile(each.key, each.url) for each in reply.download_urls])

    async def _operation(self, operation_id: str) -> Operation:
        request = GetOperationRequest(operation_id=operation_id)
        reply: Operation = await self._calls.repeatable(
            OperationServiceStub, "Get", request, f"get operation {operation_id}"
        )
        return reply

    async def _pages(self, stub: type, request: Any, what: str) -> list[Any]:
        """Return every page of a list.

        :raises ServiceUnavailableError: if the service gives a page token twice, which would never end.
        """
        pages: list[Any] = []
        seen = {""}
        while True:
            pages.append(await self._calls.repeatable(stub, "List", request, what))
            token = pages[-1].next_page_token
            if not token:
                return pages
            if token in seen:
                raise ServiceUnavailableError(f"{what}: the service gave one page token twice after {len(pages)} pages")
            seen.add(token)
            request.page_token = token


def _each_once(found: Iterable[tuple[str, Entry]]) -> list[Entry]:
    """Leave out what a list that changes between two pages shows again; what it says last counts."""
    return list(dict(found).values())


class _DraftUrls(UploadUrls):
    """Ask the service for the URLs of one draft."""

    def __init__(self, calls: ServiceCalls, dataset_id: str) -> None:
        self._calls = calls
        self._dataset_id = dataset_id

    async def single(self, size_bytes: int) -> str:
        request = datasets_pb2.GetUploadDraftUrlRequest(dataset_id=self._dataset_id, size_bytes=size_bytes)
        what = f"get the upload URL of dataset {self._dataset_id}"
        reply = await self._calls.repeatable(DatasetServiceStub, "GetUploadDraftUrl", request, what)
        return str(reply.upload_url)

    async def start(self, size_bytes: int, parts: int) -> Sequence[str]:
        request = datasets_pb2.StartMultipartUploadDraftRequest(
            dataset_id=self._dataset_id, size_bytes=size_bytes, parts=parts
        )
        what = f"start the upload of dataset {self._dataset_id}"
        reply = await self._calls.repeatable(DatasetServiceStub, "StartMultipartUploadDraft", request, what)
        return list(reply.multipart_upload_urls)

    async def finish(self, parts: Sequence[Part]) -> None:
        request = datasets_pb2.FinishMultipartUploadDraftRequest(
            dataset_id=self._dataset_id,
            uploaded_parts=[datasets_pb2.UploadedPartInfo(part_num=part.number, etag=part.etag) for part in parts],
        )
        what = f"finish the upload of dataset {self._dataset_id}"
        await self._calls.once(DatasetServiceStub, "FinishMultipartUploadDraft", request, what)
