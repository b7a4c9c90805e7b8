"""Drive the services that ``native.py`` runs, as a person would, and write a report. Started by ``test_natively.py``."""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from native import DAG, DAYS, Native, name_services, raise_loopback, until
from PIL import Image

from vision_batch.demo.airflow_api import AirflowApi

COLOURS = ("red", "green", "blue", "white")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2")


def bring_up(native: Native, report: dict[str, Any]) -> None:
    """Start everything in the order that the file asks for."""
    native.start_postgres()
    native.start_redis()
    native.start_storage()
    native.start("emulator")
    until(lambda: native.health("emulator") == 0, "emulator", native.processes)
    for _ in range(2):  # `docker compose up` again runs it again
        init = native.run("init", native.services["init"].command)
        report.setdefault("init", []).append([init.returncode, (init.stdout + init.stderr)[-3000:]])
    for name in AIRFLOW:
        native.start(name, stage=2 + AIRFLOW.index(name) // 4)
    for name in AIRFLOW:
        until(lambda name=name: native.health(name) == 0, name, native.processes)
    report["healthy"] = [name for name in (*AIRFLOW, "emulator") if native.health(name) == 0]


def log_in(native: Native, report: dict[str, Any]) -> AirflowApi:
    """Log in with the generated password; others are refused."""
    url = "http://api-server:8080"

    def token(password: str) -> httpx.Response:
        return httpx.post(f"{url}/auth/token", json={"username": "admin", "password": password}, trust_env=False)

    report["wrong_password"] = token("admin").status_code
    report["no_password"] = httpx.get(f"{url}/api/v2/dags", trust_env=False).status_code
    api = AirflowApi(url)
    api._token = token(native.settings["ADMIN_PASSWORD"]).json()["access_token"]
    return api


def backfill(native: Native, api: AirflowApi, report: dict[str, Any]) -> None:
    """Place pictures, run three days, wait."""
    bucket, storage = native.settings["IMAGES_BUCKET"], native.storage()
    for day in DAYS:
        for number, colour in enumerate(COLOURS):
            body = io.BytesIO()
            Image.new("RGB", (40 + int(day[-2:]), 30 + number), colour).save(body, "PNG")
            storage.put_object(Bucket=bucket, Key=f"photos/{day}/{colour} 1.png", Body=body.getvalue())
    until(lambda: api.dag(DAG), "dag-processor", native.processes)
    report["import_errors"] = api.import_errors()
    days = [datetime.fromisoformat(f"{day}T01:00:00+03:00").astimezone(UTC) for day in (DAYS[0], DAYS[-1])]
    api.backfill(DAG, *days)
    api.pause(DAG, paused=False)

    def over() -> bool:
        runs = [run for run in api.runs(DAG) if run.kind == "backfill"]
        return len(runs) == len(DAYS) and all(run.state in {"success", "failed"} for run in runs)

    until(over, "scheduler", native.processes, seconds=500)
    runs = [run for run in api.runs(DAG) if run.kind == "backfill"]
    report["runs"] = [run.state for run in runs]
    report["task_log"] = api.call(
        "GET", f"/dags/{DAG}/dagRuns/{runs[0].run_id}/taskInstances/plan/logs/1", params={"full_content": "true"}
    )


def ask(native: Native, report: dict[str, Any]) -> None:
    """Run the commands of docs/deploy.md in a worker's container, as ``docker compose exec`` does."""
    uri = f"s3://{native.settings['IMAGES_BUCKET']}/photos/{DAYS[0]}/red 1.png"
    for words in (
        ("plan", DAG, "--from", DAYS[0], "--to", DAYS[-1], "--json"),
        ("explain", DAG, uri),
        ("export", DAG, "--to", "/opt/airflow/answers.jsonl"),
    ):
        done = native.run("worker-1", ("vision-batch", *words))
        report.setdefault("asked_by_hand", {})[words[0]] = [done.returncode, done.stdout, done.stderr[-3000:]]


def look(native: Native, report: dict[str, Any]) -> None:
    """Write down what is in the databases, the storage and the bill."""
    password = native.settings["WAREHOUSE_PASSWORD"]
    with psycopg.connect(host="postgres", user="warehouse", password=password, dbname="warehouse") as db:
        report["rows"] = db.execute(
            "select partition, image_uri, status, dominant_color from enrichment.product_photos order by image_uri"
        ).fetchall()
    for user, database in (("warehouse", "airflow"), ("airflow", "warehouse")):
        name = "AIRFLOW_DATABASE_PASSWORD" if user == "airflow" else "WAREHOUSE_PASSWORD"
        try:
            psycopg.connect(host="postgres", user=user, password=native.settings[name], dbname=database).close()
        except psycopg.OperationalError as error:
            report[f"{user}_in_{database}"] = str(error)
    with psycopg.connect(
        host="postgres", user="airflow", password=native.settings["AIRFLOW_DATABASE_PASSWORD"], dbname="airflow"
    ) as db:
        report["hostnames"] = [name for (name,) in db.execute("select distinct hostname from task_instance").fetchall()]
    jobs = httpx.get("http://emulator:4712/_emulator/bill?rows=1", trust_env=False).json()["jobs"]
    report["asked"] = Counter(request for job in jobs for request in job["requests"])
    found = native.storage().list_objects_v2(Bucket=native.settings["WORK_BUCKET"], Prefix="airflow-logs/")
    report["logs_in_storage"] = found["KeyCount"]
    report["commands"] = {name: list(native.services[name].command) for name in (*AIRFLOW, "emulator", "init")}
    report["megabytes"] = {name: _memory(native.processes.pid(name)) for name in (*AIRFLOW, "emulator")}


def _memory(pid: int) -> int:
    process = psutil.Process(pid)
    members = [process, *process.children(recursive=True)]
    return round(sum(member.memory_full_info().pss for member in members) / 1e6)


def main() -> None:
    """Do it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    raise_loopback()
    native = Native(options.project, options.folder)
    name_services([*native.services], options.folder)
    report: dict[str, Any] = {}
    try:
        bring_up(native, report)
        api = log_in(native, report)
        backfill(native, api, report)
        ask(native, report)
        look(native, report)
    finally:
        native.processes.stop_all()
        (options.folder / "report.json").write_text(json.dumps(report, indent=1, default=str))


if __name__ == "__main__":
    main()
