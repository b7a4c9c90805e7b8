"""Find what enrichments have left whose declaration was removed or renamed: no run and no janitor looks at that."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.errors import VisionBatchError
from vision_batch.shards.folder import WorkFolder
from vision_batch.steps.datasets import INSTALL_LABEL, dataset_name
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

_ENRICHMENT = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class Removed:
    """Describe what an enrichment has left that is not declared any more.

    :param folder: its part of a work folder.
    :param shards: its open shards.
    :param datasets: its source datasets on the service, as far as the declared connections show them.
    """

    enrichment: str
    folder: str
    shards: tuple[str, ...] = ()
    items: int = 0
    datasets: tuple[str, ...] = ()

    def __str__(self) -> str:
        shards = f"open shards with {self.items} images: {', '.join(self.shards)}" if self.shards else ""
        datasets = f"datasets on the service: {', '.join(self.datasets)}" if self.datasets else ""
        return (
            f"Enrichment {self.enrichment!r} is not declared here any more and has left "
            f"{'; and '.join(filter(None, (shards, datasets)))}. Nothing is done about that. Restore its declaration "
            "under this name: its next runs and its janitor bring all of it to an end, and nothing is paid twice. If "
            "nobody wants the answers, and no other Airflow that shares the work folder declares it, cancel its jobs "
            f"and delete its datasets in the console, and delete its folder {self.folder}"
        )


@dataclass(frozen=True)
class Report:
    """Tell what is left of removed enrichments.

    :param problems: files, work folders and connections that could not be looked at, and why.
    """

    removed: tuple[Removed, ...]
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def report_removed(
    declarations: Sequence[Declaration], declared: Collection[str], open_resources: Callable[[Declaration], Resources]
) -> Report:
    """Look into each work folder, and at the service through each connection, and warn of what nobody looks after.

    Nothing is changed: that a declaration is gone from here says nothing about what its owner wants.

    :param declarations: of which those that share folder and connection are looked at once.
    :param declared: names of enrichments, those of broken declarations among them.
    """
    shards: dict[str, Removed] = {}
    datasets: defaultdict[str, set[str]] = defaultdict(set)
    problems: list[str] = []
    for declaration in _different(declarations):
        try:
            place = open_resources(declaration)
            shards |= {found.folder: found for found in _with_open_shards(place.work(), declared, problems)}
            for folder, dataset_id in _left_on_service(place, declared):
                datasets[folder].add(dataset_id)
        except VisionBatchError as error:  # what the others show is told nevertheless
            problems.append(f"{declaration.work_folder} over {declaration.connection}: {type(error).__name__}: {error}")
            log.exception("Removed enrichments cannot be looked for in %s.", problems[-1])
    removed: list[Removed] = []
    for folder in sorted({*shards, *datasets}):
        left = shards.get(folder) or Removed(folder.rpartition("/")[2], folder)
        removed.append(
            Removed(left.enrichment, folder, left.shards, left.items, tuple(sorted(datasets.get(folder, ()))))
        )
        log.warning("%s.", removed[-1])
    if not removed and not problems:
        log.info("Nothing is left of removed enrichments.")
    return Report(tuple(removed), tuple(problems))


def _different(declarations: Sequence[Declaration]) -> list[Declaration]:
    return list({(each.work_folder.rstrip("/"), each.connection): each for each in declarations}.values())


def _with_open_shards(work: WorkFolder, declared: Collection[str], problems: list[str]) -> Iterator[Removed]:
    for neighbour in work.neighbours():
        if neighbour.enrichment in declared or not _ENRICHMENT.fullmatch(neighbour.enrichment):
            continue
        try:
            entries = neighbour.open_shards()
        except (VisionBatchError, KeyError, TypeError, ValueError) as error:  # a file of somebody else's, or a torn one
            problems.append(f"{neighbour.folder}/open.json cannot be read: {type(error).__name__}: {error}")
            log.warning("%s.", problems[-1])
            continue
        if entries:
            items = sum(sum(entry.partitions.values()) for entry in entries.values())
            yield Removed(neighbour.enrichment, neighbour.folder, tuple(sorted(entries)), items)


def _left_on_service(place: Resources, declared: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the folder of a removed enrichment with each of its datasets: this install's, by name and label."""
    work = place.work()
    install = work.install_id()
    before = dataset_name(install, "", "").rstrip("-") + "-"
    name = re.compile(f"{re.escape(before)}({_ENRICHMENT.pattern})-[0-9a-f]{{20}}")
    with place.service() as service:
        datasets = service.list_datasets(name_pattern=before)
    for dataset in datasets:
        match = name.fullmatch(dataset.name)
        if match and match[1] not in declared and dataset.labels.get(INSTALL_LABEL) == install:
            yield f"{work.uri}/{match[1]}", dataset.dataset_id
