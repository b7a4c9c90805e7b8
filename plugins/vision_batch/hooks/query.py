"""Ask a source's query over an Airflow connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from vision_batch.enrichment.query import bound
from vision_batch.errors import ConnectionInputError

#: Rows fetched at once.
FETCH_ROWS = 10_000


def query_rows(conn_id: str, query: str, partition: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query by column, with ``{partition}`` bound as a parameter.

    :raises ConnectionInputError: if the connection is of a kind that answers no SQL.
    """
    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowException as error:
        raise ConnectionInputError(f"connection {conn_id!r} of source.query_connection: {error}") from None
    if not hasattr(hook, "placeholder"):
        raise ConnectionInputError(
            f"connection {conn_id!r} of source.query_connection is of type {getattr(hook, 'conn_type', '?')!r}, "
            "which answers no SQL; name one of a database, such as postgres"
        )
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(*bound(query, partition, hook.placeholder))
        names = [column[0] for column in cursor.description or ()]
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from (dict(zip(names, row, strict=True)) for row in rows)
