"""Call Yandex AI Studio from a worker: the async client on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vision_batch.errors import FinalError
from vision_batch.service.quota import QuotaLimits
from vision_batch.service.types import (
    Dataset,
    DatasetStatus,
    Job,
    ResultFile,
    ServiceConfig,
    SubmittedJob,
    Validation,
)

if TYPE_CHECKING:
    from vision_batch.service.calls import ReadRetries
    from vision_batch.service.client import AIStudioClient

_Result = TypeVar("_Result")


class SyncAIStudioClient:
    """Do what :class:`~vision_batch.service.client.AIStudioClient` does, blocking the caller.

    A context manager: connections and thread exist inside the ``with`` block only, in the process that entered it,
    because gRPC does not survive a fork. May be used from several threads.

    :param config: where and as whom.
    :param retries: bounds of the repeated reads.
    """

    def __init__(self, config: ServiceConfig, *, retries: ReadRetries | None = None) -> None:
        self._config = config
        self._retries = retries
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        from vision_batch.service.client import AIStudioClient  # noqa: PLC0415 - heavy

        self._running = _Running(lambda: AIStudioClient(self._config, retries=self._retries))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def service_time(self) -> datetime:
        """Return the time of the service at its last reply; without any, the time here. UTC."""
        return self._here().client.service_time()

    def limits(self) -> QuotaLimits:
        """Return the folder's quotas: the documented ones, as the configuration corrects them."""
        return self._here().client.limits()

    def create_dataset(self, name: str, task_type: str, *, labels: Mapping[str, str], description: str = "") -> Dataset:
        """Make an empty dataset, a draft to upload to."""
        client = self._here().client
        return self._wait(client.create_dataset(name, task_type, labels=labels, description=description))

    def upload(self, dataset_id: str, path: Path, *, part_bytes: int | None = None, parallel: int = 4) -> None:
        """Upload a file to a draft: in one piece, or in parts if it is larger than ``part_bytes``."""
        given = {} if part_bytes is None else {"part_bytes": part_bytes}
        self._wait(self._here().client.upload(dataset_id, path, parallel=parallel, **given))

    def validate(self, dataset_id: str) -> str:
        """Start the validation of an uploaded dataset; return the id of its operation."""
        return self._wait(self._here().client.validate(dataset_id))

    def validation(self, operation_id: str) -> Validation:
        """Return how far a validation is."""
        return self._wait(self._here().client.validation(operation_id))

    def find_validation(self, dataset_id: str) -> str | None:
        """Return the id of a dataset's operation, if it has one."""
        return self._wait(self._here().client.find_validation(dataset_id))

    def describe_dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset."""
        return self._wait(self._here().client.describe_dataset(dataset_id))

    def list_datasets(
        self,
        *,
        name_pattern: str = "",
        statuses: Iterable[DatasetStatus] = (),
        task_types: Iterable[str] = (),
    ) -> list[Dataset]:
        """Return all datasets of the folder, of every page."""
        client = self._here().client
        return self._wait(client.list_datasets(name_pattern=name_pattern, statuses=statuses, task_types=task_types))

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset."""
        self._wait(self._here().client.delete_dataset(dataset_id))

    def submit(
        self,
        model_uri: str,
        dataset_id: str,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout_seconds: float = 60.0,
        not_after: datetime | None = None,
    ) -> SubmittedJob:
        """Make a paid job from a READY dataset. One call on the wire, never repeated."""
        client = self._here().client
        return self._wait(
            client.submit(
                model_uri,
                dataset_id,
                temperature=temperature,
                max_tokens=max_tokens,
                timeout_seconds=timeout_seconds,
                not_after=not_after,
            )
        )

    def describe_job(self, job_id: str) -> Job:
        """Return a job."""
        return self._wait(self._here().client.describe_job(job_id))

    def list_jobs(self) -> list[Job]:
        """Return all jobs of the folder, of every page."""
        return self._wait(self._here().client.list_jobs())

    def cancel_job(self, job_id: str) -> None:
        """Ask the service to cancel a job; it ends later, or not."""
        self._wait(self._here().client.cancel_job(job_id))

    def delete_job(self, job_id: str) -> None:
        """Delete a job from the service's history."""
        self._wait(self._here().client.delete_job(job_id))

    def job_progress(self, operation_id: str) -> tuple[int, int] | None:
        """Return completed batches and all batches of a job's operation, if the service tells."""
        return self._wait(self._here().client.job_progress(operation_id))

    def result_files(self, dataset_id: str) -> tuple[ResultFile, ...]:
        """Return the files of a dataset with fresh URLs: numbered ones first, by number."""
        return self._wait(self._here().client.result_files(dataset_id))

    def _here(self) -> _Running:
        if self._running is None:
            raise FinalError("the client is used outside of its `with` block")
        if self._running.pid != os.getpid():
            raise FinalError("the client was opened in another process: open it where it is used, after the fork")
        return self._running

    def _wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._here().wait(work)


class _Running:
    """Hold a client and the thread that runs its event loop."""

    def __init__(self, make: Any) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ai-studio", daemon=True)
        self._thread.start()
        try:
            self.client: AIStudioClient = self.wait(_call(make))
        except BaseException:
            self._end()
            raise

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run on the loop, blocking; if the wait is interrupted, the work is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Close the client and end the thread."""
        try:
            self.wait(self.client.close())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


async def _call(make: Any) -> Any:
    return make()
