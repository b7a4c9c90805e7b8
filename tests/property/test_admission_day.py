"""A day of the quota in virtual time: two enrichments, a foreign client, the real decisions, a service that refuses."""

import heapq
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.service.admission import SILENCE, Claim, Folder, Stage, admit_dataset, admit_job, give_way
from vision_batch.service.quota import QuotaLimits
from vision_batch.service.types import Dataset, DatasetStatus, Job, JobStatus

DAY = datetime(2026, 11, 24, tzinfo=UTC)
HOUR, POLL_SECONDS = 3600, 30
REAL = QuotaLimits()


def at(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


class Service:
    """What the service is: two lists, and refusals."""

    def __init__(self, limits: QuotaLimits) -> None:
        self.limits = limits
        self.jobs: list[Job] = []
        self.datasets: dict[str, Dataset] = {}
        self.refused: list[str] = []
        self.most_datasets = 0
        self._ids = count()

    def create(self, now: float, size: int = 0) -> str | None:
        if len(self.datasets) >= self.limits.datasets:
            return self._refuse("datasets")
        name = f"fds{next(self._ids)}"
        self.datasets[name] = Dataset(name, name, DatasetStatus.READY, "", 1, size, {}, at(now), at(now))
        self.most_datasets = max(self.most_datasets, len(self.datasets))
        return name

    def fill(self, name: str, size: int) -> None:
        self.datasets[name] = replace(self.datasets[name], size_bytes=size)

    def submit(self, now: float, source: str) -> str | None:
        made = [(at(now) - job.created_at).total_seconds() for job in self.jobs]
        if sum(age < 3600 for age in made) >= self.limits.jobs_per_hour:
            return self._refuse("hour")
        if sum(age < 86_400 for age in made) >= self.limits.jobs_per_day:
            return self._refuse("day")
        if len(self.datasets) >= self.limits.datasets:
            return self._refuse("datasets")
        result = self.create(now, self.datasets[source].size_bytes)
        name = f"fbi{next(self._ids)}"
        self.jobs.append(Job(name, "", "", source, result, JobStatus.IN_PROGRESS, at(now), None, None, None, (), ()))
        return name

    def finish(self, job_id: str) -> None:
        """End a job; whoever made it has loaded it and deletes its datasets."""
        for place, job in enumerate(self.jobs):
            if job.job_id == job_id:
                self.jobs[place] = replace(job, status=JobStatus.COMPLETED)
                self.datasets.pop(job.source_dataset_id, None)
                self.datasets.pop(job.result_dataset_id, None)

    def _refuse(self, what: str) -> None:
        self.refused.append(what)


@dataclass
class Shard:
    """One shard and the tasks that bring it forward."""

    name: str
    claimed: float
    preparing_seconds: float
    dies: Stage | None = None
    size: int = 10**9
    stage: Stage | None = None
    heard: float = 0
    drafted: float | None = None
    dataset: str | None = None
    job: str | None = None
    asked: float | None = None
    refusals: int = 0

    def claim(self, now: float) -> Claim:
        quiet = timedelta(seconds=now - self.heard)
        drafted = None if self.drafted is None else at(self.drafted)
        stored = self.size if self.stage in (Stage.READY, Stage.SUBMITTING) else 0
        return Claim(self.name, at(self.claimed), self.stage, quiet, self.size, stored, drafted)


class Day:
    """Events in virtual seconds."""

    def __init__(self, seed: int, limits: QuotaLimits = REAL, max_prepared: int = 8) -> None:
        self.random = Random(seed)
        self.service = Service(limits)
        self.max_prepared = max_prepared
        self.strangers = False
        self.shards: list[Shard] = []
        self.given_way = 0
        self._events: list = []
        self._numbers = count()

    def later(self, when: float, what, *more) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, more))

    def run(self, seconds: float) -> None:
        while self._events and self._events[0][0] <= seconds:
            when, _, what, more = heapq.heappop(self._events)
            what(when, *more)

    def latency(self) -> float:
        """From an event to a task that decides: a worker has to start."""
        return self.random.uniform(3, 40)

    # Ours

    def claim(self, when: float, name: str, shards: int, *, preparing=(60, 1200), dies: Stage | None = None) -> None:
        def claim(now: float) -> None:
            for number in range(shards):
                seconds = self.random.uniform(*preparing)
                shard = Shard(f"{name}/{len(self.shards):03}", now + number / 1000, seconds, dies)
                shard.stage, shard.heard = Stage.WAITING, now
                self.shards.append(shard)
                if dies is not Stage.WAITING:
                    self.later(now + self.latency(), self.prepare, shard)

        self.later(when, claim)

    def folder(self, now: float, asker: Shard) -> Folder:
        """What one shard sees: all claims, or its own enrichment's if they are two installs in one folder."""
        seen = [shard for shard in self.shards if shard.stage is not None]
        own = asker.name.split("/")[0]
        claims = tuple(each.claim(now) for each in seen if not self.strangers or each.name.startswith(own))
        service = self.service
        return Folder(claims, tuple(service.jobs), tuple(service.datasets.values()), service.limits, self.max_prepared)

    def prepare(self, now: float, shard: Shard) -> None:
        wait = admit_dataset(self.folder(now, shard), shard.name, at(now))
        if wait is not None:
            self.wait(now, wait, self.prepare, shard)
            return
        self.later(now + self.random.uniform(0.5, 5), self.create, shard)

    def create(self, now: float, shard: Shard) -> None:
        shard.dataset = self.service.create(now)
        if shard.dataset is None:
            self.later(now + 60, self.prepare, shard)
            return
        shard.stage, shard.drafted = Stage.PREPARING, now
        self.later(now + self.random.uniform(0.5, 5), self.keep, shard)

    def keep(self, now: float, shard: Shard) -> None:
        wait = give_way(self.folder(now, shard), shard.name)
        if wait is not None:
            self.service.datasets.pop(shard.dataset)
            shard.stage, shard.drafted = Stage.WAITING, None
            self.given_way += 1
            self.wait(now, wait, self.prepare, shard)
            return
        if shard.dies is not Stage.PREPARING:
            self.later(now + shard.preparing_seconds, self.prepared, shard)

    def prepared(self, now: float, shard: Shard) -> None:
        shard.stage, shard.heard = Stage.READY, now
        self.service.fill(shard.dataset, shard.size)
        if shard.dies is not Stage.READY:
            self.later(now + self.latency(), self.submit, shard)

    def submit(self, now: float, shard: Shard) -> None:
        wait = admit_job(self.folder(now, shard), shard.name, at(now))
        if wait is not None:
            self.wait(now, wait, self.submit, shard)
            return
        shard.stage, shard.heard = Stage.SUBMITTING, now
        self.later(now + self.random.uniform(0.2, 3), self.pay, shard)

    def pay(self, now: float, shard: Shard) -> None:
        assert shard.job is None
        shard.job = self.service.submit(now, shard.dataset)
        shard.heard = now
        if shard.job is None:
            shard.stage = Stage.READY
            shard.refusals += 1
            self.later(now + min(60 * 2**shard.refusals, 1800), self.submit, shard)
            return
        shard.stage, shard.asked = None, now
        self.later(now + self.random.uniform(600, 4 * 3600), self.done, shard.job)

    def done(self, _: float, job: str) -> None:
        self.service.finish(job)

    def wait(self, now: float, wait, again, shard: Shard) -> None:
        """Poll as the trigger does: for what is needed, or until it is time to decide again."""
        assert wait.reason
        folder = self.folder(now, shard)
        assert wait.needed.missing(folder.jobs, folder.datasets, at(now), folder.limits), "would not wait at all"
        self.later(now + POLL_SECONDS, self.poll, wait, now + wait.looks * POLL_SECONDS, again, shard)

    def poll(self, now: float, wait, deadline: float, again, shard: Shard) -> None:
        service = self.service
        missing = wait.needed.missing(service.jobs, list(service.datasets.values()), at(now), service.limits)
        if not missing or now > deadline:
            self.later(now + self.latency(), again, shard)
        else:
            self.later(now + POLL_SECONDS * self.random.uniform(0.9, 1.1), self.poll, wait, deadline, again, shard)

    # The foreign client

    def foreign(self, when: float, jobs: int, every: float) -> None:
        """Somebody who asks nobody: makes a dataset and a job, again and again, and cleans up later."""

        def make(now: float, left: int) -> None:
            source = self.service.create(now)
            job = None if source is None else self.service.submit(now, source)
            if job is not None:
                self.later(now + self.random.uniform(600, 7200), self.done, job)
            elif source is not None:
                self.service.datasets.pop(source)
            if left > 1:
                self.later(now + self.random.uniform(0, 2 * every), make, left - 1)

        self.later(when, make, jobs)

    # What it came to

    def problems(self) -> list[str]:
        living = [shard for shard in self.shards if shard.dies is None]
        found = [f"{shard.name} has no job" for shard in living if shard.job is None]
        for window, limit in ((3600, self.service.limits.jobs_per_hour), (86_400, self.service.limits.jobs_per_day)):
            made = sorted((job.created_at - DAY).total_seconds() for job in self.service.jobs)
            for first, later in zip(made, made[limit:], strict=False):
                if later - first < window:
                    found.append(f"{limit + 1} jobs in {later - first:.0f} s")
        if self.service.most_datasets > self.service.limits.datasets:
            found.append(f"{self.service.most_datasets} datasets")
        return found

    def overtaken(self, shard: Shard) -> int:
        """Return how many that were claimed later had their job before."""
        asked = [each for each in self.shards if each.asked is not None]
        return sum(each.claimed > shard.claimed and each.asked < shard.asked for each in asked)

    def most_overtaken(self) -> int:
        return max(self.overtaken(shard) for shard in self.shards if shard.asked is not None)

    def refusals(self) -> int:
        return sum(shard.refusals for shard in self.shards)

    def longest_wait(self) -> float:
        return max(shard.asked - shard.claimed for shard in self.shards if shard.asked is not None)

    def last_job_at(self) -> float:
        return max(shard.asked for shard in self.shards if shard.asked is not None)


