"""Keep one row for each batch job beside the answers, in any database that carries out SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from vision_batch.errors import SchemaConflictError
from vision_batch.warehouse.protocol import BILLED, JOBS, JOBS_TABLE, Column, ColumnType, arrow_schema
from vision_batch.warehouse.tables import literal, quoted

#: Carries out a statement and returns its rows, if it has any.
Execute = Callable[[str], Sequence[Sequence[Any]]]

#: By what a job's row is found.
JOB_KEY = "job_id"


@dataclass(frozen=True)
class JobsTable:
    """Make, fill and read the table of jobs of one schema, in one database's words.

    :param name: the table's name, quoted.
    :param execute: carries out a statement, in the caller's transaction if there are such. Times are in UTC there.
    :param types: the database's names of types.
    :param created: the statement that makes the table, with ``{name}`` and ``{columns}``.
    :param widened: the statement that adds one column, with ``{name}`` and ``{column}``.
    :param key_type: type of the key, if it is not that of other texts.
    :param comment_on: whether ``COMMENT ON`` is known; else comments stand in the columns.
    :param final: follows the table's name where it is read.
    """

    schema: str
    name: str
    execute: Execute
    types: Mapping[ColumnType, str]
    quote: Callable[[str], str] = quoted
    literal: Callable[[str], str] = literal
    created: str = "CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY (job_id))"
    widened: str = "ALTER TABLE {name} ADD COLUMN {column}"
    key_type: str | None = None
    comment_on: bool = True
    final: str = ""

    def missing(self, found: Mapping[str, str]) -> list[Column]:
        """Return the columns that the table does not have yet.

        :param found: the type of each column that is there, by name.
        :raises SchemaConflictError: if the table is somebody else's.
        """
        for column in JOBS:
            there, ours = found.get(column.name), self._type(column)
            if there not in (None, ours):
                raise SchemaConflictError(
                    f"column {column.name!r} of {self.schema}.{JOBS_TABLE} is {there}, but jobs are kept there with "
                    f"{ours}: rename that table, or give destination.table another schema"
                )
        return [column for column in JOBS if column.name not in found]

    def ensure(self, found: Mapping[str, str]) -> None:
        """Create the table or its missing columns; the schema has to be there."""
        missing = self.missing(found)
        if not found:
            columns = ", ".join(map(self._line, JOBS))
            self.execute(self.created.format(name=self.name, columns=columns))
        else:
            for column in missing:
                self.execute(self.widened.format(name=self.name, column=self._line(column)))
        if self.comment_on:
            for column in missing:
                self.execute(
                    f"COMMENT ON COLUMN {self.name}.{self.quote(column.name)} IS {self.literal(column.comment)}"
                )

    def add(self, jobs: pa.Table | None) -> None:
        """Add the jobs that are not there yet. Nobody else may add the same ones meanwhile."""
        if jobs is None or not jobs.num_rows:
            return
        ids = ", ".join(self._value(job_id) for job_id in jobs.column(JOB_KEY).to_pylist())
        known = {row[0] for row in self.execute(f"SELECT job_id FROM {self.name}{self.final} WHERE job_id IN ({ids})")}
        names = ", ".join(self.quote(column.name) for column in JOBS)
        rows = [
            f"({', '.join(self._value(job[column.name]) for column in JOBS)})"
            for job in jobs.to_pylist()
            if job[JOB_KEY] not in known
        ]
        if rows:
            self.execute(f"INSERT INTO {self.name} ({names}) VALUES {', '.join(rows)}")

    def billed(self, enrichment: str, since: datetime) -> pa.Table:
        """Read what an enrichment's jobs are billed that the service accepted since then."""
        columns = ", ".join(map(self.quote, BILLED))
        rows = self.execute(
            f"SELECT {columns} FROM {self.name}{self.final} "
            f"WHERE enrichment = {self.literal(enrichment)} AND created_at >= {self._value(since)}"
        )
        return pa.Table.from_pylist([dict(zip(BILLED, row, strict=True)) for row in rows], schema=arrow_schema(BILLED))

    def _line(self, column: Column) -> str:
        line = f"{self.quote(column.name)} {self._type(column)}"
        return line if self.comment_on else f"{line} COMMENT {self.literal(column.comment)}"

    def _type(self, column: Column) -> str:
        return self.key_type if column.name == JOB_KEY and self.key_type else self.types[column.type]

    def _value(self, found: Any) -> str:
        if found is None:
            return "NULL"
        if isinstance(found, datetime):
            return self.literal(f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}")
        # No database of ours has room for a NUL in a text.
        return self.literal(found.replace("\0", "")) if isinstance(found, str) else repr(found)
