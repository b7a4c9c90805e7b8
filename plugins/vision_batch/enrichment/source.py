"""List a partition's items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vision_batch.enrichment.identity import input_id
from vision_batch.enrichment.places import Source
from vision_batch.errors import InputError
from vision_batch.store import ReadableStore


@dataclass(frozen=True)
class Item:
    """Describe one image to ask about, in the version that the listing shows."""

    item_key: str
    uri: str
    partition: str
    etag: str | None
    size_bytes: int
    modified_at: datetime
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def input_id(self) -> str:
        """Return the identity of this version of the image and its prompt variables."""
        return input_id(
            etag=self.etag, size_bytes=self.size_bytes, modified_at=self.modified_at, variables=self.variables
        )


def list_items(store: ReadableStore, source: Source, partition: str) -> Iterator[Item]:
    """Yield the images of one partition, sorted by key; objects with other endings are passed over.

    :raises InputError: if a file's name is not UTF-8, which no table could hold.
    """
    endings = tuple(ending.lower() for ending in source.extensions)
    for found in store.list(source.prefix(partition)):
        if found.uri.lower().endswith(endings):
            if not _is_utf8(found.uri):
                raise InputError(f"the name of {found.uri!r} is not UTF-8; rename the file")
            yield Item(found.uri, found.uri, partition, found.etag, found.size_bytes, found.modified_at)


def _is_utf8(text: str) -> bool:
    """Say whether a text has no stand-ins for bytes, which Python makes of a file's name that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
