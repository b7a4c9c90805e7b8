"""Await a batch job without holding a worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, XComArg
from airflow.sdk.definitions.context import Context

from vision_batch.errors import JobDeadError, RetryableError
from vision_batch.hooks.ai_studio import AIStudioHook
from vision_batch.links import JobLink, page_of_job
from vision_batch.operators.base import task_page
from vision_batch.operators.retry import RetryByErrorType
from vision_batch.triggers.job import VisionBatchTrigger

#: Batch jobs may take days; waiting costs nothing.
DEFAULT_TIMEOUT_SECONDS = 7 * 24 * 3600.0


class VisionBatchSensor(BaseSensorOperator):
    """Wait until a job is COMPLETED: in the triggerer, which logs here how far it is. Nothing is lost if this fails.

    Mark it as failed to cancel the job; clear it to wait for the same job again.

    :param job_id: the job, usually the output of a submit; templated. ``None`` means nothing to wait for.
    :param conn_id: the connection.
    :param deferrable: wait in the triggerer, the default; otherwise poke (or reschedule) on a worker.
    :raises JobDeadError: if the job FAILED or was CANCELED: final, the sensor is not tried again.
    """

    template_fields: Sequence[str] = ("job_id",)
    operator_extra_links = (JobLink(),)
    #: Where people look at the job.
    job_page = ""

    def __init__(
        self,
        *,
        job_id: str | XComArg | None,
        conn_id: str = AIStudioHook.default_conn_name,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("poke_interval", 30.0)
        kwargs.setdefault("timeout", DEFAULT_TIMEOUT_SECONDS)
        kwargs.setdefault("retries", 5)
        kwargs.setdefault("retry_delay", timedelta(seconds=30))
        kwargs.setdefault("retry_policy", RetryByErrorType())
        kwargs.setdefault("doc_md", task_page(type(self)))
        super().__init__(**kwargs)
        self.job_id: Any = job_id
        self.conn_id = conn_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Wait, deferred or poking; return the job's id."""
        if not self.job_id:
            self.log.info("There is no job to wait for.")
            return None
        self.job_page = page_of_job(AIStudioHook(self.conn_id).config(), str(self.job_id))
        if self.deferrable:
            self.defer(
                trigger=VisionBatchTrigger(
                    conn_id=self.conn_id,
                    subject="job",
                    remote_id=self.job_id,
                    poll_interval_seconds=self.poke_interval,
                    deadline=datetime.now(UTC).timestamp() + self.timeout,
                ),
                method_name="ended",
                kwargs={"job_page": self.job_page},
            )
        return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        del context
        with AIStudioHook(self.conn_id).client() as client:
            job = client.describe_job(str(self.job_id))
        self.log.info("Job %s: %s", self.job_id, job.status)
        if job.status.is_terminal:
            self._check(str(job.status), job.error or "")
        return PokeReturnValue(is_done=job.status.is_terminal, xcom_value=self.job_id)

    def ended(self, context: Context, event: dict[str, Any], job_page: str = "") -> str:
        """Go on when the trigger has seen the job end, or has given up."""
        del context
        self.job_page = job_page
        if event["outcome"] == "ended":
            self._check(event["status"], event["message"])
            return str(self.job_id)
        if event["outcome"] == "error":
            raise JobDeadError(f"job {self.job_id} cannot be awaited: {event['message']}")
        raise RetryableError(
            f"job {self.job_id} has not ended in {self.timeout:.0f} s ({event['message']}); it goes on"
        )

    def _check(self, status: str, message: str) -> None:
        if status != "COMPLETED":
            raise JobDeadError(f"job {self.job_id} ended as {status}: {message or 'the service gave no reason'}")
