"""Bring a shard's answers into the destination, each item exactly one row, and reconcile."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vision_batch.errors import (
    NotFoundError,
    ObjectMissingError,
    ReconcileError,
    RequestRefusedError,
    ResultUnseenError,
    RetryableError,
    VisionBatchError,
)
from vision_batch.service.join import Joined, ResultRow, SentRequest, join, needs_whole_requests
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.rows import results
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Job
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.records import GONE, Fate, ManifestItem, RowRecord
from vision_batch.shards.state import (
    CancelYounger,
    Clean,
    GiveUp,
    Load,
    Nothing,
    Observed,
    next_step,
)
from vision_batch.shards.waiting import left_of
from vision_batch.steps.answers import NOTHING, Loading, Results, copied_answers, line_errors, outcome_of, provenance_of
from vision_batch.steps.costs import RequestCosts, job_rows, meter_job_rows
from vision_batch.steps.crash import crash_point
from vision_batch.steps.datasets import is_there
from vision_batch.steps.observe import observe
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import cancel_all

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

#: Of more deleted images it is not seen one by one whether they are there again: a listing is quicker.
MOST_LOOKED_FOR = 1_000


def load(resources: Resources, key: str, run_id: str) -> dict[str, int]:
    """Bring a shard to the state *loaded*, if it is not there yet; return its counts by status.

    :raises RetryableError: if the job has not ended, or its result cannot be seen yet.
    :raises ReconcileError: if items and rows do not add up; nothing is recorded as loaded then.
    """
    resources = resources.for_shard(key)
    shard = resources.shard(key)
    with resources.service() as service:
        seen = observe(resources, shard, service)
        loading = Loading(resources, shard, seen, service, run_id)
        try:
            match next_step(seen, datetime.now(UTC)):
                case Nothing() | Clean():
                    return _loaded_already(shard)
                case Load(job=job):
                    return _load(loading, job)
                case CancelYounger(keep=job, cancel=younger) if job.status.is_terminal:
                    cancel_all(service, job, younger)
                    return _load(loading, job)
                case GiveUp() as given_up:
                    return _give_up(loading, given_up)
                case other:
                    step = type(other).__name__
                    raise RetryableError(f"shard {key} is not ready to be loaded: its next step is {step}")
        except NotFoundError:
            if shard.loaded() is None:
                raise
            return _loaded_already(shard)  # by somebody else, who has deleted the results since


def give_up(resources: Resources, key: str, given_up: GiveUp, seen: Observed, service: SyncAIStudioClient) -> None:
    """Settle a dead shard: its requests become ``failed`` rows, except where a person cancelled the job."""
    _give_up(Loading(resources, resources.shard(key), seen, service, "clean"), given_up)


def _loaded_already(shard: ShardFolder) -> dict[str, int]:
    loaded = shard.loaded()
    if loaded is None:
        log.info("Shard %s is closed, nothing is loaded: %s", shard.key, (shard.closed() or {}).get("reason"))
        return {}
    counts: dict[str, int] = loaded["counts"]
    log.info("Shard %s is loaded already, nothing is changed: %s", shard.key, counts)
    return counts


def _load(loading: Loading, job: Job | None) -> dict[str, int]:
    if job is None:
        return _merge(loading, Results(None))
    if job.result_dataset_id is None:
        return _merge(loading, Results(job, given_up=_unseen(loading, job, "names no result")))
    try:
        joined = _join(loading, job, job.result_dataset_id)
    except ResultUnseenError:
        unseen = _unseen(loading, job, f"its result {job.result_dataset_id} has no files")
        return _merge(loading, Results(job, given_up=unseen))
    except NotFoundError:
        if loading.folder.loaded() is not None or is_there(loading.service, job.result_dataset_id):
            raise
        gone = f"the result of job {job.job_id} was deleted before it was loaded"
        return _merge(loading, Results(job, given_up=gone))
    return _merge(loading, Results(job, joined, line_errors(job, joined.missing)))


def _unseen(loading: Loading, job: Job, found: str) -> str:
    """Say why a job's result is given up: what is not seen at first may only be late, and is paid.

    :raises ResultUnseenError: if it has not been looked for long enough. A job may have ended long ago, by another
        clock, or without saying when, so the time begins with the first look.
    """
    since, now = loading.folder.looked_for_result(job.job_id, found), datetime.now(UTC)
    settle = loading.seen.settle
    given_up_at = since + 2 * settle
    reason = f"job {job.job_id} is COMPLETED, but {found}"
    if now < given_up_at:
        raise ResultUnseenError(
            f"{reason}; looking again until {given_up_at:%H:%M:%S} UTC", not_before=min(given_up_at, now + settle / 4)
        )
    return f"{reason}, {(now - since).total_seconds():.0f} s after that was first seen"


def _give_up(loading: Loading, given_up: GiveUp) -> dict[str, int]:
    if given_up.cancelled:
        _note_jobs(loading)
        loading.folder.record_closed(given_up.reason)
        return {}
    job, joined = given_up.job, NOTHING
    if job is not None and job.result_dataset_id is not None and loading.resources.declaration.limits.salvage:
        try:
            joined = _join(loading, job, job.result_dataset_id)
        except (NotFoundError, RequestRefusedError, ResultUnseenError) as error:
            log.warning("Job %s failed and left nothing to salvage: %s", job.job_id, error)
    return _merge(loading, Results(job, joined, given_up=given_up.reason))


def _join(loading: Loading, job: Job, dataset_id: str) -> Joined:
    marker = loading.resources.declaration.marker
    sent = {row.row: row for row in loading.folder.rows(loading.rows_name) if row.row is not None}
    requests = [
        SentRequest(number, row.marker or "", row.text_sha256 or "", row.request_hash)
        for number, row in sorted(sent.items())
    ]
    whole = needs_whole_requests(requests, marker=marker)
    hashing = RequestHash.like(requests[0].request_hash) if whole else None
    joined = join(requests, _result_rows(loading.service, dataset_id, hashing), marker=marker)
    if joined.duplicates or joined.foreign or joined.missing:
        log.warning(
            "Job %s: %d requests without an answer, %d repeated rows, %d rows that are not ours.",
            job.job_id,
            len(joined.missing),
            joined.duplicates,
            joined.foreign,
        )
    return joined


def _result_rows(service: SyncAIStudioClient, dataset_id: str, hashing: RequestHash | None) -> Iterator[ResultRow]:
    for batch in results(service, dataset_id, hashing=hashing):
        for row in batch.to_pylist():
            yield ResultRow(row["text"], row["response"], row.get("request_hash"))


def _merge(loading: Loading, found: Results) -> dict[str, int]:
    """Build one row for each item that was not released, merge them in one transaction, count, record."""
    import pyarrow as pa

    items = {item.item_key: item for item in loading.folder.manifest()}
    records = loading.folder.rows(loading.rows_name)
    if len(records) != len(items) or {record.item_key for record in records} != items.keys():
        raise ReconcileError(
            f"shard {loading.folder.key} has {len(items)} items, but {len(records)} of them have a fate"
        )
    copies, costs = copied_answers(loading, items.values(), records), RequestCosts(loading.resources)
    answers: list[dict[str, Any]] = []
    released: dict[str, RowRecord] = {}
    for record in records:
        outcome = outcome_of(loading, record, copies, found)
        if outcome is None:
            released[record.item_key] = record
        else:
            provenance = provenance_of(loading, found.job, items[record.item_key], record)
            answers.append({**provenance, **costs.charge(record, outcome.get("raw_text")), **outcome})
    counts = dict(Counter(str(answer["status"]) for answer in answers))
    sent = Counter(str(answer["status"]) for answer in answers if answer["job_id"] is not None)
    jobs = _job_rows(loading, records, costs, answering=found.job, counts=sent)
    if answers:
        table = loading.resources.table()
        crash_point("before_commit")
        loading.resources.warehouse().load(table, pa.Table.from_pylist(answers, schema=table.arrow_schema()), jobs)
        crash_point("after_commit")
    given_up = found.given_up or _nothing_could_be_sent(records)
    # A run with another question says nothing about the days that wait for the declared one.
    gone = _gone(loading, items, released.values()) if loading.resources.declaration.own else released.keys()
    left = left_of(items[key] for key in released.keys() - gone)
    told = {"counts": counts, "released": len(released), "given_up": given_up}
    loading.folder.record_loaded(told, left)
    crash_point("after_loaded")
    meter_job_rows(loading.resources, jobs, counts)
    log.info("Shard %s is loaded: %s, %d released.", loading.folder.key, counts, told["released"])
    return counts


def _gone(loading: Loading, items: Mapping[str, ManifestItem], released: Iterable[RowRecord]) -> set[str]:
    """Return which released items were deleted and are still away. Where that is not clear, the next plan sees it."""
    deleted = [record.item_key for record in released if record.detail == GONE]
    if len(deleted) > MOST_LOOKED_FOR:
        return set()
    store, gone = loading.resources.source_store(), set()
    for key in deleted:
        try:
            store.info(items[key].uri)
        except ObjectMissingError:
            gone.add(key)
        except VisionBatchError as error:
            log.warning("Whether %s is there again could not be seen: %s", key, error)
    return gone


def _nothing_could_be_sent(records: Sequence[RowRecord]) -> str | None:
    """Say why a shard has no answers of which no image could be read, or whose requests were all refused."""
    reasons = [record.detail for record in records if record.fate is Fate.FAILED]
    rest = sum(record.fate in {Fate.SENT, Fate.COPIED} for record in records)
    return (
        f"none of its {len(reasons)} images could be sent; of the first: {reasons[0]}" if reasons and not rest else None
    )


def _note_jobs(loading: Loading) -> None:
    """Keep the books of jobs that brought no answers."""
    records, costs, table = (
        loading.folder.rows(loading.rows_name),
        RequestCosts(loading.resources),
        loading.resources.table(),
    )
    for record in records:
        costs.charge(record, None)
    jobs = _job_rows(loading, records, costs)
    loading.resources.warehouse().load(table, table.arrow_schema().empty_table(), jobs)
    meter_job_rows(loading.resources, jobs, {})


def _job_rows(
    loading: Loading,
    records: Sequence[RowRecord],
    costs: RequestCosts,
    *,
    answering: Job | None = None,
    counts: Mapping[str, int] | None = None,
) -> pa.Table:
    return job_rows(
        loading.resources,
        loading.folder.key,
        jobs=loading.seen.jobs,
        answering=answering,
        items=loading.folder.manifest(),
        records=records,
        counts=counts or {},
        tokens=costs.tokens,
        run_id=loading.run_id,
    )
