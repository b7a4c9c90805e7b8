"""Do what takes long, beside the event loop: read uploads, answer rows. A restart begins unfinished work anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vision_batch.emulator.records import Dataset, Job, JobWork, RowFault, StoredFile, ValidationWork
from vision_batch.emulator.results import Order, fulfil
from vision_batch.emulator.rows import RESULT_TYPES
from vision_batch.emulator.studio import Studio
from vision_batch.emulator.submit import SOURCE, model_of
from vision_batch.emulator.validation import validate

_INTERNAL = 13
_WORKERS = 2

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class Work:
    """Run the long parts and write down what they found."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="work")
        self._running: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Begin what an earlier run of the emulator has left unfinished."""
        for dataset in list(self._studio.datasets.values()):
            if not dataset.deleted and dataset.validation is not None and dataset.validation.work is None:
                self.validate(dataset)
        for job in list(self._studio.jobs.values()):
            if job.schedule.pending_at is not None and job.work is None:
                self.answer(job)

    def validate(self, dataset: Dataset) -> None:
        """Begin to read an upload."""
        self._begin(self._validate(dataset.dataset_id, dataset.task_type))

    def answer(self, job: Job) -> None:
        """Begin to answer the rows of a job."""
        self._begin(self._answer(job))

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Wait for what runs right now; leave the rest to the next run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _validate(self, dataset_id: str, task_type: str) -> None:
        folder = self._studio.folder.dataset_folder(dataset_id)
        file: StoredFile | None = None
        try:
            work, file = await self._run(lambda: validate(folder, task_type))
        except Exception as error:  # noqa: BLE001 - shown to the caller as a breakdown
            if not self._studio.datasets[dataset_id].deleted:
                _log.exception("the validation of %s broke", dataset_id)
            work = ValidationWork(done_at=0, breakdown=f"Internal error: {type(error).__name__}")
        dataset = self._studio.datasets[dataset_id].model_copy(deep=True)
        if dataset.deleted or dataset.validation is None:
            return
        if dataset.validation.forced is not None:
            work.faults.append(_forced_fault(dataset.validation.forced))
            work.valid_rows = max(0, work.total_rows - len(work.faults[-1].rows))
        if dataset.validation.broken is not None:
            work.breakdown = str(dataset.validation.broken.get("message", "The validation broke as asked"))
        work.done_at = self._studio.now()
        dataset.validation.work = work
        dataset.files = [file] if file is not None else []
        self._studio.save(dataset)

    async def _answer(self, job: Job) -> None:
        files: list[StoredFile] = []
        try:
            order = self._order(job)
            work, files = await self._run(lambda: fulfil(order))
        except Exception as error:  # noqa: BLE001 - shown to the caller as a breakdown
            _log.exception("the job %s broke", job.task_id)
            work = JobWork(done_at=0, status=(_INTERNAL, f"Internal error: {type(error).__name__}"))
        work.done_at = self._studio.now()
        current = self._studio.jobs[job.task_id].model_copy(update={"work": work})
        result = self._studio.datasets[current.result_dataset_id or ""].model_copy(update={"files": files})
        self._studio.save(current, result)
        (self._studio.folder.job_folder(job.task_id) / SOURCE).unlink(missing_ok=True)

    def _order(self, job: Job) -> Order:
        model = model_of(self._studio, job.model_uri)
        source = self._studio.datasets[job.source_dataset_id]
        assert model is not None  # noqa: S101 - other jobs have no work
        assert job.result_dataset_id is not None  # noqa: S101 - made together with the job
        return Order(
            source=self._studio.folder.job_folder(job.task_id),
            target=self._studio.folder.dataset_folder(job.result_dataset_id),
            task_type=source.task_type,
            result_type=RESULT_TYPES[source.task_type],
            family=model.family,
            window=self._studio.settings.window(model),
            max_tokens=job.options.get("max_tokens"),
            scenarios=job.scenarios,
        )

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _forced_fault(params: dict[str, object]) -> RowFault:
    rows = params.get("rows", [1])
    return RowFault(
        error=str(params.get("error", "InvalidRow")),
        description=str(params.get("description", "The row was refused as asked")),
        rows=rows if isinstance(rows, list) else [1],
    )
