"""DAGs that wait for the table's assets in a real Airflow: one run for each partition that becomes complete."""

import shutil
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from vision_batch.demo.pictures import draw_pictures
from vision_batch.demo.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAG, SPEED = "photo-quality", 30
TABLE = "enrichment.photo_quality"
DAYS = ("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")
CONSUMERS = f"""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

with DAG("by-partition", schedule=PartitionedAssetTimetable(assets=Asset("{TABLE}/partitions"))):
    EmptyOperator(task_id="read")
with DAG("by-table", schedule=[Asset("{TABLE}")]):
    EmptyOperator(task_id="read")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory, project) -> Iterator[Stack]:
    """Run a stack with two DAGs that wait for the assets, and a gate before these. Nothing else starts runs."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "include"):
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plugins").symlink_to(project / "plugins", target_is_directory=True)
    (folder / "dags" / "consumers.py").write_text(CONSUMERS)
    declaration = folder / "include" / "enrichments" / "photo_quality.yaml"
    text = declaration.read_text().replace('schedule: "0 0 * * *"', "schedule: null")
    declaration.write_text(f"{text}\ngate: {{min_answered: 0.4}}\n")
    environ = {"PYTHONPATH": str(project / "plugins")}
    with Stack(tmp_path_factory.mktemp("stack"), folder, speed=SPEED, environ=environ) as running:
        yield running


@pytest.fixture
def run(stack, eventually):
    """Give a function that runs the enrichment over days and gives the run's end; rows of its job may have no answer."""

    def carry_out(run_id, first, last, *, without_answer=()):
        if without_answer:
            scenario = {"name": "null_response", "params": {"rows": list(without_answer)}}
            answer = httpx.post(f"{stack.emulator_url}/_emulator/scenario", json=scenario, trust_env=False)
            answer.raise_for_status()
        stack.api.trigger(DAG, conf={"partition_from": first, "partition_to": last}, run_id=run_id)

        def over():
            stack.check()
            state = stack.api.run(DAG, run_id).state
            return state if state in {"success", "failed"} else None

        return eventually(over, seconds=240)

    return carry_out


def triggered(stack):
    """Give how many runs each partition has got, and how many the table."""
    runs = stack.api.call("GET", "/dags/by-partition/dagRuns")["dag_runs"]
    return Counter(run["partition_key"] for run in runs), len(stack.api.runs("by-table"))


def told(stack, table=TABLE):
    """Give the asset's events, oldest first."""
    events = stack.api.call("GET", "/assets/events", params={"order_by": "timestamp", "limit": 100})["asset_events"]
    return [event for event in events if event["name"] == table]


def test_each_partition_that_becomes_complete_and_passes_the_gate_starts_one_run(stack, run, eventually):
    one, two, three, four = DAYS
    draw_pictures(stack.bucket, partitions=DAYS, per_partition=2)
    for dag_id in (DAG, "by-partition", "by-table"):
        eventually(lambda dag_id=dag_id: stack.api.dag(dag_id), seconds=120)
        stack.api.pause(dag_id, paused=False)

    # One image of the first day gets no answer: only the second day is complete.
    assert run("two-days", one, two, without_answer=[0]) == "success"
    eventually(lambda: triggered(stack) == (Counter([two]), 1))
    assert run("nothing-new", two, two) == "success"

    # The gate refuses the third day; the first is complete now, and nobody is told yet.
    assert run("refused", three, three, without_answer=[1, 2]) == "failed"
    [publish] = [task for task in stack.api.tasks(DAG, "refused") if task.task_id == "publish"]
    assert (publish.state, publish.try_number) == ("failed", 1)
    assert f"1 partitions are not good enough to be announced: {three}: 0 of 2 rows are answered" in stack.api.log(
        DAG, "refused", publish
    )
    assert triggered(stack) == (Counter([two]), 1)

    # The next run settles the third day as well, and announces all three.
    assert run("next", four, four) == "success"
    eventually(lambda: triggered(stack) == (Counter(DAYS), 2))
    last = told(stack)[-1]["extra"]
    assert last == {"partitions": {day: {"answered": 2} for day in (one, three, four)}, "rows": 6}
    assert len(told(stack)) == 2
    keys = [event["partition_key"] for event in told(stack, f"{TABLE}/partitions")]
    assert (keys[0], sorted(keys[1:])) == (two, [one, three, four])
    assert run("again", one, four) == "success"
    assert triggered(stack) == (Counter(DAYS), 2)
