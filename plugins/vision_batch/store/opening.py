"""Open the store that serves a URI, and keep reads within the places that were declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vision_batch.errors import InputError
from vision_batch.store.files import FileStore
from vision_batch.store.protocol import ObjectInfo, ReadableStore, S3ClientFactory, Store
from vision_batch.store.s3 import S3Store


def open_store(uri: str, *, s3_client: S3ClientFactory | None = None) -> Store:
    """Return the store that serves a URI.

    :param s3_client: gives a boto3 S3 client; needed for ``s3://`` only, called at first use.
    :raises InputError: for another scheme, or ``s3://`` without a client.
    """
    scheme = uri.partition("://")[0]
    if scheme == "file":
        return FileStore()
    if scheme == "s3":
        if s3_client is None:
            raise InputError(f"{uri!r} needs an Amazon Web Services connection: name one in the declaration")
        return S3Store(s3_client)
    raise InputError(f"{uri!r} is not a storage URI: found scheme {scheme!r}, allowed are file:// and s3://")


class DeclaredPlaces:
    """Read what lies below declared prefixes, and nothing else, whoever names it.

    URIs are checked where manifests and queries are read, too; here they are checked again where bytes are fetched,
    because they have been written to the work folder and read from it since.
    """

    def __init__(self, store: ReadableStore, prefixes: Sequence[str]) -> None:
        self._store = store
        self._prefixes = tuple(prefixes)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of a declared prefix."""
        return self._store.list(self._declared(prefix))

    def info(self, uri: str) -> ObjectInfo:
        """Describe a declared object."""
        return self._store.info(self._declared(uri))

    def read(self, uri: str, *, if_match: str | None = None) -> bytes:
        """Return a declared object."""
        return self._store.read(self._declared(uri), if_match=if_match)

    def head(self, uri: str, length: int, *, if_match: str | None = None) -> bytes:
        """Return the beginning of a declared object."""
        return self._store.head(self._declared(uri), length, if_match=if_match)

    def _declared(self, uri: str) -> str:
        climbs = uri.startswith("file:") and {".", ".."} & set(uri.split("/"))  # to S3 they are letters like others
        if climbs or not uri.startswith(self._prefixes):
            raise InputError(
                f"{uri!r} lies outside of {', '.join(self._prefixes)}; "
                "if it belongs to the source, add its folder to source.allowed_prefixes"
            )
        return uri
