"""Wait in the triggerer: poll, and cancel if a person killed the waiting. Nothing is ever created here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.configuration import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

from vision_batch.errors import FinalError, NotFoundError, RequestRefusedError, RetryableError, VisionBatchError
from vision_batch.service.progress import Progress
from vision_batch.service.quota import Needed
from vision_batch.service.types import JobStatus
from vision_batch.triggers.kills import task_state

if TYPE_CHECKING:
    from vision_batch.hooks.ai_studio import AIStudioHook
    from vision_batch.service.client import AIStudioClient
    from vision_batch.service.types import Job

Subject = Literal["job", "validation", "room"]

#: How long the scheduler may take to learn that the deferring process has ended, once its supervisor knows.
SCHEDULER_LAG_SECONDS = 3.0


#: How often a job that shall be cancelled is looked at.
CANCEL_POLL_SECONDS = 2.0

# The event loop itself keeps no hold on tasks.
_CANCELLING: set[asyncio.Task[None]] = set()


def first_look_seconds() -> float:
    """Return how long no trigger may fire after its task has deferred.

    A supervisor can miss the end of its process for ``[workers] min_heartbeat_interval`` (Airflow 3.3,
    ``sdk/execution_time/supervisor.py``, ``_monitor_subprocess``). A task that is resumed before that looks to the
    scheduler as if it had ended without a state, and loses a try.
    """
    return float(conf.getfloat("workers", "min_heartbeat_interval")) + SCHEDULER_LAG_SECONDS


class VisionBatchTrigger(BaseTrigger):
    """Wait for a job to end, for a dataset's validation to end, or for room in the service's quotas.

    :param conn_id: the connection; credentials are read in the triggerer, never serialized.
    :param subject: what is waited for: ``job``, ``validation`` or ``room``.
    :param remote_id: the job's id, or the validation operation's; unused for ``room``.
    :param dataset_id: the dataset that is validated: once it is deleted, its validation need not end.
    :param needed: what ``room`` means, as :class:`~vision_batch.service.quota.Needed` has it; numbers only.
    :param poll_interval_seconds: time between two looks; default 30.
    :param deadline: when to stop waiting, in seconds since the epoch; ``None`` for never.
    :param waited_for_by: the id of the task that waits for the job, if another one watches it, to clean up after that:
        its own kill is no wish to cancel.
    :param cancel: ask for the job's cancellation at each look, for as long as the task that waits for it is failed.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        subject: Subject,
        remote_id: str = "",
        dataset_id: str = "",
        needed: Mapping[str, float] | None = None,
        poll_interval_seconds: float = 30.0,
        deadline: float | None = None,
        waited_for_by: str = "",
        cancel: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.conn_id = conn_id
        self.subject = subject
        self.remote_id = remote_id
        self.dataset_id = dataset_id
        self.needed = dict(needed or {})
        self.poll_interval_seconds = poll_interval_seconds
        self.deadline = deadline
        self.waited_for_by = waited_for_by
        self.cancel = cancel
        self._rows: int | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return ids and times only: no credential, no payload.

        What only the cleaning needs is left out elsewhere: a triggerer of the version before knows nothing of it.
        """
        cleaning = {"waited_for_by": self.waited_for_by, "cancel": self.cancel}
        return "vision_batch.triggers.job.VisionBatchTrigger", {
            **(cleaning if self.waited_for_by else {}),
            "conn_id": self.conn_id,
            "subject": self.subject,
            "remote_id": self.remote_id,
            "dataset_id": self.dataset_id,
            "needed": self.needed,
            "poll_interval_seconds": self.poll_interval_seconds,
            "deadline": self.deadline,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the wait is over; a look that fails is a reason to look again, not to stop."""
        await asyncio.sleep(first_look_seconds())
        async with await self._client() as client:
            yield TriggerEvent(await self._wait(client))  # type: ignore[no-untyped-call]  # the same

    async def _wait(self, client: AIStudioClient) -> dict[str, Any]:
        shown: Hashable = None
        while True:
            try:
                event, change, progress = await self._look(client)
                if event is None and self.cancel:
                    event = await self._cancel_for_a_person(client)
            except RetryableError as error:
                progress = f"the service could not be asked, trying again: {error}"
                event, change = None, progress
            except FinalError as error:
                return {"outcome": "error", "message": str(error)}
            if event is not None:
                return event
            if change != shown:
                self.log.info("%s %s: %s", self.subject.capitalize(), self.remote_id, progress)
                shown = change
            if self.deadline is not None and datetime.now(UTC).timestamp() > self.deadline:
                return {"outcome": "timeout", "message": f"still waiting: {progress}"}
            await asyncio.sleep(self.poll_interval_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def _look(self, client: AIStudioClient) -> tuple[dict[str, Any] | None, Hashable, str]:
        """Ask once; return the event if the wait is over, what changes when there is more to tell, and the words."""
        if self.subject == "job":
            job = await client.describe_job(self.remote_id)
            if job.status.is_terminal:
                return {"outcome": "ended", "status": str(job.status), "message": job.error or ""}, job.status, ""
            progress = await self._progress(client, job)
            return None, progress.change, progress.words(client.service_time())
        if self.subject == "validation":
            checked = await client.validation(self.remote_id)
            if not checked.done:
                await client.describe_dataset(self.dataset_id)
            words = f"{checked.valid_rows or 0} rows checked"
            return ({"outcome": "ended"} if checked.done else None), words, words
        missing = await self._missing(client)
        return (None if missing else {"outcome": "ended"}), missing, f"{missing}; waiting"

    async def _missing(self, client: AIStudioClient) -> str:
        """Say what there is no room for yet; only the lists that tell are read."""
        needed = Needed(**self.needed)  # type: ignore[arg-type]  # whole numbers, and a time
        jobs = await client.list_jobs() if needed.jobs or needed.new_jobs else []
        datasets = await client.list_datasets() if needed.datasets or needed.size_bytes else []
        return needed.missing(jobs, datasets, client.service_time(), client.limits())

    async def _progress(self, client: AIStudioClient, job: Job) -> Progress:
        """Find out how far a job is. It is told to people only: what the service does not tell ends no wait."""
        batches = None
        with suppress(VisionBatchError):
            if job.status == JobStatus.IN_PROGRESS:
                batches = await client.job_progress(job.operation_id)
            if self._rows is None:
                self._rows = (await client.describe_dataset(job.source_dataset_id)).rows
        return Progress(job, batches, self._rows)

    async def on_kill(self) -> None:
        """Cancel the job if, and only if, a person marked the waiting task as failed.

        Airflow calls this also when a trigger moves to another triggerer, on a clear, and when a DAG run times
        out. The task instance's own state tells them apart; one that cannot be read keeps the paid job.
        """
        if self.subject != "job" or self.waited_for_by or await self._state_of_wait() != "failed":
            self.log.info("The wait for %s %s ends here; the job goes on.", self.subject, self.remote_id)
            return
        # Airflow gives this method ``[triggerer] on_kill_timeout`` seconds; a job that waits to be started may refuse
        # to be cancelled for longer.
        cancelling = asyncio.create_task(self._cancel_until_over())
        _CANCELLING.add(cancelling)
        cancelling.add_done_callback(_CANCELLING.discard)
        await asyncio.shield(cancelling)

    async def _cancel_until_over(self) -> None:
        """Ask for the cancellation until the job has ended, or the person has changed their mind."""
        async with await self._client() as client:
            while not await self._is_over(client):
                if await self._cancel_for_a_person(client) is not None:
                    self.log.info("The wait for job %s was cleared: it is cancelled no more.", self.remote_id)
                    return
                await asyncio.sleep(min(CANCEL_POLL_SECONDS, self.poll_interval_seconds))
        self.log.info("Job %s has ended, as a person wished.", self.remote_id)

    async def _cancel_for_a_person(self, client: AIStudioClient) -> dict[str, Any] | None:
        """Ask for the cancellation if the wait is still failed, end if it is not; do neither if that is not known."""
        state = await self._state_of_wait()
        if state == "failed":
            await self._ask_to_cancel(client)
        return None if state in ("failed", None) else {"outcome": "timeout", "message": f"the wait is {state} again"}

    async def _is_over(self, client: AIStudioClient) -> bool:
        """Tell whether the job has ended; not knowing is not."""
        try:
            return (await client.describe_job(self.remote_id)).status.is_terminal
        except NotFoundError:
            return True
        except (RequestRefusedError, RetryableError) as error:
            self.log.warning("Job %s cannot be looked at: %s", self.remote_id, error)
            return False

    async def _ask_to_cancel(self, client: AIStudioClient) -> None:
        """Ask once for the cancellation; the next look tells what came of it."""
        try:
            await client.cancel_job(self.remote_id)
        except (NotFoundError, RequestRefusedError, RetryableError) as error:
            self.log.warning("Job %s is not cancelled yet: %s", self.remote_id, error)

    async def _state_of_wait(self) -> str | None:
        """Read the state of the task that waits for the job; ``None`` if it cannot be read."""
        from asgiref.sync import sync_to_async  # noqa: PLC0415 - triggerer only

        ti = self.task_instance
        if ti is None:
            return None
        task_id = self.waited_for_by or ti.task_id
        return await sync_to_async(task_state)(ti.dag_id, task_id, ti.run_id, ti.map_index)

    async def _client(self) -> AIStudioClient:
        """Open a client as the connection says."""
        # The first import takes a second, which the triggerer's loop cannot spare.
        client_type, hook_type = await asyncio.to_thread(_import_heavy)
        return client_type(await hook_type(self.conn_id).aconfig())


def _import_heavy() -> tuple[type[AIStudioClient], type[AIStudioHook]]:
    from vision_batch.hooks.ai_studio import AIStudioHook  # noqa: PLC0415 - not while DAG files are parsed
    from vision_batch.service.client import AIStudioClient  # noqa: PLC0415 - the same

    return AIStudioClient, AIStudioHook
