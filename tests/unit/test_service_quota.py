"""What the service's lists leave of the quotas."""

from datetime import UTC, datetime, timedelta

import pytest

from vision_batch.service.quota import QuotaLimits, QuotaVerdict, dataset_room, job_room
from vision_batch.service.types import Dataset, DatasetStatus, Job, JobStatus

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def job(age: timedelta, status: JobStatus = JobStatus.COMPLETED) -> Job:
    return Job("fbi", "fbi", "gpt://f/m/latest", "fds", None, status, NOW - age, None, None, None, (), ())


def dataset(size: int) -> Dataset:
    return Dataset("fds", "name", DatasetStatus.READY, "type", 1, size, {}, NOW, NOW)


def minutes(*ages: float) -> list[Job]:
    return [job(timedelta(minutes=age)) for age in ages]


class TestJobs:
    def test_an_empty_folder_has_the_whole_hour(self):
        assert job_room([], NOW) == QuotaVerdict(10, None)

    def test_only_what_is_in_the_window_counts(self):
        assert job_room(minutes(1, 59.9, 60, 61), NOW).free == 8

    def test_failed_and_cancelled_jobs_count(self):
        jobs = [job(timedelta(0), status) for status in (JobStatus.FAILED, JobStatus.CANCELED, JobStatus.UNKNOWN)]
        assert job_room(jobs, NOW).free == 7

    def test_a_full_hour_is_free_when_its_oldest_job_leaves(self):
        assert job_room(minutes(*range(5, 15)), NOW) == QuotaVerdict(0, NOW + timedelta(minutes=60 - 14))

    def test_more_jobs_than_the_limit_must_leave_one_after_the_other(self):
        limits = QuotaLimits(jobs_per_hour=2)
        assert job_room(minutes(50, 40, 30), NOW, limits).next_free_at == NOW + timedelta(minutes=20)

    def test_a_full_day_holds_back_an_empty_hour(self):
        jobs = [job(timedelta(hours=2 + number / 10)) for number in range(100)]
        verdict = job_room(jobs, NOW)
        assert verdict.free == 0
        assert verdict.next_free_at == NOW + timedelta(hours=24 - 11.9)

    def test_the_later_of_two_full_windows_decides(self):
        limits = QuotaLimits(jobs_per_hour=1, jobs_per_day=1)
        assert job_room(minutes(30), NOW, limits).next_free_at == NOW + timedelta(hours=23.5)

    @pytest.mark.parametrize("limits", [QuotaLimits(jobs_per_hour=0), QuotaLimits(jobs_per_day=0)])
    def test_no_wait_helps_against_a_limit_of_nothing(self, limits):
        assert job_room(minutes(1), NOW, limits) == QuotaVerdict(0, None)

    def test_a_service_clock_behind_its_own_jobs_does_not_free_them(self):
        assert job_room(minutes(-1), NOW).free == 9


class TestDatasets:
    def test_slots_and_bytes_left(self):
        room = dataset_room([dataset(4 * 10**9)] * 3)
        assert (room.free, room.free_bytes) == (97, 288 * 10**9)

    def test_a_shard_needs_two_slots_and_twice_its_bytes(self):
        limits = QuotaLimits(datasets=3, total_bytes=100)
        room = dataset_room([dataset(10)], limits)
        assert room.holds(2, 90)
        assert not room.holds(3, 0)
        assert not room.holds(1, 91)

    def test_an_overfull_folder_has_no_room(self):
        room = dataset_room([dataset(10)] * 3, QuotaLimits(datasets=2, total_bytes=5))
        assert (room.free, room.free_bytes) == (0, 0)
