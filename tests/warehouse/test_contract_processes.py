"""Every destination with several writers at once, and with writers that die."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

import duckdb
import pytest
from loaders import load_all, load_counting_lines, load_jobs
from places import SPEC, Place, batch, jobs, other_question

from vision_batch.warehouse.protocol import Column

Start = Callable[..., BaseProcess]
CONTEXT = get_context("forkserver")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that carry out a function; they end with the test."""
    started: list[BaseProcess] = []

    def begin(work: Callable[..., object], *arguments: object, **options: object) -> BaseProcess:
        started.append(CONTEXT.Process(target=work, args=arguments, kwargs=options))
        started[-1].start()
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.join()
        process.close()


def ended_well(*processes: BaseProcess) -> bool:
    for process in processes:
        process.join(250)
    return [process.exitcode for process in processes] == [0] * len(processes)


def test_four_processes_load_different_shards_at_once(place: Place, start: Start):
    shards = [[batch(1, range(1000 * n + 250 * k, 1000 * n + 250 * k + 250)) for k in range(4)] for n in range(4)]
    assert ended_well(*[start(load_all, place, SPEC, each) for each in shards])
    assert place.rows() == [(f"item-{key:06d}", "1") for key in range(4000)]


def test_two_processes_load_the_same_shard_at_once(place: Place, start: Start):
    """Each time newer answers, half of them for the same items, in opposite order."""
    some = [batch(number, range(1000)) for number in range(1, 5)]
    others = [table.take(list(range(999, 499, -1))) for table in some]
    assert ended_well(start(load_all, place, SPEC, some), start(load_all, place, SPEC, others))
    assert place.rows() == [(f"item-{key:06d}", "4") for key in range(1000)]


def test_processes_that_add_the_same_jobs_at_once_keep_one_row_each(place: Place, start: Start):
    assert ended_well(*[start(load_jobs, place, SPEC) for _ in range(3)])
    assert place.jobs() == sorted((f"{letter}{number}",) for letter in "jk" for number in range(10))


def test_who_reads_meanwhile_sees_whole_shards_only(place: Place, start: Start):
    place.open().load(SPEC, batch(0, range(2000)))
    final = " FINAL" * (place.kind == "clickhouse")
    shards = f"SELECT count(*), count(DISTINCT kind), min(kind) FROM {place.name('enrichment', 'photos')}{final}"
    seen = set(place.query(shards))  # a reader may be shut out until the last shard is there
    writer = start(load_all, place, SPEC, [batch(number, range(2000)) for number in range(1, 6)])
    while writer.is_alive():
        with suppress(duckdb.IOException):  # its file cannot be opened while it is written
            seen.update(place.query(shards))
        time.sleep(0.02)  # who opens DuckDB's file without a pause lets no writer in
    assert ended_well(writer)
    assert {(count, kinds) for count, kinds, _ in seen} == {(2000, 1)}
    assert place.query(shards) == [(2000, 1, "5")]


def test_two_versions_of_a_dag_load_at_once(place: Place, start: Start):
    newer = other_question(SPEC, "q2", Column("colour", "string"), Column("sizes", "list[integer]"))
    versions = [(spec, [batch(number, range(200), spec) for number in range(1, 6)]) for spec in (SPEC, newer)]
    assert ended_well(*[start(load_all, place, spec, batches) for spec, batches in versions * 2])
    assert place.rows(what="item_key, question_key, kind") == [
        (f"item-{key:06d}", question, "5") for key in range(200) for question in ("q1", "q2")
    ]
    assert set(place.rows(newer, "colour", view=True)) == {(None,)}
    questions = f"SELECT DISTINCT question_key, question FROM {place.name('enrichment', 'vision_batch_questions')}"
    assert sorted(place.query(questions)) == [("q1", SPEC.question), ("q2", newer.question)]


def test_a_process_killed_at_any_of_twenty_points_leaves_whole_shards(place: Place, start: Start):
    """The points are spread over every line of the warehouse's modules that a load goes through."""
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    warehouse.load(SPEC, batch(0, range(500)))
    lines = load_counting_lines(place, SPEC, batch(0, range(500)), jobs({"job_id": "00"}))
    assert lines > 20
    seen = 0
    for number, point in enumerate([1 + round(k * (lines - 1) / 19) for k in range(20)], start=1):
        killed = start(
            load_counting_lines,
            place,
            SPEC,
            batch(number, range(500)),
            jobs({"job_id": f"{number:02d}"}),
            kill_at=point,
        )
        killed.join(250)
        assert killed.exitcode == -signal.SIGKILL
        kinds = {int(kind) for _, kind in place.rows()}
        assert len(kinds) == 1, "half of a shard is there"
        assert kinds <= {seen, number}
        loaded = [f"{each:02d}" for each in range(21) if each == 0 or (f"{each:02d}",) in place.jobs()]
        (seen,) = kinds
        if place.kind != "clickhouse":  # it has no transactions: the job's row comes last
            assert loaded[-1] == f"{seen:02d}", "answers came without their job, or a job without its answers"
    assert seen == 20, "the last point lies behind the commit"
    assert warehouse.load(SPEC, batch(21, range(600))).inserted == 100
    assert place.rows() == [(f"item-{key:06d}", "21") for key in range(600)]
