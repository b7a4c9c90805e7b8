"""Join result rows to the requests that were sent. Position is never trusted (design, section 6). Pure."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vision_batch.errors import ReconcileError

_MARKER_LINE = re.compile(r"^[ \t]*\[ref: ?([0-9a-f]{8,64})\][ \t]*\r?$", re.MULTILINE)
_MARKER = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class SentRequest:
    """Say by what one request can be known again.

    :param row: its number in the dataset, from 0.
    :param marker: the marker in its prompt; read only by a join with markers.
    :param text_sha256: SHA-256 of its whole text in UTF-8, as hex; read only by a join without markers.
    :param request_hash: the hash of the whole request; needed without markers when texts repeat.
    """

    row: int
    marker: str
    text_sha256: str
    request_hash: str | None = None


@dataclass(frozen=True)
class ResultRow:
    """Hold what a result row says.

    :param text: the echoed text of the request.
    :param response: ``None`` where the service gave none.
    """

    text: str
    response: str | None
    request_hash: str | None = None


@dataclass(frozen=True)
class Joined:
    """Hold which request got which response.

    :param responses: by row number; ``None`` where a row came without a response.
    :param duplicates: result rows beyond the first for a request.
    :param foreign: result rows that belong to no request.
    :param missing: row numbers that no result row belongs to.
    """

    responses: dict[int, str | None]
    duplicates: int
    foreign: int
    missing: frozenset[int]


def marker_line(marker: str) -> str:
    """Return the line that ends a prompt and names its request.

    :raises ReconcileError: if the marker is not 8 to 64 lower-case hex digits.
    """
    if not _MARKER.fullmatch(marker):
        raise ReconcileError(f"a marker is 8 to 64 lower-case hex digits, found {marker!r}")
    return f"[ref: {marker}]"


def find_marker(text: str) -> str | None:
    """Return the marker of a prompt: the last line that has the form of one, whatever data stands above it."""
    found = _MARKER_LINE.findall(text)
    return found[-1] if found else None


def needs_whole_requests(requests: Sequence[SentRequest], *, marker: bool) -> bool:
    """Tell whether the join needs the hashes of whole requests, images included.

    :param marker: whether the prompts carry markers.
    """
    return not marker and len({request.text_sha256 for request in requests}) < len(requests)


def join(requests: Sequence[SentRequest], results: Iterable[ResultRow], *, marker: bool) -> Joined:
    """Join by marker; without markers by text where all texts differ, else by the hash of the whole request.

    Of several rows for one request the first with a response counts. Requests that are equal in every byte are
    answered in turn: each answer answers any of them.

    :param results: read once, in any order.
    :param marker: whether the prompts carry markers.
    :raises ReconcileError: if the requests cannot be told apart by what was asked for.
    """
    of_request, of_result = _keys(requests, marker=marker)
    rows: dict[str, list[int]] = {}
    for request in requests:
        rows.setdefault(of_request(request), []).append(request.row)
    if marker and len(rows) < len(requests):
        raise ReconcileError(f"{len(requests)} requests were sent with only {len(rows)} different markers")
    waiting = {key: deque(numbers) for key, numbers in rows.items()}
    responses: dict[int, str | None] = {}
    duplicates = foreign = 0
    for result in results:
        key = of_result(result)
        if key is None or key not in rows:
            foreign += 1
        elif waiting[key]:
            responses[waiting[key].popleft()] = result.response
        else:
            duplicates += 1
            _fill_empty(responses, rows[key], result.response)
    return Joined(responses, duplicates, foreign, frozenset(row for left in waiting.values() for row in left))


def _keys(
    requests: Sequence[SentRequest], *, marker: bool
) -> tuple[Callable[[SentRequest], str], Callable[[ResultRow], str | None]]:
    """Return how a request and how a result row is known."""
    if marker:
        return lambda request: request.marker, lambda result: find_marker(result.text)
    if needs_whole_requests(requests, marker=marker):
        return _own_hash, lambda result: result.request_hash
    return lambda request: request.text_sha256, lambda result: hashlib.sha256(result.text.encode()).hexdigest()


def _own_hash(request: SentRequest) -> str:
    if request.request_hash is None:
        raise ReconcileError(f"texts repeat, and row {request.row} has no hash of its whole request to join by")
    return request.request_hash


def _fill_empty(responses: dict[int, str | None], rows: Sequence[int], response: str | None) -> None:
    """Let a repeated row bring the response that the first one lacked."""
    for row in rows:
        if response is not None and responses[row] is None:
            responses[row] = response
            return
