"""Ask a source's query over an Airflow connection."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from vision_batch.enrichment.query import bound
from vision_batch.enrichment.rows import refuse_repeated
from vision_batch.errors import AuthenticationError, ConnectionInputError, InputError, ServiceUnavailableError

#: Rows fetched at once.
FETCH_ROWS = 10_000

#: Begins of the SQL states that say that the caller is refused: authorization, and a database that is not there.
_REFUSED_STATES = ("28", "3D")

#: What databases say where they give no state to a login that they refuse.
_REFUSED = re.compile(
    r"authentication failed|does not exist|no pg_hba\.conf entry|no password supplied|access denied|login failed",
    re.IGNORECASE,
)

#: Begins of the states that may pass: connections, rolled back and locked out transactions, resources, shutdowns and
#: timeouts, errors of the system or the server itself, and what ODBC puts into no class.
_PASSING_STATES = ("08", "40", "53", "55", "57", "58", "XX", "HY")

#: What the database API calls errors of the query or its data, whatever the driver; other kinds may pass.
_FINAL_KINDS = frozenset({"ProgrammingError", "DataError", "IntegrityError", "NotSupportedError"})


def query_rows(conn_id: str, query: str, partition: str, columns: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query by column, with ``{partition}`` bound as a parameter.

    :param columns: those that are needed.
    :raises ConnectionInputError: if the connection is of a kind that answers no SQL, or has a wrong setting.
    :raises AuthenticationError: if the database does not let us in.
    :raises InputError: if the query is wrong, or comes upon a value that it cannot use.
    :raises ServiceUnavailableError: if the database does not answer, or ends the connection.
    """
    hook = _hook(conn_id)
    place = f"source.query, over connection {conn_id!r}"
    with _errors_told(place, connecting=True):
        connection = hook.get_conn()
    try:
        with _errors_told(place):
            cursor = connection.cursor()
            cursor.execute(*bound(query, partition, hook.placeholder))
        names = [column[0] for column in cursor.description or ()]
        refuse_repeated(names, columns, where=place)
        while True:
            with _errors_told(place):
                rows = cursor.fetchmany(FETCH_ROWS)
            if not rows:
                return
            yield from (dict(zip(names, row, strict=True)) for row in rows)
    finally:
        with suppress(Exception):  # nothing was written; what went wrong first is what has to be seen
            connection.close()


def _hook(conn_id: str) -> Any:
    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowException as error:
        raise ConnectionInputError(f"connection {conn_id!r} of source.query_connection: {error}") from None
    if not hasattr(hook, "placeholder"):
        raise ConnectionInputError(
            f"connection {conn_id!r} of source.query_connection is of type {getattr(hook, 'conn_type', '?')!r}, "
            "which answers no SQL; name one of a database, such as postgres"
        )
    return hook


@contextmanager
def _errors_told(place: str, *, connecting: bool = False) -> Iterator[None]:
    """Turn any driver's errors into ours, which say whether a retry can help.

    :param place: begins the messages.
    """
    try:
        yield
    except OSError as error:
        raise ServiceUnavailableError(f"{place}: {error}") from error
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "Error" in kinds:  # as the database API has every driver call the root of its errors
            raise _told(error, kinds, place, connecting=connecting) from error
        if isinstance(error, ValueError | OverflowError) and not connecting:
            raise InputError(f"{place}: a value cannot be read ({type(error).__name__}: {error})") from error
        raise


def _told(error: Exception, kinds: Collection[str], place: str, *, connecting: bool) -> Exception:
    state, words = _sql_state(error), f"{place}: {str(error).strip()}"
    if state.startswith(_REFUSED_STATES) or (connecting and _REFUSED.search(str(error))):
        return AuthenticationError(words)
    passes = state.startswith(_PASSING_STATES) if state else not _FINAL_KINDS & {*kinds}
    if passes:
        return ServiceUnavailableError(words)
    return ConnectionInputError(words) if connecting else InputError(words)


def _sql_state(error: Exception) -> str:
    """Return what the SQL standard calls the error, if its driver tells: as an attribute, or in its arguments."""
    first = error.args[0] if error.args else None
    named = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    found = named or (first.get("C") if isinstance(first, dict) else first)
    return found if isinstance(found, str) and re.fullmatch("[0-9A-Z]{5}", found) else ""
