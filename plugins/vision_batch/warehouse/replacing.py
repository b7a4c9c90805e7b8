"""Say how rows are replaced by key where a database cannot upsert: delete using, then insert, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vision_batch.warehouse.protocol import KEY, LoadCounts, TableSpec
from vision_batch.warehouse.tables import quoted, reconcile

#: The temporary table that holds a shard's answers.
STAGED = "vision_batch_staged"


def replace_by_key(
    execute: Callable[[str], Sequence[Sequence[Any]]],
    spec: TableSpec,
    table: str,
    *,
    given: int,
    values: Mapping[str, str],
) -> LoadCounts:
    """Replace rows by those of :data:`STAGED` with the same key, but never newer ones; insert the others.

    Nobody else may write the table meanwhile: the caller holds a lock. Counts are compared before the commit.

    :param execute: carries out a statement and returns its rows, if it has any.
    :param table: the table's name, qualified and quoted.
    :param given: how many answers are staged.
    :param values: for each column of the table, in order, what of a staged row it holds.
    :raises ReconcileError: if the table does not have a row for each answer then.
    """
    target, asked_at = quoted(spec.table), values["asked_at"]
    same = " AND ".join(f"{target}.{quoted(name)} = {STAGED}.{quoted(name)}" for name in KEY)
    joined = f"FROM {table} JOIN {STAGED} ON {same}"
    ((known, newer),) = execute(f"SELECT count(*), count(CASE WHEN {target}.asked_at > {asked_at} THEN 1 END) {joined}")
    if known:
        execute(f"DELETE FROM {table} USING {STAGED} WHERE {same} AND {target}.asked_at <= {asked_at}")
    execute(
        f"INSERT INTO {table} ({', '.join(map(quoted, values))}) SELECT {', '.join(values.values())} FROM {STAGED} "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {same})"
    )
    ((settled,),) = execute(f"SELECT count(*) {joined} WHERE {target}.asked_at >= {asked_at}")
    reconcile(spec, given=given, settled=settled)
    return LoadCounts(inserted=given - known, updated=known - newer, kept=newer)
