"""Runs by schedule with any pauses between them: every partition is planned, and never too many at once."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.steps.partitions import missed_partitions, partition_of

SCHEDULES = st.sampled_from(
    [
        ("0 0 * * *", "%Y-%m-%d"),
        ("0 3 * * *", "%Y-%m-%d"),
        ("30 2 * * 1-5", "%d.%m.%Y"),
        ("0 */6 * * *", "%Y-%m-%dT%H"),
        ("0 */6 * * *", "%Y-%m-%d"),
        ("@monthly", "%Y-%m"),
    ]
)
ZONES = st.sampled_from(["UTC", "Europe/Moscow", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(SCHEDULES, ZONES, st.integers(0, 700)),
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(2, 12),
    st.randoms(),
)
def test_runs_plan_all_that_lies_between_them_however_long_the_pauses_are(schedule, steps, most, random):
    """After the last pause the schedule goes on, until what one run may not take along at once is made up for."""
    (cron, key_format), zone, day = schedule
    coming = croniter(cron, datetime(2025, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(days=day))
    intervals = [coming.get_next(datetime).astimezone(UTC) for _ in range(2 * sum(steps) + 1)]
    keys = [partition_of(each, timezone=zone, key_format=key_format) for each in intervals]
    ran = [sum(steps[:number]) for number in range(len(steps))]
    ran += range(sum(steps), len(intervals))

    def missed(last, number):
        return missed_partitions(last, intervals[number], cron=cron, timezone=zone, key_format=key_format, most=most)

    until, planned = intervals[0], {keys[0]}
    for number in ran[1:]:
        found = missed(until, number)
        assert keys[number] not in found.partitions
        assert len(set(found.partitions)) == len(found.partitions) <= most
        assert until < found.until <= intervals[number]
        until = found.until
        planned.update(found.partitions, [keys[number]])
        # Whatever earlier run is done again, it takes nothing along and says nothing newer.
        again = missed(until, random.choice([each for each in ran if intervals[each] <= until]))
        assert again.partitions == ()
        assert again.until <= until
        assert {key for key, each in zip(keys, intervals, strict=True) if each <= until} <= planned
    assert until == intervals[-1]
    assert planned == set(keys)
