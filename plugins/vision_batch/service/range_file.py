"""Read a remote file by byte ranges, as if it were a local one.

What will be needed is announced with :meth:`RangeFile.plan`: near ranges are fetched together, and the next blocks are
fetched while one is being read. Nothing else is fetched, and only a few blocks are in memory.
"""

from __future__ import annotations

import io
import os
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
import stamina
import urllib3

from vision_batch.errors import TransferError, UrlExpiredError
from vision_batch.service.storage import StorageRetries, broken, check_status, unlogged

#: A range of at most so many bytes is fetched by one request, and is one block.
WHOLE_BYTES = 24 * 1024 * 1024

#: Bytes of a block where a longer range is cut.
BLOCK_BYTES = 8 * 1024 * 1024

#: Ranges with less than this between them are fetched together.
GAP_BYTES = 32 * 1024

#: Bytes of the end of the file that are fetched first: the footer of a Parquet file of usual size.
TAIL_BYTES = 32 * 1024

#: Bytes of blocks kept in memory, and blocks fetched ahead of the one being read, which are always kept.
KEPT_BYTES = 48 * 1024 * 1024
AHEAD = 2

#: Bytes taken from a connection at once, at most: few enough to be copied out of the processor's cache.
PIECE_BYTES = 256 * 1024

#: Bytes of a refusal that are read.
ERROR_BYTES = 4096

#: How often one request asks for a new URL.
RENEWALS = 3

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PARTIAL = 206

Span = tuple[int, int]


class _Came(NamedTuple):
    """Say what one request brought: from which byte, how many, of how many in all."""

    first: int
    length: int
    size: int


class RangeFile(io.RawIOBase):
    """Be a read-only, seekable file behind a presigned URL.

    :param http: the connections to fetch by.
    :param fresh_url: gives a URL that is valid now.
    :param name: the file's name in messages.
    :raises TransferError: if the file cannot be reached, or the storage does not serve ranges.
    """

    def __init__(
        self,
        http: urllib3.PoolManager,
        fresh_url: Callable[[], str],
        *,
        name: str,
        retries: StorageRetries | None = None,
    ) -> None:
        super().__init__()
        self._source = _Source(http, fresh_url, name, retries or StorageRetries())
        self._tail, self._size = self._source.tail(TAIL_BYTES)
        self._position = 0
        self._spans: list[Span] = []
        self._starts: list[int] = []
        self._blocks: OrderedDict[int, Future[memoryview]] = OrderedDict()
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="range-file")

    @property
    def fetched_bytes(self) -> int:
        """Return how many bytes have come over the network so far."""
        return self._source.fetched_bytes

    @property
    def size(self) -> int:
        """Return the file's length in bytes."""
        return self._size

    def plan(self, ranges: Iterable[Span]) -> None:
        """Announce what will be read.

        :param ranges: pairs of start and end (exclusive). One of at most :data:`WHOLE_BYTES` is read without a copy.
        """
        self._spans = list(_blocks(ranges))
        self._starts = [start for start, _ in self._spans]
        self._blocks.clear()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that its position can be set."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position and return it; nothing is fetched by that."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1, /) -> memoryview:
        """Return so many bytes from the position, fewer only if the file ends; those of one block without a copy."""
        length = max(0, self._size - self._position)
        if 0 <= size < length:
            length = size
        found = self._some(self._position, length)
        if len(found) < length:
            found = self._joined(found, length)
        self._position += length
        return found

    def close(self) -> None:
        """Stop fetching ahead."""
        if not self.closed:
            self._source.stop()
            self._pool.shutdown(wait=True, cancel_futures=True)
        super().close()

    def _some(self, start: int, length: int) -> memoryview:
        """Return at most ``length`` bytes from ``start``, at least one if one is wanted."""
        tail_start = self._size - len(self._tail)
        if start >= tail_start or not length:
            return self._tail[start - tail_start :][:length]
        index = bisect_right(self._starts, start) - 1
        if index >= 0 and start < self._spans[index][1]:
            return self._block(index)[start - self._spans[index][0] :][:length]
        return self._source.fetch(start, min(start + length, tail_start))

    def _joined(self, found: memoryview, length: int) -> memoryview:
        """Return ``length`` bytes from the position, the first of which are found already."""
        joined, done = _memory(length), 0
        while True:
            joined[done : done + len(found)] = found
            done += len(found)
            if done == length:
                return joined
            found = self._some(self._position + done, length - done)

    def _block(self, index: int) -> memoryview:
        goes_on = index == 0 or index - 1 in self._blocks  # else it is one look at another column
        for each in range(index, min(index + 1 + AHEAD * goes_on, len(self._spans))):
            if each not in self._blocks:
                self._blocks[each] = self._pool.submit(self._source.fetch, *self._spans[each])
            self._blocks.move_to_end(each)
        while len(self._blocks) > 1 + AHEAD and self._kept_bytes() > KEPT_BYTES:
            self._blocks.popitem(last=False)[1].cancel()
        return self._blocks[index].result()

    def _kept_bytes(self) -> int:
        return sum(end - start for start, end in map(self._spans.__getitem__, self._blocks))


