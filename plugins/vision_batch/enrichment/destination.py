"""Declare where the answers go: a table of one kind of database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from vision_batch.enrichment.places import Part

#: Which kinds of database have a key of ``destination`` that not all have, and what to write there.
_KEYS_OF_KINDS: Mapping[str, tuple[frozenset[str], str]] = {
    "path": (frozenset({"duckdb"}), "var/warehouse.duckdb"),
    "connection": (frozenset({"postgres", "clickhouse", "greenplum", "redshift"}), "{kind}_default"),
    "staging": (frozenset({"redshift"}), "s3://bucket/staging/"),
}


#: What a kind of database calls columns that every table has, and no other column may be called.
SYSTEM_COLUMNS: Mapping[str, frozenset[str]] = {
    "duckdb": frozenset({"rowid"}),
    "postgres": frozenset({"tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"}),
    "greenplum": frozenset({"oid", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid", "gp_segment_id"}),
    "redshift": frozenset({"oid", "tableoid", "xmin", "xmax", "cmin", "cmax", "ctid", "insertxid", "deletexid"}),
}


class Destination(Part):
    """Say where the answers go.

    :param path: the DuckDB file.
    :param connection: the Airflow connection of a database server.
    :param staging: where answers lie on their way into Redshift; in its region, readable for its role.
    :param table: ``schema.table``.
    """

    type: Literal["duckdb", "postgres", "clickhouse", "greenplum", "redshift"] = "duckdb"
    path: str | None = Field(None, validate_default=True)
    connection: str | None = Field(None, validate_default=True)
    staging: str | None = Field(None, validate_default=True)
    table: str

    @field_validator("path", "connection", "staging")
    @classmethod
    def _belongs_to_the_type(cls, found: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if kind is None:
            return found
        kinds, example = _KEYS_OF_KINDS[str(info.field_name)]
        if kind in kinds and not found:
            raise ValueError(
                f"the field is missing, and type {kind} needs it; write it like {example.format(kind=kind)}"
            )
        if kind not in kinds and found is not None:
            raise ValueError(f"type {kind} has no such field; take it out, or change destination.type")
        return found

    @field_validator("staging")
    @classmethod
    def _is_in_a_bucket(cls, found: str | None) -> str | None:
        if found is not None and not re.match(r"s3://[^/]+/", found):
            raise ValueError(f"{found!r} is not a folder in S3; write it like s3://bucket/staging/")
        return found if found is None or found.endswith("/") else f"{found}/"

    @field_validator("table")
    @classmethod
    def _has_schema(cls, table: str) -> str:
        if not re.fullmatch(r"[^.\s]+\.[^.\s]+", table):
            raise ValueError(f"{table!r} is not of the form schema.table, such as enrichment.photos")
        return table

    def identity(self) -> str:
        """Return what tells this destination from others."""
        return f"{self.type}:{self.path or self.connection}:{self.table}"
