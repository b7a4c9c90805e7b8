"""Say what asking items would cost at most and at least, from the beginnings of their files."""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from vision_batch.enrichment.plan import Tokens
from vision_batch.errors import (
    ImageRejected,
    ObjectChangedError,
    ObjectMissingError,
    ObjectUnreadableError,
    StaleWriteError,
)
from vision_batch.images.budget import fit, image_tokens, prompt_tokens, text_tokens_lower_bound
from vision_batch.models import Model
from vision_batch.shards.folder import WorkFolder
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import image_budget_tokens
from vision_batch.store import ReadableStore

log = logging.getLogger(__name__)

#: Headers read at once.
READERS = 16


class Priced(Protocol):
    """What is read of an item to price it; planned and listed items have it."""

    @property
    def item_key(self) -> str: ...  # noqa: D102
    @property
    def uri(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> str: ...  # noqa: D102
    @property
    def etag(self) -> str | None: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102
    @property
    def variables(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True)
class Size:
    """Hold a picture's size in pixels, or why it cannot be sent.

    :param unknown: whether it could not be read this time: it is priced as if it filled the window.
    """

    width: int = 0
    height: int = 0
    rejected: str | None = None
    unknown: bool = False


def tokens_of(resources: Resources, items: Sequence[Priced]) -> dict[str, Tokens | None]:
    """Return what each item costs, by item key; ``None`` if it cannot be sent.

    At most: the image, an upper bound of the text, the longest answer. At least: the image and a lower bound of the
    text, because how long the answer is, and whether the service bills its chat template, is not known.
    """
    sizes, question = sizes_of(resources, items), resources.declaration.question()
    texts: dict[tuple[tuple[str, str], ...], tuple[int, int]] = {}
    found: dict[str, Tokens | None] = {}
    for item in items:
        said = tuple(sorted(item.variables.items()))
        if said not in texts:
            least = text_tokens_lower_bound(question.render(item.variables, None))
            texts[said] = image_budget_tokens(resources, item.variables), least
        found[item.item_key] = _tokens(resources.model, sizes[item.item_key], *texts[said])
    return found


def _tokens(model: Model, size: Size, budget: int, least_text: int) -> Tokens | None:
    if size.rejected is not None:
        return None
    if size.unknown:
        return Tokens(model.window_tokens, 0)
    try:
        target = fit(model, size.width, size.height, budget)
    except ImageRejected:
        return None
    most = model.window_tokens - budget + prompt_tokens(model, *target)
    return Tokens(most, least_text + image_tokens(model, *target))


def sizes_of(resources: Resources, items: Sequence[Priced]) -> dict[str, Size]:
    """Return each item's size by item key, reading only the headers that no earlier plan has read."""
    work, store = resources.work(), resources.source_store()
    found: dict[str, Size] = {}
    by_partition: dict[str, list[Priced]] = defaultdict(list)
    for item in items:
        by_partition[item.partition].append(item)
    with ThreadPoolExecutor(READERS, thread_name_prefix="sizes") as pool:
        for partition, members in by_partition.items():
            cache = _Cache(work, partition)
            unknown = [item for item in members if _version(item) not in cache.known]
            read = dict(zip(map(_version, unknown), pool.map(lambda item: _read(store, item), unknown), strict=True))
            cache.add({version: size for version, size in read.items() if not size.unknown})
            sizes = {**cache.known, **read}
            found.update({item.item_key: sizes[_version(item)] for item in members})
    return found


def _version(item: Priced) -> str:
    return f"{item.uri} {item.etag} {item.size_bytes}"


def _read(store: ReadableStore, item: Priced) -> Size:
    from vision_batch.images.sizes import picture_size  # noqa: PLC0415 - heavy

    try:
        width, height = picture_size(lambda length: store.head(item.uri, length, if_match=item.etag))
    except ImageRejected as rejected:
        return Size(rejected=str(rejected))
    except (ObjectMissingError, ObjectChangedError):
        return Size(rejected="it has changed since it was listed")
    except ObjectUnreadableError as error:
        log.warning("An image cannot be read, and is priced as a large one: %s", error)
        return Size(unknown=True)
    return Size(width, height)


class _Cache:
    """Keep the sizes of one partition's pictures in the work folder. Losing it costs time, nothing else."""

    def __init__(self, work: WorkFolder, partition: str) -> None:
        self._store = work.store
        self._uri = f"{work.folder}/sizes/{partition}.parquet"
        self._version: str | None = None
        self.known: dict[str, Size] = {}
        with suppress(ObjectMissingError):
            body, self._version = work.store.read_versioned(self._uri)
            self.known = dict(_rows(body))

    def add(self, sizes: Mapping[str, Size]) -> None:
        """Remember sizes; if another plan writes at the same time, one of the two is kept."""
        if sizes:
            self.known.update(sizes)
            with suppress(StaleWriteError):
                self._store.swap(self._uri, _body(self.known.items()), version=self._version)


def _rows(body: bytes) -> Iterator[tuple[str, Size]]:
    import pyarrow.parquet as pq

    for row in pq.read_table(io.BytesIO(body)).to_pylist():
        yield row.pop("version"), Size(**row)


def _body(sizes: Iterable[tuple[str, Size]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[str, pa.DataType] = {
        "version": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "rejected": pa.string(),
    }
    rows = [
        {"version": version, "width": size.width, "height": size.height, "rejected": size.rejected}
        for version, size in sizes
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), sink, compression="zstd")
    return sink.getvalue()
