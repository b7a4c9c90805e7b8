"""Read the Parquet files of a result dataset by column, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from vision_batch.errors import FinalError, ResultUnseenError, TransferError
from vision_batch.service.arrow_values import python_values
from vision_batch.service.range_file import WHOLE_BYTES, RangeFile, Span
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.storage import StorageRetries, downloads
from vision_batch.service.types import ResultFile

#: Rows in one batch: texts are small, images are not.
ROWS = 1024
ROWS_WITH_IMAGES = 16

#: Bytes of a column that Arrow reads at once where row groups are large, or a page if that is more; without a limit it
#: reads a whole column of a row group. What is read directly into a page is not copied out of a buffer.
BUFFER_BYTES = 256 * 1024

_REQUEST, _RESPONSE, _TEXT = "request", "response", "text"

# PyArrow's own errors are OSError (torn data) and these.
_ARROW_ERRORS = (pa.ArrowException, OSError)


class GivesResultFiles(Protocol):
    """Know the files of a dataset."""

    def result_files(self, dataset_id: str) -> tuple[ResultFile, ...]:
        """Return them in order, with fresh URLs."""


def read_result_files(
    client: GivesResultFiles, dataset_id: str, *, hashing: RequestHash | None, retries: StorageRetries | None = None
) -> Iterator[pa.RecordBatch]:
    """Read every file of a result dataset: see :func:`vision_batch.service.rows.results`."""
    files = client.result_files(dataset_id)
    if not files:
        raise ResultUnseenError(f"dataset {dataset_id} has no files")
    for file in files:
        source = _Renewable(client, dataset_id, file)
        name = f"file {file.key!r} of dataset {dataset_id}"
        with downloads(file.url) as http, RangeFile(http, source.url, name=name, retries=retries) as opened:
            yield from read_result_file(opened, name, hashing=hashing)


def read_result_file(file: RangeFile, name: str, *, hashing: RequestHash | None) -> Iterator[pa.RecordBatch]:
    """Read one file in batches.

    :param name: what messages call it.
    :raises FinalError: if it has no columns that we know.
    :raises TransferError: if it is not whole.
    """
    try:
        source = cast("IO[Any]", file)
        metadata = pq.read_metadata(source)
        columns = _columns(metadata, name, hashing=hashing)
        ranges = list(_ranges(metadata, columns))
        file.plan(ranges)
        rows = ROWS_WITH_IMAGES if hashing else ROWS
        with pq.ParquetFile(source, metadata=metadata, buffer_size=_buffer_bytes(ranges), pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(rows, columns=list(columns), use_threads=False):
                yield _flat(batch, hashing=hashing)
    except _ARROW_ERRORS as error:
        raise TransferError(f"{name} cannot be read as Parquet: {type(error).__name__}: {error}") from None


class _Renewable:
    """Give the URL of one file, the first time the one that is known already."""

    def __init__(self, client: GivesResultFiles, dataset_id: str, file: ResultFile) -> None:
        self._client = client
        self._dataset_id = dataset_id
        self._key = file.key
        self._first: str | None = file.url

    def url(self) -> str:
        first, self._first = self._first, None
        if first is not None:
            return first
        for file in self._client.result_files(self._dataset_id):
            if file.key == self._key:
                return file.url
        raise TransferError(f"dataset {self._dataset_id} no longer has the file {self._key!r}")


def _columns(metadata: pq.FileMetaData, name: str, *, hashing: RequestHash | None) -> Mapping[str, int]:
    """Return the paths and numbers of the leaf columns to read."""
    leaves = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    of_request = {path: number for path, number in leaves.items() if path.split(".")[0] == _REQUEST}
    texts = {path: number for path, number in of_request.items() if path.split(".")[-1] == _TEXT}
    if _RESPONSE not in leaves or not texts:
        raise FinalError(
            f"{name} has the columns {sorted(leaves)[:20]}; a result has request (with text) and response. "
            "Is it the result dataset of the job?"
        )
    return {**(of_request if hashing else texts), _RESPONSE: leaves[_RESPONSE]}


def _ranges(metadata: pq.FileMetaData, columns: Mapping[str, int]) -> Iterator[Span]:
    """Say where in the file the columns are, row group by row group."""
    for group in range(metadata.num_row_groups):
        of_group = metadata.row_group(group)
        for number in columns.values():
            chunk = of_group.column(number)
            start = chunk.data_page_offset
            if chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            yield start, start + chunk.total_compressed_size


def _buffer_bytes(ranges: Sequence[Span]) -> int:
    """Return how much of a column Arrow has to read at once: all of it, without a copy, where that is one block."""
    return 0 if all(end - start <= WHOLE_BYTES for start, end in ranges) else BUFFER_BYTES


def _flat(batch: pa.RecordBatch, *, hashing: RequestHash | None) -> pa.RecordBatch:
    requests = python_values(batch.column(_REQUEST))
    flat: dict[str, Any] = {
        "text": pa.array([_text(request) for request in requests], pa.string()),
        "response": batch.column(_RESPONSE).cast(pa.string()),
    }
    if hashing:
        flat["request_hash"] = pa.array([hashing.of(request or []) for request in requests], pa.string())
    return pa.RecordBatch.from_pydict(flat)


def _text(request: Sequence[Mapping[str, Any]] | None) -> str:
    """Return all texts of a request, one after the other: of plain messages and of messages in parts."""
    return "\n".join(text for message in request or () for text in _texts(message or {}))


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    for part in (message, *(message.get("content") or ())):
        text = (part or {}).get(_TEXT)
        if text is not None:
            yield str(text, "utf-8") if isinstance(text, memoryview) else text
