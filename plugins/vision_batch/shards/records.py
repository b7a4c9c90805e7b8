"""Hold a shard's items and what became of them, as rows of its Parquet files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

#: Why an item is released whose image is not there any more.
GONE = "deleted since the plan"


class Fate(StrEnum):
    """Say what prepare did with an item.

    ``FAILED``: it could not be read, or the service refused its request; it is asked again while attempts are left.
    """

    SENT = "sent"
    REJECTED = "rejected"
    FAILED = "failed"
    COPIED = "copied"
    RELEASED = "released"


@dataclass(frozen=True)
class ManifestItem:
    """Describe one item of a shard, as planned.

    :param attempt: how many times the item has been asked this question, this time included.
    :param tokens: what it costs at most, where the plan has counted that.
    :param least_tokens: what it costs at least; 0 where no plan has counted that.
    """

    item_key: str
    uri: str
    input_id: str
    partition: str
    etag: str | None
    size_bytes: int
    modified_at: datetime
    attempt: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    tokens: int | None = None
    least_tokens: int = 0


@dataclass(frozen=True)
class RowRecord:
    """Say what prepare did with one item.

    :param row: the request's line number in the dataset, from 0; several items of equal content share one.
    :param width: pixels as sent.
    :param tokens: prompt and image tokens of the request, estimated.
    :param detail: why the item was rejected or released.
    :param copied_from: item key of the answer to copy.
    """

    item_key: str
    fate: Fate
    image_sha256: str | None = None
    request_key: str | None = None
    row: int | None = None
    marker: str | None = None
    text_sha256: str | None = None
    request_hash: str | None = None
    width: int | None = None
    height: int | None = None
    tokens: int | None = None
    detail: str | None = None
    copied_from: str | None = None


def items_to_parquet(items: Sequence[ManifestItem]) -> bytes:
    """Write items, sorted by key, so that equal content gives equal bytes."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "item_key": pa.string(),
        "uri": pa.string(),
        "input_id": pa.string(),
        "partition": pa.string(),
        "etag": pa.string(),
        "size_bytes": pa.int64(),
        "modified_at": pa.timestamp("us", tz="UTC"),
        "attempt": pa.int32(),
        "variables": pa.string(),
        "tokens": pa.int64(),
        "least_tokens": pa.int64(),
    }
    schema = pa.schema(types)
    ordered = sorted(items, key=lambda item: item.item_key)
    columns = {name: [getattr(item, name) for item in ordered] for name in schema.names}
    columns["variables"] = [json.dumps(item.variables, ensure_ascii=False, sort_keys=True) for item in ordered]
    return _parquet(pa.table(columns, schema=schema))


def items_from_parquet(body: bytes) -> list[ManifestItem]:
    """Read what :func:`items_to_parquet` wrote, or an earlier version of it without ``least_tokens``."""
    return [ManifestItem(**{**row, "variables": json.loads(row["variables"])}) for row in _rows(body, ManifestItem)]


def item_keys_from_parquet(body: bytes) -> list[str]:
    """Read the keys alone of what :func:`items_to_parquet` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(body), columns=["item_key"])
    return [str(key) for key in table.column("item_key").to_pylist()]


def rows_to_parquet(rows: Sequence[RowRecord]) -> bytes:
    """Write what became of each item."""
    import pyarrow as pa

    numbers = {"row", "width", "height", "tokens"}
    names = [each.name for each in fields(RowRecord)]
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in names])
    return _parquet(pa.Table.from_pylist([asdict(row) for row in rows], schema=schema))


def rows_from_parquet(body: bytes) -> list[RowRecord]:
    """Read what :func:`rows_to_parquet` wrote."""
    return [RowRecord(**{**row, "fate": Fate(row["fate"])}) for row in _rows(body, RowRecord)]


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _rows(body: bytes, kind: type[ManifestItem | RowRecord]) -> list[dict[str, Any]]:
    """Read rows; columns that a later version has added are passed over."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(body))
    known = {each.name for each in fields(kind)}
    rows: list[dict[str, Any]] = table.select([name for name in table.column_names if name in known]).to_pylist()
    return rows
