"""Keep objects in a bucket.

The client repeats requests by itself (:data:`vision_batch.hooks.storage.CLIENT`); here only a body that breaks while it
is read begins again. A conditional write that is repeated although it had arrived is refused by its own condition:
callers take that for somebody else's write, which costs a look and never a second job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import stamina

from vision_batch.errors import (
    ConnectionInputError,
    InputError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectUnreadableError,
    ServiceUnavailableError,
    StaleWriteError,
)
from vision_batch.store.protocol import ObjectInfo, S3ClientFactory

#: How often a body that breaks is read from its beginning, and the waits between.
READS, WAIT_INITIAL_SECONDS, WAIT_MAX_SECONDS = 4, 0.2, 5.0

_SERVER_ERROR = 500

#: What may be refused for one object and not for its neighbours.
_DENIED = frozenset({"AccessDenied", "Forbidden", "403"})

#: Threads may share a client; only one at a time may make one.
_MAKING = Lock()

#: What the storage's codes mean; where a reply has no body, its code is the status. The last words are for people.
_MEANINGS: tuple[tuple[frozenset[str], type[Exception], str], ...] = (
    (
        frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}),
        ObjectChangedError,
        "it is not the version that was asked for",
    ),
    (frozenset({"NoSuchKey", "NotFound", "404"}), ObjectMissingError, "it does not exist"),
    (
        frozenset({"NoSuchBucket"}),
        ConnectionInputError,
        "there is no such bucket at this storage; make it, or correct the place",
    ),
    (frozenset({"InvalidObjectState"}), ObjectUnreadableError, "it lies in an archive; restore it to have it asked"),
    (
        frozenset({"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}),
        ConnectionInputError,
        "the storage refuses the connection's key; docs/deploy.md names the rights that it needs",
    ),
    (
        frozenset({"NotImplemented", "501"}),
        ConnectionInputError,
        "the storage cannot do what was asked; docs/deploy.md names the requirements",
    ),
    (
        frozenset({"SlowDown", "Throttling", "RequestTimeout", "TooManyRequests", "429"}),
        ServiceUnavailableError,
        "the storage is too busy",
    ),
)


class S3Store:
    """Keep objects in a bucket that honours ``If-Match`` and ``If-None-Match`` on writes."""

    def __init__(self, client: S3ClientFactory) -> None:
        self._factory = client
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            with _MAKING:
                self._made = self._factory()
        return self._made

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of a prefix page by page, facts from the listing alone; markers of folders are left out."""
        bucket, key = bucket_and_key(prefix)
        with _s3_errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):
                        uri = f"s3://{bucket}/{entry['Key']}"
                        yield ObjectInfo(uri, entry["Size"], entry["LastModified"], entry["ETag"].strip('"'))

    def folders(self, uri: str) -> Iterator[str]:
        """Yield the names that the listing puts together at the next slash."""
        bucket, key = bucket_and_key(f"{uri.rstrip('/')}/")
        with _s3_errors(uri):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, Delimiter="/")
            found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        yield from sorted(prefix.removeprefix(key).rstrip("/") for prefix in found)

    def info(self, uri: str) -> ObjectInfo:
        """Describe one object."""
        bucket, key = bucket_and_key(uri)
        with _s3_errors(uri):
            head = self._client.head_object(Bucket=bucket, Key=key)
        return ObjectInfo(uri, head["ContentLength"], head["LastModified"], head["ETag"].strip('"'))

    def read(self, uri: str, *, if_match: str | None = None) -> bytes:
        """Return an object's bytes."""
        return self._get(uri, **_if_match(if_match))[0]

    def head(self, uri: str, length: int, *, if_match: str | None = None) -> bytes:
        """Return an object's first bytes by a range request."""
        try:
            return self._get(uri, Range=f"bytes=0-{length - 1}", **_if_match(if_match))[0]
        except _NoSuchRangeError:
            return b""  # an empty object has no range

    def read_versioned(self, uri: str) -> tuple[bytes, str]:
        """Return an object's bytes and its ETag."""
        return self._get(uri)

    def create(self, uri: str, body: bytes) -> None:
        """Create an object with ``If-None-Match: *``."""
        try:
            self._put(uri, body, IfNoneMatch="*")
        except ObjectChangedError:
            raise ObjectExistsError(f"{uri} is already there") from None

    def swap(self, uri: str, body: bytes, *, version: str | None) -> str:
        """Replace an object with ``If-Match``."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return self._put(uri, body, **condition)
        except (ObjectChangedError, ObjectMissingError):
            raise StaleWriteError(f"{uri} was replaced by somebody else: read it again") from None

    def delete(self, uri: str) -> None:
        """Delete an object."""
        bucket, key = bucket_and_key(uri)
        with _s3_errors(uri):
            self._client.delete_object(Bucket=bucket, Key=key)

    def _get(self, uri: str, **given: str) -> tuple[bytes, str]:
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415 - not needed for file://

        bucket, key = bucket_and_key(uri)
        broken = (HTTPClientError, IncompleteReadError)
        with _s3_errors(uri, one_object=True):
            for attempt in stamina.retry_context(
                on=broken, attempts=READS, wait_initial=WAIT_INITIAL_SECONDS, wait_max=WAIT_MAX_SECONDS, timeout=None
            ):
                with attempt:
                    reply = self._client.get_object(Bucket=bucket, Key=key, **given)
                    return reply["Body"].read(), reply["ETag"]
        raise AssertionError("unreachable: the retry context raises or returns")

    def _put(self, uri: str, body: bytes, **condition: str) -> str:
        bucket, key = bucket_and_key(uri)
        with _s3_errors(uri):
            version: str = self._client.put_object(Bucket=bucket, Key=key, Body=body, **condition)["ETag"]
        return version


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Take an ``s3://`` URI apart.

    :raises InputError: if it is none.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise InputError(f"{uri!r} is not an s3:// URI such as s3://bucket/images/")
    return bucket, key


@cache
def client_of_environment() -> Any:
    """Return an S3 client as the environment says: ``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` and the like."""
    import boto3

    return boto3.client("s3")


class _NoSuchRangeError(Exception):
    """Say that an object ends before the range begins."""


def _if_match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"IfMatch": f'"{etag}"'}


@contextmanager
def _s3_errors(uri: str, *, one_object: bool = False) -> Iterator[None]:
    """Turn the library's errors into the project's.

    :param one_object: whether a refusal may be about this object alone.
    """
    from botocore import exceptions as library  # noqa: PLC0415 - heavy, and not needed for file://

    try:
        yield
    except library.ClientError as error:
        said = _said(uri, error.response)
        denied = one_object and str(error.response.get("Error", {}).get("Code", "")) in _DENIED
        raise (ObjectUnreadableError(str(said)) if denied else said) from None
    except (library.ConnectionError, library.HTTPClientError, library.IncompleteReadError) as error:
        raise ServiceUnavailableError(f"{uri}: the storage does not answer ({type(error).__name__})") from None
    except (library.NoCredentialsError, library.PartialCredentialsError) as error:
        raise ConnectionInputError(f"{uri}: the storage's connection holds no whole key: {error}") from None
    except library.BotoCoreError as error:
        raise InputError(f"{uri}: {error}") from None


def _said(uri: str, response: Any) -> Exception:
    """Return what an answer of the storage means."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in {"InvalidRange", "416"}:
        return _NoSuchRangeError(uri)
    for codes, kind, words in _MEANINGS:
        if code in codes:
            return kind(f"{uri}: {words} ({code})")
    if status >= _SERVER_ERROR:
        return ServiceUnavailableError(f"{uri}: the storage answered {code or status}")
    return InputError(f"{uri}: the storage refused the request ({code or status})")
