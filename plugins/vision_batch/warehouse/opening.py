"""Open a destination by its kind, importing no driver but its own."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import Literal

from vision_batch.errors import ConnectionInputError
from vision_batch.warehouse.protocol import Warehouse
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging

log = logging.getLogger(__name__)

#: Each is also the name of the extra that brings its driver.
Kind = Literal["duckdb", "postgres", "clickhouse", "greenplum", "redshift"]

_OPENERS: dict[Kind, str] = {
    "duckdb": "DuckDBWarehouse",
    "postgres": "PostgresWarehouse",
    "clickhouse": "ClickHouseWarehouse",
    "greenplum": "greenplum_warehouse",
    "redshift": "redshift_warehouse",
}


#: What was never run live; see docs/warehouse.md for what was.
EXPERIMENTAL: frozenset[Kind] = frozenset({"greenplum", "redshift"})


def open_warehouse(kind: Kind, place: str | ServerConfig, staging: Staging | None = None) -> Warehouse:
    """Return a destination; nothing is connected yet.

    :param place: the file of ``duckdb``, the server of the others.
    :param staging: where tables lie on their way into ``redshift``.
    :raises ConnectionInputError: names the extra, if the driver is not installed.
    """
    try:
        module = import_module(f"vision_batch.warehouse.{kind}")
    except ModuleNotFoundError as error:
        driver = str(error.name).partition(".")[0]
        raise ConnectionInputError(
            f"destination {kind!r} needs {driver!r}, which is not installed: pip install 'vision-batch[{kind}]'"
        ) from error
    if kind in EXPERIMENTAL:
        _warn(kind)
    opened: Warehouse = getattr(module, _OPENERS[kind])(*((place,) if staging is None else (place, staging)))
    return opened


@cache
def _warn(kind: Kind) -> None:
    """Say once in a process what was not tested."""
    log.warning("Destination %r is experimental: it was not yet run live, see docs/warehouse.md.", kind)
