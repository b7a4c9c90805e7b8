"""What a benchmark says of its targets, and how it ends."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    return import_module("targets")


def test_a_benchmark_ends_well_only_if_it_has_reached_every_target(targets, capsys):
    quick, slow = targets.Target("speed", 25, least=25), targets.Target("speed", 24.9, least=25)
    flat, grown = targets.Target("memory", 1.25, most=1.25), targets.Target("memory", 1.26, most=1.25)
    assert targets.verdict(quick, flat) == 0
    assert targets.verdict(slow, flat) == targets.verdict(quick, grown) == 1
    assert targets.verdict(targets.Target("nothing was measured", math.nan, most=1)) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split() for line in told[:3]] == [
        ["targets:"],
        ["speed", "25", "at", "least", "25", "reached"],
        ["memory", "1.25", "at", "most", "1.25", "reached"],
    ]
    assert sum("MISSED" in line for line in told) == 3


@pytest.mark.parametrize("path", sorted((PROJECT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_ends_with_its_verdict(path: Path):
    """`make bench` fails in the end if one of them has missed a target."""
    text = path.read_text()
    if path.stem != "targets":
        assert "sys.exit(main())" in text
        assert "return verdict(" in text
