"""What Airflow executes when it loads the plugins folder and parses the DAG files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = (
    "PIL",
    "pyarrow",
    "duckdb",
    "grpc",
    "numpy",
    "boto3",
    "yandex",
    "httpx",
    "jwt",
    "psycopg",
    "clickhouse_connect",
    "redshift_connector",
)

LOAD_PLUGINS = """
import json, sys
from airflow import plugins_manager, settings
plugins_manager.ensure_plugins_loaded()
package = settings.PLUGINS_FOLDER + "/vision_batch/"
executed = [name for name, module in sys.modules.items() if (getattr(module, "__file__", None) or "").startswith(package)]
print(json.dumps({"errors": plugins_manager.get_import_errors(), "executed": executed}))
"""

LISTENERS = """
import json
from airflow.listeners.listener import get_listener_manager
print(json.dumps([found.plugin_name for found in get_listener_manager().hook.on_task_instance_failed.get_hookimpls()]))
"""

PARSE = """
import json, sys
import airflow.sdk, airflow.sdk.bases.operator, airflow.sdk.bases.sensor, airflow.providers.standard.operators.python
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
bag = DagBag(sys.argv[1])
heavy = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(sys.argv[2].split(",")))
print(json.dumps({"heavy": heavy, "errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""


def run(tmp_path: Path, code: str, *words: str, **environ: str) -> Any:
    """Run code in a fresh interpreter and give the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_plugin_loader_executes_no_module_of_the_package_under_its_bare_name(tmp_path):
    """Without .airflowignore it would put our ``types`` in the place of Python's own."""
    found = run(tmp_path, LOAD_PLUGINS)
    assert found["errors"] == {}
    assert [name for name in found["executed"] if not name.startswith("vision_batch")] == []


def test_the_installed_package_listens_to_marks_without_a_plugins_folder(tmp_path):
    """A mark that no triggerer has heard of cancels nothing otherwise."""
    found = run(tmp_path, LISTENERS, AIRFLOW__CORE__PLUGINS_FOLDER=str(tmp_path), AIRFLOW__CORE__LOAD_EXAMPLES="False")
    assert found == ["vision_batch.triggers.kills"]


def test_parsing_the_dag_files_imports_no_heavy_library(tmp_path):
    found = run(tmp_path, PARSE, str(PROJECT / "dags"), ",".join(HEAVY))
    assert found["errors"] == {}
    assert found["dags"] == ["ai_studio_janitor", "example-composed-by-hand", "photo-quality"]
    assert found["heavy"] == []


def test_declarations_may_lie_in_the_folder_of_dag_files(tmp_path):
    """As docs/deploy.md says for services that copy nothing else to their workers."""
    dags = tmp_path / "dags"
    dags.mkdir()
    for name in ("enrichments.py", "ai_studio_janitor.py"):
        shutil.copy(PROJECT / "dags" / name, dags)
    shutil.copytree(PROJECT / "include", dags / "include")
    found = run(tmp_path, PARSE, str(dags), "", VISION_BATCH_INCLUDE="include")
    assert (found["errors"], found["dags"]) == ({}, ["ai_studio_janitor", "photo-quality"])
    found = run(tmp_path, PARSE, str(dags), "")
    assert len(found["errors"]) == 2
    assert all("put it in there and set VISION_BATCH_INCLUDE to 'include'" in told for told in found["errors"].values())
