"""Stream a shard's images into a JSONL file on local disk, with bounded memory."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from vision_batch.enrichment.identity import request_key
from vision_batch.errors import ImageRejected, ObjectChangedError, ObjectMissingError, ObjectUnreadableError
from vision_batch.images.budget import Budget, text_tokens_upper_bound
from vision_batch.images.opening import require_bytes
from vision_batch.images.prepare import PreparedImage, prepare_image
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.rows import marker_line, request_line
from vision_batch.shards.folder import ShardFolder
from vision_batch.shards.records import GONE, Fate, ManifestItem, RowRecord
from vision_batch.steps.copies import Content, answered_before, content_of
from vision_batch.steps.notes import ImageNotes
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: Images read and prepared at once; the memory of prepare is bounded by twice as many.
WORKERS = 4

#: Seconds between two lines of progress in the task log.
PROGRESS_SECONDS = 15.0

#: Hex digits of a marker, and of the longer one for two requests whose short markers are equal.
MARKER_DIGITS, LONG_MARKER_DIGITS = 8, 32

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Spooled:
    """Point at the spooled requests.

    :param rows: what became of each item, one row an item.
    :param requests: lines in the file.
    :param notes: what was done to images that a reader of the answers may want to know, in lines.
    """

    path: Path
    rows: tuple[RowRecord, ...]
    requests: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Prepared:
    item: ManifestItem
    record: RowRecord
    image: PreparedImage | None


def spool_requests(resources: Resources, shard: ShardFolder, folder: Path) -> Spooled:
    """Read every item's image as planned, prepare it, write one line for each distinct request.

    A picture that cannot be sent is a rejected row, one that cannot be read now a failed one; one that changed or
    vanished since the plan is released to the next plan; content that was answered before is copied, not asked.
    """
    items = shard.manifest()
    refused = {key: reason for refusal in shard.refusals() for key, reason in refusal.items()}
    writer = _Writer(resources, folder / "requests.jsonl")
    progress, notes = _Progress(len(items)), ImageNotes()
    with writer, ThreadPoolExecutor(WORKERS, thread_name_prefix="prepare") as pool:
        for prepared in _in_order(pool, _Preparer(resources, refused), items):
            writer.add(prepared)
            notes.add(prepared.item.item_key, prepared.image.notes if prepared.image is not None else ())
            progress.step()
    spooled = _without_copies(resources, writer.spooled(), content_of(items), folder)
    return replace(spooled, notes=tuple(notes.lines()))


def image_budget_tokens(resources: Resources, variables: Mapping[str, str]) -> int:
    """Return how many tokens of the model's window are left for one image."""
    declaration = resources.declaration
    text = declaration.question().render(variables, marker_line("0" * LONG_MARKER_DIGITS))
    budget = Budget(
        window_tokens=resources.model.window_tokens,
        answer_tokens=declaration.options.max_tokens,
        text_tokens=text_tokens_upper_bound(text),
    )
    return budget.image_tokens


class _Preparer:
    """Read and prepare one image after another, on many threads; what all of them share is worked out once."""

    def __init__(self, resources: Resources, refused: Mapping[str, str]) -> None:
        self._resources = resources
        self._refused = refused
        self._store = resources.source_store()
        self._model = resources.model
        self._answer_tokens = resources.declaration.options.max_tokens
        self._question_key = resources.declaration.question_key()
        self._budget_without_variables = image_budget_tokens(resources, {})

    def __call__(self, item: ManifestItem) -> _Prepared:
        """Prepare one image; every way it can fail is a record, not an exception."""
        body = self._read(item)
        if isinstance(body, RowRecord):
            return _Prepared(item, body, None)
        sha256 = hashlib.sha256(body).hexdigest()
        budget, version = self._budget(item), self._resources.declaration.preprocessing
        try:
            image = prepare_image(body, model=self._model, budget_tokens=budget, version=version)
        except ImageRejected as rejected:
            return _Prepared(item, RowRecord(item.item_key, Fate.REJECTED, sha256, detail=str(rejected)), None)
        record = RowRecord(
            item.item_key,
            Fate.SENT,
            sha256,
            request_key(self._question_key, sha256, item.variables),
            width=image.width,
            height=image.height,
            tokens=self._model.window_tokens - self._answer_tokens - budget + image.tokens,
        )
        return _Prepared(item, record, image)

    def _read(self, item: ManifestItem) -> bytes | RowRecord:
        """Return the image as it was planned, or what becomes of the item without it."""
        if (reason := self._refused.get(item.item_key)) is not None:
            return RowRecord(item.item_key, Fate.FAILED, detail=reason)
        try:
            require_bytes(item.size_bytes)  # before they are taken into memory
            return self._store.read(item.uri, if_match=item.etag)
        except ImageRejected as rejected:
            return RowRecord(item.item_key, Fate.REJECTED, detail=str(rejected))
        except ObjectUnreadableError as error:
            return RowRecord(item.item_key, Fate.FAILED, detail=str(error))
        except ObjectMissingError:
            return RowRecord(item.item_key, Fate.RELEASED, detail=GONE)
        except ObjectChangedError:
            return RowRecord(item.item_key, Fate.RELEASED, detail="overwritten since the plan")

    def _budget(self, item: ManifestItem) -> int:
        if not item.variables:
            return self._budget_without_variables
        return image_budget_tokens(self._resources, item.variables)


