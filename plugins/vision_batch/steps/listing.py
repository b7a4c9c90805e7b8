"""List a partition's items, whatever kind of source they come from."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

from vision_batch.enrichment.manifest import manifest_rows, require_size
from vision_batch.enrichment.places import Source
from vision_batch.enrichment.query import bound
from vision_batch.enrichment.rows import AskedRow, asked_rows, needed_columns, refuse_repeated
from vision_batch.enrichment.source import Item, list_items
from vision_batch.errors import (
    ConnectionInputError,
    DestinationBusyError,
    DuplicateItemError,
    InputError,
    ObjectMissingError,
)
from vision_batch.steps.resources import Resources
from vision_batch.store import ObjectInfo, ReadableStore, open_store

log = logging.getLogger(__name__)

#: Images looked up in storage at once, and how many of them are handed to the threads together.
READERS, CHUNK = 16, 1_000

#: Rows fetched from a query at once.
FETCH_ROWS = 10_000

#: How many missing images the log names.
NAMED = 3


class Listing:
    """List a plan's partitions one after another, the run's own first, then from the newest to the oldest.

    A list of another day that is wrong keeps no image from being asked but its own.
    """

    def __init__(self, resources: Resources, looked_at: Sequence[str], asked: Sequence[str]) -> None:
        self._resources, self._asked = resources, asked
        self._others = sorted({*looked_at} - {*asked}, reverse=True)
        self.listed = 0
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[Item]:
        empty: list[str] = []
        for partition in (*self._asked, *self._others):
            before = self.listed
            try:
                for item in items_of(self._resources, partition):
                    self.listed += 1
                    yield item
            except (InputError, DuplicateItemError) as error:
                if partition in self._asked:
                    raise
                log.warning("%s is left out, its list is wrong: %s", partition, error)
                self.skipped[partition] = str(error)
            if partition in self._asked and self.listed == before:
                empty.append(partition)
        if empty:
            _tell_empty(self._resources.declaration.source, empty)


def _tell_empty(source: Source, partitions: Sequence[str]) -> None:
    """Say where no image was found: a mistake in a folder's name looks like a day without images."""
    if source.uri is not None:
        place = f"at {source.prefix(partitions[0])} for names with the ending {', '.join(source.extensions)}"
    else:
        place = f"in the {'manifest' if source.manifest else 'query'}"
    days = partitions[0] if len(partitions) == 1 else f"{len(partitions)} partitions, such as {partitions[0]}"
    log.warning("There are no images of %s: looked %s", days, place)


def items_of(resources: Resources, partition: str) -> Iterator[Item]:
    """Yield the images of one partition. What a manifest or a query names and storage has not is left out, and told.

    :raises InputError: for a name, a row or a value that cannot be used.
    :raises DuplicateItemError: if a manifest or a query gives one key twice.
    """
    source, store = resources.declaration.source, resources.source_store()
    if source.uri is not None:
        yield from list_items(store, source, partition)
        return
    origin, rows = _rows(resources, partition)
    missing: list[str] = []
    for row, found in _looked_up(store, asked_rows(rows, source, origin=origin)):
        if found is None:
            missing.append(row.uri)
        else:
            yield _item(row, partition, found)
    if missing:
        names = ", ".join(missing[:NAMED])
        log.warning("%s: %d images are not in storage and left out, such as %s", origin, len(missing), names)


def items_named(resources: Resources, partition: str, uris: Mapping[str, str]) -> Iterator[Item]:
    """Yield those of some images of a partition that the source still has, as they are now.

    :param uris: by item key.
    :raises InputError: for a row of a manifest or a query that cannot be used.
    :raises DuplicateItemError: if a manifest or a query gives one key twice.
    """
    source, store = resources.declaration.source, resources.source_store()
    if source.uri is not None:
        prefix = source.prefix(partition)
        rows = (AskedRow(key, uri, {}) for key, uri in uris.items() if key == uri and uri.startswith(prefix))
    else:
        origin, found_rows = _rows(resources, partition)
        rows = (row for row in asked_rows(found_rows, source, origin=origin) if row.item_key in uris)
    for row, found in _looked_up(store, rows):
        if found is not None:
            yield _item(row, partition, found)


def _item(row: AskedRow, partition: str, found: ObjectInfo) -> Item:
    return Item(row.item_key, row.uri, partition, found.etag, found.size_bytes, found.modified_at, row.variables)


def _rows(resources: Resources, partition: str) -> tuple[str, Iterable[Mapping[str, Any]]]:
    """Return the rows of a manifest or a query, and what errors call it."""
    source = resources.declaration.source
    columns = needed_columns(source)
    if source.query is not None:
        origin = f"the query for {partition}"
        if source.query_file is not None:
            return origin, _duckdb_rows(source.query_file, source.query, partition, columns)
        if resources.query_rows is None:
            name = str(source.query_connection)
            raise ConnectionInputError(
                f"connection {name!r} of source.query_connection is not known here: give it to Airflow where this "
                f"runs, such as in the environment as AIRFLOW_CONN_{name.upper()}"
            )
        return origin, resources.query_rows(str(source.query_connection), source.query, partition, columns)
    uri = source.prefix(partition)
    store = open_store(uri, s3_client=resources.s3_client)
    try:
        require_size(store.info(uri).size_bytes, origin=uri)
        body = store.read(uri)
    except ObjectMissingError:
        log.warning("There is no manifest %s: its partition has no images", uri)
        return uri, ()
    return uri, manifest_rows(body, source.manifest_format(), origin=uri, columns=columns)


def _duckdb_rows(path: str, query: str, partition: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    import duckdb

    try:
        connection = duckdb.connect(path, read_only=True)
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise DestinationBusyError(f"{path} is held by another process: {error}") from None
        raise InputError(f"source.query_file: {path} cannot be opened: {error}") from None
    with closing(connection):
        with _query_errors():
            answer = connection.execute(*bound(query, partition, "?"))
        names = [column[0] for column in answer.description or ()]
        refuse_repeated(names, columns, where="source.query")
        while True:
            with _query_errors():  # the database may come upon a value that it cannot cast at any row
                rows = answer.fetchmany(FETCH_ROWS)
            if not rows:
                return
            yield from (dict(zip(names, row, strict=True)) for row in rows)


@contextmanager
def _query_errors() -> Iterator[None]:
    """Turn what DuckDB says of a query into ours."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise InputError(f"source.query: {error}") from None


def _looked_up(store: ReadableStore, rows: Iterator[AskedRow]) -> Iterator[tuple[AskedRow, ObjectInfo | None]]:
    """Look rows up in storage, many at once, in their order."""

    def info(row: AskedRow) -> ObjectInfo | None:
        try:
            return store.info(row.uri)
        except ObjectMissingError:
            return None

    with ThreadPoolExecutor(READERS, thread_name_prefix="list") as pool:
        while chunk := list(islice(rows, CHUNK)):
            yield from zip(chunk, pool.map(info, chunk), strict=True)
