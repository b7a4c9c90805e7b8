"""Compare what a plan costs with the enrichment's budget, and with what the month's other jobs cost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from vision_batch.enrichment.spending import NOTHING, Cost, Verdict, job_cost, judge, month_start
from vision_batch.enrichment.stored import read_stored
from vision_batch.errors import BudgetExceededError
from vision_batch.shards.folder import OpenShards, WorkFolder
from vision_batch.steps.resources import Resources


def judged(resources: Resources, cost: Cost, shards: OpenShards, *, now: datetime | None = None) -> Verdict | None:
    """Return what the budget says to a cost; ``None`` where no budget is declared.

    :param cost: what a plan would add.
    :param shards: those that are open, read before this call: they are being asked.
    :raises ConnectionInputError: if the budget is in money, whose price is not known.
    """
    budget = resources.declaration.budget
    if not budget.is_set:
        return None
    spent = NOTHING if budget.per_month is None else _spent(resources, shards, now or datetime.now(UTC))
    return judge(budget, cost, spent)


def refuse(verdict: Verdict, *, instead: str) -> None:
    """Refuse a plan that is above its budget.

    :param instead: what a person can do.
    :raises BudgetExceededError: gives the numbers.
    """
    if verdict.above:
        raise BudgetExceededError(f"{'; '.join(verdict.above)}. Nothing was claimed and nothing is paid. {instead}")


def _spent(resources: Resources, shards: OpenShards, now: datetime) -> Cost:
    """Return what the month's jobs are billed, those of open shards included; a shard that is in both counts once."""
    declaration = resources.declaration
    since = month_start(now, declaration.timezone)
    billed = resources.warehouse().billed(resources.table(), declaration.name, since).to_pylist()
    done = [
        Cost(row["billed_tokens"], Decimal(str(row["units"])), None if row["cost"] is None else _money(row["cost"]))
        for row in billed
    ]
    known = {row["shard"] for row in billed}
    asked = (_cost_of_open(resources, resources.work(), key) for key in shards if key not in known)
    return _sum([*done, *asked], resources)


def _cost_of_open(resources: Resources, work: WorkFolder, key: str) -> Cost:
    shard = work.shard(key)
    claimed_with = read_stored(shard.question(), shard=key)
    tokens = sum(item.tokens or 0 for item in shard.manifest())
    return job_cost(tokens, claimed_with.asked_model(), resources.unit_price) if tokens else NOTHING


def _sum(costs: Iterable[Cost], resources: Resources) -> Cost:
    """Add costs up; a job whose price was not known when it was loaded counts at today's."""
    total = NOTHING
    for cost in costs:
        price = resources.unit_price
        money = cost.money if cost.money is not None or price is None else cost.units * price
        total += Cost(cost.tokens, cost.units, money)
    return total


def _money(found: float) -> Decimal:
    return Decimal(str(found))
