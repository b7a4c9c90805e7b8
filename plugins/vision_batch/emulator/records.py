"""Describe what the emulator remembers. Times are virtual seconds since 1970."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Outcome = Literal["COMPLETED", "FAILED", "CANCELED"]
#: The states in which a job can be held, in their order.
Alive = Literal["CREATED", "PENDING", "IN_PROGRESS"]
#: What of a result can be late: that its job names it, all of it, or its files.
ResultPart = Literal["name", "dataset", "files"]


class RowFault(BaseModel):
    """Hold one kind of mistake and the numbers of the rows that have it, from 1."""

    error: str
    description: str
    rows: list[int] = Field(default_factory=list)


class ValidationWork(BaseModel):
    """Hold what reading an upload has shown.

    :param breakdown: why the emulator itself could not read it; the operation then ends with an error.
    """

    done_at: float
    total_rows: int = 0
    valid_rows: int = 0
    parquet_bytes: int = 0
    faults: list[RowFault] = Field(default_factory=list)
    breakdown: str | None = None


class Validation(BaseModel):
    """Hold one validation and the scenarios that decide its end, if any."""

    operation_id: str
    started_at: float
    forced: dict[str, Any] | None = None
    broken: dict[str, Any] | None = None
    work: ValidationWork | None = None


class Multipart(BaseModel):
    """Hold an upload in parts: part number to hexadecimal MD5 of what has come."""

    upload_id: str
    size_bytes: int
    parts: int
    etags: dict[int, str] = Field(default_factory=dict)


class StoredFile(BaseModel):
    """Name one file of a dataset as the service names it."""

    key: str
    size_bytes: int
    etag: str


class Dataset(BaseModel):
    """Hold one dataset, uploaded or written by a job.

    :param reserved_bytes: what an upload URL was given for; counts against the quotas until the file is there.
    :param joined: the parts that the upload was joined from.
    :param result_of: id of the job that writes it.
    """

    dataset_id: str
    folder_id: str
    name: str
    task_type: str
    created_at: float
    updated_at: float
    description: str = ""
    metadata: str = ""
    upload_format: str = "jsonlines"
    allow_data_log: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    reserved_bytes: int = 0
    uploaded_bytes: int | None = None
    multipart: Multipart | None = None
    joined: dict[int, str] | None = None
    validation: Validation | None = None
    files: list[StoredFile] = Field(default_factory=list)
    result_of: str | None = None
    deleted: bool = False


class LineFault(BaseModel):
    """Hold the number and the message of one failed line."""

    line: int
    message: str


class BatchFault(BaseModel):
    """Hold a range of lines that failed together, both ends included."""

    batch: int
    first: int
    last: int
    message: str


class JobWork(BaseModel):
    """Hold what answering every row has brought.

    :param tokens: prompt, images and answers of the rows that were answered.
    :param status: code and message of the job's error, when the rows decide that it fails.
    """

    done_at: float
    tokens: int = 0
    line_faults: list[LineFault] = Field(default_factory=list)
    batch_faults: list[BatchFault] = Field(default_factory=list)
    status: tuple[int, str] | None = None


class Schedule(BaseModel):
    """Say when a job passes through its states, if nothing delays or cancels it.

    :param pending_at: ``None`` for a job that never leaves CREATED alive.
    :param settled_at: when the result dataset is READY and ``errors`` appear.
    """

    outcome: Outcome
    finished_at: float
    pending_at: float | None = None
    started_at: float | None = None
    settled_at: float | None = None


class Job(BaseModel):
    """Hold one accepted job. It stays on the bill when it is deleted.

    :param scenarios: name and parameters of the faults that this job shows.
    :param visible_at: when lists begin to show it.
    :param held: the state that it does not leave by itself, until it is released.
    """

    task_id: str
    operation_id: str
    folder_id: str
    model_uri: str
    source_dataset_id: str
    created_at: float
    rows: int
    schedule: Schedule
    options: dict[str, Any] = Field(default_factory=dict)
    scenarios: dict[str, dict[str, Any]] = Field(default_factory=dict)
    result_dataset_id: str | None = None
    visible_at: float = 0.0
    held: Alive | None = None
    canceled_at: float | None = None
    work: JobWork | None = None
    deleted: bool = False


class ActiveScenario(BaseModel):
    """Hold a fault that waits for its occasion.

    :param times: how often it will happen; ``None`` means always.
    """

    name: str
    times: int | None
    params: dict[str, Any] = Field(default_factory=dict)
