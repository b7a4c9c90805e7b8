"""Every command, health check and environment of our own image in docker-compose.yml, run without Docker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from composition import read_services, read_settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")
COLOURS = ("blue", "green", "red", "white")
SHELL = ("unshare", "--net", "--mount", "--uts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, project) -> Path:
    """Run it all once in namespaces of its own; give the folder with the report."""
    if shutil.which("unshare") is None or not (project / "var" / "redis").exists():
        pytest.fail("this needs Linux with util-linux, and Redis: run `make test-cluster`")
    folder = tmp_path_factory.mktemp("compose")
    own = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    here = Path(__file__).parent
    done = subprocess.run(
        [*SHELL, *own, sys.executable, here / "drive.py", "--project", project, "--folder", folder],
        env={**os.environ, "PYTHONPATH": f"{project / 'plugins'}{os.pathsep}{here}"},
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


@pytest.fixture(scope="module")
def report(folder) -> dict:
    found = json.loads((folder / "report.json").read_text())
    print("memory in MB, idle after a backfill:", found["megabytes"])  # noqa: T201 - a figure of docs/deploy.md
    return found


def test_every_command_of_our_image_was_run_as_it_is_written(project, folder, report):
    services = read_services(project, read_settings(folder / ".env"))
    ours = {name: list(service.command) for name, service in services.items() if service.is_ours}
    assert report["commands"] == ours
    assert set(report["healthy"]) == set(ours) - {"init"}


def test_the_first_step_may_be_repeated(report):
    assert [code for code, _ in report["init"]] == [0, 0]
    for _, said in report["init"]:
        assert "good   storage s3://vision-batch-images/photos/: it can be listed" in said
        assert "good   storage s3://vision-batch-work/vision-batch: it refuses stale writes" in said


def test_only_the_generated_password_lets_a_person_in(report):
    assert (report["wrong_password"], report["no_password"]) == (401, 401)


def test_a_backfill_runs_on_both_workers_and_every_row_is_there_once(report):
    assert report["import_errors"] == []
    assert report["runs"] == ["success"] * len(DAYS)
    assert set(report["hostnames"]) >= {"worker-1", "worker-2"}
    assert [tuple(row) for row in report["rows"]] == [
        (day, f"s3://vision-batch-images/photos/{day}/{colour} 1.png", "answered", colour)
        for day in DAYS
        for colour in COLOURS
    ]
    assert set(report["asked"].values()) == {1}


def test_commands_in_a_workers_container_reach_what_its_tasks_do(report):
    said = report["asked_by_hand"]
    assert [code for code, *_ in said.values()] == [0, 0, 0], said
    rows = len(DAYS) * len(COLOURS)
    assert (json.loads(said["plan"][1])["settled"], json.loads(said["plan"][1])["planned"]) == (rows, 0)
    assert "  The source has it: " in said["explain"][1]
    assert said["export"][1] == f"{rows} answers of product-photos in /opt/airflow/answers.jsonl\n"
    for words in (
        "storage from Airflow's connection 'aws_default'",
        "destination from Airflow's connection 'warehouse'",
    ):
        assert words in said["plan"][2]


def test_neither_database_lets_the_others_role_in(report):
    assert "permission denied for database" in report["warehouse_in_airflow"]
    assert "permission denied for database" in report["airflow_in_warehouse"]


def test_task_logs_are_in_object_storage_and_shown(report):
    assert report["logs_in_storage"] > 0
    assert "Plan:" in json.dumps(report["task_log"])


def test_no_secret_is_in_a_log(folder, project):
    example = read_settings(project / ".env.example")
    secrets = {name: value for name, value in read_settings(folder / ".env").items() if value and not example[name]}
    logs = [*(folder / "log").iterdir(), *(folder / "containers").glob("*/opt-airflow/logs/**/*.log")]
    assert len(logs) > 10
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [name for name, value in secrets.items() if value in text], path
