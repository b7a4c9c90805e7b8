"""Turn a shard's items into its one dataset: read, guard, fit, spool, upload, validate."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from vision_batch.errors import (
    DatasetInvalidError,
    NotFoundError,
    QuotaExceededError,
    RetryableError,
    ServiceUnavailableError,
    VisionBatchError,
)
from vision_batch.service.admission import NotYet, WaitForRoom
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset, DatasetStatus, RowError, Validation
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.records import Fate
from vision_batch.shards.state import PreparedDataset
from vision_batch.steps.admission import after_refusal, dataset_turn, keep_dataset
from vision_batch.steps.crash import crash_point
from vision_batch.steps.datasets import INSTALL_LABEL, dataset_name, datasets_of, delete_dataset
from vision_batch.steps.observe import observe
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import Spooled, spool_requests

log = logging.getLogger(__name__)

#: Task type of a dataset of image questions (AI Studio, "Dataset formats", VLM requests).
TASK_TYPE = "ImageTextToTextGenerationRequest"

#: After so many refused datasets the shard's requests are given up; until then only the named rows are left out.
MOST_REFUSALS = 4


@dataclass(frozen=True)
class Validating:
    """Name the dataset whose validation has to be awaited, and the operation that tells."""

    dataset_id: str
    operation_id: str


def prepare(resources: Resources, key: str) -> Validating | WaitForRoom | NotYet | None:
    """Bring a shard to the state *ready*, or start its validation and return what to wait for, or wait for its turn.

    Safe to call again: a dataset that an earlier try uploaded whole is used, not uploaded twice.
    """
    resources = resources.for_shard(key)
    shard = resources.shard(key)
    with resources.service() as service:
        seen = observe(resources, shard, service)
        if seen.closed or seen.loaded or seen.dataset is not None:
            log.info("Shard %s is prepared already.", key)
            return None
        try:
            for dataset in datasets_of(resources, service, key):
                if (found := _resume(resources, shard, service, dataset)) is not None:
                    return found
                if shard.dataset() is not None:
                    return None
            if (wait := dataset_turn(resources, key, service)) is not None:
                return wait
            return _make_dataset(resources, shard, service)
        except NotFoundError as error:
            _deleted_meanwhile(shard, error)
            return None


def finish_prepare(resources: Resources, key: str, validating: Validating) -> PreparedDataset | None:
    """Make a validated dataset the shard's one; delete it if another try was first.

    :return: the shard's dataset, or ``None`` if the validation still runs.
    :raises DatasetInvalidError: if the service refused rows: the next try leaves them out. Nothing was paid.
    :raises ServiceUnavailableError: if the validation broke, and says nothing of the rows.
    """
    shard = resources.shard(key)
    with resources.service() as service:
        chosen = shard.dataset()
        if chosen is None:
            try:
                dataset = service.describe_dataset(validating.dataset_id)  # of a deleted one, it may never end
                checked = service.validation(validating.operation_id)
            except NotFoundError as error:
                _deleted_meanwhile(shard, error)
                return shard.dataset()
            if not checked.done:
                return None
            if checked.is_refused:
                _refuse(shard, service, validating.dataset_id, checked)
            if not checked.is_valid:
                _broken(service, dataset, checked)
            chosen = _choose(resources, shard, dataset)
        if chosen.dataset_id != validating.dataset_id:
            log.info("Another try prepared shard %s first; deleting our dataset %s.", key, validating.dataset_id)
            delete_dataset(service, validating.dataset_id)
        return chosen


def _deleted_meanwhile(shard: ShardFolder, error: NotFoundError) -> None:
    """Accept that a dataset is gone if the shard went on without it: another run may have done all of it by now.

    :raises RetryableError: if the shard has no other one.
    """
    if shard.dataset() is None:
        raise RetryableError(f"the dataset was deleted while it was being prepared; a retry makes another: {error}")
    log.info("Another run has prepared shard %s and deleted our dataset.", shard.key)


def _resume(
    resources: Resources, shard: ShardFolder, service: SyncAIStudioClient, dataset: Dataset
) -> Validating | None:
    """Take up a dataset that an earlier try left, if it was uploaded whole."""
    if not shard.has_rows(dataset.dataset_id):
        return None
    if dataset.status is DatasetStatus.READY:
        _choose(resources, shard, dataset)
        return None
    if dataset.status is DatasetStatus.VALIDATING and (operation := service.find_validation(dataset.dataset_id)):
        return Validating(dataset.dataset_id, operation)
    return None


def _make_dataset(
    resources: Resources, shard: ShardFolder, service: SyncAIStudioClient
) -> Validating | WaitForRoom | NotYet | None:
    """Make the dataset first, so that everybody sees that its place is taken, then fill it."""
    install = resources.work().install_id()
    crash_point("before_dataset_create")
    try:
        name = dataset_name(install, resources.declaration.name, shard.key)
        dataset = service.create_dataset(name, TASK_TYPE, labels={INSTALL_LABEL: install})
    except QuotaExceededError as error:
        return after_refusal(resources, error)
    crash_point("after_dataset_create")
    outcome: WaitForRoom | NotYet | None = None
    try:
        outcome = keep_dataset(resources, shard.key, service)
        filled = outcome is None and _fill(resources, shard, service, dataset.dataset_id)
    except QuotaExceededError as error:
        outcome, filled = after_refusal(resources, error), False
    except Exception:
        _delete_unfilled(service, dataset.dataset_id)
        raise
    if not filled:
        _delete_unfilled(service, dataset.dataset_id)
        return outcome
    operation_id = service.validate(dataset.dataset_id)
    crash_point("after_validate")
    return Validating(dataset.dataset_id, operation_id)


def _fill(resources: Resources, shard: ShardFolder, service: SyncAIStudioClient, dataset_id: str) -> bool:
    """Upload the shard's requests; tell whether there are any."""
    with tempfile.TemporaryDirectory(prefix="vision-batch-") as folder:
        spooled = spool_requests(resources, shard, Path(folder))
        log.info("Shard %s: %s", shard.key, _fates(spooled))
        for line in spooled.notes:
            log.info("Shard %s, %s.", shard.key, line)
        if not spooled.requests:
            shard.choose_dataset(PreparedDataset(None, shard.write_rows(None, spooled.rows), 0))
            return False
        service.upload(dataset_id, spooled.path)
        crash_point("after_upload")
        shard.write_rows(dataset_id, spooled.rows)
        crash_point("after_rows")
    return True


