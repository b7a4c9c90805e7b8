"""Connect to Redshift, and carry out statements in transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redshift_connector
from redshift_connector.core import Connection
from redshift_connector.error import Error, InterfaceError, OperationalError

from vision_batch.errors import AuthenticationError, DestinationBusyError, ServiceUnavailableError
from vision_batch.warehouse.redshift_tables import Execute
from vision_batch.warehouse.server import ServerConfig

#: What of a connection's options the driver is told; ``iam_role`` is COPY's.
_OPTIONS = frozenset({"application_name", "iam_role", "ssl", "sslmode"})

#: Begins of the SQL states that say that the caller is refused.
_REFUSED = ("28", "3D000", "42501")

#: Begins of those that say that another's transaction is in the way, or that it was waited for too long.
_BUSY = ("40", "55P03", "57014")

#: Of the server's words for two transactions that cannot be put in an order; it gives them no state of their own.
_CONFLICT = ("serializable isolation violation", "conflict with concurrent transaction")


@contextmanager
def connected(server: ServerConfig) -> Iterator[Connection]:
    """Connect for the length of a ``with`` block, in which the driver's errors become ours."""
    with _errors_translated(f"Redshift at {server.host}"):
        connection = redshift_connector.connect(
            host=server.host,
            port=server.port or 5439,
            user=server.user,
            password=server.password or "",
            database=server.database,
            **_driver_options(server.chosen_options(_OPTIONS)),
        )
        try:
            with transaction(connection) as execute:
                execute("SET timezone TO 'UTC'")
            yield connection
        finally:
            with suppress(Error, OSError):  # what went wrong first is what has to be seen
                connection.close()


@contextmanager
def transaction(db: Connection) -> Iterator[Execute]:
    """Give a way to carry out statements; commit what they did together, or nothing."""

    def execute(sql: str) -> Sequence[Sequence[Any]]:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []

    with db.cursor() as cursor:
        try:
            yield execute
        except BaseException:
            with suppress(Error, OSError):
                db.rollback()
            raise
        db.commit()


def _driver_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Return what the driver is told; no timeout, as it would end a COPY too."""
    told: dict[str, Any] = {name: value for name, value in options.items() if name != "iam_role"}
    if "ssl" in told:
        told["ssl"] = told["ssl"].lower() in ("true", "1")
    return {"application_name": "vision_batch", **told}


@contextmanager
def _errors_translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into ours, which say whether a retry can help."""
    try:
        yield
    except Error as error:
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        state, words = str(told.get("C", "")), str(told.get("M", error))
        if state.startswith(_REFUSED):
            raise AuthenticationError(f"{place}: {words}") from error
        if state.startswith(_BUSY) or any(conflict in words.lower() for conflict in _CONFLICT):
            raise DestinationBusyError(f"{place}: another writer holds the table ({words})") from error
        if not state and isinstance(error, InterfaceError | OperationalError):
            raise ServiceUnavailableError(f"{place}: {words}") from error
        raise
    except OSError as error:
        raise ServiceUnavailableError(f"{place}: {error}") from error
