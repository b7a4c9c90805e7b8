"""Say what jobs cost, and which bounds of a budget that goes above. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from zoneinfo import ZoneInfo

from vision_batch.enrichment.terms import Budget
from vision_batch.errors import ConnectionInputError, InputError
from vision_batch.models import MINIMUM_JOB_TOKENS, Model

Measure = Literal["units", "tokens", "money"]


@dataclass(frozen=True)
class Cost:
    """Hold what jobs are billed.

    :param tokens: with each job's minimum charge.
    :param units: billing units: the model's coefficient for each 1000 tokens.
    :param money: units times their price; ``None`` if that is not known.
    """

    tokens: int
    units: Decimal
    money: Decimal | None

    def __add__(self, other: Cost) -> Cost:
        money = None if self.money is None or other.money is None else self.money + other.money
        return Cost(self.tokens + other.tokens, self.units + other.units, money)

    def by(self, measure: Measure) -> Decimal:
        """Return the cost in a measure.

        :raises InputError: if that is money, whose price is not known.
        """
        if measure == "tokens":
            return Decimal(self.tokens)
        if measure == "units":
            return self.units
        if self.money is None:
            raise InputError("the price of a billing unit is not known")
        return self.money


NOTHING = Cost(0, Decimal(0), Decimal(0))


def job_cost(tokens: int, model: Model, unit_price: Decimal | None) -> Cost:
    """Return what a job of so many tokens is billed: at least the service's minimum.

    :param unit_price: price of one billing unit, if it is known.
    """
    billed = max(tokens, MINIMUM_JOB_TOKENS)
    units = tokens_in_units(billed, model)
    return Cost(billed, units, None if unit_price is None else units * unit_price)


def tokens_in_units(tokens: int, model: Model) -> Decimal:
    """Return tokens times the model's coefficient, in thousands: what the price of a unit is paid for."""
    return model.price_coefficient * tokens / 1000


@dataclass(frozen=True)
class Price:
    """Hold an upper bound of what a plan's jobs cost.

    :param images: asked, those that cannot be sent included.
    :param rejected: of them those whose beginnings show that they cannot be sent.
    :param tokens: of prompts, images and the longest allowed answers.
    :param cost: what is billed for them.
    """

    model: str
    images: int
    rejected: int
    jobs: int
    tokens: int
    cost: Cost

    @property
    def wasted_tokens(self) -> int:
        """Return the tokens that the minimum charge bills and nobody uses."""
        return self.cost.tokens - self.tokens

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "model": self.model,
            "images": self.images,
            "rejected": self.rejected,
            "jobs": self.jobs,
            "tokens": self.tokens,
            "billed_tokens": self.cost.tokens,
            "wasted_tokens": self.wasted_tokens,
            "units": plain(self.cost.units),
            "money": None if self.cost.money is None else plain(self.cost.money),
        }


def price_of(shards: Iterable[Sequence[int | None]], model: Model, unit_price: Decimal | None) -> Price:
    """Price shards, each given by its items' tokens.

    :param shards: ``None`` for an item that cannot be sent and costs nothing.
    :param unit_price: price of one billing unit, if it is known.
    """
    images = rejected = jobs = tokens = 0
    cost = NOTHING if unit_price is not None else Cost(0, Decimal(0), None)
    for shard in shards:
        asked = sum(found or 0 for found in shard)
        images, rejected, tokens = images + len(shard), rejected + sum(each is None for each in shard), tokens + asked
        if asked:
            jobs, cost = jobs + 1, cost + job_cost(asked, model, unit_price)
    return Price(model.name, images, rejected, jobs, tokens, cost)


@dataclass(frozen=True)
class Verdict:
    """Hold what a budget says to a plan. Amounts are in the budget's measure.

    :param cost: of the plan.
    :param spent: of the month's other jobs, those that are being asked included.
    :param above: each bound that the plan goes above, in words.
    """

    measure: Measure
    cost: Decimal
    spent: Decimal
    per_run: Decimal | None
    per_month: Decimal | None
    above: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found = asdict(self)
        amounts = {name: plain(value) if isinstance(value, Decimal) else value for name, value in found.items()}
        return {**amounts, "above": list(self.above)}


def judge(budget: Budget, cost: Cost, spent: Cost) -> Verdict:
    """Compare a plan with its budget. A plan that costs nothing is never above it.

    :param spent: of the month's other jobs.
    :raises ConnectionInputError: if the budget is in money, whose price is not known.
    """
    if budget.measure == "money" and cost.money is None:
        raise ConnectionInputError(
            "budget.measure is money, but the price of a billing unit is not known: give the connection its "
            "Unit price (the command line: --unit-price), or the budget another measure (units or tokens)"
        )
    asked, other = cost.by(budget.measure), spent.by(budget.measure)
    per_run, per_month = _bound(budget.per_run), _bound(budget.per_month)
    above: list[str] = []
    if asked and per_run is not None and asked > per_run:
        above.append(f"budget.per_run: the plan costs {shown(asked)} {budget.measure}, allowed are {shown(per_run)}")
    if asked and per_month is not None and asked + other > per_month:
        above.append(
            f"budget.per_month: {shown(other)} {budget.measure} of this month are spent or being asked, the plan "
            f"costs {shown(asked)}, allowed are {shown(per_month)}"
        )
    return Verdict(budget.measure, asked, other, per_run, per_month, tuple(above))


def month_start(now: datetime, timezone: str) -> datetime:
    """Return when the calendar month began in a timezone, in UTC."""
    local = now.astimezone(ZoneInfo(timezone))
    return datetime(local.year, local.month, 1, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def read_price(text: str) -> Decimal:
    """Read the price of a billing unit.

    :raises InputError: says what is allowed.
    """
    try:
        price = Decimal(text.strip())
    except InvalidOperation:
        price = Decimal("nan")
    if not price.is_finite() or price < 0:
        raise InputError("a number such as 0.2")
    return price


def plain(amount: Decimal) -> str:
    """Write an amount for programs, exactly: no exponent, no zeros at its end."""
    return _exact(f"{amount:f}")


def shown(amount: Decimal) -> str:
    """Write an amount for people, exactly."""
    return _exact(f"{amount:,f}")


def _exact(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bound(found: float | None) -> Decimal | None:
    return None if found is None else Decimal(str(found))