class _Writer:
    """Write distinct requests as lines, in the order of the items, up to the dataset's byte limit."""

    def __init__(self, resources: Resources, path: Path) -> None:
        self._declaration = resources.declaration
        self._question = resources.declaration.question()
        self._path = path
        self._file = path.open("wb")
        self._bytes = 0
        self._rows: list[RowRecord] = []
        self._sent: dict[str, RowRecord] = {}
        self._markers: set[str] = set()
        self._hashing = RequestHash.new()

    def __enter__(self) -> None:
        """Keep the file open for the length of a ``with`` block."""

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, prepared: _Prepared) -> None:
        """Write an item's request, unless an equal one is there or the dataset is full."""
        record, image = prepared.record, prepared.image
        if record.fate is not Fate.SENT or image is None or record.request_key is None:
            self._rows.append(record)
            return
        if (same := self._sent.get(record.request_key)) is not None:
            self._rows.append(replace(same, item_key=record.item_key))
            return
        marker = self._free_marker(record.request_key)
        text = self._question.render(prepared.item.variables, marker_line(marker) if self._declaration.marker else None)
        line = request_line(text, image.data)
        most = self._declaration.limits.max_bytes_per_shard
        if len(line) > most:  # no other shard has more room for it
            reason = f"its request has {len(line)} bytes, limits.max_bytes_per_shard allows {most}"
            self._rows.append(RowRecord(record.item_key, Fate.FAILED, record.image_sha256, detail=reason))
            return
        if self._bytes + len(line) > most:
            self._rows.append(RowRecord(record.item_key, Fate.RELEASED, detail="the dataset is full"))
            return
        self._file.write(line)
        self._bytes += len(line)
        self._markers.add(marker)
        record = replace(
            record,
            row=len(self._sent),
            marker=marker,
            text_sha256=hashlib.sha256(text.encode()).hexdigest(),
            request_hash=None if self._declaration.marker else self._hashing.of(json.loads(line)["request"]),
        )
        self._sent[record.request_key or ""] = record
        self._rows.append(record)

    def spooled(self) -> Spooled:
        """Return what was written."""
        return Spooled(self._path, tuple(self._rows), len(self._sent))

    def _free_marker(self, key: str) -> str:
        short = key[:MARKER_DIGITS]
        return key[:LONG_MARKER_DIGITS] if short in self._markers else short


def _without_copies(resources: Resources, spooled: Spooled, by: Content, folder: Path) -> Spooled:
    """Leave out the requests whose content the question has an answer for already."""
    answered = answered_before(resources, [row for row in spooled.rows if row.fate is Fate.SENT], by)
    if not answered:
        return spooled
    kept: dict[int, int] = {}
    rows: list[RowRecord] = []
    for row in spooled.rows:
        if (found := answered.get(row.item_key)) is not None:
            same = RowRecord(row.item_key, Fate.COPIED, row.image_sha256, row.request_key)
            rows.append(replace(same, copied_from=found["item_key"]))
        elif row.row is not None:
            rows.append(replace(row, row=kept.setdefault(row.row, len(kept))))
        else:
            rows.append(row)
    path = folder / "without-copies.jsonl"
    with spooled.path.open("rb") as source, path.open("wb") as target:
        target.writelines(line for number, line in enumerate(source) if number in kept)
    spooled.path.unlink()
    return Spooled(path, tuple(rows), len(kept))


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Iterable[_In], *, ahead: int = 2 * WORKERS
) -> Iterator[_Out]:
    """Apply ``work`` on the pool, at most ``ahead`` items in flight, results in the order of the items."""
    waiting: list[Future[_Out]] = []
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


class _Progress:
    """Tell the task log how far prepare is, at sensible intervals."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = self._told = time.monotonic()

    def step(self) -> None:
        """Count one image."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or self._done == self._total:
            rate = self._done / max(now - self._began, 0.001)
            left = (self._total - self._done) / rate
            log.info("Prepared %d of %d images, %.1f a second, about %d s left.", self._done, self._total, rate, left)
            self._told = now
