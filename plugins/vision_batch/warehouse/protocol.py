"""Say what a destination has to do. Arrow tables in and out; one class for each database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

#: ``json`` holds the text of a JSON value; databases that have a type for it use that.
Scalar = Literal["string", "integer", "number", "boolean", "date", "timestamp", "json"]
List = Literal["list[string]", "list[integer]", "list[number]", "list[boolean]", "list[date]"]
ColumnType = Scalar | List

#: What each kind of list holds.
ELEMENTS: Mapping[ColumnType, Scalar] = {
    "list[string]": "string",
    "list[integer]": "integer",
    "list[number]": "number",
    "list[boolean]": "boolean",
    "list[date]": "date",
}


@dataclass(frozen=True)
class Column:
    """Describe a column."""

    name: str
    type: ColumnType
    comment: str = ""


#: Where an answer comes from; the same columns in every destination table.
PROVENANCE: tuple[Column, ...] = (
    Column("item_key", "string", "The item: its URI, or the declared key"),
    Column("image_uri", "string", "Where the image is"),
    Column("image_sha256", "string", "Hash of the image's bytes at the source"),
    Column("etag", "string", "Version of the image in object storage"),
    Column("image_width", "integer", "Width in pixels as sent"),
    Column("image_height", "integer", "Height in pixels as sent"),
    Column("partition", "string", "Partition of the source"),
    Column("question_key", "string", "Identity of the question"),
    Column("revision", "integer", "Revision of the question"),
    Column("model", "string", "Model that was asked"),
    Column("job_id", "string", "Batch job that answered"),
    Column("source_dataset_id", "string", "Remote dataset that was sent"),
    Column("result_dataset_id", "string", "Remote dataset with the answers"),
    Column("shard", "string", "Shard the item was asked in"),
    Column("attempt", "integer", "For the how-manieth time the item was asked"),
    Column("run_id", "string", "Airflow run that loaded the answer"),
    Column("input_id", "string", "Identity of the item's version"),
    Column("request_key", "string", "Identity of question, image and variables; null in rows of earlier versions"),
    Column("estimated_tokens", "integer", "Tokens of request and answer, estimated upwards; 0 beside an equal one"),
    Column("estimated_units", "number", "Tokens times the model's coefficient, in thousands"),
    Column("estimated_cost", "number", "Units times the price of a unit, if that is known"),
    Column("asked_at", "timestamp", "When the item was asked, UTC"),
    Column("answered_at", "timestamp", "When the service ended the job, UTC"),
    Column("copied_from", "string", "Item of equal content whose answer this is"),
    Column("status", "string", "answered, invalid, failed, missing or rejected"),
    Column("raw_text", "string", "The model's text"),
    Column("error", "string", "Why there is no valid answer"),
)

#: The answer key: one row for each.
KEY = ("question_key", "item_key")

#: One row for each batch job, in the table :data:`JOBS_TABLE` beside the answers, whichever table they are in.
JOBS: tuple[Column, ...] = (
    Column("job_id", "string", "The batch job"),
    Column("enrichment", "string", "The declaration's name"),
    Column("table_name", "string", "Table of the answers, in this schema"),
    Column("shard", "string", "Shard that was asked"),
    Column("partitions", "string", "Requests by partition, as JSON"),
    Column("model", "string", "Model that was asked"),
    Column("question_key", "string", "Identity of the question"),
    Column("run_id", "string", "Airflow run that loaded the job"),
    Column("source_dataset_id", "string", "Remote dataset that was sent"),
    Column("result_dataset_id", "string", "Remote dataset with the answers"),
    Column("outcome", "string", "The service's word for how it ended: COMPLETED, FAILED or CANCELED"),
    Column("error", "string", "The service's reason, if it gave one"),
    Column("requests", "integer", "Requests that were sent"),
    Column("answered", "integer", "Rows with a valid answer"),
    Column("invalid", "integer", "Rows whose text does not fit"),
    Column("failed", "integer", "Rows with an error of the service"),
    Column("missing", "integer", "Requests without a row in the result"),
    Column("copied", "integer", "Items of the shard that needed no request: copies of others"),
    Column("rejected", "integer", "Items of the shard that could not be sent"),
    Column("created_at", "timestamp", "When the service accepted the job, UTC"),
    Column("started_at", "timestamp", "When the service began, UTC"),
    Column("finished_at", "timestamp", "When the service ended, UTC"),
    Column("loaded_at", "timestamp", "When this row was written, UTC"),
    Column("tokens", "integer", "Tokens of requests and answers, estimated upwards"),
    Column("billed_tokens", "integer", "The same, with the minimum charge of a job"),
    Column("wasted_tokens", "integer", "Tokens that the minimum charge bills and nobody uses"),
    Column("units", "number", "Billed tokens times the model's coefficient, in thousands"),
    Column("cost", "number", "Units times the price of a unit, if that is known"),
)
JOBS_TABLE = "vision_batch_jobs"

#: What the lookups return.
SETTLED: Mapping[str, ColumnType] = {
    "item_key": "string",
    "input_id": "string",
    "status": "string",
    "attempt": "integer",
}
UNSETTLED: Mapping[str, ColumnType] = {
    **SETTLED,
    "image_uri": "string",
    "partition": "string",
    "asked_at": "timestamp",
}
COUNTS: Mapping[str, ColumnType] = {"partition": "string", "status": "string", "n": "integer", "asked_at": "timestamp"}
BILLED: Mapping[str, ColumnType] = {
    "shard": "string",
    "billed_tokens": "integer",
    "units": "number",
    "cost": "number",
}

#: Statuses of rows that are asked again while attempts are left.
UNSETTLED_STATUSES = ("invalid", "failed", "missing")


@dataclass(frozen=True)
class TableSpec:
    """Describe a destination table.

    :param fields: the answer's columns.
    :param question_key: the question that is read and written.
    :param own: whether that is the declaration's own question, which the view ``<table>_current`` prefers.
    :param question: the question's full text, kept once beside the table.
    """

    schema: str
    table: str
    fields: tuple[Column, ...]
    question_key: str
    own: bool = True
    comment: str = ""
    question: str = ""

    @property
    def name(self) -> str:
        """Return ``schema.table``, for people."""
        return f"{self.schema}.{self.table}"

    @property
    def view(self) -> str:
        """Return the name of the view that shows one row for each item."""
        return f"{self.table}_current"

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return all columns: key, answer, provenance."""
        return (*PROVENANCE[:2], *self.fields, *PROVENANCE[2:])

    def arrow_schema(self) -> pa.Schema:
        """Return the columns as Arrow types."""
        return arrow_schema({column.name: column.type for column in self.columns})


