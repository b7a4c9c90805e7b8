"""Say what object storage has to do: list, read, create once, swap.

URIs are ``<scheme>://<key>`` with the key as it is, never percent-encoded, as in the AWS command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

S3ClientFactory = Callable[[], Any]


@dataclass(frozen=True)
class ObjectInfo:
    """Describe one stored object.

    :param etag: what a conditional read compares; on ``file://`` the time of change and the size.
    """

    uri: str
    size_bytes: int
    modified_at: datetime
    etag: str | None


class ReadableStore(Protocol):
    """Read objects with conditions.

    Every method raises :class:`ObjectMissingError` for an object that is not there.
    """

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose URI starts with ``prefix``, sorted by URI."""
        ...

    def info(self, uri: str) -> ObjectInfo:
        """Describe one object."""
        ...

    def read(self, uri: str, *, if_match: str | None = None) -> bytes:
        """Return the whole object.

        :raises ObjectChangedError: if its ETag is not ``if_match``.
        :raises ObjectUnreadableError: if this one may not be read, or lies in an archive.
        """
        ...

    def head(self, uri: str, length: int, *, if_match: str | None = None) -> bytes:
        """Return the first ``length`` bytes, fewer if the object is shorter.

        :raises ObjectChangedError: if its ETag is not ``if_match``.
        :raises ObjectUnreadableError: if this one may not be read, or lies in an archive.
        """
        ...


class Store(ReadableStore, Protocol):
    """Read and write small objects with conditions."""

    def folders(self, uri: str) -> Iterator[str]:
        """Yield the names of the folders directly below a folder, sorted; none if it is not there."""
        ...

    def read_versioned(self, uri: str) -> tuple[bytes, str]:
        """Return the whole object and the version that :meth:`swap` compares."""
        ...

    def create(self, uri: str, body: bytes) -> None:
        """Create an object atomically, only if it is not there yet.

        :raises ObjectExistsError: if it is there.
        """
        ...

    def swap(self, uri: str, body: bytes, *, version: str | None) -> str:
        """Replace an object only if it still has ``version``; ``None`` means it must not exist.

        :return: the new version.
        :raises StaleWriteError: if somebody else was first.
        """
        ...

    def delete(self, uri: str) -> None:
        """Delete an object; one that is not there is no error."""
        ...
