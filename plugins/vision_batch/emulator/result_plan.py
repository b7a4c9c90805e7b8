"""Decide which rows a result shows, in which order, in how many files. Pure and deterministic."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vision_batch.emulator.records import BatchFault, LineFault

_INVALID_ARGUMENT = 3
_USUAL_FILES = 3

Scenarios = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """Hold one line of the result.

    :param row: number of the row in the source from 0; negative for a foreign one.
    :param response: ``None`` keeps the answer, else what stands in its place.
    """

    row: int
    response: str | None = None
    is_null: bool = False


@dataclass
class ResultPlan:
    """Hold what a job will show."""

    lines: list[Line]
    files: int = 1
    line_faults: list[LineFault] = field(default_factory=list)
    batch_faults: list[BatchFault] = field(default_factory=list)
    status: tuple[int, str] | None = None


def plan_result(rows: int, failed: Mapping[int, str], scenarios: Scenarios) -> ResultPlan:
    """Return what to show of so many rows.

    :param failed: rows that cannot be answered, and why; they are line errors and stay away from the result.
    """
    plan = ResultPlan([Line(row) for row in range(rows) if row not in failed])
    plan.line_faults = [LineFault(line=row + 1, message=message) for row, message in sorted(failed.items())]
    _break_lines(plan, rows, scenarios)
    if plan.status is not None:
        return plan
    _lose_lines(plan, rows, scenarios)
    _add_lines(plan, rows, scenarios)
    if (shuffled := scenarios.get("shuffled_rows")) is not None:
        _shuffle(plan.lines, int(shuffled.get("seed", 0)))
    if (several := scenarios.get("several_files")) is not None:
        plan.files = max(1, int(several.get("files", _USUAL_FILES)))
    return plan


def chosen_rows(params: Mapping[str, Any], rows: int) -> set[int]:
    """Return the rows that a scenario means: those it lists, or ``count`` (1) drawn by ``seed`` (0)."""
    if "rows" in params:
        return {int(row) for row in params["rows"]} & set(range(rows))
    count = min(rows, int(params.get("count", 1)))
    return set(random.Random(int(params.get("seed", 0))).sample(range(rows), count))  # noqa: S311 - for repeatable tests


def _break_lines(plan: ResultPlan, rows: int, scenarios: Scenarios) -> None:
    """Apply what appears in the job's errors."""
    if (params := scenarios.get("bad_line_fails_job")) is not None:
        plan.line_faults += _line_faults(params, rows, "The line cannot be processed")
        plan.status = (_INVALID_ARGUMENT, "The task failed because of invalid lines")
        plan.lines = []
        return
    if (params := scenarios.get("line_errors")) is not None:
        plan.line_faults += _line_faults(params, rows, "The model could not process the line")
        broken, present = chosen_rows(params, rows), params.get("present", "absent")
        shown = {"null": Line(0, is_null=True), "empty": Line(0, response="")}.get(present)
        kept = [(line, line.row in broken) for line in plan.lines if line.row not in broken or shown is not None]
        plan.lines = [
            Line(line.row, shown.response, shown.is_null) if is_broken and shown is not None else line
            for line, is_broken in kept
        ]
    if (params := scenarios.get("batch_errors")) is not None and rows:
        base = int(params.get("base", 1))
        first, last = int(params.get("first", 0)), min(rows - 1, int(params.get("last", 1)))
        message = str(params.get("message", "The batch could not be processed"))
        if first <= last:
            plan.batch_faults.append(BatchFault(batch=base, first=first + base, last=last + base, message=message))
        plan.lines = [line for line in plan.lines if not first <= line.row <= last]


def _line_faults(params: Mapping[str, Any], rows: int, message: str) -> list[LineFault]:
    base, text = int(params.get("base", 1)), str(params.get("message", message))
    return [LineFault(line=row + base, message=text) for row in sorted(chosen_rows(params, rows))]


def _lose_lines(plan: ResultPlan, rows: int, scenarios: Scenarios) -> None:
    if (params := scenarios.get("failed_with_result")) is not None:
        kept = int(params.get("rows", (rows + 1) // 2))
        plan.lines = plan.lines[:kept]
    if (params := scenarios.get("missing_rows")) is not None:
        missing = chosen_rows(params, rows)
        plan.lines = [line for line in plan.lines if line.row not in missing]
    if (params := scenarios.get("null_response")) is not None:
        empty = chosen_rows(params, rows)
        plan.lines = [Line(line.row, is_null=True) if line.row in empty else line for line in plan.lines]


def _add_lines(plan: ResultPlan, rows: int, scenarios: Scenarios) -> None:
    if (params := scenarios.get("duplicated_rows")) is not None:
        twice = chosen_rows(params, rows)
        plan.lines += [line for line in plan.lines if line.row in twice]
    if (params := scenarios.get("foreign_rows")) is not None:
        plan.lines += [Line(-1 - number) for number in range(int(params.get("count", 1)))]


def _shuffle(lines: list[Line], seed: int) -> None:
    before = list(lines)
    random.Random(seed).shuffle(lines)  # noqa: S311 - for repeatable tests
    if lines == before and len(lines) > 1:
        lines.append(lines.pop(0))
