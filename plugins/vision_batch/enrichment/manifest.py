"""Read the rows of a manifest: a file that lists a partition's images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vision_batch.enrichment.declaration import allowed_names
from vision_batch.enrichment.places import ManifestFormat
from vision_batch.enrichment.rows import refuse_repeated
from vision_batch.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


#: A manifest is read whole; a million rows take about 200 MB.
MAX_BYTES = 500_000_000

#: What a row group of a Parquet manifest may say it unpacks to.
MAX_UNPACKED_BYTES = 1_000_000_000

#: Rows of Parquet that are Python values at once.
BATCH_ROWS = 8_192


def require_size(size_bytes: int, *, origin: str) -> None:
    """Refuse a manifest that is too large to be read.

    :raises InputError: with the size that was found.
    """
    if size_bytes > MAX_BYTES:
        raise InputError(f"{origin}: the manifest has {size_bytes} bytes; allowed are {MAX_BYTES}")


def manifest_rows(
    body: bytes, kind: ManifestFormat, *, origin: str, columns: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield a manifest's rows by column.

    :param origin: names the file in errors.
    :param columns: those that are needed; of a Parquet file only they are read.
    :raises InputError: names file and line, if it is not such a file.
    """
    if kind == "parquet":
        yield from _parquet_rows(body, origin, columns)
        return
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise InputError(f"{origin}, line {line}: the manifest is not UTF-8 text") from None
    yield from _csv_rows(text, origin, columns) if kind == "csv" else _jsonl_rows(text, origin, columns)


def _require_columns(there: Sequence[str], needed: Collection[str], origin: str) -> None:
    """Refuse a list that is not one: of a file without rows nobody else would see it."""
    for column in sorted({*needed} - {*there}):
        raise InputError(f"{origin}: there is no column {column!r}; {allowed_names(there, column)}")


def _csv_rows(text: str, origin: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames or ()
        refuse_repeated(names, columns, where=f"{origin}, line {reader.line_num}")
        for row in reader:
            if None in row:
                raise InputError(f"{origin}, line {reader.line_num}: more values than the first line has columns")
            yield row
        if names and reader.line_num == 1:
            _require_columns(names, columns, origin)
    except csv.Error as error:
        raise InputError(f"{origin}, line {reader.reader.line_num}: this is not CSV: {error}") from None


def _jsonl_rows(text: str, origin: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    names: tuple[str, ...] = ()

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal names  # of the object that was completed last: of a line's, that is the one around all others
        names = tuple(name for name, _ in pairs)
        return dict(pairs)

    decoder = json.JSONDecoder(object_pairs_hook=as_dict)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{origin}, line {number}: this is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f'{origin}, line {number}: each line is one JSON object such as {{"uri": "..."}}')
        refuse_repeated(names, columns, where=f"{origin}, line {number}")
        yield row


def _parquet_rows(body: bytes, origin: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    before = 0
    for batch in _batches(body, origin, columns):
        values = {name: _values(batch.column(name), name, origin, before) for name in columns}
        yield from (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
        before += batch.num_rows


def _batches(body: bytes, origin: str, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        there = file.schema_arrow.names
        refuse_repeated(there, columns, where=origin)
        _require_columns(there, columns, origin)
        _require_unpacked(file.metadata, columns, origin)
        yield from file.iter_batches(BATCH_ROWS, columns=list(columns))
    except _what_pyarrow_raises() as error:
        raise InputError(f"{origin}: this is not Parquet: {' '.join(str(error).split())}") from None


def _what_pyarrow_raises() -> tuple[type[Exception], ...]:
    """Return the kinds of its errors; the body is in memory, so that no error of storage can be among them."""
    import pyarrow as pa

    return pa.ArrowException, LookupError, OSError, OverflowError, ValueError


def _values(column: pa.Array[Any], name: str, origin: str, before: int) -> list[Any]:
    """Return a column's values; one that Python cannot hold is named with its row.

    :param before: how many rows the file has before the column's first.
    """
    try:
        return _in_microseconds(column).to_pylist()
    except _what_pyarrow_raises() as error:
        raise InputError(
            f"{origin}, row {before + _first_unreadable(column)}: column {name!r} holds a value that cannot be read "
            f"({type(error).__name__}: {error}); allowed are texts, numbers and dates"
        ) from None


def _first_unreadable(column: pa.Array[Any]) -> int:
    """Return the number of the first value that is to blame, from 1."""
    for number, value in enumerate(_in_microseconds(column), 1):
        try:
            value.as_py()
        except _what_pyarrow_raises():
            return number
    return 1


def _in_microseconds(column: pa.Array[Any]) -> pa.Array[Any]:
    """Cut times to what Python, and so every other source, can tell apart."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def _require_unpacked(metadata: pq.FileMetaData, columns: Collection[str], origin: str) -> None:
    """Refuse a row group that would fill the memory when it is unpacked.

    Columns are looked at only where all of them together are too large: pyarrow ends the process if what it is asked
    about one of them is damaged.
    """
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if 0 < group.total_byte_size <= MAX_UNPACKED_BYTES:
            continue
        chunks = (group.column(index) for index in range(group.num_columns))
        size = sum(
            chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns
        )
        if size > MAX_UNPACKED_BYTES:
            raise InputError(
                f"{origin}: row group {number} unpacks to {size} bytes; allowed are {MAX_UNPACKED_BYTES}: "
                "write smaller row groups"
            )