def a_day(seed: int, *, foreign: bool) -> Day:
    """Two enrichments whose runs come at other times; 67 jobs want to be made, and 24 of somebody else."""
    day = Day(seed)
    day.claim(0, "red", 25)
    day.claim(HOUR / 4, "blue", 12)
    day.claim(5 * HOUR, "red", 10)
    day.claim(6 * HOUR, "blue", 20)
    if foreign:
        day.foreign(100, jobs=24, every=HOUR / 2)
    day.run(24 * HOUR)
    return day


@pytest.mark.parametrize("seed", range(4))
def test_two_enrichments_alone_are_never_refused_and_waste_nothing(seed):
    day = a_day(seed, foreign=False)
    assert day.problems() == []
    assert day.refusals() == 0
    assert day.most_overtaken() <= 10
    assert day.last_job_at() < 8 * HOUR  # 67 jobs need 6 hours and 7 minutes at ten an hour


@pytest.mark.parametrize("seed", range(4))
def test_a_foreign_client_that_asks_nobody_takes_its_share_and_no_job_is_lost(seed):
    day = a_day(seed, foreign=True)
    assert len(day.service.jobs) > 67
    assert day.problems() == []
    assert day.most_overtaken() <= 10


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    bursts=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["red", "blue"]), st.integers(1, 12)), min_size=1, max_size=5
    ),
    foreign=st.integers(0, 30),
    limits=st.builds(QuotaLimits, jobs_per_hour=st.integers(2, 12), datasets=st.integers(4, 40)),
    max_prepared=st.integers(1, 10),
)
def test_whatever_comes_every_shard_has_its_job_in_the_end(seed, bursts, foreign, limits, max_prepared):
    day = Day(seed, limits, max_prepared)
    for hour, name, shards in bursts:
        day.claim(hour * HOUR, name, shards, preparing=(5, 3000))
    if foreign:
        day.foreign(HOUR, jobs=foreign, every=HOUR / 2)
    day.run(24 * 30 * HOUR)
    assert day.problems() == []
    if day.longest_wait() < SILENCE.total_seconds():  # after that, scarce room is kept for nobody
        assert day.most_overtaken() <= 10


