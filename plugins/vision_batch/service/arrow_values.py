"""Read requests out of Arrow's memory without copying their images, which are hashed where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pyarrow as pa

from vision_batch.service.request_hash import LONG_BYTES


def python_values(array: Any) -> list[Any]:
    """Return the values of an Arrow array as ``to_pylist`` does, but long texts as views of its memory."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = iter(python_values(array.flatten()))
        return [None if size is None else list(islice(inner, size)) for size in array.value_lengths().to_pylist()]
    if pa.types.is_struct(kind) and kind.num_fields:
        names = [field.name for field in kind]
        rows = zip(*map(python_values, array.flatten()), strict=True)
        valid = array.is_valid().to_pylist()
        return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]
    if pa.types.is_string(kind) and array.nbytes > LONG_BYTES:
        return list(_texts(array))
    return list(array.to_pylist())


def _texts(array: Any) -> Iterator[memoryview | str | None]:
    _, offsets, data = array.buffers()
    ends = memoryview(offsets).cast("i")[array.offset : array.offset + len(array) + 1].tolist()
    whole = memoryview(data)
    for (start, end), there in zip(pairwise(ends), array.is_valid().to_pylist(), strict=True):
        text = whole[start:end]
        yield (text if len(text) > LONG_BYTES else str(text, "utf-8")) if there else None
