"""Read an Airflow connection into a client of Yandex AI Studio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection

from vision_batch.enrichment.spending import read_price
from vision_batch.errors import ConnectionInputError, InputError, VisionBatchError
from vision_batch.models import checked_window, get_model
from vision_batch.service.console import DEFAULT_CONSOLE_URL
from vision_batch.service.quota import checked_quota
from vision_batch.service.types import ServiceConfig

if TYPE_CHECKING:
    from vision_batch.service.sync import SyncAIStudioClient

#: The endpoint whose discovery names all the others.
DEFAULT_ENDPOINT = "api.cloud.yandex.net:443"


class AIStudioHook(BaseHook):
    """Call Yandex AI Studio with the credentials of a connection of type ``ai_studio`` or ``generic``.

    Fields: the API key as password, ``host`` (and port) as endpoint override, and in extra by name ``folder_id``,
    ``service_account_key``, ``tls``, ``window_tokens`` by model, ``quotas`` by name, ``unit_price`` and
    ``console_url``. Nothing else of the extra is read.

    :param conn_id: the connection's id.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "ai_studio_default"
    conn_type = "ai_studio"
    hook_name = "Yandex AI Studio"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def config(self) -> ServiceConfig:
        """Return where and as whom the service is called.

        :raises ConnectionInputError: if a field is missing or wrong.
        """
        return read_connection(self.get_connection(self.conn_id))

    async def aconfig(self) -> ServiceConfig:
        """Return the same as :meth:`config`, without blocking the event loop."""
        return read_connection(await self.aget_connection(self.conn_id))

    @contextmanager
    def client(self) -> Iterator[SyncAIStudioClient]:
        """Open a client for the length of a ``with`` block."""
        from vision_batch.service.sync import SyncAIStudioClient  # noqa: PLC0415 - heavy

        with SyncAIStudioClient(self.config()) as client:
            yield client

    def windows(self) -> Mapping[str, int]:
        """Return the windows that the connection gives to models, as :meth:`config` does, whatever else is in it.

        :raises ConnectionInputError: if they are no windows.
        """
        connection = self.get_connection(self.conn_id)
        return _windows(connection, connection.extra_dejson.get("window_tokens"))

    def unit_price(self) -> Decimal | None:
        """Return the price of a billing unit, 1000 tokens at coefficient 1, if the connection has it.

        :raises ConnectionInputError: if it is no price.
        """
        connection = self.get_connection(self.conn_id)
        text = connection.extra_dejson.get("unit_price")
        if text in (None, ""):
            return None
        try:
            return read_price(str(text))
        except InputError as error:
            raise _wrong(connection, "unit_price", repr(text), str(error)) from None

    def test_connection(self) -> tuple[bool, str]:
        """List the folder's datasets: proves endpoint, credentials and folder, and costs nothing."""
        try:
            with self.client() as client:
                found = len(client.list_datasets())
        except VisionBatchError as error:
            return False, str(error)
        return True, f"AI Studio answers: {found} datasets in the folder."


def read_connection(connection: Connection) -> ServiceConfig:
    """Turn a connection into a configuration, reading its extra by name.

    :raises ConnectionInputError: names the connection, the field, what was found and what is allowed.
    """
    extra: Mapping[str, Any] = connection.extra_dejson
    folder_id = str(extra.get("folder_id") or "")
    if not folder_id:
        raise _wrong(connection, "folder_id", "nothing", "the id of the cloud folder, such as b1g...")
    key = _service_account_key(connection, extra.get("service_account_key"))
    if not connection.password and key is None:
        raise _wrong(connection, "password", "nothing", "an API key, or a service_account_key in the extra")
    return ServiceConfig(
        folder_id=folder_id,
        api_key=connection.password or None,
        service_account_key=key,
        endpoint=_endpoint(connection),
        tls=_tls(connection, extra.get("tls", True)),
        windows=_windows(connection, extra.get("window_tokens")),
        console_url=_console_url(connection, extra.get("console_url")),
        quotas=_quotas(connection, extra.get("quotas")),
    )


def _endpoint(connection: Connection) -> str:
    if not connection.host:
        return DEFAULT_ENDPOINT
    if ":" in connection.host:
        return str(connection.host)
    return f"{connection.host}:{connection.port or 443}"


def _tls(connection: Connection, found: Any) -> bool:
    known = {"true": True, "1": True, "": True, "none": True, "false": False, "0": False}
    try:
        return known[str(found).lower()]
    except KeyError:
        raise _wrong(connection, "tls", repr(found), "true or false") from None


def _windows(connection: Connection, found: Any) -> Mapping[str, int]:
    if not found:
        return {}
    try:
        windows = json.loads(found) if isinstance(found, str) else found
        return {get_model(name).id: checked_window(window) for name, window in windows.items()}
    except InputError as error:
        raise _wrong(connection, "window_tokens", repr(found), str(error)) from None
    except (ValueError, AttributeError):
        allowed = 'tokens by model, such as {"qwen2.5-vl-7b-instruct": 16384}'
        raise _wrong(connection, "window_tokens", repr(found), allowed) from None


def _console_url(connection: Connection, found: Any) -> str:
    if found in (None, ""):
        return DEFAULT_CONSOLE_URL
    if not isinstance(found, str) or not found.startswith(("https://", "http://")):
        allowed = f"an address such as {DEFAULT_CONSOLE_URL}, with {{folder_id}} and {{job_id}} where they stand"
        raise _wrong(connection, "console_url", repr(found), allowed)
    return found


def _quotas(connection: Connection, found: Any) -> Mapping[str, int]:
    if not found:
        return {}
    try:
        quotas = json.loads(found) if isinstance(found, str) else found
        return dict(checked_quota(name, limit) for name, limit in quotas.items())
    except InputError as error:
        raise _wrong(connection, "quotas", repr(found), str(error)) from None
    except (ValueError, AttributeError):
        raise _wrong(connection, "quotas", repr(found), 'numbers by name, such as {"jobs_per_hour": 20}') from None


def _service_account_key(connection: Connection, found: Any) -> Mapping[str, str] | None:
    if not found:
        return None
    try:
        key = json.loads(found) if isinstance(found, str) else found
        return {name: str(key[name]) for name in ("id", "service_account_id", "private_key")}
    except (ValueError, KeyError, TypeError):
        allowed = "the JSON of an authorized key with id, service_account_id and private_key"
        raise _wrong(connection, "service_account_key", "something else", allowed) from None


def _wrong(connection: Connection, field: str, found: str, allowed: str) -> ConnectionInputError:
    return ConnectionInputError(
        f"connection {connection.conn_id!r}, field {field!r}: found {found}; allowed: {allowed}"
    )
