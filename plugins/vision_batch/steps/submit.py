"""Make exactly one paid call for a shard, behind the fence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from vision_batch.errors import (
    AuthenticationError,
    FinalError,
    NotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    RetryableError,
    SubmitTooLateError,
    SubmitUnknownError,
)
from vision_batch.service.admission import NotYet, WaitForRoom
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Job
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.state import (
    Attempt,
    CancelYounger,
    DeclareLost,
    LookAgain,
    Observed,
    Outcome,
    Prepare,
    Submit,
    Wait,
    next_step,
)
from vision_batch.shards.waiting import left_of
from vision_batch.steps.admission import after_refusal, job_turn
from vision_batch.steps.crash import crash_point
from vision_batch.steps.datasets import is_there
from vision_batch.steps.observe import observe
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: The deadline of the paid call: well below the time in which a job must show up in the lists.
SUBMIT_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """Name the job that asks the shard, or ``None`` if there is nothing left to wait for."""

    job_id: str | None


def submit(resources: Resources, key: str) -> Asked | NotYet | WaitForRoom:
    """Bring a shard to the state *asked*, if it is not there or further yet.

    Safe to call again at any time, from anywhere: whoever creates the attempt's file makes the call, nobody else.

    :raises FinalError: if the service refuses the job for good, or the shard has not been prepared.
    """
    resources = resources.for_shard(key)
    shard = resources.shard(key)
    with resources.service() as service:
        while True:
            seen = observe(resources, shard, service)
            match next_step(seen, datetime.now(UTC)):
                case Prepare():
                    raise FinalError(f"shard {key} has no dataset yet: run prepare before submit")
                case LookAgain(not_before=not_before):
                    return NotYet(
                        not_before, "the outcome of a submit is not known; looking at the service's lists again"
                    )
                case DeclareLost(attempt):
                    shard.settle_attempt(attempt, Outcome.LOST, reason="no job showed up in the service's lists")
                case CancelYounger(keep=keep, cancel=younger):
                    cancel_all(service, keep, younger)
                    return Asked(keep.job_id)
                case Wait(job, attempt):
                    if attempt is not None:
                        shard.settle_attempt(attempt, Outcome.JOB, job_id=job.job_id)
                    return Asked(job.job_id)
                case Submit() as step:
                    outcome = _submit_once(resources, shard, service, seen, step)
                    if outcome is not None:
                        return outcome
                case _:
                    return Asked(None)


def cancel_all(service: SyncAIStudioClient, keep: Job, younger: tuple[Job, ...]) -> None:
    """Cancel jobs that doubled another one; a refusal is left to the next look."""
    for job in younger:
        log.warning("Two jobs ask one dataset: keeping %s, cancelling the younger %s.", keep.job_id, job.job_id)
        try:
            service.cancel_job(job.job_id)
        except (RequestRefusedError, NotFoundError, RetryableError) as error:
            log.warning("Job %s could not be cancelled yet: %s", job.job_id, error)


def _submit_once(
    resources: Resources, shard: ShardFolder, service: SyncAIStudioClient, seen: Observed, step: Submit
) -> Asked | NotYet | WaitForRoom | None:
    """Make the paid call if it is our turn and the fence is ours; ``None`` means look again."""
    dataset = seen.dataset
    if dataset is None or dataset.dataset_id is None:
        raise FinalError(f"shard {shard.key} has no dataset to ask")
    if (wait := job_turn(resources, shard.key, service)) is not None:
        return wait
    made_at = datetime.now(UTC)
    crash_point("before_attempt")
    if not shard.fence(step.number, step.known_jobs, made_at):
        return None
    crash_point("after_attempt")
    try:
        return _pay(resources, shard, service, dataset_id=dataset.dataset_id, attempt=step.number, made_at=made_at)
    except QuotaExceededError as error:
        shard.settle_attempt(step.number, Outcome.REFUSED, reason=str(error))
        return after_refusal(resources, error, _refusals_in_a_row(seen.attempts))
    except NotFoundError as error:
        shard.settle_attempt(step.number, Outcome.REFUSED, reason=str(error))
        if is_there(service, dataset.dataset_id):
            raise
        return _release(shard, own=resources.declaration.own)


def _pay(
    resources: Resources,
    shard: ShardFolder,
    service: SyncAIStudioClient,
    *,
    dataset_id: str,
    attempt: int,
    made_at: datetime,
) -> Asked | NotYet | None:
    """Make the paid call; ``None`` means that it came too late and was not made.

    :param made_at: when the fence was put up.
    """
    options = resources.declaration.options
    try:
        submitted = service.submit(
            resources.model.uri(resources.folder_id(), resources.declaration.branch),
            dataset_id,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            timeout_seconds=SUBMIT_TIMEOUT_SECONDS,
            not_after=made_at + resources.declaration.limits.settle / 2,
        )
    except SubmitTooLateError as error:
        log.warning("This process has stood still before the paid call, so it is not made: %s", error)
        shard.settle_attempt(attempt, Outcome.REFUSED, reason=str(error))
        return None
    except (RequestRefusedError, AuthenticationError) as error:
        final = isinstance(error, RequestRefusedError)
        shard.settle_attempt(attempt, Outcome.REFUSED_FOR_GOOD if final else Outcome.REFUSED, reason=str(error))
        raise
    except SubmitUnknownError as error:
        log.warning("The outcome of the submit is not known (%s). Nothing is sent again until it is.", error)
        return NotYet(made_at + resources.declaration.limits.settle / 4, "the outcome of the submit is not known")
    crash_point("after_reply")
    shard.settle_attempt(attempt, Outcome.JOB, job_id=submitted.job_id)
    crash_point("after_job_file")
    log.info("Job %s asks shard %s.", submitted.job_id, shard.key)
    return Asked(submitted.job_id)


def _release(shard: ShardFolder, *, own: bool) -> Asked:
    """Close a shard whose dataset somebody has deleted before it was asked: nothing is paid, its items are free.

    :param own: whether it asks the declared question; then its items wait for the next run.
    """
    left = left_of(shard.manifest()) if own else {}
    shard.record_closed("its dataset was deleted before a job was made of it; its items are free again", left)
    log.warning("Shard %s is closed: its dataset was deleted before a job was made of it.", shard.key)
    return Asked(None)


def _refusals_in_a_row(attempts: Sequence[Attempt]) -> int:
    """Count the attempts, up to the newest, that made no job for want of quota."""
    return sum(1 for _ in takewhile(lambda attempt: attempt.outcome is Outcome.REFUSED, reversed(attempts)))
