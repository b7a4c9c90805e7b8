"""DAGs that wait for the table's assets in a real Airflow: one run for each partition that becomes complete."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from vision_batch.demo.pictures import draw_pictures
from vision_batch.demo.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAG, SPEED = "photo-quality", 30
TABLE, MODEL = "enrichment.photo_quality", "gemma-3-12b-it"
DAYS = ("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")
CONSUMERS = f"""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

with DAG("by-partition", schedule=PartitionedAssetTimetable(assets=Asset("{TABLE}/partitions"))):
    EmptyOperator(task_id="read")
with DAG("by-table", schedule=[Asset("{TABLE}")]):
    EmptyOperator(task_id="read")
"""


class Collector(ThreadingHTTPServer):
    """Take the metrics that Airflow sends by OpenTelemetry, and add them up by name and tags."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Exported)
        self.sums = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def add(self, body):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                for point in metric.sum.data_points:
                    tags = {tag.key: tag.value.string_value for tag in point.attributes}
                    kind = tags.get("status") or tags.get("outcome") or tags.get("model")
                    self.sums[metric.name, kind] += int(point.as_double or point.as_int)


class Exported(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.add(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, project, collector) -> Iterator[Stack]:
    """Run a stack with two DAGs that wait for the assets, and a gate before these. Nothing else starts runs."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "include"):
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plugins").symlink_to(project / "plugins", target_is_directory=True)
    (folder / "dags" / "consumers.py").write_text(CONSUMERS)
    declaration = folder / "include" / "enrichments" / "photo_quality.yaml"
    text = declaration.read_text().replace('schedule: "0 0 * * *"', "schedule: null")
    declaration.write_text(f"{text}\ngate: {{min_answered: 0.4}}\n")
    environ = {
        "PYTHONPATH": str(project / "plugins"),
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{collector.server_port}/v1/metrics",
        "OTEL_METRIC_EXPORT_INTERVAL": "3600000",  # at the end of each process, and only then
    }
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


def test_each_partition_that_becomes_complete_and_passes_the_gate_starts_one_run(stack, collector, run, eventually):
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
    metered = {
        (name.rpartition(".")[2], kind): number
        for (name, kind), number in collector.sums.items()
        if ".vision_batch." in name
    }
    assert {
        what: number for what, number in metered.items() if what[0] in {"rows", "jobs", "requests", "billed_tokens"}
    } == {
        ("rows", "answered"): 8,
        ("rows", "failed"): 3,
        ("jobs", "COMPLETED"): 3,
        ("requests", MODEL): 11,
        ("billed_tokens", MODEL): 600_000,
    }
    assert metered["tokens", MODEL] + metered["wasted_tokens", MODEL] == 600_000
