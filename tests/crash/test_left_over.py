"""Whatever moment a run dies at: what its shard has not asked is asked by the next run, once, and then announced."""

from collections import Counter

import pytest
from lab import DAYS, KILLED, OTHER_DAY
from test_paid_once import resources

#: From the first to the last moment at which the shard could forget what it has not asked.
POINTS = ("before_commit", "after_commit", "after_loaded", "during_clean", "before_close", "before_unclaim")


def retry(lab):
    return [lab.run("first")]


def clear(lab):
    lab.clear_xcoms()
    return [lab.run("first")]


def adopt(lab):
    return [lab.run("adopts", partitions=(OTHER_DAY,), adopt_after_seconds=0)]


def two_at_once(lab):
    return lab.at_once("second", "third")


def announced(lab):
    return Counter(key for name, key in lab.events() if name.endswith("/partitions"))


#: The combinations that are worth their seconds in every run of the tests.
QUICK = {("after_commit", clear), ("after_loaded", retry), ("before_close", two_at_once), ("before_unclaim", adopt)}


@pytest.mark.parametrize(
    ("point", "go_on"),
    [
        pytest.param(point, go_on, marks=[] if (point, go_on) in QUICK else [pytest.mark.slow])
        for point in POINTS
        for go_on in (retry, clear, adopt, two_at_once)
    ],
)
def test_an_overwritten_image_is_asked_by_the_next_run_however_the_one_before_died(lab, point, go_on):
    assert lab.run("first", crash_at="before_dataset_create") == KILLED
    lab.picture(DAYS[0], 0, "red")  # the same again, and yet not what was planned
    assert lab.run("first", crash_at=point) == KILLED
    assert announced(lab)[DAYS[0]] == 0
    assert set(go_on(lab)) == {0}, lab.log()
    for number in range(2):  # of no day of its own: what waits is enough
        assert lab.run(f"later {number}", partitions=(OTHER_DAY,)) == 0
    assert lab.problems() == []
    assert resources(lab).work().open_state().waiting == {}
    assert announced(lab) == dict.fromkeys(DAYS, 1)
