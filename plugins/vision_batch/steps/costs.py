"""Say what a shard's requests and jobs cost, from what was sent and answered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vision_batch.enrichment.spending import job_cost, tokens_in_units
from vision_batch.images.budget import text_tokens_upper_bound
from vision_batch.service.types import Job
from vision_batch.shards.records import Fate, ManifestItem, RowRecord
from vision_batch.steps.resources import Resources
from vision_batch.warehouse.protocol import JOBS, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

#: What the columns say of an item that cost nothing.
FREE: Mapping[str, Any] = {"estimated_tokens": None, "estimated_units": None, "estimated_cost": None}


class RequestCosts:
    """Charge a shard's requests, each to the first of the items that share it, so that sums over rows are right.

    :ivar tokens: of all requests so far and their answers, estimated upwards.
    """

    def __init__(self, resources: Resources) -> None:
        self._model, self._unit_price = resources.model, resources.unit_price
        self._max_tokens = resources.declaration.options.max_tokens
        self._charged: set[int] = set()
        self.tokens = 0

    def charge(self, record: RowRecord, text: str | None) -> Mapping[str, Any]:
        """Return the cost columns of one item.

        :param text: the model's text; without one the answer counts as long as it may be.
        """
        if record.fate is not Fate.SENT or record.row is None:
            return FREE
        tokens = 0
        if record.row not in self._charged:
            self._charged.add(record.row)
            bound = self._max_tokens if text is None else text_tokens_upper_bound(text)
            tokens = (record.tokens or 0) + min(bound, self._max_tokens)
        self.tokens += tokens
        units = tokens_in_units(tokens, self._model)
        cost = None if self._unit_price is None else float(units * self._unit_price)
        return {"estimated_tokens": tokens, "estimated_units": float(units), "estimated_cost": cost}


def job_rows(
    resources: Resources,
    shard: str,
    *,
    jobs: Iterable[Job],
    answering: Job | None,
    items: Iterable[ManifestItem],
    records: Sequence[RowRecord],
    counts: Mapping[str, int],
    tokens: int,
    run_id: str,
) -> pa.Table:
    """Return one row for each job that a shard's dataset was asked by.

    Jobs that answered nothing are there too: whether the service bills them is not documented.

    :param answering: the job whose rows ``counts`` counts, by status.
    :param tokens: of the dataset's requests and their answers.
    """
    import pyarrow as pa

    declaration, model = resources.declaration, resources.model
    billed = job_cost(tokens, model, resources.unit_price)
    fates = Counter(record.fate for record in records)
    by_partition = _requests_by_partition(items, records)
    same = {
        "enrichment": declaration.name,
        "table_name": resources.table().table,
        "shard": shard,
        "partitions": json.dumps(by_partition, ensure_ascii=False),
        "model": model.id,
        "question_key": declaration.question_key(),
        "run_id": run_id,
        "requests": sum(by_partition.values()),
        "copied": fates[Fate.COPIED],
        "rejected": fates[Fate.REJECTED],
        "loaded_at": datetime.now(UTC),
        "tokens": tokens,
        "billed_tokens": billed.tokens,
        "wasted_tokens": billed.tokens - tokens,
        "units": float(billed.units),
        "cost": None if billed.money is None else float(billed.money),
    }
    rows = [{**same, **_of_job(job, counts if job == answering else None)} for job in jobs]
    return pa.Table.from_pylist(rows, schema=arrow_schema({column.name: column.type for column in JOBS}))


def meter_job_rows(resources: Resources, jobs: pa.Table, counts: Mapping[str, int]) -> None:
    """Count what a loaded shard has brought and cost.

    :param jobs: what :func:`job_rows` returned.
    :param counts: rows of the answers, by status.
    """
    name, meter = {"enrichment": resources.declaration.name}, resources.meter
    for status, number in counts.items():
        meter("rows", number, {**name, "status": status})
    for job in jobs.to_pylist():
        meter("jobs", 1, {**name, "outcome": job["outcome"]})
        for figure in ("requests", "tokens", "billed_tokens", "wasted_tokens"):
            meter(figure, job[figure], {**name, "model": job["model"]})


def _of_job(job: Job, counts: Mapping[str, int] | None) -> dict[str, Any]:
    """Return what differs between the jobs of one dataset.

    :param counts: rows by status, of the job that answered.
    """
    statuses = ("answered", "invalid", "failed", "missing")
    return {
        "job_id": job.job_id,
        "source_dataset_id": job.source_dataset_id,
        "result_dataset_id": job.result_dataset_id,
        # One that is alive beside another has just been cancelled by us.
        "outcome": str(job.status) if job.status.is_terminal else "CANCELED",
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        **({} if counts is None else {status: counts.get(status, 0) for status in statuses}),
    }


def _requests_by_partition(items: Iterable[ManifestItem], records: Iterable[RowRecord]) -> dict[str, int]:
    """Count requests, each in the partition of the first of the items that share it."""
    partitions = {item.item_key: item.partition for item in items}
    first: dict[int, str] = {}
    for record in records:
        if record.row is not None:
            first.setdefault(record.row, partitions[record.item_key])
    return dict(sorted(Counter(first.values()).items()))
