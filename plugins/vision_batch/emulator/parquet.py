"""Write rows as Parquet in the recorded schema, and bounded in memory.

The recorded file (``dataset_upload_and_read``) has ``request: list<struct<role, text>>`` and ``response``, all
nullable, SNAPPY; VL rows have ``content: list<struct<type, text, image>>`` in place of ``text``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from vision_batch.emulator.records import StoredFile
from vision_batch.emulator.rows import TEXT_ANSWER, TEXT_REQUEST, VL_ANSWER, VL_REQUEST

_GROUP_ROWS = 512
_GROUP_BYTES = 16 * 1024 * 1024

_TEXT_MESSAGE = pa.struct([("role", pa.string()), ("text", pa.string())])
_PART = pa.struct([("type", pa.string()), ("text", pa.string()), ("image", pa.string())])
_VL_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(_PART))])
_RESPONSE = pa.field("response", pa.string())

#: Task type to the schema of its file.
SCHEMAS = {
    TEXT_REQUEST: pa.schema([("request", pa.list_(_TEXT_MESSAGE))]),
    TEXT_ANSWER: pa.schema([pa.field("request", pa.list_(_TEXT_MESSAGE)), _RESPONSE]),
    VL_REQUEST: pa.schema([("request", pa.list_(_VL_MESSAGE))]),
    VL_ANSWER: pa.schema([pa.field("request", pa.list_(_VL_MESSAGE)), _RESPONSE]),
}


class RowWriter:
    """Write rows one by one; the file appears under its name only when all are in.

    :param path: where the file will be.
    :param key: the name by which the service lists it.
    """

    def __init__(self, path: Path, task_type: str, *, key: str) -> None:
        self._path, self._key = path, key
        self._schema = SCHEMAS[task_type]
        self._draft = path.with_name(path.name + ".part")
        self._writer = pq.ParquetWriter(self._draft, self._schema, compression="snappy")
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.file: StoredFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is not None:
            self._draft.unlink(missing_ok=True)
            return
        with self._draft.open("rb") as stream:
            etag = hashlib.file_digest(stream, "md5").hexdigest()
        self.file = StoredFile(key=self._key, size_bytes=self._draft.stat().st_size, etag=etag)
        self._draft.rename(self._path)

    def add(self, row: dict[str, Any], size: int) -> None:
        """Take one row.

        :param size: about how many bytes it holds; row groups are closed by it.
        """
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._bytes = [], 0
