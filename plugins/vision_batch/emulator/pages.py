"""Cut lists into pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from vision_batch.emulator.rpc import RefusalError

_DEFAULT_SIZE = 100
_LARGEST_SIZE = 1000

Entry = TypeVar("Entry")


def page_of(
    found: Sequence[Entry],
    size: int,
    token: str,
    key: Callable[[Entry], str],
    place: Mapping[str, Any],
    *,
    overlapping: bool = False,
) -> tuple[Sequence[Entry], str]:
    """Return a page and the token of the next one, which is the last id of this page.

    :param size: 0 means the default of the proto, 100.
    :param token: empty for the first page; what it names may have gone meanwhile.
    :param place: of every id that ever was, what the list is ordered by.
    :param overlapping: let each page but the first begin with the last entry of the page before; there are two or more.
    """
    if not 0 <= size <= _LARGEST_SIZE:
        raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"page_size must be 0 to {_LARGEST_SIZE}")
    start, after = 0, 0
    if token:
        if token not in place:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "page_token is not known")
        after = sum(place[key(entry)] <= place[token] for entry in found)
        start = max(0, after - overlapping)
    end = after + (size or _DEFAULT_SIZE)
    page = found[start:end]
    more = end < len(found) or (overlapping and not token)
    return page, key(page[-1]) if page and more else ""
