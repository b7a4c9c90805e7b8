"""Bring a shard's answers into the destination, each item exactly one row, and reconcile."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.parsing import parse_answer
from vision_batch.errors import FinalError, NotFoundError, ReconcileError, RequestRefusedError, RetryableError
from vision_batch.service.join import Joined, ResultRow, SentRequest, join, needs_whole_requests
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.rows import results
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Job
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.records import Fate, ManifestItem, RowRecord
from vision_batch.shards.state import (
    CancelYounger,
    Clean,
    GiveUp,
    Load,
    Nothing,
    Observed,
    next_step,
)
from vision_batch.steps.copies import answered_before, content_of
from vision_batch.steps.costs import RequestCosts, job_rows, meter_job_rows
from vision_batch.steps.crash import crash_point
from vision_batch.steps.datasets import is_there
from vision_batch.steps.observe import observe
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import cancel_all

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def load(resources: Resources, key: str, run_id: str) -> dict[str, int]:
    """Bring a shard to the state *loaded*, if it is not there yet; return its counts by status.

    :raises RetryableError: if the job has not ended.
    :raises ReconcileError: if items and rows do not add up; nothing is recorded as loaded then.
    """
    resources = resources.for_shard(key)
    shard = resources.shard(key)
    with resources.service() as service:
        seen = observe(resources, shard, service)
        made = _Shard(resources, shard, seen, service, run_id)
        try:
            match next_step(seen, datetime.now(UTC)):
                case Nothing() | Clean():
                    return _loaded_already(shard)
                case Load(job=job):
                    return _load(made, job)
                case CancelYounger(keep=job, cancel=younger) if job.status.is_terminal:
                    cancel_all(service, job, younger)
                    return _load(made, job)
                case GiveUp() as given_up:
                    return _give_up(made, given_up)
                case other:
                    step = type(other).__name__
                    raise RetryableError(f"shard {key} is not ready to be loaded: its next step is {step}")
        except NotFoundError:
            if shard.loaded() is None:
                raise
            return _loaded_already(shard)  # by somebody else, who has deleted the results since


def give_up(resources: Resources, key: str, given_up: GiveUp, seen: Observed, service: SyncAIStudioClient) -> None:
    """Settle a dead shard: its requests become ``failed`` rows, except where a person cancelled the job."""
    _give_up(_Shard(resources, resources.shard(key), seen, service, "clean"), given_up)


def _loaded_already(shard: ShardFolder) -> dict[str, int]:
    loaded = shard.loaded()
    if loaded is None:
        log.info("Shard %s is closed, nothing is loaded: %s", shard.key, (shard.closed() or {}).get("reason"))
        return {}
    counts: dict[str, int] = loaded["counts"]
    log.info("Shard %s is loaded already, nothing is changed: %s", shard.key, counts)
    return counts


@dataclass(frozen=True)
class _Shard:
    resources: Resources
    folder: ShardFolder
    seen: Observed
    service: SyncAIStudioClient
    run_id: str

    @property
    def rows_name(self) -> str:
        if self.seen.dataset is None:
            raise FinalError(f"shard {self.folder.key} has no dataset to load")
        return self.seen.dataset.rows_name


def _load(made: _Shard, job: Job | None) -> dict[str, int]:
    if job is None:
        return _merge(made, _Results(None))
    if job.result_dataset_id is None:
        return _merge(made, _Results(job, given_up=f"job {job.job_id} is COMPLETED but names no result"))
    try:
        joined = _join(made, job, job.result_dataset_id)
    except NotFoundError:
        if made.folder.loaded() is not None or is_there(made.service, job.result_dataset_id):
            raise
        gone = f"the result of job {job.job_id} was deleted before it was loaded"
        return _merge(made, _Results(job, given_up=gone))
    return _merge(made, _Results(job, joined, line_errors(job, joined.missing)))


def _give_up(made: _Shard, given_up: GiveUp) -> dict[str, int]:
    if given_up.cancelled:
        _note_jobs(made)
        made.folder.record_closed(given_up.reason)
        return {}
    job, joined = given_up.job, _NOTHING
    if job is not None and job.result_dataset_id is not None and made.resources.declaration.limits.salvage:
        try:
            joined = _join(made, job, job.result_dataset_id)
        except (NotFoundError, RequestRefusedError) as error:
            log.warning("Job %s failed and left nothing to salvage: %s", job.job_id, error)
    return _merge(made, _Results(job, joined, given_up=given_up.reason))


def _join(made: _Shard, job: Job, dataset_id: str) -> Joined:
    marker = made.resources.declaration.marker
    sent = {row.row: row for row in made.folder.rows(made.rows_name) if row.row is not None}
    requests = [
        SentRequest(number, row.marker or "", row.text_sha256 or "", row.request_hash)
        for number, row in sorted(sent.items())
    ]
    whole = needs_whole_requests(requests, marker=marker)
    hashing = RequestHash.like(requests[0].request_hash) if whole else None
    joined = join(requests, _result_rows(made.service, dataset_id, hashing), marker=marker)
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


_NOTHING = Joined({}, 0, 0, frozenset())


@dataclass(frozen=True)
class _Results:
    """Hold what is known of a shard's requests.

    :param job: the job that was asked, if any was.
    :param line_errors: the service's words, by row.
    :param given_up: why the whole shard has no answers.
    """

    job: Job | None
    joined: Joined = _NOTHING
    line_errors: Mapping[int, str] = field(default_factory=dict)
    given_up: str | None = None


def _merge(made: _Shard, found: _Results) -> dict[str, int]:
    """Build one row for each item that was not released, merge them in one transaction, count, record."""
    import pyarrow as pa

    items = {item.item_key: item for item in made.folder.manifest()}
    records = made.folder.rows(made.rows_name)
    if len(records) != len(items) or {record.item_key for record in records} != items.keys():
        raise ReconcileError(f"shard {made.folder.key} has {len(items)} items, but {len(records)} of them have a fate")
    copies, costs = _copies(made, items.values(), records), RequestCosts(made.resources)
    answers: list[dict[str, Any]] = []
    for record in records:
        outcome = _outcome_of(made, record, copies, found)
        if outcome is not None:
            provenance = _provenance(made, found.job, items[record.item_key], record)
            answers.append({**provenance, **costs.charge(record, outcome.get("raw_text")), **outcome})
    counts = dict(Counter(str(answer["status"]) for answer in answers))
    sent = Counter(str(answer["status"]) for answer in answers if answer["job_id"] is not None)
    jobs = _job_rows(made, records, costs, answering=found.job, counts=sent)
    if answers:
        table = made.resources.table()
        crash_point("before_commit")
        made.resources.warehouse().load(table, pa.Table.from_pylist(answers, schema=table.arrow_schema()), jobs)
        crash_point("after_commit")
    released = len(records) - len(answers)
    given_up = found.given_up or _nothing_could_be_sent(records)
    made.folder.record_loaded({"counts": counts, "released": released, "given_up": given_up})
    crash_point("after_loaded")
    meter_job_rows(made.resources, jobs, counts)
    log.info("Shard %s is loaded: %s, %d released.", made.folder.key, counts, released)
    return counts


def _nothing_could_be_sent(records: Sequence[RowRecord]) -> str | None:
    """Say why a shard has no answers of which no image could be read, or whose requests were all refused."""
    reasons = [record.detail for record in records if record.fate is Fate.FAILED]
    rest = sum(record.fate in {Fate.SENT, Fate.COPIED} for record in records)
    return (
        f"none of its {len(reasons)} images could be sent; of the first: {reasons[0]}" if reasons and not rest else None
    )


def _note_jobs(made: _Shard) -> None:
    """Keep the books of jobs that brought no answers."""
    records, costs, table = made.folder.rows(made.rows_name), RequestCosts(made.resources), made.resources.table()
    for record in records:
        costs.charge(record, None)
    jobs = _job_rows(made, records, costs)
    made.resources.warehouse().load(table, table.arrow_schema().empty_table(), jobs)
    meter_job_rows(made.resources, jobs, {})


def _job_rows(
    made: _Shard,
    records: Sequence[RowRecord],
    costs: RequestCosts,
    *,
    answering: Job | None = None,
    counts: Mapping[str, int] | None = None,
) -> pa.Table:
    return job_rows(
        made.resources,
        made.folder.key,
        jobs=made.seen.jobs,
        answering=answering,
        items=made.folder.manifest(),
        records=records,
        counts=counts or {},
        tokens=costs.tokens,
        run_id=made.run_id,
    )


def _outcome_of(
    made: _Shard, record: RowRecord, copies: Mapping[str, Mapping[str, Any]], found: _Results
) -> dict[str, Any] | None:
    """Return status, fields, text and error of one item, or ``None`` if it is released to the next plan."""
    match record.fate:
        case Fate.RELEASED:
            return None
        case Fate.REJECTED | Fate.FAILED:
            return {"status": str(record.fate), "error": record.detail}
        case Fate.COPIED:
            source = copies.get(record.item_key)
            return None if source is None else {**source, "copied_from": record.copied_from}
        case Fate.SENT:
            return _answer(made.resources.declaration, record.row, found)


def _answer(declaration: Declaration, row: int | None, found: _Results) -> dict[str, Any]:
    """Return what the service answered to one request."""
    if row is None:
        raise ReconcileError("a request that was sent has no row number")
    text = found.joined.responses.get(row)
    if text is None and found.given_up is not None:
        return {"status": "failed", "error": found.given_up}
    if row in found.line_errors:
        return {"status": "failed", "error": found.line_errors[row]}
    if row in found.joined.missing:
        return {"status": "missing", "error": "the result has no row for this request"}
    if text is None:
        return {"status": "failed", "error": "the service gave no text for this request"}
    parsed = parse_answer(declaration.answer, text, declaration.language)
    return {**parsed.fields, "status": parsed.status, "raw_text": text, "error": parsed.error}


def _provenance(made: _Shard, job: Job | None, item: ManifestItem, record: RowRecord) -> dict[str, Any]:
    """Return the columns that say where an answer comes from."""
    declaration, dataset = made.resources.declaration, made.seen.dataset
    sent = record.fate is Fate.SENT
    return {
        "item_key": item.item_key,
        "image_uri": item.uri,
        "image_sha256": record.image_sha256,
        "etag": item.etag,
        "image_width": record.width,
        "image_height": record.height,
        "partition": item.partition,
        "question_key": declaration.question_key(),
        "revision": declaration.revision,
        "model": made.resources.model.id,
        "job_id": job.job_id if job and sent else None,
        "source_dataset_id": dataset.dataset_id if dataset and sent else None,
        "result_dataset_id": job.result_dataset_id if job and sent else None,
        "shard": made.folder.key,
        "attempt": item.attempt,
        "run_id": made.run_id,
        "input_id": item.input_id,
        "request_key": record.request_key,
        "asked_at": _asked_at(made, job),
        "answered_at": job.finished_at if job and sent else None,
    }


def _asked_at(made: _Shard, job: Job | None) -> datetime:
    """Return when the shard was asked, the same at every load, so that an older answer is known as older."""
    for attempt in reversed(made.seen.attempts):
        if job is None or attempt.job_id in (None, job.job_id):
            return attempt.made_at
    prepared_at = made.folder.dataset_made_at()
    if prepared_at is None:
        raise ReconcileError(f"shard {made.folder.key} was never prepared")
    return prepared_at


def _copies(made: _Shard, items: Iterable[ManifestItem], records: Sequence[RowRecord]) -> dict[str, dict[str, Any]]:
    """Look up the answers that items of equal content copy, by item key: fields, status and text."""
    copied = [record for record in records if record.fate is Fate.COPIED]
    fields = [column.name for column in made.resources.table().fields]
    names = [*fields, "status", "raw_text", "image_width", "image_height"]
    found = answered_before(made.resources, copied, content_of(items))
    return {item_key: {name: row[name] for name in names} for item_key, row in found.items()}


def line_errors(job: Job, missing: frozenset[int]) -> dict[int, str]:
    """Attribute the service's errors to requests by row number, only as far as that is certain.

    Whether the service counts lines from 0 or from 1 is not documented: a base is taken only if, with it, every
    line that the service names is one without an answer, and with the other base that is not so.
    """
    named: dict[int, str] = {}
    for batch in job.batch_errors:
        named.update(dict.fromkeys(range(batch.first_line, batch.last_line + 1), batch.message))
    named.update({line.line_number: line.message for line in job.line_errors})
    fitting = [base for base in (0, 1) if all(number - base in missing for number in named)]
    return {number - fitting[0]: message for number, message in named.items()} if len(fitting) == 1 else {}