def _delete_unfilled(service: SyncAIStudioClient, dataset_id: str) -> None:
    """Give the place back; what is left if that fails goes with the shard's other datasets when it is closed."""
    try:
        delete_dataset(service, dataset_id)
    except VisionBatchError as error:
        log.warning("Dataset %s could not be deleted and keeps its place: %s", dataset_id, error)


def _choose(resources: Resources, shard: ShardFolder, dataset: Dataset) -> PreparedDataset:
    name = f"rows-{dataset.dataset_id}.parquet"
    folder_id = dataset.folder_id or resources.folder_id()
    requests = len({row.row for row in shard.rows(name) if row.fate is Fate.SENT})
    crash_point("before_dataset_file")
    chosen = shard.choose_dataset(PreparedDataset(dataset.dataset_id, name, requests, folder_id))
    crash_point("after_dataset_file")
    return chosen


def _fates(spooled: Spooled) -> Mapping[str, int]:
    return {"requests": spooled.requests, **Counter(str(row.fate) for row in spooled.rows)}


def _refuse(shard: ShardFolder, service: SyncAIStudioClient, dataset_id: str, checked: Validation) -> NoReturn:
    """Record which items the next try leaves out, so that one bad row does not keep the others from being asked."""
    reason = _explain(checked.errors)
    sent = [row for row in shard.rows(f"rows-{dataset_id}.parquet") if row.row is not None]
    named = named_rows(checked.errors, 1 + max((row.row or 0 for row in sent), default=0))
    last = len(shard.refusals()) + 1 >= MOST_REFUSALS
    refused = [row.item_key for row in sent if last or not named or row.row in named]
    shard.record_refusal(dataset_id, dict.fromkeys(refused, reason))
    delete_dataset(service, dataset_id)
    raise DatasetInvalidError(
        f"{reason}. Nothing was paid. The next try leaves out {len(refused)} of {len(sent)} images, whose rows say so"
    )


def _broken(service: SyncAIStudioClient, dataset: Dataset, checked: Validation) -> NoReturn:
    """Leave it to the next try to make another dataset, unless this one is READY all the same and can be used."""
    reason = f"{checked.operation_error}" if checked.operation_error else "it ended and said nothing of the rows"
    if dataset.status is not DatasetStatus.READY:
        delete_dataset(service, dataset.dataset_id)
    raise ServiceUnavailableError(
        f"The service's validation of dataset {dataset.dataset_id} broke: {reason}. Nothing was paid, and no image is "
        "refused by that. The next try has the dataset validated anew"
    )


def named_rows(errors: Sequence[RowError], rows: int) -> frozenset[int]:
    """Return the rows, from 0, that a validation may mean.

    Whether it counts from 0 or from 1 is not documented. Where its numbers fit both, both are returned: a row that is
    left out for nothing is asked later, a bad one that is sent again would be refused again.

    :param rows: how many there are.
    """
    numbers = {number for error in errors for number in error.row_numbers}
    bases = [base for base in (0, 1) if all(0 <= number - base < rows for number in numbers)]
    return frozenset(number - base for number in numbers for base in bases)


def _explain(errors: tuple[object, ...]) -> str:
    shown = "; ".join(str(error) for error in errors[:5])
    more = f" (and {len(errors) - 5} more)" if len(errors) > 5 else ""  # noqa: PLR2004 - enough to act on
    return f"The service's validation refused the dataset: {shown or 'no reason given'}{more}"
