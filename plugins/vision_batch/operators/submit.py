"""Submit a shard's dataset as exactly one batch job."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.context import Context

from vision_batch.links import JobLink, page_of_job
from vision_batch.operators.shard import ShardOperator
from vision_batch.service.admission import NotYet, WaitForRoom


class VisionBatchSubmitOperator(ShardOperator):
    """Make one paid job from a shard's dataset, whatever crashes, retries and clears do to the task.

    Waits, deferred, until the service's own lists show room in the job quota for it and for everybody before it, and
    while the outcome of an earlier call is not known.

    :return: the job's id, or ``None`` if the shard needs no job any more.
    """

    operator_extra_links = (JobLink(),)
    #: Where people look at the job; known once there is one.
    job_page = ""

    def execute(self, context: Context) -> str | None:
        """Submit, unless an earlier try or another run has."""
        from vision_batch.steps.submit import submit  # noqa: PLC0415 - heavy

        resources = self.open_resources(context)
        outcome = submit(resources, self.shard)
        if isinstance(outcome, WaitForRoom | NotYet):
            self.await_turn(outcome)
        if outcome.job_id is not None and resources.service_config is not None:
            self.job_page = page_of_job(resources.service_config, outcome.job_id)
            self.log.info("Job %s: %s", outcome.job_id, self.job_page)
        return outcome.job_id

    def again(self, context: Context, event: Any = None) -> str | None:
        """Look again after a wait."""
        del event
        return self.execute(context)
