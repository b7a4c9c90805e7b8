"""Say where a database server is and as whom it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from vision_batch.errors import ConnectionInputError


@dataclass(frozen=True)
class ServerConfig:
    """Hold what a connection to a database server needs. Its password and options are never shown.

    :param host: a name, an address, or the folder of a unix socket.
    :param options: what else the driver is told, by name.
    """

    host: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read ``scheme://user:password@host:port/database?option=value``.

        :raises ConnectionInputError: if it is not of that form; the message does not repeat it.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            host, port = options.pop("host", None) or unquote(parts.hostname or ""), parts.port
        except ValueError:
            host, port = "", None
        if not host or not parts.scheme:
            raise ConnectionInputError(
                "the address of the database is not of the form scheme://user:password@host:port/database"
            )
        return cls(
            host=host,
            port=port,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=unquote(parts.path.removeprefix("/")) or None,
            options=options,
        )

    def chosen_options(self, allowed: Collection[str]) -> dict[str, Any]:
        """Return the options, for the driver.

        :raises ConnectionInputError: names one that may not be set.
        """
        for name in self.options:
            if name not in allowed:
                raise ConnectionInputError(f"option {name!r} of the database is not known; allowed: {sorted(allowed)}")
        return dict(self.options)


def given_server(url: str | None) -> Callable[[str], ServerConfig]:
    """Return what stands for an Airflow connection that a command line does not know: one address for all of them."""

    def server(connection: str) -> ServerConfig:
        if not url:
            raise ConnectionInputError(
                f"the destination is Airflow's connection {connection!r}, which is not known here: give it to Airflow "
                f"where this runs, such as in the environment as AIRFLOW_CONN_{connection.upper()}, or its address "
                "as VISION_BATCH_DSN, such as postgresql://user:password@host/database"
            )
        return ServerConfig.from_url(url)

    return server
