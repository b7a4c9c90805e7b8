"""Find answers that were given before to the same question about the same content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from vision_batch.shards.records import ManifestItem, RowRecord
from vision_batch.steps.resources import Resources

#: By what equal content is known.
Content = Literal["image_sha256", "request_key"]


def content_of(items: Iterable[ManifestItem]) -> Content:
    """Return by what earlier answers to a shard's requests are found.

    Where items have variables an equal image is not enough. Where none has, it is, and finds rows of versions too that
    kept no ``request_key``.
    """
    return "request_key" if any(item.variables for item in items) else "image_sha256"


def answered_before(resources: Resources, records: Sequence[RowRecord], by: Content) -> Mapping[str, dict[str, Any]]:
    """Return an answered row for each record, by item key, whose content the question has an answer for."""
    import pyarrow as pa

    content = {record.item_key: found for record in records if (found := getattr(record, by)) is not None}
    if not content:
        return {}
    wanted = pa.table({by: pa.array(sorted(set(content.values())), pa.string())})
    rows = {row[by]: row for row in resources.warehouse().by_content(resources.table(), wanted).to_pylist()}
    return {item_key: rows[found] for item_key, found in content.items() if found in rows}
