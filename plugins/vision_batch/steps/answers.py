"""Say of each item of a shard what its row is: what was answered, or why nothing was, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.parsing import parse_answer
from vision_batch.errors import FinalError, ReconcileError
from vision_batch.service.join import Joined
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Job
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.records import Fate, ManifestItem, RowRecord
from vision_batch.shards.state import Observed
from vision_batch.steps.copies import answered_before, content_of
from vision_batch.steps.resources import Resources


@dataclass(frozen=True)
class Loading:
    """Hold what a load works with, and what was seen of the shard when it began."""

    resources: Resources
    folder: ShardFolder
    seen: Observed
    service: SyncAIStudioClient
    run_id: str

    @property
    def rows_name(self) -> str:
        """Name the file that says what became of each item."""
        if self.seen.dataset is None:
            raise FinalError(f"shard {self.folder.key} has no dataset to load")
        return self.seen.dataset.rows_name


#: The join of no result.
NOTHING = Joined({}, 0, 0, frozenset())


@dataclass(frozen=True)
class Results:
    """Hold what is known of a shard's requests.

    :param job: the job that was asked, if any was.
    :param line_errors: the service's words, by row.
    :param given_up: why the whole shard has no answers.
    """

    job: Job | None
    joined: Joined = NOTHING
    line_errors: Mapping[int, str] = field(default_factory=dict)
    given_up: str | None = None


def outcome_of(
    loading: Loading, record: RowRecord, copies: Mapping[str, Mapping[str, Any]], found: Results
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
            return _answer(loading.resources.declaration, record.row, found)


def _answer(declaration: Declaration, row: int | None, found: Results) -> dict[str, Any]:
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


def provenance_of(loading: Loading, job: Job | None, item: ManifestItem, record: RowRecord) -> dict[str, Any]:
    """Return the columns that say where an answer comes from."""
    declaration, dataset = loading.resources.declaration, loading.seen.dataset
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
        "model": loading.resources.model.id,
        "job_id": job.job_id if job and sent else None,
        "source_dataset_id": dataset.dataset_id if dataset and sent else None,
        "result_dataset_id": job.result_dataset_id if job and sent else None,
        "shard": loading.folder.key,
        "attempt": item.attempt,
        "run_id": loading.run_id,
        "input_id": item.input_id,
        "request_key": record.request_key,
        "asked_at": _asked_at(loading, job),
        "answered_at": job.finished_at if job and sent else None,
    }


def _asked_at(loading: Loading, job: Job | None) -> datetime:
    """Return when the shard was asked, the same at every load, so that an older answer is known as older."""
    for attempt in reversed(loading.seen.attempts):
        if job is None or attempt.job_id in (None, job.job_id):
            return attempt.made_at
    prepared_at = loading.folder.dataset_made_at()
    if prepared_at is None:
        raise ReconcileError(f"shard {loading.folder.key} was never prepared")
    return prepared_at


def copied_answers(
    loading: Loading, items: Iterable[ManifestItem], records: Sequence[RowRecord]
) -> dict[str, dict[str, Any]]:
    """Look up the answers that items of equal content copy, by item key: fields, status and text."""
    copied = [record for record in records if record.fate is Fate.COPIED]
    fields = [column.name for column in loading.resources.table().fields]
    names = [*fields, "status", "raw_text", "image_width", "image_height"]
    found = answered_before(loading.resources, copied, content_of(items))
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
