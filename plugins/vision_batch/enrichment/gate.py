"""Decide whether a partition's answers are good enough to be announced. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vision_batch.enrichment.terms import Gate


def gate_problems(gate: Gate, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with a partition's answers, with the numbers.

    :param counts: its rows by status; without rows nothing is wrong.
    """
    rows = sum(counts.values())
    if not rows:
        return
    answered, invalid = counts.get("answered", 0), counts.get("invalid", 0)
    if gate.min_answered is not None and answered / rows < gate.min_answered:
        yield (
            f"{answered} of {rows} rows are answered, {_percent(answered, rows)}; "
            f"gate.min_answered asks for {gate.min_answered:.10g}"
        )
    if gate.max_invalid is not None and invalid / rows > gate.max_invalid:
        yield (
            f"{invalid} of {rows} rows are invalid, {_percent(invalid, rows)}; "
            f"gate.max_invalid allows {gate.max_invalid:.10g}"
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4g} %"