@pytest.mark.parametrize("dies", [Stage.WAITING, Stage.PREPARING, Stage.READY])
@pytest.mark.parametrize("dead", [3, 8, 20])
def test_dead_claims_before_them_hold_the_living_up_for_hours_at_most(dies, dead):
    """Twenty shards, whose jobs take an hour of the quota and a bit, behind runs that ended without a word."""
    day = Day(1)
    day.claim(0, "dead", dead, dies=dies)
    day.claim(600, "blue", 20)
    day.run(24 * HOUR)
    assert day.problems() == []
    assert day.last_job_at() < 5 * HOUR


@pytest.mark.parametrize("slots", [2, 3, 5])
def test_prepared_shards_never_take_the_last_place_from_their_results(slots):
    day = Day(slots, QuotaLimits(datasets=slots))
    day.claim(0, "red", 6)
    day.claim(60, "blue", 6)
    day.run(72 * HOUR)
    assert day.problems() == []
    assert day.refusals() == 0


def test_two_installs_that_cannot_see_each_other_give_way_instead_of_blocking_each_other():
    given_way = 0
    for seed in range(8):
        day = Day(seed, QuotaLimits(datasets=2))
        day.strangers = True
        day.claim(0, "red", 4, preparing=(5, 60))
        day.claim(0, "blue", 4, preparing=(5, 60))
        day.run(72 * HOUR)
        assert day.problems() == []
        given_way += day.given_way
    assert given_way > 0


def test_a_shard_that_takes_long_to_prepare_is_not_overtaken_for_ever():
    day = Day(1, QuotaLimits(jobs_per_hour=60))
    day.claim(0, "slow", 1, preparing=(3400, 3500))
    day.claim(60, "quick", 60, preparing=(5, 60))
    day.run(24 * HOUR)
    assert day.problems() == []
    assert day.overtaken(day.shards[0]) == 10
