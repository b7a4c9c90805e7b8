"""Put tables into object storage, where a database fetches them from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from vision_batch.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Staging:
    """Say where tables lie on their way into a database.

    :param uri: a folder, with a slash at its end.
    """

    store: Store
    uri: str

    @contextmanager
    def holding(self, table: pa.Table) -> Iterator[str]:
        """Keep a table as one Parquet file for the length of a ``with`` block; give its URI.

        A process that dies leaves its file behind: the folder needs a lifecycle rule.
        """
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(table, sink)
        uri = f"{self.uri}vision-batch-{uuid4().hex}.parquet"
        self.store.create(uri, sink.getvalue())
        try:
            yield uri
        finally:
            self.store.delete(uri)
