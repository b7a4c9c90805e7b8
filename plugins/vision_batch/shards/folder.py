"""Keep the state of shards in the work folder: create-once files, and ``open.json`` by compare-and-swap.

Layout and rules: ``docs/architecture.md``. A read that fails raises; it never looks like "there is no state".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import stamina

from vision_batch.errors import ObjectExistsError, ObjectMissingError, StaleWriteError
from vision_batch.shards.records import (
    ManifestItem,
    RowRecord,
    item_keys_from_parquet,
    items_from_parquet,
    items_to_parquet,
    rows_from_parquet,
    rows_to_parquet,
)
from vision_batch.shards.state import Attempt, Outcome, PreparedDataset
from vision_batch.shards.waiting import (
    Left,
    Waiting,
    left_from_record,
    left_record,
    waiting_from_record,
    waiting_record,
)
from vision_batch.store import Store

OpenShards = Mapping[str, "OpenShard"]

#: Why most shards are closed.
LOADED = "loaded"


@dataclass(frozen=True)
class Unannounced:
    """Describe a partition of which items were claimed since it was announced.

    :param run_id: the last run that claimed new items of it; repairs are none.
    :param listed_at: when its source was listed for that; ``None`` if it never was.
    :param seen: digest of its rows when they were last found to be incomplete.
    :param announced_by: the run that announces it; kept until that run has done so.
    """

    run_id: str | None = None
    listed_at: datetime | None = None
    seen: str | None = None
    announced_by: str | None = None


@dataclass(frozen=True)
class OpenState:
    """Hold what ``open.json`` holds.

    :param shards: by key.
    :param waiting: by partition.
    :param unannounced: by partition.
    :param planned_until: when the last interval begins that a run by schedule has planned; ``None`` before the first.
    """

    shards: OpenShards
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    unannounced: Mapping[str, Unannounced] = field(default_factory=dict)
    planned_until: datetime | None = None


@dataclass(frozen=True)
class OpenShard:
    """Describe a claim in ``open.json``.

    :param partitions: number of items by partition key.
    """

    key: str
    question_key: str
    partitions: Mapping[str, int]
    claimed_at: datetime
    run_id: str


class WorkFolder:
    """Read and write one enrichment's part of the work folder.

    :param uri: the work folder, ``file://`` or ``s3://``, shared by every worker.
    """

    def __init__(self, store: Store, uri: str, enrichment: str) -> None:
        self.store = store
        self.uri = uri.rstrip("/")
        self.enrichment = enrichment
        self.folder = f"{self.uri}/{enrichment}"

    def install_id(self) -> str:
        """Return the id of this install, 16 hex digits, made once for the whole work folder."""
        uri = f"{self.uri}/install.json"
        try:
            return str(_json(self.store.read(uri))["install"])
        except ObjectMissingError:
            pass
        with suppress(ObjectExistsError):
            self.store.create(uri, _bytes({"version": 1, "install": secrets.token_hex(8), "made_at": _iso(_now())}))
        return str(_json(self.store.read(uri))["install"])

    def open_shards(self) -> dict[str, OpenShard]:
        """Return the open shards by key."""
        return dict(self._read_open()[0].shards)

    def open_state(self) -> OpenState:
        """Return the open shards and the partitions that wait."""
        return self._read_open()[0]

    def change_open(self, change: Callable[[OpenState], OpenState]) -> OpenState:
        """Replace ``open.json`` by what ``change`` makes of it, again if somebody else was first.

        :param change: a pure function; called once for each try.
        :raises StaleWriteError: if others were first for about ten minutes.
        """
        for attempt in stamina.retry_context(
            on=StaleWriteError, attempts=None, timeout=600, wait_initial=0.02, wait_max=1
        ):
            with attempt:
                return self._swap_open(change)
        raise AssertionError("unreachable: the retry context raises or returns")

    def neighbours(self) -> list[WorkFolder]:
        """Return the parts of every enrichment that shares the work folder, this one's among them."""
        return [WorkFolder(self.store, self.uri, name) for name in self.store.folders(self.uri)]

    def shard(self, key: str) -> ShardFolder:
        """Return the folder of one shard."""
        return ShardFolder(self.store, f"{self.folder}/{key}", key)

    def _read_open(self) -> tuple[OpenState, str | None]:
        try:
            body, version = self.store.read_versioned(f"{self.folder}/open.json")
        except ObjectMissingError:
            return OpenState({}), None
        record = _json(body)
        shards = {
            key: OpenShard(key, entry["question_key"], entry["partitions"], _time(entry["claimed_at"]), entry["run_id"])
            for key, entry in record["shards"].items()
        }
        waiting = waiting_from_record(record.get("waiting", {}))
        unannounced = {partition: _unannounced(entry) for partition, entry in record.get("unannounced", {}).items()}
        until = record.get("planned_until")
        return OpenState(shards, waiting, unannounced, until and _time(until)), version

    def _swap_open(self, change: Callable[[OpenState], OpenState]) -> OpenState:
        found, version = self._read_open()
        wanted = change(found)
        if wanted != found:
            record = {
                "version": 1,
                "shards": {shard.key: _open_record(shard) for shard in wanted.shards.values()},
                "waiting": waiting_record(wanted.waiting),
                "unannounced": {
                    partition: {**asdict(each), "listed_at": each.listed_at and _iso(each.listed_at)}
                    for partition, each in sorted(wanted.unannounced.items())
                },
                "planned_until": wanted.planned_until and _iso(wanted.planned_until),
            }
            self.store.swap(f"{self.folder}/open.json", _bytes(record), version=version)
        return wanted


