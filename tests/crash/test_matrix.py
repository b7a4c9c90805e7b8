"""Kill a run at every point and go on in every way: nothing is paid twice, every item has one row, nothing is left."""

import pytest
from matrix import POINTS, WAYS, outcome

#: The combinations that are worth their seconds in every run of the tests.
QUICK = {
    ("before_claim", "two at once"),
    ("after_upload", "retry"),
    ("after_attempt", "new run"),
    ("after_reply", "two at once"),
    ("after_the_job_was_made_before_the_reply", "retry"),
    ("before_commit", "clear"),
    ("after_commit", "re-ordered"),
    ("during_clean", "adoption"),
    ("after_announced", "retry"),
    ("after_announced", "two at once"),
}


@pytest.mark.parametrize(
    ("point", "way"),
    [
        pytest.param(point, way, marks=[] if (point, way) in QUICK else [pytest.mark.slow])
        for point in POINTS
        for way in WAYS
    ],
)
def test_killed_and_gone_on(lab, point, way):
    problems = outcome(lab, point, way)
    assert problems == [], lab.log()


def test_without_a_crash_there_is_nothing_to_say(lab):
    assert lab.run("first") == 0
    assert lab.run("second") == 0
    assert lab.problems() == []
