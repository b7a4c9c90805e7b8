"""Name paid work by its content: question, request, item version, shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

#: Hex digits of a shard key: fits, with prefix and enrichment, into a dataset name of 63 characters.
SHARD_KEY_DIGITS = 20


def question_key(
    *,
    prompt: str,
    schema: Mapping[str, Any],
    model: str,
    options: Mapping[str, Any],
    preprocessing: int,
    revision: int,
) -> str:
    """Return the identity of a question. The folder that pays is not part of it.

    :param model: ``<model>/<branch>``.
    """
    return _digest("question", prompt, schema, model, options, preprocessing, revision)


def request_key(question: str, image_sha256: str, variables: Mapping[str, str]) -> str:
    """Return the identity of one question about one content; its first 8 digits are the marker."""
    return _digest("request", question, image_sha256, dict(variables))


def input_id(*, etag: str | None, size_bytes: int, modified_at: datetime, variables: Mapping[str, str]) -> str:
    """Return the identity of one version of an item: its ETag, or size and time, and its prompt variables."""
    version = etag or f"{size_bytes}:{modified_at.astimezone(UTC).isoformat()}"
    return _digest("input", version, dict(variables))


def shard_key(enrichment: str, destination: str, question: str, items: Iterable[tuple[str, str, int]]) -> str:
    """Return the identity of a shard: what is asked, about which versions of which items, for the how-manieth time.

    :param items: ``(item_key, input_id, attempt)``, in any order.
    """
    return _digest("shard", enrichment, destination, question, sorted(items))[:SHARD_KEY_DIGITS]


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
