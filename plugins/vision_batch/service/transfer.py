"""Upload files to presigned URLs over httpx.

Storage is S3-like: the length of the body is signed, a stored body's ETag is its MD5 (both as recorded), and an
expired URL is answered by 403. URLs are secrets: no error, log line or repr here holds one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx
import stamina

from vision_batch.errors import InputError, TransferError, UrlExpiredError
from vision_batch.service.storage import TIMEOUT, StorageRetries, broken, check_status, unlogged

#: A file above this is uploaded in parts of about this size.
PART_BYTES = 64 * 1024 * 1024

#: S3 refuses parts below 5 MiB (but the last), and more than 10 000 of them.
MIN_PART_BYTES = 5 * 1024 * 1024
MAX_PARTS = 10_000

#: The service takes no larger dataset ("5 GB" in its documentation).
MAX_FILE_BYTES = 5 * 10**9

#: How often a whole upload begins again with new URLs after old ones have expired.
RENEWALS = 2

#: Bytes read from disk, hashed and sent at once.
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Part:
    """Name an uploaded part.

    :param number: from 1.
    :param etag: as the storage gave it, quotes included.
    """

    number: int
    etag: str


class UploadUrls(Protocol):
    """Give the presigned URLs of one upload."""

    async def single(self, size_bytes: int) -> str:
        """Return the URL for a file in one piece."""

    async def start(self, size_bytes: int, parts: int) -> Sequence[str]:
        """Return the URLs of the parts, in order."""

    async def finish(self, parts: Sequence[Part]) -> None:
        """Put the parts together."""


async def put_file(
    path: Path,
    urls: UploadUrls,
    *,
    part_bytes: int = PART_BYTES,
    parallel: int = 4,
    retries: StorageRetries | None = None,
) -> None:
    """Upload a file: streamed from disk, each part again if it breaks, all of it again if URLs expire.

    :raises InputError: if the file is empty or too large.
    :raises TransferError: if the storage does not take it after all retries.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise InputError(f"{path.name} has {size} bytes; a dataset has 1 to {MAX_FILE_BYTES}")
    limits = httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel)
    # The certificates are read from disk when a client is made.
    http = await asyncio.to_thread(httpx.AsyncClient, timeout=TIMEOUT, limits=limits)
    async with http:
        upload = _Upload(http, path, size, retries or StorageRetries())
        for renewal in range(RENEWALS + 1):
            try:
                await upload.run(urls, count_parts(size, part_bytes), parallel)
            except UrlExpiredError:
                if renewal == RENEWALS:
                    raise
            else:
                return


def count_parts(size: int, part_bytes: int) -> int:
    """Return how many equal parts a file is cut into: none above ``part_bytes``, none but the last below 5 MiB."""
    parts = min(MAX_PARTS, math.ceil(size / max(part_bytes, MIN_PART_BYTES)))
    while parts > 1 and math.ceil(size / parts) < MIN_PART_BYTES:
        parts -= 1
    return parts


@dataclass(frozen=True)
class _Upload:
    http: httpx.AsyncClient
    path: Path
    size: int
    retries: StorageRetries

    async def run(self, urls: UploadUrls, parts: int, parallel: int) -> None:
        if parts == 1:
            await self._put(await urls.single(self.size), 0, self.size)
            return
        part_urls = await urls.start(self.size, parts)
        if len(part_urls) != parts:
            raise TransferError(f"{parts} parts were asked for, the service gave {len(part_urls)} URLs")
        real = math.ceil(self.size / parts)
        waiting = asyncio.Semaphore(parallel)

        async def put(index: int, url: str) -> Part:
            async with waiting:
                offset = index * real
                return Part(index + 1, await self._put(url, offset, min(real, self.size - offset)))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(put(index, url)) for index, url in enumerate(part_urls)]
        except BaseExceptionGroup as broken_parts:
            raise _first(broken_parts) from None
        await urls.finish([task.result() for task in tasks])

    async def _put(self, url: str, offset: int, length: int) -> str:
        """Upload a range of the file, again if it breaks; return its ETag."""
        async for attempt in stamina.retry_context(on=self.retries.worth_repeating, **self.retries.as_arguments()):
            with attempt:
                return await self._put_once(url, offset, length)
        raise AssertionError("a retry ends with a result or an error")

    async def _put_once(self, url: str, offset: int, length: int) -> str:
        what = f"upload of bytes {offset} to {offset + length - 1} of {self.path.name}"
        digest = hashlib.md5(usedforsecurity=False)
        body = self._read(offset, length, digest)
        try:
            with unlogged():
                response = await self.http.put(url, content=body, headers={"content-length": str(length)})
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise broken(what, error) from None
        finally:
            await body.aclose()
        check_status(what, response.status_code, response.content)
        etag = response.headers.get("etag", "")
        if etag.strip('"').lower() != digest.hexdigest():
            raise broken(what, f"ETag {etag or 'absent'} is not the MD5 of what was sent, {digest.hexdigest()}")
        return str(etag)

    async def _read(self, offset: int, length: int, digest: hashlib._Hash) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(_open_at, self.path, offset)
        with contextlib.closing(file):
            while length:
                chunk = await asyncio.to_thread(_read_hashed, file, min(length, CHUNK_BYTES), digest)
                if not chunk:
                    raise TransferError(f"{self.path.name} became shorter while it was uploaded")
                length -= len(chunk)
                yield chunk


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file


def _read_hashed(file: BinaryIO, length: int, digest: hashlib._Hash) -> bytes:
    chunk = file.read(length)
    digest.update(chunk)
    return chunk


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error to tell of several parts: an expired URL first, because all parts begin again then."""
    errors = list(group.exceptions)
    expired = [error for error in errors if isinstance(error, UrlExpiredError)]
    return (expired or errors)[0]
