"""Open what a step needs: storage, work folder, service, destination. Knows no Airflow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.stored import read_stored
from vision_batch.errors import ConnectionInputError
from vision_batch.models import Model
from vision_batch.shards.folder import ShardFolder, WorkFolder
from vision_batch.steps.table import table_spec
from vision_batch.store import DeclaredPlaces, ReadableStore, S3ClientFactory, open_store
from vision_batch.warehouse.opening import open_warehouse
from vision_batch.warehouse.protocol import TableSpec, Warehouse
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging

if TYPE_CHECKING:
    from vision_batch.service.sync import SyncAIStudioClient
    from vision_batch.service.types import ServiceConfig


#: Takes a metric's name, by how much it grew, and tags.
Meter = Callable[[str, int, Mapping[str, str]], None]


def _unmetered(name: str, number: int, tags: Mapping[str, str]) -> None:
    """Count nowhere."""


@dataclass(frozen=True)
class Resources:
    """Hold a declaration and the ways to everything it names.

    :param declaration: the enrichment, as asked in this run.
    :param service_config: where and as whom the service is called; ``None`` for steps that do not call it.
    :param s3_client: gives a boto3 client for ``s3://`` sources and work folders.
    :param destination_server: gives the database server that a connection's id stands for.
    :param query_rows: gives the rows of a source's query for a partition, over a connection's id; refuses columns
        of those named that the answer has twice.
    :param unit_price: price of one billing unit, if it is known.
    :param windows: of models by id, where ``service_config``, which has them too, is not there.
    :param meter: counts what was done, for those who watch.
    """

    declaration: Declaration
    service_config: ServiceConfig | None = None
    s3_client: S3ClientFactory | None = None
    destination_server: Callable[[str], ServerConfig] | None = None
    query_rows: Callable[[str, str, str, Collection[str]], Iterable[Mapping[str, Any]]] | None = None
    unit_price: Decimal | None = None
    windows: Mapping[str, int] = field(default_factory=dict)
    meter: Meter = _unmetered

    @property
    def model(self) -> Model:
        """Return the model that is asked, with the window that the declaration or the connection gives it."""
        windows = self.windows if self.service_config is None else self.service_config.windows
        return self.declaration.asked_model(windows)

    def source_store(self) -> ReadableStore:
        """Return the storage that holds the images; nothing outside of the source can be read from it."""
        prefixes = self.declaration.source.prefixes()
        return DeclaredPlaces(open_store(prefixes[0], s3_client=self.s3_client), prefixes)

    def work(self) -> WorkFolder:
        """Return this enrichment's part of the work folder."""
        uri = self.declaration.work_folder
        return WorkFolder(open_store(uri, s3_client=self.s3_client), uri, self.declaration.name)

    def shard(self, key: str) -> ShardFolder:
        """Return the folder of a shard."""
        return self.work().shard(key)

    def for_shard(self, key: str) -> Resources:
        """Return resources that ask the question the shard was claimed with, whatever the declaration says now.

        :raises ShardVersionError: if another version claimed it, and this one cannot read with what.
        """
        return replace(self, declaration=read_stored(self.shard(key).question(), shard=key))

    def folder_id(self) -> str:
        """Return the service's folder."""
        return self._config().folder_id

    @contextmanager
    def service(self) -> Iterator[SyncAIStudioClient]:
        """Open a client of the service for the length of a ``with`` block."""
        from vision_batch.service.sync import SyncAIStudioClient  # noqa: PLC0415 - heavy

        with SyncAIStudioClient(self._config()) as client:
            yield client

    def warehouse(self) -> Warehouse:
        """Return the destination's database."""
        destination = self.declaration.destination
        if destination.connection is None:
            return open_warehouse(destination.type, str(destination.path))
        if self.destination_server is None:
            raise ConnectionInputError(f"connection {destination.connection!r} is needed for this step")
        server = self.destination_server(destination.connection)
        if destination.staging is None:
            return open_warehouse(destination.type, server)
        staging = Staging(open_store(destination.staging, s3_client=self.s3_client), destination.staging)
        return open_warehouse(destination.type, server, staging)

    def table(self) -> TableSpec:
        """Return the destination table's shape."""
        return table_spec(self.declaration)

    def _config(self) -> ServiceConfig:
        if self.service_config is None:
            raise ConnectionInputError(f"connection {self.declaration.connection!r} is needed for this step")
        return self.service_config
