"""Hold what all parts of the emulator share: settings, clock, state, faults, and the rules of admission."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from pydantic import TypeAdapter

from vision_batch.emulator.clock import ClockChange, ClockOrigin, VirtualClock
from vision_batch.emulator.pages import Entry, page_of
from vision_batch.emulator.presign import LEAST_REAL_SECONDS, URL_SECONDS, Signer
from vision_batch.emulator.records import ActiveScenario, Dataset, Job, StoredFile
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.scenarios import Scenarios
from vision_batch.emulator.settings import Settings
from vision_batch.emulator.state import StateFolder
from vision_batch.emulator.timeline import DatasetView, JobView, dataset_view, is_late, job_view, released

#: Who made everything here, in the form of the service's ids.
CREATED_BY = "ajeemulator000000000"

_ID_ALPHABET = string.digits + "abcdefghijklmnopqrstuv"
_ID_LENGTH = 17
_LOG_LENGTH = 200
_OPEN_SERVICES = ("ApiEndpointService/", "IamTokenService/")
_DATA_CALLS = ("DatasetService/Create", "TextGenerationBatchService/Completion")
_VENDOR_AGENTS = ("yandex-ai-studio-sdk/", "yandex-cloud-ml-sdk/")
_LOGGING = "x-data-logging-enabled"
_SCENARIOS = TypeAdapter(list[ActiveScenario])
_CLOCK = TypeAdapter(ClockOrigin)


class Studio:
    """Be the emulator's memory. Used on the event loop's thread only."""

    def __init__(self, settings: Settings, folder: StateFolder) -> None:
        self.settings = settings
        self.folder = folder
        self._meta = dict(folder.load("meta"))
        before = self._meta.get("clock")
        origin = _CLOCK.validate_json(before) if before else None
        self.clock = VirtualClock(speed=settings.speed, before=origin)
        self.signer = Signer(
            bytes.fromhex(self._kept("signing", secrets.token_hex(32))),
            life_seconds=max(URL_SECONDS, int(LEAST_REAL_SECONDS * settings.speed)),
        )
        self._keep_clock()
        self.datasets = {key: Dataset.model_validate_json(body) for key, body in folder.load("dataset")}
        self.jobs = {key: Job.model_validate_json(body) for key, body in folder.load("job")}
        self.scenarios = Scenarios(_SCENARIOS.validate_json(self._meta.get("scenarios", "[]")), self._save_scenarios)
        self._tokens = {key: float(body) for key, body in folder.load("token")}
        self.log: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)
        self._uses = {key: int(body) for key, body in folder.load("url")}
        self.http_url = ""

    # State

    def meta(self, name: str) -> str | None:
        """Return a remembered text."""
        return self._meta.get(name)

    def keep(self, name: str, text: str) -> None:
        """Remember a text over restarts."""
        self._meta[name] = text
        self.folder.save(("meta", name, text))

    def save(self, *records: Dataset | Job) -> None:
        """Bring records into memory and to disk, together."""
        rows = []
        for record in records:
            kind, key = ("job", record.task_id) if isinstance(record, Job) else ("dataset", record.dataset_id)
            rows.append((kind, key, record.model_dump_json()))
        self.folder.save(*rows)
        for record in records:
            if isinstance(record, Job):
                self.jobs[record.task_id] = record
            else:
                self.datasets[record.dataset_id] = record

    def issue_token(self, expires_at: float) -> str:
        """Make an IAM token that is good until a real time; only its hash is kept."""
        token = f"t1.{secrets.token_urlsafe(48)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.folder.save(("token", digest, str(expires_at)))
        self._tokens[digest] = expires_at
        return token

    def limit_url(self, url: str, uses: int) -> None:
        """Let a presigned URL expire after so many uses."""
        signature = url.rpartition("X-Amz-Signature=")[2]
        self._uses[signature] = uses
        self.folder.save(("url", signature, str(uses)))

    def use_url(self, signature: str) -> bool:
        """Count one use of a URL; tell whether it was still allowed."""
        if signature not in self._uses:
            return True
        self._uses[signature] -= 1
        self.folder.save(("url", signature, str(self._uses[signature])))
        return self._uses[signature] >= 0

    def _kept(self, name: str, fresh: str) -> str:
        if name not in self._meta:
            self.keep(name, fresh)
        return self._meta[name]

    def _keep_clock(self) -> None:
        self.keep("clock", _CLOCK.dump_json(self.clock.origin).decode())

    def _save_scenarios(self, active: list[ActiveScenario]) -> None:
        self.keep("scenarios", _SCENARIOS.dump_json(active).decode())

    # What there is

    def new_id(self, prefix: str) -> str:
        """Make an id of the recorded form: three letters and 17 of ``0-9a-v``."""
        return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))

    def now(self) -> float:
        """Return the virtual time."""
        return self.clock.now()

    def change_clock(self, asked: ClockChange) -> None:
        """Freeze, resume or advance the virtual time, over restarts too."""
        self.clock.change(asked)
        self._keep_clock()

    def clear_scenarios(self, name: str | None = None) -> None:
        """Forget all scenarios, or those of one name; jobs that were held go on with that."""
        self.scenarios.clear(name)
        if name in (None, "hold_job"):
            held = [job for job in self.jobs.values() if job.held is not None]
            for job in held:
                if not self.job_view(job).over:
                    self._release(job)

    def _release(self, job: Job) -> None:
        free = released(job, self.now())
        result, born = self.datasets.get(free.result_dataset_id or ""), free.schedule.pending_at
        if result is None or born in (None, result.created_at):
            self.save(free)
        else:
            self.save(free, result.model_copy(update={"created_at": born, "updated_at": born}))

    def stored(self) -> Iterator[Dataset]:
        """Give the datasets that exist now, results of jobs among them, oldest first."""
        now = self.now()
        found = (dataset for dataset in self.datasets.values() if self._exists(dataset, now))
        yield from sorted(found, key=lambda dataset: dataset.created_at)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset.

        :raises RefusalError: it does not exist, or is in a folder that is not let in.
        """
        dataset = self.datasets.get(dataset_id)
        if dataset is None or not self._exists(dataset, self.now()):
            raise RefusalError(grpc.StatusCode.NOT_FOUND, f"Dataset {dataset_id!r} is not found")
        self.check_folder(dataset.folder_id)
        return dataset

    def dataset_view(self, dataset: Dataset) -> DatasetView:
        """Show a dataset as it is now."""
        writer = self.jobs[dataset.result_of] if dataset.result_of else None
        return dataset_view(dataset, writer, self.now())

    def files(self, dataset: Dataset) -> list[StoredFile]:
        """Return the files of a dataset that can be seen now."""
        writer = self.jobs.get(dataset.result_of or "")
        return [] if writer is not None and is_late(writer, "files", self.now()) else dataset.files

    def job(self, task_id: str) -> Job:
        """Return a job.

        :raises RefusalError: it does not exist, or is in a folder that is not let in.
        """
        job = self.jobs.get(task_id)
        if job is None or job.deleted:
            raise RefusalError(grpc.StatusCode.NOT_FOUND, f"Batch inference task {task_id!r} is not found")
        self.check_folder(job.folder_id)
        return job

    def job_view(self, job: Job) -> JobView:
        """Show a job as it is now."""
        return job_view(job, self.now())

    def _exists(self, dataset: Dataset, now: float) -> bool:
        if dataset.deleted or dataset.created_at > now:
            return False
        writer = self.jobs.get(dataset.result_of or "")
        if writer is None:
            return True
        return job_view(writer, now).result_dataset_id == dataset.dataset_id and not is_late(writer, "dataset", now)

    def page_of(self, found: Sequence[Entry], request: Any, key: Callable[[Entry], str]) -> tuple[Sequence[Entry], str]:
        """Return the page of a list that a request asks for, and the token of the next one."""
        overlap = self.scenarios.take("overlapping_pages")
        size = request.page_size if overlap is None else overlap.get("size", 1)
        records: Mapping[str, Dataset | Job] = {**self.datasets, **self.jobs}
        place = {each: (record.created_at, number) for number, (each, record) in enumerate(records.items())}
        return page_of(found, size, request.page_token, key, place, overlapping=overlap is not None)

    # Who may do what

    async def admit(self, call: Call) -> None:
        """Let a call in, or refuse it."""
        if not call.method.startswith(_OPEN_SERVICES):
            self._check_credentials(call.metadata.get("authorization", ""))
            self._check_data_logging(call)
        await self._show_faults(call)

    def note(self, call: Call, code: str, message: str) -> None:
        """Remember a refused call; never its credentials."""
        self.log.append({"at": self.now(), "call": call.method, "code": code, "message": message})

    def check_folder(self, folder_id: str) -> None:
        """Refuse a folder that is not let in."""
        if self.settings.folder_id is not None and folder_id != self.settings.folder_id:
            raise RefusalError(grpc.StatusCode.PERMISSION_DENIED, f"Permission denied: folder {folder_id!r}")

    def _check_credentials(self, authorization: str) -> None:
        scheme, _, value = authorization.partition(" ")
        value = value.strip()
        issued = self._tokens.get(hashlib.sha256(value.encode()).hexdigest())
        asked = self.settings.api_key
        allowed = {"Api-Key": asked is None or secrets.compare_digest(value.encode(), asked.encode())}
        allowed["Bearer"] = asked is None if issued is None else time.time() < issued
        if not value or not allowed.get(scheme, False):
            raise RefusalError(
                grpc.StatusCode.UNAUTHENTICATED, "Unknown api key or token: the credentials are not known here"
            )

    def _check_data_logging(self, call: Call) -> None:
        found = call.metadata.get(_LOGGING)
        if self.settings.allow_data_logging or found == "false":
            return
        if found is not None:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"{_LOGGING} is {found!r}: data logging must be off")
        if call.method in _DATA_CALLS and not call.metadata.get("user-agent", "").startswith(_VENDOR_AGENTS):
            raise RefusalError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{_LOGGING} is absent: send 'false', or run the emulator with --allow-data-logging",
            )

    async def _show_faults(self, call: Call) -> None:
        def meant(params: dict[str, Any]) -> bool:
            return call.method.endswith(params.get("method", "/Completion"))

        if self.scenarios.take("hold_call", meant) is not None:
            await self.scenarios.until_cleared("hold_call")
        if call.method.endswith("/Completion") and self.scenarios.take("unavailable_before_submit") is not None:
            raise RefusalError(grpc.StatusCode.UNAVAILABLE, "The service is unavailable")
        if self.scenarios.take("resource_exhausted", meant) is not None:
            raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded")
        failed = self.scenarios.take("failed_call", meant)
        if failed is not None:
            if failed.get("how") == "hang":
                await self.scenarios.until_cleared("failed_call")
            await asyncio.sleep(float(failed.get("seconds", 0)))
            code = grpc.StatusCode[failed.get("code", "UNAVAILABLE")]
            raise RefusalError(code, failed.get("message", "The call failed as asked"))
