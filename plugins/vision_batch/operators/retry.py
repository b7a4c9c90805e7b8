"""Decide by the type of an error whether Airflow tries a task again."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.definitions.context import Context

from vision_batch.errors import DestinationBusyError, FinalError, ImageRejected, QuotaExceededError

#: How long a locked destination is left alone before the next try.
BUSY_PAUSE = timedelta(seconds=20)

#: How long a service that is asked too much is left alone, if it does not say; twice as long at each try.
QUOTA_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=30)


class RetryByErrorType(RetryPolicy):
    """Fail at once on a final error, wait for the window on a quota, leave the rest to the task's own settings."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return what to do after an exception."""
        del max_tries, context
        if isinstance(exception, FinalError | ImageRejected):
            return RetryDecision.fail(reason="repeating it cannot help")
        if isinstance(exception, QuotaExceededError):
            pause = exception.retry_after or min(QUOTA_PAUSE * 2 ** (try_number - 1), LONGEST_PAUSE)
            return RetryDecision.retry(delay=pause, reason="the quota window")
        if isinstance(exception, DestinationBusyError):
            return RetryDecision.retry(delay=BUSY_PAUSE, reason="the destination is locked")
        return RetryDecision.default()
