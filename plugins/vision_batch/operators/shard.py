"""Bring one shard from claimed to closed: prepare, load, clean. Submit has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from vision_batch.enrichment.declaration import Declaration
from vision_batch.errors import ResultUnseenError
from vision_batch.operators.base import EnrichmentOperator
from vision_batch.service.admission import NotYet, WaitForRoom
from vision_batch.triggers.job import VisionBatchTrigger, first_look_seconds
from vision_batch.triggers.kills import was_killed

if TYPE_CHECKING:
    from vision_batch.steps.prepare import Validating


#: How long the teardown waits for a job that is being cancelled, and how often it looks.
CANCEL_WAIT_SECONDS = 300.0
CANCEL_POLL_SECONDS = 5.0

#: How long, if it is cancelled from here: until a job has begun, the service may refuse to.
KILL_WAIT_SECONDS = 24 * 3600.0


class ShardOperator(EnrichmentOperator):
    """Carry out one step of one shard.

    Skipped at a place without a shard, see ``operators.places``.

    :param shard: the shard's key; templated, mapped in a DAG.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, declaration: Declaration, shard: str, **kwargs: Any) -> None:
        super().__init__(declaration=declaration, **kwargs)
        self.shard = shard

    def pre_execute(self, context: Any) -> None:
        """Skip if there is no shard."""
        super().pre_execute(context)
        if not self.shard:
            raise AirflowSkipException("The run has had a shard here before, and has fewer now.")

    def await_turn(self, wait: WaitForRoom | NotYet) -> NoReturn:
        """Defer until there may be room for the shard, or it is time to decide again; then ``again`` goes on."""
        now = datetime.now(UTC)
        if isinstance(wait, NotYet):
            self.log.info("Waiting until %s: %s.", wait.not_before, wait.why)
            earliest = now + timedelta(seconds=first_look_seconds())
            self.defer(trigger=DateTimeTrigger(moment=max(wait.not_before, earliest)), method_name="again")
        poll = self.declaration.limits.poll_interval_seconds
        trigger = VisionBatchTrigger(
            conn_id=self.declaration.connection,
            subject="room",
            needed=wait.needed.as_dict(),
            poll_interval_seconds=poll,
            deadline=now.timestamp() + wait.looks * poll,
        )
        self.defer(trigger=trigger, method_name="again")


class VisionBatchPrepareOperator(ShardOperator):
    """Make the shard's dataset: wait deferred for room, read and fit the images, upload, wait for the validation.

    :return: the shard's key, for the next task.
    """

    def execute(self, context: Context) -> str:
        """Prepare, unless an earlier try or another run has."""
        from vision_batch.steps.prepare import prepare  # noqa: PLC0415 - heavy

        outcome = prepare(self.open_resources(context), self.shard)
        if isinstance(outcome, WaitForRoom | NotYet):
            self.await_turn(outcome)
        return self._wait_for(outcome)

    def again(self, context: Context, event: Any = None) -> str:
        """Look again after a wait."""
        del event
        return self.execute(context)

    def validated(self, context: Context, event: dict[str, Any], dataset_id: str, operation_id: str) -> str:
        """Go on when the validation has ended."""
        from vision_batch.steps.prepare import Validating, finish_prepare  # noqa: PLC0415 - heavy

        self.log.info("Validation: %s", event)
        validating = Validating(dataset_id, operation_id)
        chosen = finish_prepare(self.open_resources(context), self.shard, validating)
        return self._wait_for(validating if chosen is None else None)

    def _wait_for(self, validating: Validating | None) -> str:
        if validating is not None:
            self.defer(
                trigger=VisionBatchTrigger(
                    conn_id=self.declaration.connection,
                    subject="validation",
                    remote_id=validating.operation_id,
                    dataset_id=validating.dataset_id,
                    poll_interval_seconds=self.declaration.limits.poll_interval_seconds,
                ),
                method_name="validated",
                kwargs={"dataset_id": validating.dataset_id, "operation_id": validating.operation_id},
            )
        return self.shard


class VisionBatchLoadOperator(ShardOperator):
    """Load the shard's answers into the destination: join, parse, merge, reconcile.

    Waits, deferred and for minutes at most, where the job's result cannot be seen yet.

    :return: number of rows by status.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Load, unless it is done."""
        from vision_batch.steps.load import load  # noqa: PLC0415 - heavy

        try:
            return load(self.open_resources(context), self.shard, str(context["run_id"]))
        except ResultUnseenError as error:
            if error.not_before is None:
                raise
            self.await_turn(NotYet(error.not_before, str(error)))

    def again(self, context: Context, event: Any = None) -> dict[str, int]:
        """Look again for a result that could not be seen."""
        del event
        return self.execute(context)


class VisionBatchCleanOperator(ShardOperator):
    """Delete the shard's remote datasets and close it, where nothing paid can be lost. Meant as a teardown.

    A job that is alive at this point was probably cancelled a moment ago, by a person who marked its wait as failed: it
    is waited for, deferred and not for long. Where a person did that before a triggerer knew of the wait, it is
    cancelled here. Whatever stays open is taken up by a later run, or by the janitor.

    :param wait: the id of the task that waits for the shard's job; without it no job is cancelled here.
    :return: whether the shard is closed.
    """

    def __init__(self, *, declaration: Declaration, shard: str, wait: str | None = None, **kwargs: Any) -> None:
        super().__init__(declaration=declaration, shard=shard, **kwargs)
        self.wait = wait

    def execute(self, context: Context) -> bool:
        """Clean what can be cleaned now."""
        from vision_batch.steps.clean import clean  # noqa: PLC0415 - heavy

        cleaned = clean(self.open_resources(context), self.shard)
        if cleaned.job_id is not None:
            killed = self.wait is not None and was_killed(context, self.wait)
            if killed:
                self.log.info("A person marked %s as failed: job %s is cancelled.", self.wait, cleaned.job_id)
            wait_seconds = KILL_WAIT_SECONDS if killed else CANCEL_WAIT_SECONDS
            self.defer(
                trigger=VisionBatchTrigger(
                    conn_id=self.declaration.connection,
                    subject="job",
                    remote_id=cleaned.job_id,
                    poll_interval_seconds=min(CANCEL_POLL_SECONDS, self.declaration.limits.poll_interval_seconds),
                    deadline=datetime.now(UTC).timestamp() + wait_seconds,
                    waited_for_by=self.wait or self.task_id,
                    cancel=killed,
                ),
                method_name="waited",
            )
        return cleaned.closed

    def waited(self, context: Context, event: Any = None) -> bool:
        """Clean what can be cleaned after the wait."""
        from vision_batch.steps.clean import clean  # noqa: PLC0415 - heavy

        self.log.info("Waited for the job: %s", event)
        return clean(self.open_resources(context), self.shard).closed
