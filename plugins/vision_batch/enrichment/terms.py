"""Say on what terms an enrichment runs: what waits, what is announced, who is told, what it may cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_validator

from vision_batch.enrichment.places import Part

#: The janitor keeps plans for a week, and what was approved has to be there still.
LONGEST_APPROVAL = timedelta(days=6)


class Pack(Part):
    """Save the service's minimum charge: let small days wait for each other.

    :param min_tokens: a job that is not certain to be billed so many tokens waits and rides along with a later run; 0
        lets nothing wait. The service charges at least 200 000 for a job.
    :param max_wait: after which the janitor sends what waits, however little it is.
    """

    min_tokens: int = Field(0, ge=0)
    max_wait: timedelta = Field(timedelta(days=1), gt=timedelta(0))


class Gate(Part):
    """Say how good a partition's answers have to be before it is announced.

    :param min_answered: least share of its rows that are answered.
    :param max_invalid: greatest share of its rows whose text does not fit the answer.
    """

    min_answered: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    max_invalid: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)

    @field_validator("min_answered", "max_invalid", mode="before")
    @classmethod
    def _is_a_share(cls, found: Any) -> Any:
        if isinstance(found, int | float) and not isinstance(found, bool) and found > 1:
            raise ValueError(f"found {found}; allowed: a share from 0 to 1, such as 0.95 for 95 %")
        return found


class Notifier(Part):
    """Name an Airflow notifier that is told.

    :param type: import path of the class.
    :param options: its arguments; templates see Airflow's context. No secrets: they are kept in Airflow's database.
    """

    type: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    options: dict[str, Any] = Field({})


class Alerts(Part):
    """Say who is told that a run failed, its gate included, or is late.

    :param late_after: a run that has not ended so long after it was queued is late; a job may take a day.
    """

    late_after: timedelta | None = Field(None, ge=timedelta(minutes=1))
    notifiers: tuple[Notifier, ...] = ()


class Budget(Part):
    """Bound what runs may cost before a person is asked. Without ``per_run`` and ``per_month`` there is no bound.

    :param per_run: what one run may cost at most.
    :param per_month: what all runs of a calendar month may cost at most, in the declaration's timezone.
    :param measure: what the two are given in: billing units, tokens as billed, or money, at the connection's price.
    :param above: wait for a person's approval, or fail.
    :param approve_within: how long a run waits for its approval.
    """

    per_run: float | None = Field(None, gt=0, allow_inf_nan=False)
    per_month: float | None = Field(None, gt=0, allow_inf_nan=False)
    measure: Literal["units", "tokens", "money"] = "units"
    above: Literal["approve", "fail"] = "approve"
    approve_within: timedelta = Field(timedelta(days=1), gt=timedelta(0), le=LONGEST_APPROVAL)

    @property
    def is_set(self) -> bool:
        """Tell whether there is a bound."""
        return self.per_run is not None or self.per_month is not None

    @property
    def asks(self) -> bool:
        """Tell whether a person may let a run go above it."""
        return self.is_set and self.above == "approve"


class Repair(Part):
    """Say when images without an answer are asked again, besides the runs over their own partition.

    :param deadline: how long they may wait for a job that leaves anyway; then they make one. ``None``: for ever.
    """

    deadline: timedelta | None = Field(None, gt=timedelta(0))
