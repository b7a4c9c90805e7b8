"""What Airflow executes when it loads the plugins folder and parses the DAG files."""

import json
import os
import subprocess
import sys
from pathlib import Path

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

PARSE = """
import json, sys
import airflow.sdk, airflow.sdk.bases.operator, airflow.sdk.bases.sensor, airflow.providers.standard.operators.python
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
bag = DagBag(sys.argv[1])
heavy = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(sys.argv[2].split(",")))
print(json.dumps({"heavy": heavy, "errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""


def run(tmp_path: Path, code: str, *words: str) -> dict:
    """Run code in a fresh interpreter and give the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
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


def test_parsing_the_dag_files_imports_no_heavy_library(tmp_path):
    found = run(tmp_path, PARSE, str(PROJECT / "dags"), ",".join(HEAVY))
    assert found["errors"] == {}
    assert found["dags"] == ["ai_studio_janitor", "example-composed-by-hand", "photo-quality"]
    assert found["heavy"] == []
