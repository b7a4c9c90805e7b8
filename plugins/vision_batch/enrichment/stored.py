"""Keep a declaration with the shard that was claimed with it, and read it back in this version or another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from vision_batch import __version__
from vision_batch.enrichment.declaration import SHORTEST_SETTLE, Declaration, Limits
from vision_batch.errors import ShardVersionError

#: How many mistakes an error names.
NAMED = 3


def stored_question(declaration: Declaration) -> dict[str, Any]:
    """Return what is kept with a shard: its question's identity, the whole declaration, and who wrote it."""
    return {
        "made_by": __version__,
        "question_key": declaration.question_key(),
        "declaration": declaration.model_dump(mode="json"),
    }


def read_stored(record: Mapping[str, Any], *, shard: str) -> Declaration:
    """Return the declaration that a shard was claimed with; keys that this version does not know are passed over.

    :param record: what :func:`stored_question` gave, in any version.
    :param shard: names the shard in errors.
    :raises ShardVersionError: if it cannot be read, or if it would be another question without what is not known.
    """
    try:
        declaration = Declaration.model_validate(record.get("declaration"), extra="ignore")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        told = [f"{'.'.join(map(str, each['loc'])) or 'declaration'}: {each['msg']}" for each in found[:NAMED]]
        raise _error(record, shard, f"cannot read its declaration ({'; '.join(told)})") from None
    if declaration.question_key() != record.get("question_key"):
        raise _error(record, shard, "would ask another question by its declaration")
    return declaration


def settle_of(record: Mapping[str, Any]) -> timedelta:
    """Return for how long a shard's job may stay unseen, also where this version cannot read the rest of the record."""
    found = (record.get("declaration") or {}).get("limits") or {}
    try:
        return Limits.model_validate({"settle": found.get("settle", SHORTEST_SETTLE)}).settle
    except ValidationError:
        return SHORTEST_SETTLE


def _error(record: Mapping[str, Any], shard: str, why: str) -> ShardVersionError:
    made_by = record.get("made_by")
    theirs = f"version {made_by}" if made_by else "a version that did not say which"
    if made_by == __version__:
        step = "question.json in its folder was changed since: undo that"
    else:
        step = f"bring every worker to {theirs}, or let one that has it finish the shard"
    return ShardVersionError(
        f"shard {shard} was claimed by {theirs}; this worker has version {__version__}, which {why}. Next: {step}."
    )
