"""``airflow connections test`` finds a connection wherever Airflow keeps it, and says what is wrong with it."""

import json
import shutil
import subprocess
import sys

import pytest

from vision_batch.demo.stack import EMULATOR_FOLDER_ID

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"


def tried(stack, conn_id, **environ):
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "connections", "test", conn_id],
        env={**stack.environ, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled", "COLUMNS": "500", **environ},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    said = done.stdout + done.stderr
    assert stack.keys.api_key not in said
    return done.returncode, said


def given(stack, **changes):
    """Give the stack's own connection as a record, with changes."""
    return {**json.loads(stack.environ["AIRFLOW_CONN_AI_STUDIO_DEFAULT"]), **changes}


def test_a_connection_of_the_environment(stack):
    code, said = tried(stack, "ai_studio_default")
    assert (code, "Connection success!" in said) == (0, True), said


def test_a_connection_that_was_made_in_the_user_interface(stack):
    record = given(stack)
    body = {**record, "connection_id": "from_ui", "extra": json.dumps(record["extra"])}
    stack.api.call("POST", "/connections", body=body)
    code, said = tried(stack, "from_ui")
    assert (code, "Connection success!" in said) == (0, True), said


def test_the_command_line_finds_what_was_made_in_the_user_interface(stack, project, tmp_path):
    include = tmp_path / "include"
    shutil.copytree(project / "include", include)
    path = include / "enrichments" / "photo_quality.yaml"
    path.write_text(path.read_text().replace("ai_studio_default", "with_a_price"))
    record = {"connection_id": "with_a_price", "conn_type": "ai_studio", "extra": json.dumps({"unit_price": "0.2"})}
    stack.api.call("POST", "/connections", body=record)
    done = subprocess.run(
        [sys.executable, "-m", "vision_batch.cli", "plan", "photo-quality", "--include", include, "--json"],
        env={
            **stack.environ,
            "VISION_BATCH_WORK": f"file://{tmp_path}/work",
            "VISION_BATCH_WAREHOUSE": f"{tmp_path}/w",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["price"]["money"] is not None
    assert "window and unit price from Airflow's connection 'with_a_price'" in done.stderr


def test_a_connection_of_a_secrets_backend(stack, tmp_path):
    path = tmp_path / "connections.json"
    path.write_text(json.dumps({"from_backend": given(stack)}))
    backend = {"AIRFLOW__SECRETS__BACKEND": BACKEND}
    backend["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps({"connections_file_path": str(path)})
    code, said = tried(stack, "from_backend", **backend)
    assert (code, "Connection success!" in said) == (0, True), said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong-key-of-somebody"}, "Check the API key"),
        ({"extra": {"folder_id": "b1gother", "tls": False}}, "Check folder_id 'b1gother' of the connection"),
        ({"extra": {"tls": False}}, "connection 'wrong', field 'folder_id': found nothing; allowed: the id of"),
        ({"extra": {"folder_id": EMULATOR_FOLDER_ID}}, "whether it speaks TLS"),
    ],
    ids=["key", "folder", "no folder", "tls"],
)
def test_what_is_wrong_with_a_connection_is_told(stack, changes, words):
    code, said = tried(stack, "wrong", AIRFLOW_CONN_WRONG=json.dumps(given(stack, **changes)))
    assert code == 1
    assert words in " ".join(said.split())
    assert "wrong-key-of-somebody" not in said
