"""Delete what a shard left on the service, and close it, as far as nothing paid can be lost by that."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.shards.folder import LOADED, OpenState, ShardFolder, WorkFolder
from vision_batch.shards.state import Clean, GiveUp, Nothing, Wait, next_step
from vision_batch.shards.waiting import after_close
from vision_batch.steps.crash import crash_point
from vision_batch.steps.datasets import datasets_of, delete_dataset
from vision_batch.steps.load import give_up
from vision_batch.steps.observe import observe, own_results
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cleaned:
    """Say whether the shard is closed now.

    :param job_id: the job that is still alive, if that is why it is not.
    """

    closed: bool
    job_id: str | None = None


def clean(resources: Resources, key: str) -> Cleaned:
    """Close a shard that is loaded, dead for good, or cancelled; leave any other open for the next run."""
    resources = resources.for_shard(key)
    shard = resources.shard(key)
    with resources.service() as service:
        seen = observe(resources, shard, service)
        action = next_step(seen, datetime.now(UTC))
        if isinstance(action, GiveUp):
            give_up(resources, key, action, seen, service)
        elif not isinstance(action, Nothing | Clean):
            log.warning("Shard %s stays open (next step: %s): a later run goes on.", key, type(action).__name__)
            return Cleaned(closed=False, job_id=action.job.job_id if isinstance(action, Wait) else None)
        _delete_datasets(resources, shard, service)
    crash_point("before_close")
    shard.record_closed(LOADED if shard.loaded() is not None else "given up")
    crash_point("before_unclaim")
    _unclaim(resources.work(), shard)
    return Cleaned(closed=True)


def _unclaim(work: WorkFolder, shard: ShardFolder) -> None:
    """Let nobody count on the shard any more; in the same swap, what it was to ask and has not begins to wait."""
    left = shard.left()

    def change(found: OpenState) -> OpenState:
        if shard.key not in found.shards:  # by somebody else, or by an earlier swap whose reply was lost
            return found
        shards = {key: entry for key, entry in found.shards.items() if key != shard.key}
        waiting = after_close(found.waiting, left, noted_by=shard.key, now=datetime.now(UTC))
        return replace(found, shards=shards, waiting=waiting)

    work.change_open(change)
    if left:
        log.info("Shard %s leaves items to later runs, by partition: %s", shard.key, left)


def _delete_datasets(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient) -> None:
    """Delete the shard's source datasets and the results of its jobs; those gone already are no error."""
    ours = [dataset.dataset_id for dataset in datasets_of(resources, service, shard.key)]
    dataset = shard.dataset()
    results = own_results(resources, shard, service, dataset.dataset_id) if dataset and dataset.dataset_id else []
    for dataset_id in [*results, *ours]:
        delete_dataset(service, dataset_id)
        crash_point("during_clean")
