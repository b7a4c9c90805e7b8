"""A backfill on two Celery workers over S3, while workers, Redis and the triggerer die: every row once."""

import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from cluster import COLOURS, DAG, DAYS, IMAGES, TABLE, WORK
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

XCOM_BYTES = 64 * 1024


def eventually(cluster, look, *, seconds=240):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        cluster.check()
        assert time.monotonic() < deadline, f"still {found!r} after {seconds} s"
        time.sleep(0.5)
    return found


def select(cluster, sql, *given):
    with cluster.database() as database:
        return database.execute(sql, given).fetchall()


@contextmanager
def held_calls(cluster, method):
    """Let calls of a method wait, give a function that counts them, and let them go on in the end."""
    page = f"{cluster.emulator_url}/_emulator/scenario"
    body = {"name": "hold_call", "times": None, "params": {"method": method}}
    httpx.post(page, json=body, trust_env=False).raise_for_status()
    yield lambda: emulator_says(cluster, "scenario")["hanging"].get("hold_call", 0)
    httpx.delete(page, params={"name": "hold_call"}, trust_env=False).raise_for_status()


@contextmanager
def held_loads(cluster):
    """Let nobody write answers, give a function that counts who waits for that, and let them in the end."""
    with cluster.database() as database:
        database.execute(f"lock table {TABLE} in share mode")
        waiting = "select count(distinct pid) from pg_locks where not granted and locktype in ('relation', 'advisory')"
        yield lambda: select(cluster, waiting)[0][0]


def emulator_says(cluster, page):
    return httpx.get(f"{cluster.emulator_url}/_emulator/{page}", timeout=30, trust_env=False).json()


def hanging(cluster, task_id, held):
    """Give the worker of a running task of this kind, as soon as all that run are held up."""
    found = select(
        cluster,
        "select hostname from task_instance where task_id = %s and state = 'running' order by start_date",
        task_id,
    )
    return found[0][0] if found and len(found) == held() else None


def kill_and_return(cluster, worker):
    cluster.processes.kill(worker)
    cluster.processes.restart(worker)


def runs(cluster):
    return [run for run in cluster.api.runs(DAG) if run.kind == "backfill"]


def over(cluster):
    found = runs(cluster)
    return len(found) == len(DAYS) and all(run.state in {"success", "failed"} for run in found) and found


def metadata_bytes(cluster):
    [(size,)] = select(
        cluster,
        "select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'public' and c.relkind = 'r'",
    )
    return size


@pytest.fixture(scope="module")
def ended(cluster):
    """Run the backfill with everything that goes wrong; give the metadata database's size before it."""
    eventually(cluster, lambda: cluster.api.dag(DAG))
    before = metadata_bytes(cluster)
    with held_calls(cluster, "GetUploadDraftUrl") as held:
        cluster.api.backfill(DAG, *(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (DAYS[0], DAYS[-1])))
        cluster.api.pause(DAG, paused=False)
        kill_and_return(cluster, eventually(cluster, lambda: hanging(cluster, "shard.prepare", held)))

    eventually(cluster, lambda: emulator_says(cluster, "bill")["jobs"])
    cluster.processes.stop("redis")
    cluster.processes.restart("redis")
    cluster.processes.kill("triggerer")
    cluster.processes.restart("triggerer")

    with held_loads(cluster) as held:
        kill_and_return(cluster, eventually(cluster, lambda: hanging(cluster, "shard.load", held)))
    eventually(cluster, lambda: over(cluster), seconds=900)
    return before


@pytest.mark.usefixtures("ended")
def test_every_run_succeeds(cluster):
    assert Counter(run.state for run in runs(cluster)) == {"success": len(DAYS)}


@pytest.mark.usefixtures("ended")
def test_no_request_is_in_two_jobs(cluster):
    jobs = emulator_says(cluster, "bill?rows=1")["jobs"]
    requests = Counter(request for job in jobs for request in job["requests"])
    assert len(requests) == len(DAYS) * len(COLOURS)
    assert set(requests.values()) == {1}
    assert {job["status"] for job in jobs} == {"COMPLETED"}


@pytest.mark.usefixtures("ended")
def test_every_row_is_there_once_and_true(cluster):
    rows = select(cluster, f"select partition, image_uri, status, dominant_color from {TABLE} order by image_uri")
    expected = [
        (day, f"s3://{IMAGES}/photos/{day}/{colour}.png", "answered", colour)
        for day in DAYS
        for colour in sorted(COLOURS)
    ]
    assert rows == expected


@pytest.mark.usefixtures("ended")
def test_nothing_is_left_at_the_service_and_no_shard_is_open(cluster):
    given = cluster._service
    config = ServiceConfig(given.folder_id, given.api_key, endpoint=given.endpoint, tls=False)
    with SyncAIStudioClient(config) as client:
        assert client.list_datasets() == []
    body = cluster.s3().get_object(Bucket=WORK, Key=f"one/{DAG}/open.json")["Body"].read()
    assert b'"shards": {}' in body


@pytest.mark.usefixtures("ended")
def test_both_workers_prepared_from_folders_of_their_own(cluster):
    found = select(
        cluster,
        "select hostname from task_instance where task_id = 'shard.prepare' "
        "union select hostname from task_instance_history where task_id = 'shard.prepare'",
    )
    assert {name for (name,) in found} >= {"w1", "w2"}


@pytest.mark.usefixtures("ended")
def test_the_killed_workers_tasks_were_tried_again(cluster):
    found = select(cluster, "select task_id from task_instance_history")
    assert {task_id for (task_id,) in found} >= {"shard.prepare", "shard.load"}


def test_xcoms_are_small_and_the_metadata_grows_little(cluster, ended):
    [(largest,)] = select(cluster, "select max(octet_length(value::text)) from xcom")
    grown = (metadata_bytes(cluster) - ended) / len(DAYS)
    print(f"largest XCom: {largest} bytes; Airflow's metadata grew by {grown / 1024:.0f} KiB a run of one shard")  # noqa: T201 - for docs/deploy.md
    assert largest < XCOM_BYTES


def test_the_stand_in_refuses_stale_writes(cluster):
    """What the work folder rests on, tried on the server that stands for S3 here."""
    client = cluster.s3()
    first = client.put_object(Bucket=WORK, Key="probe", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=WORK, Key="probe", Body=b"2", IfNoneMatch="*")
    client.put_object(Bucket=WORK, Key="probe", Body=b"2", IfMatch=first)
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=WORK, Key="probe", Body=b"3", IfMatch=first)
    assert client.get_object(Bucket=WORK, Key="probe")["Body"].read() == b"2"
