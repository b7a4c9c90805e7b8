"""One emulator and one process of workers for all crash tests."""

import itertools
import re

import pytest
from lab import Lab, Workers
from matrix import POINTS, WAYS

SPEED = 20_000


@pytest.fixture(scope="session")
def crash_emulator(emulators):
    """Give an emulator whose quotas are no topic."""
    quotas = ("jobs_per_hour=100000", "jobs_per_day=100000", "least_part_bytes=1")
    return emulators(*(word for quota in quotas for word in ("--quota", quota)), speed=SPEED)


@pytest.fixture(scope="session")
def workers(tmp_path_factory):
    """Give the process that forks runs."""
    running = Workers(tmp_path_factory.mktemp("workers"))
    yield running
    running.close()


@pytest.fixture
def new_lab(tmp_path, crash_emulator, workers):
    """Give a function that makes an enrichment of its own, with two shards to ask."""
    numbers = itertools.count(1)

    def make(**options):
        return Lab(tmp_path / f"lab-{next(numbers)}", crash_emulator, workers, options)

    return make


@pytest.fixture
def lab(new_lab):
    """Give one such enrichment."""
    return new_lab()


def pytest_terminal_summary(terminalreporter):
    """Print how each crash ended in each way of going on, if more than a few were tried."""
    found = {}
    for mark, outcome in (("once", "passed"), ("WRONG", "failed"), ("WRONG", "error")):
        for report in terminalreporter.stats.get(outcome, []):
            if match := re.search(r"test_killed_and_gone_on\[([a-z_]+)-([a-z -]+)\]", report.nodeid):
                found[match.groups()] = mark
    if len(found) < len(POINTS):
        return
    width = max(map(len, POINTS)) + 2
    terminalreporter.section("paid once, one row for each item, nothing left behind")
    terminalreporter.line("killed".ljust(width) + "".join(way.ljust(13) for way in WAYS))
    for point in POINTS:
        cells = (found.get((point, way), "-").ljust(13) for way in WAYS)
        terminalreporter.line(point.ljust(width) + "".join(cells))
