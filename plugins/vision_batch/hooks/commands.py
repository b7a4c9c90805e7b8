"""Give the commands that a person runs Airflow's connections, as far as there are some.

Airflow is imported when a command runs, not before: without it the commands use the environment alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.steps import explain as explaining
from vision_batch.steps import export as exporting
from vision_batch.steps import preview
from vision_batch.steps.ways import DESTINATION, MODEL, QUERY, STORAGE, Ways, environment_ways


def plan(argv: Sequence[str]) -> int:
    """Run ``vision-batch plan``."""
    with _without_chatter():
        return preview.run(argv, airflow_ways)


def explain(argv: Sequence[str]) -> int:
    """Run ``vision-batch explain``."""
    with _without_chatter():
        return explaining.run(argv, airflow_ways)


def export(argv: Sequence[str]) -> int:
    """Run ``vision-batch export``."""
    with _without_chatter():
        return exporting.run(argv, airflow_ways)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Let warnings through only: importing Airflow makes a log of a task out of what a person reads."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def airflow_ways(declaration: Declaration, dsn: str | None = None) -> Ways:
    """Return Airflow's connections as ways; where one is not there, or Airflow is not, what the environment tells.

    :param dsn: the address of the destination's server, if a person gave one: it goes before a connection.
    :raises ConnectionInputError: if a connection is there and wrong.
    """
    ways = environment_ways(declaration, dsn)
    try:
        import airflow.sdk  # noqa: F401, PLC0415 - heavy, and need not be there
    except ModuleNotFoundError:
        return ways
    found: dict[str, Any] = {}
    told: dict[str, str] = {}
    for what, (conn_id, changes) in _connected(declaration, dsn).items():
        found.update(changes)
        told[what] = f"Airflow's connection {conn_id!r}"
    return Ways(replace(ways.resources, **found), {**ways.told, **told})


def _connected(declaration: Declaration, dsn: str | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the connections that Airflow has, by what they lead to, with what they give to the resources.

    Of the service's connection its window and price are read, not its secrets: nobody is asked anything.
    """
    from vision_batch.hooks.ai_studio import AIStudioHook  # noqa: PLC0415
    from vision_batch.hooks.destination import destination_server  # noqa: PLC0415
    from vision_batch.hooks.query import query_rows  # noqa: PLC0415
    from vision_batch.hooks.storage import SharedS3Client  # noqa: PLC0415

    found: dict[str, tuple[str, dict[str, Any]]] = {}
    storage, server, query = declaration.storage_connection, declaration.destination.connection, declaration.source
    if declaration.is_on_s3() and is_known(storage):
        found[STORAGE] = storage, {"s3_client": SharedS3Client(storage)}
    if server is not None and dsn is None and is_known(server):
        found[DESTINATION] = server, {"destination_server": destination_server}
    if query.query_connection is not None and is_known(query.query_connection):
        found[QUERY] = query.query_connection, {"query_rows": query_rows}
    if is_known(declaration.connection):
        hook = AIStudioHook(declaration.connection)
        found[MODEL] = declaration.connection, {"windows": hook.windows(), "unit_price": hook.unit_price()}
    return found


def is_known(conn_id: str) -> bool:
    """Say whether Airflow has a connection: in the environment, a secrets backend, or its database."""
    from airflow.sdk import BaseHook  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    # Airflow's own command line says the same: only then its database is looked into.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True