def arrow_schema(types: Mapping[str, ColumnType]) -> pa.Schema:
    """Return columns, given by name and type, as Arrow types."""
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(column_type)) for name, column_type in types.items()])


def _arrow_type(column_type: ColumnType) -> pa.DataType:
    import pyarrow as pa

    if column_type in ELEMENTS:
        return pa.list_(_arrow_type(ELEMENTS[column_type]))
    types: dict[ColumnType, pa.DataType] = {
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "json": pa.string(),
    }
    return types[column_type]


@dataclass(frozen=True)
class LoadCounts:
    """Count what a load did; ``kept`` rows were there already in a newer version."""

    inserted: int
    updated: int
    kept: int


class Warehouse(Protocol):
    """Read and write one destination. What is looked up in a table that is not there is not found.

    Columns that a table does not have yet are read as null.

    :raises DestinationBusyError: from any method, if another writer holds the database for long.
    """

    def check_table(self, spec: TableSpec) -> None:
        """Refuse what :meth:`ensure_table` would refuse; change nothing.

        :raises SchemaConflictError: if a column is there with another type, or a name is taken.
        """
        ...

    def ensure_table(self, spec: TableSpec) -> list[str]:
        """Create the table and view, add missing columns; return what was changed, and which columns are left over.

        :raises SchemaConflictError: if a column is there with another type.
        """
        ...

    def settled(self, spec: TableSpec, keys: pa.Table) -> pa.Table:
        """Return :data:`SETTLED` of the question's rows for the given ``item_key``."""
        ...

    def unsettled(self, spec: TableSpec, limit: int, *, max_attempts: int) -> pa.Table:
        """Return :data:`UNSETTLED` of the question's rows with attempts left, at most ``limit``, last asked first."""
        ...

    def by_content(self, spec: TableSpec, wanted: pa.Table) -> pa.Table:
        """Return one answered row of the question, its oldest, for each given content that has one.

        :param wanted: one column, ``image_sha256`` or ``request_key``.
        """
        ...

    def load(self, spec: TableSpec, answers: pa.Table, jobs: pa.Table | None = None) -> LoadCounts:
        """Merge answers by key in one transaction; an older answer never replaces a newer one.

        :param jobs: rows of :data:`JOBS`, added in the same transaction. A job that is there already stays as it is.
        :raises ReconcileError: if two answers have one key, before any SQL.
        """
        ...

    def counts(self, spec: TableSpec, partitions: Sequence[str]) -> pa.Table:
        """Return :data:`COUNTS` of the question's rows, each with the time when the last of them was asked."""
        ...

    def billed(self, spec: TableSpec, enrichment: str, since: datetime) -> pa.Table:
        """Return :data:`BILLED` of an enrichment's jobs that the service accepted since then."""
        ...

    def answers(self, spec: TableSpec, *, every_question: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the question's rows, or those of every question, in bounded memory; only the columns of ``spec``."""
        ...
