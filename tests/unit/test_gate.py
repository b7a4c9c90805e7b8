"""What the gate says of a partition's rows."""

import pytest

from vision_batch.enrichment.gate import gate_problems
from vision_batch.enrichment.terms import Gate


@pytest.mark.parametrize(
    ("gate", "counts", "said"),
    [
        (Gate(), {"failed": 9}, []),
        (Gate(min_answered=1, max_invalid=0), {}, []),
        (Gate(min_answered=1, max_invalid=0), {"answered": 3}, []),
        (Gate(min_answered=0.9), {"answered": 9, "invalid": 1}, []),
        (Gate(max_invalid=0.1), {"answered": 9, "invalid": 1}, []),
        (Gate(min_answered=0, max_invalid=1), {"invalid": 3}, []),
        (
            Gate(min_answered=0.95),
            {"answered": 9, "rejected": 1},
            ["9 of 10 rows are answered, 90 %; gate.min_answered asks for 0.95"],
        ),
        (
            Gate(min_answered=0.999, max_invalid=0.005),
            {"answered": 993, "invalid": 7},
            [
                "993 of 1000 rows are answered, 99.3 %; gate.min_answered asks for 0.999",
                "7 of 1000 rows are invalid, 0.7 %; gate.max_invalid allows 0.005",
            ],
        ),
        (
            Gate(max_invalid=0),
            {"answered": 999_999, "invalid": 1},
            ["1 of 1000000 rows are invalid, 0.0001 %; gate.max_invalid allows 0"],
        ),
    ],
)
def test_the_gate_tells_what_is_wrong_with_its_numbers(gate, counts, said):
    assert list(gate_problems(gate, counts)) == said


@pytest.mark.parametrize("rows", [3, 7, 10, 100, 1000])
def test_a_share_that_is_met_exactly_passes(rows):
    for answered in range(rows + 1):
        counts = {"answered": answered, "invalid": rows - answered}
        gate = Gate(min_answered=answered / rows, max_invalid=(rows - answered) / rows)
        assert list(gate_problems(gate, counts)) == []
