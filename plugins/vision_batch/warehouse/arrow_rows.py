"""Turn drivers' rows into Arrow tables, and texts into what databases without zero bytes can hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: What stands for a zero byte, where no text can hold one.
REPLACEMENT = "\ufffd"

#: A zero as JSON writes it, after an even number of backslashes.
_ESCAPED_ZERO = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def from_rows(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Return a driver's rows as a table."""
    if not rows:
        return schema.empty_table()
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def without_zeros(texts: pa.Array[Any], *, is_json: bool) -> pa.Array[Any]:
    """Replace zero bytes in texts, or where they are escaped in JSON."""
    if is_json:
        visible = rf"\g<1>\\u{ord(REPLACEMENT):x}"
        texts = pa.array([text and _ESCAPED_ZERO.sub(visible, text) for text in texts.to_pylist()], pa.string())
    return pc.replace_substring(texts, "\0", REPLACEMENT)
