"""People are told of a run that is late and of one that fails, by a notifier, in a real Airflow."""

import shutil
from collections.abc import Iterator

import pytest

from vision_batch.demo.pictures import draw_pictures
from vision_batch.demo.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: A job takes several minutes: longer than the declared deadline of one.
SPEED = 1
DAY = "2026-11-17"
NOTIFIER = """
import os

from airflow.sdk import BaseNotifier


class Told(BaseNotifier):
    template_fields = ("words",)

    def __init__(self, words):
        super().__init__()
        self.words = words

    def notify(self, context):
        with open(os.environ["TOLD"], "a") as file:
            file.write(f"{self.words}: {context['exception']}\\n")
"""
ALERTS = 'alerts: {late_after: 60, notifiers: [{type: told.Told, options: {words: "{{ dag_run.dag_id }}"}}]}\n'


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return tmp_path_factory.mktemp("told") / "told.txt"


@pytest.fixture(scope="module")
def stack(tmp_path_factory, project, told) -> Iterator[Stack]:
    """Run a stack whose declarations name a notifier that lies in the plugins folder's parent."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dags", "include"):
        shutil.copytree(project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plugins").symlink_to(project / "plugins", target_is_directory=True)
    (folder / "told.py").write_text(NOTIFIER)
    enrichments = folder / "include" / "enrichments"
    text = (enrichments / "photo_quality.yaml").read_text()
    (enrichments / "photo_quality.yaml").write_text(f"{text}\n{ALERTS}")
    failing = text.replace("name: photo-quality", "name: fails").replace("ai_studio_default", "ai_studio_wrong")
    (enrichments / "fails.yaml").write_text(f"{failing}\n{ALERTS.replace('late_after: 60, ', '')}")
    wrong = {"AIRFLOW_CONN_AI_STUDIO_WRONG": '{"conn_type": "ai_studio"}'}
    environ = {**wrong, "TOLD": str(told), "PYTHONPATH": f"{project / 'plugins'}:{folder}"}
    with Stack(tmp_path_factory.mktemp("stack"), folder, speed=SPEED, schedule=False, environ=environ) as running:
        yield running


def lines(told, start):
    return [line for line in told.read_text().splitlines() if line.startswith(start)] if told.exists() else []


def test_a_late_run_and_a_failed_one_are_told(stack, told, eventually):
    draw_pictures(stack.bucket, partitions=(DAY,), per_partition=2)
    for dag_id in ("photo-quality", "fails"):
        eventually(lambda dag_id=dag_id: stack.api.dag(dag_id))
        stack.api.pause(dag_id, paused=False)
        stack.api.trigger(dag_id, conf={"partition_from": DAY, "partition_to": DAY}, run_id=dag_id)

    [failed] = eventually(lambda: lines(told, "fails: "), seconds=200)
    assert "the plan or the claim of this run failed" in failed
    [late] = eventually(lambda: lines(told, "photo-quality: "), seconds=300)
    assert "The run photo-quality of photo-quality has not ended 0:01:00 after it was queued" in late
    assert stack.api.run("photo-quality", "photo-quality").state == "running"