def _unannounced(entry: Mapping[str, Any]) -> Unannounced:
    """Read an entry; what a later version has added to it is passed over."""
    known = {each.name: entry[each.name] for each in fields(Unannounced) if each.name in entry}
    return Unannounced(**{**known, "listed_at": entry["listed_at"] and _time(entry["listed_at"])})


def _open_record(shard: OpenShard) -> dict[str, Any]:
    return {
        "question_key": shard.question_key,
        "partitions": dict(shard.partitions),
        "items": sum(shard.partitions.values()),
        "claimed_at": _iso(shard.claimed_at),
        "run_id": shard.run_id,
    }


class ShardFolder:
    """Read and write the files that are one shard's life. Each is created once."""

    def __init__(self, store: Store, uri: str, key: str) -> None:
        self.store = store
        self.uri = uri
        self.key = key

    def write_manifest(self, items: Sequence[ManifestItem], question: Mapping[str, Any]) -> None:
        """Record the shard's items and the question they are asked. The same content twice is no error."""
        self._create_if_new("question.json", _bytes({"version": 1, **question}))
        self._create_if_new("manifest.parquet", items_to_parquet(items))

    def manifest(self) -> list[ManifestItem]:
        """Return the shard's items."""
        return items_from_parquet(self.store.read(f"{self.uri}/manifest.parquet"))

    def item_keys(self) -> list[str]:
        """Return the keys of the shard's items."""
        return item_keys_from_parquet(self.store.read(f"{self.uri}/manifest.parquet"))

    def question(self) -> dict[str, Any]:
        """Return the question and the declaration that the shard was claimed with."""
        return _json(self.store.read(f"{self.uri}/question.json"))

    def write_rows(self, dataset_id: str | None, rows: Sequence[RowRecord]) -> str:
        """Record what became of each item in one try at preparing; return the file's name."""
        name = f"rows-{dataset_id or secrets.token_hex(4)}.parquet"
        self._create_if_new(name, rows_to_parquet(rows))
        return name

    def has_rows(self, dataset_id: str) -> bool:
        """Tell whether the rows file of a dataset was written, which is done before its validation starts."""
        return self._there(f"rows-{dataset_id}.parquet")

    def rows(self, name: str) -> list[RowRecord]:
        """Return what became of each item."""
        return rows_from_parquet(self.store.read(f"{self.uri}/{name}"))

    def choose_dataset(self, prepared: PreparedDataset) -> PreparedDataset:
        """Make a dataset the shard's one, unless another try was first; return the chosen one."""
        self._create_if_new(
            "dataset.json",
            _bytes(
                {
                    "version": 1,
                    "dataset_id": prepared.dataset_id,
                    "rows_name": prepared.rows_name,
                    "requests": prepared.requests,
                    "folder_id": prepared.folder_id,
                    "made_at": _iso(_now()),
                }
            ),
        )
        chosen = self.dataset()
        if chosen is None:
            raise ObjectMissingError(f"{self.uri}/dataset.json was deleted while it was in use")
        return chosen

    def dataset(self) -> PreparedDataset | None:
        """Return the shard's one dataset, if it is chosen."""
        found = self._read("dataset.json")
        if found is None:
            return None
        return PreparedDataset(found["dataset_id"], found["rows_name"], found["requests"], found.get("folder_id"))

    def dataset_made_at(self) -> datetime | None:
        """Return when the shard's one dataset was chosen."""
        found = self._read("dataset.json")
        return _time(found["made_at"]) if found else None

    def record_refusal(self, dataset_id: str, reasons: Mapping[str, str]) -> None:
        """Record items whose requests the service's validation refused: no dataset of the shard holds them again.

        :param reasons: by item key.
        """
        self._create_if_new(f"refused-{dataset_id}.json", _bytes({"version": 1, "at": _iso(_now()), "items": reasons}))

    def refusals(self) -> list[dict[str, str]]:
        """Return what validations have refused so far, by item key; one dictionary for each dataset."""
        names = sorted(name for name in self.events() if name.startswith("refused-"))
        return [_json(self.store.read(f"{self.uri}/{name}"))["items"] for name in names]

    def fence(self, number: int, known_jobs: frozenset[str], made_at: datetime) -> bool:
        """Record that a paid call is about to be made. Only who gets ``True`` may make it."""
        record = {"version": 1, "made_at": _iso(made_at), "known_jobs": sorted(known_jobs)}
        try:
            self.store.create(f"{self.uri}/attempt-{number}.json", _bytes(record))
        except ObjectExistsError:
            return False
        return True

    def settle_attempt(self, number: int, outcome: Outcome, *, job_id: str | None = None, reason: str = "") -> None:
        """Record how an attempt ended; the first record stands."""
        record = {"version": 1, "outcome": outcome, "job_id": job_id, "reason": reason, "at": _iso(_now())}
        self._create_if_new(f"job-{number}.json", _bytes(record))

    def attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts at the paid call, in their order."""
        found: list[Attempt] = []
        while made := self._read(f"attempt-{len(found) + 1}.json"):
            number = len(found) + 1
            settled = self._read(f"job-{number}.json") or {}
            found.append(
                Attempt(
                    number,
                    _time(made["made_at"]),
                    frozenset(made["known_jobs"]),
                    Outcome(settled.get("outcome", Outcome.UNKNOWN)),
                    settled.get("job_id"),
                    settled.get("reason") or None,
                )
            )
        return tuple(found)

    def looked_for_result(self, job_id: str, found: str) -> datetime:
        """Return when the result of a COMPLETED job was first looked for and not seen: now, if it never was.

        :param found: what there was instead.
        """
        name = f"unseen-{job_id}.json"
        self._create_if_new(name, _bytes({"version": 1, "at": _iso(_now()), "found": found}))
        return _time(_json(self.store.read(f"{self.uri}/{name}"))["at"])

    def record_loaded(self, counts: Mapping[str, Any], left: Mapping[str, Left] | None = None) -> None:
        """Record that every item of the shard is settled in the destination.

        :param left: those that are not, by partition.
        """
        self._create_if_new("loaded.json", _bytes({"version": 1, "at": _iso(_now()), **counts, **left_record(left)}))

    def loaded(self) -> dict[str, Any] | None:
        """Return the counts of the load, if it is done."""
        return self._read("loaded.json")

    def record_closed(self, reason: str, left: Mapping[str, Left] | None = None) -> None:
        """Record that the shard is over, and why.

        :param left: items of a shard that was not loaded and that nobody wants to be left alone, by partition.
        """
        record = {"version": 1, "at": _iso(_now()), "reason": reason, **left_record(left)}
        self._create_if_new("closed.json", _bytes(record))

    def closed(self) -> dict[str, Any] | None:
        """Return why the shard is over, if it is."""
        return self._read("closed.json")

    def left(self) -> dict[str, Left]:
        """Return the items that wait for a later run once the shard is closed, by partition; none before it is over."""
        return left_from_record(self.loaded() or self.closed() or {})

    def last_event_at(self) -> datetime | None:
        """Return when a file of the shard was last written."""
        return max(self.events().values(), default=None)

    def events(self) -> dict[str, datetime]:
        """Return when each file of the shard was written, by its name."""
        return {info.uri.rpartition("/")[2]: info.modified_at for info in self.store.list(f"{self.uri}/")}

    def _create_if_new(self, name: str, body: bytes) -> None:
        with suppress(ObjectExistsError):
            self.store.create(f"{self.uri}/{name}", body)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return _json(self.store.read(f"{self.uri}/{name}"))
        except ObjectMissingError:
            return None

    def _there(self, name: str) -> bool:
        try:
            self.store.info(f"{self.uri}/{name}")
        except ObjectMissingError:
            return False
        return True


def _now() -> datetime:
    return datetime.now(UTC)


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _bytes(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode()


def _json(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found
