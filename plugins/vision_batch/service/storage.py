"""Talk to object storage by presigned URLs without ever telling one: timeouts, retries, errors, silence."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import ssl
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import urllib3

from vision_batch.errors import TransferError, UrlExpiredError

#: Seconds for a connection, and for each piece that is read or written; a whole transfer has no limit.
TIMEOUT = httpx.Timeout(60.0, connect=15.0, pool=None)
_DOWNLOAD_TIMEOUT = urllib3.Timeout(connect=TIMEOUT.connect, read=TIMEOUT.read)

_FORBIDDEN = 403
_OK = range(200, 300)
_REPEATABLE = frozenset({408, 409, 429, 500, 502, 503, 504})
_S3_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")

_unlogged: ContextVar[bool] = ContextVar("vision_batch_unlogged", default=False)


class _PassingTransferError(TransferError):
    """Say that the same transfer may well succeed if it is repeated now."""


@dataclass(frozen=True)
class StorageRetries:
    """Bound the retries of one part or one range.

    :param total_seconds: no new attempt after so long.
    """

    attempts: int = 5
    total_seconds: float = 600.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 20.0

    def as_arguments(self) -> dict[str, Any]:
        """Return the bounds as stamina's arguments."""
        return {
            "attempts": self.attempts,
            "timeout": self.total_seconds,
            "wait_initial": self.wait_initial_seconds,
            "wait_max": self.wait_max_seconds,
            "wait_jitter": self.wait_initial_seconds,
        }

    @staticmethod
    def worth_repeating(error: Exception) -> bool:
        """Tell whether a repetition may help."""
        return isinstance(error, _PassingTransferError)


def broken(what: str, reason: Exception | str) -> TransferError:
    """Return an error worth repeating; of a library's error only the name is told, its text may hold the URL."""
    shown = reason if isinstance(reason, str) else type(reason).__name__
    return _PassingTransferError(f"{what} broke: {shown}")


def check_status(what: str, status: int, body: bytes) -> None:
    """Raise what a status of the storage means, if it is not success.

    :raises UrlExpiredError: on 403: the URL is no longer valid.
    :raises TransferError: on any other failure.
    """
    if status in _OK:
        return
    found = _S3_CODE.search(body[:4096])
    said = f"{status} {found[1].decode()}" if found else str(status)
    if status == _FORBIDDEN:
        raise UrlExpiredError(f"{what}: the storage answered {said}; its URL is no longer valid")
    if status in _REPEATABLE:
        raise broken(what, f"the storage answered {said}")
    raise TransferError(f"{what}: the storage answered {said}")


def downloads(url: str) -> urllib3.PoolManager:
    """Return connections to download by, which cost a third of httpx's CPU time.

    The proxy and the certificates are those of the environment, as with httpx.

    :param url: one of those that will be downloaded from.
    """
    to = urlsplit(url)
    found = {} if proxy_bypass(to.hostname or "") else getproxies()
    proxy = found.get(to.scheme, found.get("all"))
    settings: dict[str, Any] = {
        "timeout": _DOWNLOAD_TIMEOUT,
        "retries": False,  # they are ours
        "maxsize": 4,
    }
    if "https" in (to.scheme, urlsplit(proxy).scheme if proxy else None):
        settings["ssl_context"] = _certificates()
    if proxy is None:
        return urllib3.PoolManager(**settings)
    by = urlsplit(proxy)
    login = f"{unquote(by.username)}:{unquote(by.password or '')}" if by.username else None
    return urllib3.ProxyManager(proxy, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **settings)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Load what connections are checked by, once: that takes as long as a small file."""
    return httpx.create_ssl_context()


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep the libraries from logging the requests of a ``with`` block: their log lines hold whole URLs."""
    token = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(token)


def _is_logged(record: logging.LogRecord) -> bool:
    del record
    return not _unlogged.get()


for _name in ("httpx", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_is_logged)
