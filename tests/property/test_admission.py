"""Turns for any folder: never more than there is room for, in the order of the claims, and somebody always goes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_batch.service.admission import (
    DRAFT,
    TURN,
    Claim,
    Folder,
    Stage,
    admit_dataset,
    admit_job,
    give_way,
)
from vision_batch.service.quota import QuotaLimits, dataset_room, job_room, job_room_since, next_job_at
from vision_batch.service.types import Dataset, DatasetStatus, Job, JobStatus

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GB = 10**9
MINUTES = st.integers(0, 3000).map(lambda number: timedelta(minutes=number))
LIMITS = st.builds(
    QuotaLimits,
    jobs_per_hour=st.integers(1, 12),
    jobs_per_day=st.integers(1, 60),
    datasets=st.integers(2, 40),
    total_bytes=st.integers(2, 60).map(lambda number: number * GB),
)


def job(number: int, age: timedelta, status: JobStatus = JobStatus.COMPLETED) -> Job:
    return Job(f"fbi{number}", "", "", f"fds-of-{number}", None, status, NOW - age, None, None, None, (), ())


def dataset(number: int) -> Dataset:
    return Dataset(f"fds{number}", "other", DatasetStatus.READY, "", 1, GB, {}, NOW, NOW)


@st.composite
def folders(draw, quiet=timedelta(0)):
    """Any folder; its claims take their turns, unless nothing has been heard of them for long."""
    stages = draw(st.lists(st.sampled_from(list(Stage)), min_size=1, max_size=20))
    claims = []
    for number, stage in enumerate(stages):
        drafted = None if stage is Stage.WAITING else NOW - draw(st.integers(0, 59).map(lambda n: timedelta(minutes=n)))
        size = draw(st.integers(1, 5)) * GB
        stored = size if stage in (Stage.READY, Stage.SUBMITTING) else 0
        claimed = NOW - draw(MINUTES)
        claims.append(Claim(f"any/{number:02}", claimed, stage, quiet, size, stored, drafted))
    jobs = [job(number, age) for number, age in enumerate(draw(st.lists(MINUTES, max_size=30)))]
    running = [job(100 + number, timedelta(0), JobStatus.IN_PROGRESS) for number in range(draw(st.integers(0, 2)))]
    datasets = [dataset(number) for number in range(draw(st.integers(0, 30)))]
    return Folder(tuple(claims), (*jobs, *running), tuple(datasets), draw(LIMITS), draw(st.integers(1, 10)))


def in_order(folder: Folder, stage: Stage) -> list[Claim]:
    return sorted(
        (each for each in folder.claims if each.stage is stage), key=lambda each: (each.claimed_at, each.shard)
    )


def is_prefix(goes: list[bool]) -> bool:
    return goes == sorted(goes, reverse=True)


@settings(max_examples=150, deadline=None)
@given(folders())
def test_all_that_may_make_a_job_at_one_moment_have_room_and_go_in_their_order(folder):
    ready = in_order(folder, Stage.READY)
    waits = [admit_job(folder, claim.shard, NOW) for claim in ready]
    goes = [wait is None for wait in waits]
    submitting = len(in_order(folder, Stage.SUBMITTING))
    assert is_prefix(goes)
    assert sum(goes) == 0 or sum(goes) + submitting <= job_room(folder.jobs, NOW, folder.limits).free
    assert sum(goes) == 0 or sum(goes) + submitting <= dataset_room(folder.datasets, folder.limits).free
    for wait in waits:
        assert wait is None or wait.needed.missing(folder.jobs, folder.datasets, NOW, folder.limits)


@settings(max_examples=150, deadline=None)
@given(folders())
def test_all_that_may_make_a_dataset_at_one_moment_fit_in_with_their_results(folder):
    waiting = in_order(folder, Stage.WAITING)
    waits = [admit_dataset(folder, claim.shard, NOW) for claim in waiting]
    goes = [wait is None for wait in waits]
    assert is_prefix(goes)
    going, others = waiting[: sum(goes)], len(folder.claims) - len(waiting)
    room = dataset_room(folder.datasets, folder.limits)
    assert not going or others + len(going) <= folder.max_prepared
    assert not going or others + 2 * len(going) <= room.free
    size = sum(min(2 * claim.size_bytes, folder.limits.total_bytes) for claim in going)
    assert size <= room.free_bytes
    for wait in waits:
        assert wait is None or wait.needed.missing(folder.jobs, folder.datasets, NOW, folder.limits)


@settings(max_examples=100, deadline=None)
@given(folders())
def test_somebody_always_goes_where_there_is_room(folder):
    """An empty folder lets its first claim through, whatever the others are, dead ones excepted."""
    alone = replace(folder, jobs=(), datasets=())
    ready, waiting = in_order(alone, Stage.READY), in_order(alone, Stage.WAITING)
    unready = [claim for claim in alone.claims if claim.stage in (Stage.PREPARING, Stage.SUBMITTING)]
    room = min(alone.limits.jobs_per_hour, alone.limits.jobs_per_day, alone.limits.datasets)
    if ready and len(unready) < room:
        assert admit_job(alone, ready[0].shard, NOW) is None
    only = replace(alone, claims=tuple(waiting))
    if waiting:
        assert admit_dataset(only, waiting[0].shard, NOW) is None


ONE_PLACE = QuotaLimits(jobs_per_hour=1, jobs_per_day=1, datasets=2, total_bytes=2 * GB)
DEAD = tuple(
    Claim(f"any/{number:02}", NOW, Stage.READY, timedelta(days=9), GB, GB, NOW - DRAFT) for number in range(20)
)


@settings(max_examples=100, deadline=None)
@given(folders(quiet=timedelta(days=9)), st.integers(0, 20))
@example(Folder(DEAD, (), (), ONE_PLACE, max_prepared=1), 1)
def test_claims_that_are_dead_for_days_hold_nobody_back(folder, jobs):
    """One newcomer behind any number of dead claims, each of which has let a turn pass: it goes."""
    dead = [replace(claim, drafted_at=claim.drafted_at and claim.drafted_at - DRAFT) for claim in folder.claims]
    dead = [claim for claim in dead if claim.stage is not Stage.SUBMITTING]
    turns = (len(dead) + 1) * TURN  # since the last of the jobs has left the day's window
    made = tuple(job(number, timedelta(days=1, minutes=number) + turns) for number in range(jobs))
    for stage, admit in ((Stage.WAITING, admit_dataset), (Stage.READY, admit_job)):
        newcomer = Claim("new/1", NOW, stage, size_bytes=GB, drafted_at=None if stage is Stage.WAITING else NOW)
        calm = replace(folder, claims=(*dead, newcomer), jobs=made, datasets=())
        assert admit(calm, newcomer.shard, NOW) is None


@given(st.integers(1, 9))
def test_a_claim_keeps_its_place_for_a_turn(minutes):
    """However long it has waited: what has just become free is its own."""
    first, last = (Claim(name, NOW - timedelta(days=2), Stage.READY, timedelta(days=2)) for name in ("a", "b"))
    exits = timedelta(hours=1, minutes=minutes)  # that long ago the one free place came
    limits = QuotaLimits(jobs_per_hour=1, jobs_per_day=10)
    one = Folder((first, last), (job(1, exits),), (), limits)
    assert admit_job(one, "a", NOW) is None
    assert admit_job(one, "b", NOW) is not None
    late = NOW + TURN
    assert admit_job(one, "b", late) is None


@settings(max_examples=100, deadline=None)
@given(folders())
def test_of_datasets_made_at_one_moment_the_youngest_give_way(folder):
    drafts = [claim for claim in folder.claims if claim.drafted_at is not None]
    kept = [claim for claim in drafts if give_way(folder, claim.shard) is None]
    youngest = max((claim.drafted_at for claim in kept), default=NOW)
    assert not kept or all(claim in kept for claim in drafts if claim.drafted_at < youngest)
    assert len(kept) <= dataset_room(folder.datasets, folder.limits).free


@settings(max_examples=100, deadline=None)
@given(st.lists(MINUTES, max_size=40), LIMITS, st.integers(0, 12))
def test_the_estimate_is_when_the_lists_would_allow_it(ages, limits, turn):
    jobs = [job(number, age) for number, age in enumerate(ages)]
    for before in range(turn):
        at = next_job_at(jobs, NOW, limits)
        jobs.append(job(100 + before, NOW - at))
    at = next_job_at(jobs[: len(ages)], NOW, limits, turn)
    assert job_room(jobs, at, limits).free > 0
    assert at == NOW or job_room(jobs, at - timedelta(seconds=1), limits).free == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(MINUTES, max_size=40), LIMITS, st.integers(0, 5))
def test_room_was_there_since_the_time_that_is_told(ages, limits, spare):
    jobs = [job(number, age) for number, age in enumerate(ages)]
    free, since = job_room(jobs, NOW, limits).free, job_room_since(jobs, NOW, limits, spare)
    for age in ages:
        for then in (NOW - age, NOW - age + timedelta(hours=1), NOW - age + timedelta(days=1)):
            if since <= then <= NOW:
                known = [each for each in jobs if each.created_at <= then]
                assert job_room(known, then, limits).free >= free - spare
