"""Tell how far a job is, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vision_batch.service.types import Job


@dataclass(frozen=True)
class Progress:
    """Hold what can be known of a job that is not over.

    :param batches: completed batches and all of them, as the service counts; ``None`` where it does not tell.
    :param rows: requests of the job; ``None`` where it is not known.
    """

    job: Job
    batches: tuple[int, int] | None = None
    rows: int | None = None

    @property
    def change(self) -> tuple[str, int | None]:
        """Return what has to differ for the progress to be worth another line: the state, or a whole per cent."""
        return str(self.job.status), None if self.batches is None else 100 * self.batches[0] // self.batches[1]

    def words(self, now: datetime) -> str:
        """Return the progress in words, with an estimate of the time left."""
        parts = [str(self.job.status)]
        if self.batches is not None:
            done, total = self.batches
            parts.append(f"{done} of {total} batches completed")
            if self.rows is not None:
                parts.append(f"about {self.rows * done // total} of {self.rows} rows")
            left = self.time_left(now)
            if left is not None:
                parts.append(f"about {_span(left)} left")
        elif self.rows is not None:
            parts.append(f"{self.rows} rows")
        return ", ".join(parts)

    def time_left(self, now: datetime) -> timedelta | None:
        """Return the time that is left if every batch takes as long as those before.

        ``None`` before the first, and after the last.
        """
        if self.batches is None or self.job.started_at is None:
            return None
        done, total = self.batches
        return (now - self.job.started_at) * (total - done) / done if 0 < done < total else None


def _span(span: timedelta) -> str:
    minutes = max(1, round(span.total_seconds() / 60))
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.1f} days"
