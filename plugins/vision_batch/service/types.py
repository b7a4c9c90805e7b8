"""Describe what the service tells, as plain values without any transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vision_batch.service.console import DEFAULT_CONSOLE_URL


class DatasetStatus(StrEnum):
    """Say what state a dataset is in (``yandex.cloud.ai.dataset.v1.DatasetInfo.Status``)."""

    UNKNOWN = "UNKNOWN"
    DRAFT = "DRAFT"
    VALIDATING = "VALIDATING"
    READY = "READY"
    INVALID = "INVALID"
    DELETING = "DELETING"


class JobStatus(StrEnum):
    """Say what state a job is in (``yandex.cloud.ai.batch_inference.v1.BatchInferenceTask.Status``)."""

    UNKNOWN = "UNKNOWN"
    CREATED = "CREATED"
    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the job has ended; a state that we do not know has not."""
        return self in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED}

    @property
    def is_alive(self) -> bool:
        """Tell whether the job is known to wait or to run."""
        return self in {JobStatus.CREATED, JobStatus.PENDING, JobStatus.IN_PROGRESS}


@dataclass(frozen=True)
class ServiceConfig:
    """Say where and as whom the service is called. Its repr holds no secret.

    :param endpoint: where the endpoints are discovered.
    :param endpoints: addresses by endpoint id, instead of discovered ones.
    :param windows: tokens of a model's window by its id, where they are not the table's.
    :param console_url: where people look at a job, with ``{folder_id}`` and ``{job_id}``; see ``service.console``.
    :param quotas: quotas of the folder by name, where they are not the documented ones.
    :param data_logging: whether the service may keep requests; off unless declared otherwise.
    """

    folder_id: str
    api_key: str | None = field(default=None, repr=False)
    service_account_key: Mapping[str, str] | None = field(default=None, repr=False)
    endpoint: str = "api.cloud.yandex.net:443"
    tls: bool = True
    endpoints: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    data_logging: bool = False
    console_url: str = DEFAULT_CONSOLE_URL


@dataclass(frozen=True)
class RowError:
    """Describe what the service's validation has against some rows, as it counts them."""

    error: str
    description: str
    row_numbers: tuple[int, ...]

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.row_numbers[:10]))
        return f"rows {shown}: {self.error} {self.description}".strip()


@dataclass(frozen=True)
class Dataset:
    """Describe a dataset.

    :param rows: ``None`` where the service does not tell, as for results.
    """

    dataset_id: str
    name: str
    status: DatasetStatus
    task_type: str
    rows: int | None
    size_bytes: int
    labels: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    errors: tuple[RowError, ...] = ()
    folder_id: str = ""


@dataclass(frozen=True)
class Validation:
    """Describe how far the service's validation of a dataset is.

    :param is_refused: whether it says that the dataset is invalid; one that broke says neither this nor that.
    """

    done: bool
    is_valid: bool
    is_refused: bool = False
    errors: tuple[RowError, ...] = ()
    valid_rows: int | None = None
    total_rows: int | None = None
    operation_error: str | None = None


@dataclass(frozen=True)
class LineError:
    """Describe what went wrong with one line of a job; the base of the number is not documented."""

    line_number: int
    message: str


@dataclass(frozen=True)
class BatchError:
    """Describe what went wrong with a run of lines of a job."""

    batch_number: int
    first_line: int
    last_line: int
    message: str


@dataclass(frozen=True)
class Job:
    """Describe a job.

    :param error: ``CODE: message``, if the service names a reason.
    """

    job_id: str
    operation_id: str
    model_uri: str
    source_dataset_id: str
    result_dataset_id: str | None
    status: JobStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    line_errors: tuple[LineError, ...]
    batch_errors: tuple[BatchError, ...]


@dataclass(frozen=True)
class SubmittedJob:
    """Name a job that the service has just accepted."""

    job_id: str
    operation_id: str


@dataclass(frozen=True)
class ResultFile:
    """Name a file of a dataset; its URL is a secret and stays out of the repr."""

    key: str
    url: str = field(repr=False)
