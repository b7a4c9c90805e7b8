"""Count what the quotas limit, over virtual time."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from vision_batch.emulator.records import Dataset
from vision_batch.emulator.rpc import RefusalError
from vision_batch.emulator.studio import Studio

_WINDOWS = (("jobs_per_hour", 3600, "hour"), ("jobs_per_day", 86_400, "day"))


def check_jobs(studio: Studio) -> None:
    """Refuse a job when a window is full. Deleted and failed jobs count: the run was made."""
    now = studio.now()
    for name, seconds, word in _WINDOWS:
        limit = studio.settings.quotas[name]
        made = sum(now - seconds < job.created_at for job in studio.jobs.values())
        if made >= limit:
            _refuse(f"{made} batch runs in the last {word}, the quota is {limit}")


def check_dataset_count(studio: Studio, *, more: int = 1) -> None:
    """Refuse when there is no place for more datasets. Result datasets count too."""
    limit, there = studio.settings.quotas["datasets"], sum(1 for _ in studio.stored())
    if there + more > limit:
        _refuse(f"{there} datasets are stored, the quota is {limit}")


def check_bytes(studio: Studio, dataset: Dataset, size: int) -> None:
    """Refuse an upload that is too big, alone or with all that is stored."""
    one, together = studio.settings.quotas["dataset_bytes"], studio.settings.quotas["total_bytes"]
    if size > one:
        _refuse(f"the dataset would have {size} bytes, the quota is {one}")
    others = _bytes(other for other in studio.stored() if other is not dataset)
    if others + size > together:
        _refuse(f"all datasets would have {others + size} bytes, the quota is {together}")


def _bytes(datasets: Iterable[Dataset]) -> int:
    total = 0
    for dataset in datasets:
        results = sum(file.size_bytes for file in dataset.files) if dataset.result_of else 0
        total += max(dataset.uploaded_bytes or 0, dataset.reserved_bytes, results)
    return total


def _refuse(found: str) -> None:
    raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"Quota exceeded: {found}")
