from datetime import UTC, datetime

from vision_batch.demo.days import kept_days

WHEN = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


def days(tmp_path, *, now=WHEN, timezone="Europe/Moscow"):
    return kept_days(tmp_path / "var" / "demo.json", timezone=timezone, key_format="%Y-%m-%d", now=now)


def test_the_last_seven_complete_days_up_to_yesterday(tmp_path):
    found = days(tmp_path)
    assert found.keys == tuple(f"2026-11-{day}" for day in range(17, 24))
    assert found.starts[0] == datetime(2026, 11, 16, 21, tzinfo=UTC)
    assert found.starts[-1] == datetime(2026, 11, 22, 21, tzinfo=UTC)


def test_the_days_stay_the_same_on_a_later_day(tmp_path):
    assert days(tmp_path) == days(tmp_path, now=WHEN.replace(day=28))


def test_yesterday_is_the_declared_timezones_yesterday(tmp_path):
    late = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
    assert days(tmp_path, now=late).keys[-1] == "2026-11-24"


def test_a_day_that_is_an_hour_shorter_starts_at_midnight_too(tmp_path):
    found = days(tmp_path, now=datetime(2026, 3, 31, 12, tzinfo=UTC), timezone="Europe/Berlin")
    assert [start.hour for start in found.starts] == [0] * 7
    assert found.keys[4:] == ("2026-03-28", "2026-03-29", "2026-03-30")
