"""Every error the project raises on purpose.

Whether a retry can help is a type::

    VisionBatchError
    ├── FinalError                    the same call would fail again: change something first
    │   ├── InputError                a person's input is wrong; nothing has been paid
    │   │   ├── DeclarationError      a YAML file, its prompt or a DAG param
    │   │   ├── ConnectionInputError  a connection or setting
    │   │   ├── UnknownModelError     a model that is not in the table
    │   │   └── DuplicateItemError    two items with one key in a plan
    │   ├── AuthenticationError       the service refused the credentials or the folder
    │   ├── NotFoundError             the service does not know the id
    │   ├── RequestRefusedError       the service refused the request as it stands
    │   ├── BudgetExceededError       a plan costs more than its budget allows
    │   ├── JobDeadError              the job ended as FAILED or CANCELED
    │   ├── OtherFolderError          the connection names another folder than the one a shard's dataset is in
    │   ├── ForeignJobError           somebody else asks a shard's dataset of another model
    │   ├── ReconcileError            rows sent and rows settled do not add up
    │   └── SchemaConflictError       the destination's columns contradict the declaration
    ├── RetryableError                the same call may succeed later
    │   ├── DatasetInvalidError       the service's validation refused rows: the next try leaves them out
    │   ├── ServiceUnavailableError   no answer, a timeout, an internal error
    │   ├── QuotaExceededError        a quota or rate limit; knows when to come back
    │   ├── SubmitTooLateError        a paid call that was not made: the fence before it has grown too old
    │   ├── SubmitUnknownError        a paid call whose outcome is not known: look, never repeat
    │   ├── ResultUnseenError         a job is COMPLETED and its result cannot be seen yet; knows when to look again
    │   ├── TransferError             an upload or download broke
    │   │   └── UrlExpiredError       a presigned URL is no longer valid: ask for a new one
    │   ├── StaleWriteError           somebody else replaced the object first
    │   ├── ShardVersionError         another version claimed the shard, and this worker cannot read with what
    │   └── DestinationBusyError      the warehouse is locked by another writer
    ├── ObjectMissingError            no such object in storage
    ├── ObjectChangedError            the object is not the version that was asked for
    ├── ObjectExistsError             a create-once object is already there
    ├── ObjectUnreadableError         one object may not or cannot be read now, whatever the others can
    └── ImageRejected                 one image cannot be sent: becomes a row, never a failed task
"""

from __future__ import annotations

from datetime import datetime, timedelta


class VisionBatchError(Exception):
    """Be the root of every error raised on purpose here."""


class FinalError(VisionBatchError):
    """Say that repeating the call cannot help."""


class RetryableError(VisionBatchError):
    """Say that the same call may succeed later."""


class InputError(FinalError):
    """Say that a person's input is wrong and nothing has been paid."""


class DeclarationError(InputError):
    """Name the file, the field and the allowed values of a wrong declaration."""


class ConnectionInputError(InputError):
    """Name the connection and the field that is wrong."""


class UnknownModelError(InputError):
    """Name the unknown model and the nearest known ones."""


class DuplicateItemError(InputError):
    """Name an item key that a source gives twice."""


class AuthenticationError(FinalError):
    """Say that the service refused the credentials or the folder."""


class NotFoundError(FinalError):
    """Name the id that the service does not know."""


class RequestRefusedError(FinalError):
    """Carry the service's reason for refusing a request."""


class DatasetInvalidError(RetryableError):
    """Carry the service's validation errors, with their row numbers."""


class BudgetExceededError(FinalError):
    """Give the bounds that a plan goes above, and its cost. Nothing has been claimed or paid."""


class JobDeadError(FinalError):
    """Name a job that ended as FAILED or CANCELED, and why."""


class OtherFolderError(FinalError):
    """Name the folder that a shard's dataset is in, and the one that the connection names now."""


class ForeignJobError(FinalError):
    """Name a job that asks a shard's dataset of another model; it is nobody's of ours."""


class ReconcileError(FinalError):
    """Give the counts that do not add up."""


class SchemaConflictError(FinalError):
    """Name the column whose type contradicts the declaration."""


class ServiceUnavailableError(RetryableError):
    """Say that the service did not answer, or broke while answering."""


class QuotaExceededError(RetryableError):
    """Say that a quota is used up.

    :param retry_after: when to come back, if the service or its lists tell.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SubmitTooLateError(RetryableError):
    """Say that a paid call was not made, because too much time has passed since it was announced."""


class SubmitUnknownError(RetryableError):
    """Say that a paid call was made and its outcome is not known."""


class ResultUnseenError(RetryableError):
    """Say that the result of a job that is COMPLETED, or its files, cannot be seen yet.

    :param not_before: when to look again, by the clock here, if that is known.
    """

    def __init__(self, message: str, *, not_before: datetime | None = None) -> None:
        super().__init__(message)
        self.not_before = not_before


class TransferError(RetryableError):
    """Say that an upload or a download broke. Never holds a presigned URL."""


class UrlExpiredError(TransferError):
    """Say that a presigned URL is no longer valid."""


class StaleWriteError(RetryableError):
    """Say that an object was replaced by somebody else first."""


class ShardVersionError(RetryableError):
    """Name the shard, the version that claimed it and this one, which cannot go on with it; another worker may."""


class DestinationBusyError(RetryableError):
    """Say that another writer holds the destination."""


class ObjectMissingError(VisionBatchError):
    """Name the object that is not there."""


class ObjectChangedError(VisionBatchError):
    """Name the object that is no longer the version asked for."""


class ObjectExistsError(VisionBatchError):
    """Name the create-once object that is already there."""


class ObjectUnreadableError(VisionBatchError):
    """Name the object that cannot be read, and why."""


class ImageRejected(VisionBatchError):  # noqa: N818 - an outcome of one image, not a failure
    """Say why one image cannot be sent.

    :param reason: a short stable word, such as ``truncated`` or ``too_many_pixels``.
    :param detail: what was found, and the limit.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageRejected], tuple[str, str]]:
        return type(self), (self.reason, self.detail)
