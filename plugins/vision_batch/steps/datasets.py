"""Name, find and delete our remote datasets: only our own install's are ever touched."""

from __future__ import annotations

import logging

from vision_batch.errors import NotFoundError
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: The label that every dataset of ours carries, with the install id.
INSTALL_LABEL = "vb_install"


def dataset_name(install: str, enrichment: str, shard: str) -> str:
    """Return the name of a shard's datasets, at most 63 characters."""
    return f"vb-{install[:6]}-{enrichment}-{shard}"


def is_ours(dataset: Dataset, name: str, install: str) -> bool:
    """Tell whether a dataset is one of this install's shard, comparing name and label exactly."""
    return dataset.name == name and dataset.labels.get(INSTALL_LABEL) == install


def datasets_of(resources: Resources, service: SyncAIStudioClient, key: str) -> list[Dataset]:
    """List the source datasets that this install made for a shard, oldest first."""
    install = resources.work().install_id()
    name = dataset_name(install, resources.declaration.name, key)
    found = [each for each in service.list_datasets(name_pattern=name) if is_ours(each, name, install)]
    return sorted(found, key=lambda each: (each.created_at, each.dataset_id))


def delete_dataset(service: SyncAIStudioClient, dataset_id: str) -> None:
    """Delete a dataset; one that is gone already is no error."""
    try:
        service.delete_dataset(dataset_id)
    except NotFoundError:
        log.info("Dataset %s is deleted already.", dataset_id)


def is_there(service: SyncAIStudioClient, dataset_id: str) -> bool:
    """Tell whether the service still has a dataset."""
    try:
        service.describe_dataset(dataset_id)
    except NotFoundError:
        return False
    return True
