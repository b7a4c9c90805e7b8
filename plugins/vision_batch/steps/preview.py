"""Say what a run would ask and what that would cost, without asking: ``vision-batch plan``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from vision_batch.enrichment.declaration import Declaration, with_overrides
from vision_batch.enrichment.reader import find_declaration
from vision_batch.enrichment.spending import read_price, shown
from vision_batch.errors import InputError, VisionBatchError
from vision_batch.steps.partitions import last_complete_partition, partitions_between
from vision_batch.steps.plan import PlanSummary, plan
from vision_batch.steps.ways import DESTINATION, MODEL, QUERY, STORAGE, FindWays, environment_ways


def run(argv: Sequence[str], find_ways: FindWays = environment_ways) -> int:
    """Print the plan and its price; return 0, or 2 if there is none."""
    options = _parser().parse_args(argv)
    try:
        with redirect_stdout(sys.stderr):  # what libraries have to say is not the plan
            summary = _planned(options, find_ways)
    except (VisionBatchError, OSError) as error:
        print(f"vision-batch plan: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 2
    found = json.dumps(summary.as_dict(), ensure_ascii=False) if options.json else "\n".join(lines(summary))
    print(found)  # noqa: T201
    return 0


def _planned(options: argparse.Namespace, find_ways: FindWays) -> PlanSummary:
    declaration = find_declaration(options.enrichment, include_folder=options.include, environ=os.environ)
    if options.model is not None:
        declaration = with_overrides(declaration, model=options.model)
    ways = find_ways(declaration, None)
    ways.tell("plan", STORAGE, DESTINATION, QUERY, MODEL)
    resources = ways.resources
    if options.unit_price is not None:
        resources = replace(resources, unit_price=options.unit_price)
    return plan(resources, _partitions(declaration, options), flush=options.flush)


def lines(summary: PlanSummary) -> list[str]:
    """Return what a plan found and what it costs at most, for people."""
    price, cost = summary.price, summary.price.cost
    first, last = summary.partitions[0], summary.partitions[-1]
    over = first if first == last else f"{first} to {last}"
    money = "" if cost.money is None else f", {shown(cost.money)} at your price of a unit"
    counts = (
        f"{summary.settled} are settled, {summary.claimed} are being asked, {summary.waiting} wait for a fuller job"
    )
    asked = f"{summary.planned} would be asked of {price.model} in {price.jobs} jobs"
    free = f"{price.rejected} of them cannot be sent, {summary.copied} are copies of others in their job"
    billed = f"billed {cost.tokens:,}, {price.wasted_tokens:,} of them because a job costs at least 200,000"
    return [
        f"{over}: {summary.listed} images, waiting days included",
        *_missed_lines(summary),
        f"  {counts}, {summary.left} are left to a later run",
        f"  {asked}; {free}",
        *_repair_lines(summary),
        f"  at most {price.tokens:,} tokens, {billed}: {shown(cost.units)} units{money}",
        *_budget_lines(summary),
    ]


def _budget_lines(summary: PlanSummary) -> Iterator[str]:
    if (budget := summary.budget) is not None:
        yield from (f"  above {bound}" for bound in budget.above)
        if not budget.above:
            beside = f", {shown(budget.spent)} more this month" if budget.per_month is not None else ""
            yield f"  within the budget: {shown(budget.cost)} {budget.measure}{beside}"


def _missed_lines(summary: PlanSummary) -> Iterator[str]:
    if summary.missed:
        more = "; the next run goes on behind them" if summary.more_missed else ""
        yield (
            f"  {summary.missed[0]} to {summary.missed[-1]} are taken along: {len(summary.missed)} partitions that no "
            f"run by schedule has planned{more}"
        )


def _repair_lines(summary: PlanSummary) -> Iterator[str]:
    if summary.repair or summary.repair_waiting:
        yield (
            f"  {summary.repair} of them again, because they have no answer, for at most {summary.repair_tokens:,} "
            f"tokens; {summary.repair_waiting} more wait for a job with room"
        )
    if summary.moved:
        yield f"  {summary.moved} images of other days are left out: a newer day lists their keys too"
    for partition, problem in summary.skipped.items():
        yield f"  {partition} is left out, its list is wrong: {problem}"
    if summary.used_up:
        yield f"  {summary.used_up} of the settled ones have no answer, and no attempts left"


def _partitions(declaration: Declaration, options: argparse.Namespace) -> list[str]:
    cut = {"timezone": declaration.timezone, "key_format": declaration.source.partition_format}
    first, last = options.first or options.last, options.last or options.first
    if first is None:
        return [last_complete_partition(datetime.now(UTC), cron=declaration.schedule, **cut)]
    return partitions_between(first, last, cron=declaration.schedule, **cut)


def _unit_price(text: str) -> Decimal:
    try:
        return read_price(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch plan", description="Say what a run would ask and what that would cost; nobody is asked."
    )
    parser.add_argument("enrichment", help="its name")
    parser.add_argument("--from", dest="first", metavar="KEY", help="first partition; default: the last complete one")
    parser.add_argument("--to", dest="last", metavar="KEY", help="last partition; default: the first")
    parser.add_argument("--model", metavar="ID", help="another model than the declared one")
    parser.add_argument("--flush", action="store_true", help="let no small day wait")
    parser.add_argument(
        "--unit-price", type=_unit_price, metavar="PRICE", help="of one billing unit; default: the connection's"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--include", type=Path, default=Path("include"), help="folder of the declarations")
    return parser