class _Source:
    """Fetch ranges, again if a connection is cut, with a new URL if the old one has expired."""

    def __init__(
        self, http: urllib3.PoolManager, fresh_url: Callable[[], str], name: str, retries: StorageRetries
    ) -> None:
        self._http = http
        self._fresh_url = fresh_url
        self._name = name
        self._retries = retries
        self._lock = threading.Lock()
        self._url = fresh_url()
        self._version: tuple[str, int] | None = None
        self._stopped = False
        self.fetched_bytes = 0

    def stop(self) -> None:
        """Repeat nothing from now on."""
        self._stopped = True

    def __repr__(self) -> str:
        return f"_Source({self._name!r})"

    def tail(self, length: int) -> tuple[memoryview, int]:
        """Return the last bytes of the file, and its size."""
        came = self._ask(f"bytes=-{length}", tail := _memory(length), None)
        if came.first + came.length < came.size:
            rest = self.fetch(came.first + came.length, came.size)
            return memoryview(b"".join((tail[: came.length], rest))), came.size
        return tail[: came.length], came.size

    def fetch(self, start: int, end: int) -> memoryview:
        """Return the bytes from ``start`` to before ``end``; what came before a cut is not fetched again."""
        target = _memory(end - start)
        done = 0
        while start + done < end:
            begin = start + done
            done += self._ask(f"bytes={begin}-{end - 1}", target[done:], (begin, end)).length
        return target

    def _ask(self, wanted: str, target: memoryview, span: Span | None) -> _Came:
        """Send one request, repeated until it brings at least a part."""
        renewals = 0
        while True:
            url = self._url
            try:
                for attempt in stamina.retry_context(on=self._worth_repeating, **self._retries.as_arguments()):
                    with attempt:
                        return self._receive(url, wanted, target, span)
            except UrlExpiredError:
                renewals += 1
                if renewals > RENEWALS:
                    raise
                self._renew(url)

    def _worth_repeating(self, error: Exception) -> bool:
        return not self._stopped and self._retries.worth_repeating(error)

    def _renew(self, old: str) -> None:
        with self._lock:
            if self._url == old:
                self._url = self._fresh_url()

    def _receive(self, url: str, wanted: str, target: memoryview, span: Span | None) -> _Came:
        what = f"download of {wanted} of {self._name}"
        headers = {"range": wanted, "accept-encoding": "identity"}
        count = 0
        try:
            with (
                unlogged(),
                self._http.request("GET", url, headers=headers, preload_content=False, redirect=False) as response,
            ):
                if response.status != _PARTIAL:
                    check_status(what, response.status, response.read(ERROR_BYTES))
                    raise TransferError(f"{what}: the storage sent the whole file instead of a range")
                first, size = self._checked(what, response, span, len(target))
                while piece := response.read1(min(PIECE_BYTES, len(target) - count), decode_content=False):
                    target[count : count + len(piece)] = piece
                    count += len(piece)
        except urllib3.exceptions.HTTPError as error:
            if not count:
                raise broken(what, error) from None
        finally:
            with self._lock:
                self.fetched_bytes += count
        if not count:
            raise broken(what, "nothing came")
        return _Came(first, count, size)

    def _checked(self, what: str, response: urllib3.BaseHTTPResponse, span: Span | None, room: int) -> tuple[int, int]:
        """Return first byte and size of the file, if they are what was asked for, of the file begun with."""
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if found is None:
            raise TransferError(f"{what}: the storage did not say which range it sent")
        first, last, size = map(int, found.groups())
        if (span is not None and (first, last + 1) != span) or last + 1 - first > room:
            raise broken(what, f"the storage sent bytes {first} to {last}")
        version = (response.headers.get("etag", ""), size)
        with self._lock:
            self._version = self._version or version
            if version != self._version:
                raise TransferError(f"{what}: the file changed while it was read, from {self._version} to {version}")
        return first, size


def _memory(length: int) -> memoryview:
    """Return memory to write to, of Arrow's allocator: memory new to the process costs more than what fills it."""
    return memoryview(pa.allocate_buffer(length)).cast("B")


def _blocks(ranges: Iterable[Span]) -> Iterator[Span]:
    """Join ranges that overlap, and near ones as far as they stay one block; cut those that are longer."""
    joined: list[Span] = []
    for start, end in sorted(each for each in ranges if each[0] < each[1]):
        first, last = joined[-1] if joined else (start, -1)
        if start < last or (last >= 0 and start - last <= GAP_BYTES and end - first <= WHOLE_BYTES):
            joined[-1] = (first, max(last, end))
        else:
            joined.append((start, end))
    for start, end in joined:
        step = end - start if end - start <= WHOLE_BYTES else BLOCK_BYTES
        yield from ((each, min(each + step, end)) for each in range(start, end, step))
