"""``vision-batch plan`` and ``explain`` over S3: by Airflow's connection where there is one, else by the environment."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from stand_in import Key

from vision_batch.cli import main

DAY = "2026-11-22"
DECLARATION = """
name: photos
model: gemma-3-12b-it
work_folder: s3://work-{root}/here
source: {{uri: "s3://images-{root}/photos/{{partition}}/", connection: storage}}
prompt: prompts/photos.md
answer: {{fields: {{kind: {{type: string, description: what it is}}}}}}
destination: {{path: "{folder}/w.duckdb", table: enrichment.photos}}
"""


@pytest.fixture
def include(s3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a declaration whose two pictures are equal."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    folder, root = tmp_path / "include", abs(hash(tmp_path))
    for name in ("enrichments", "prompts"):
        (folder / name).mkdir(parents=True)
    (folder / "prompts" / "photos.md").write_text("What is it?")
    (folder / "enrichments" / "photos.yaml").write_text(DECLARATION.format(root=root, folder=tmp_path))
    s3.keys["worker"] = Key("storage-secret")
    owner, body = s3.client("all"), io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(body, "PNG")
    for bucket in ("images", "work"):
        owner.create_bucket(Bucket=f"{bucket}-{root}")
    for name in ("a", "copy"):
        owner.put_object(Bucket=f"images-{root}", Key=f"photos/{DAY}/{name}.png", Body=body.getvalue())
    s3.calls.clear()
    return folder


def connected(s3, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"endpoint_url": s3.url, "region_name": "us-east-1"}
    record = {"conn_type": "aws", "login": "worker", "password": "storage-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_STORAGE", json.dumps(record))


def in_the_environment(s3) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "all",
        "AWS_SECRET_ACCESS_KEY": "secret-of-all",
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_storage_is_reached_by_airflows_connection(s3, include, monkeypatch, capsys):
    for name, value in in_the_environment(s3).items():
        monkeypatch.setenv(name, value)
    connected(s3, monkeypatch)
    assert main(["plan", "photos", "--from", DAY, "--include", str(include), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["planned"] == 2
    assert "vision-batch plan: storage from Airflow's connection 'storage'\n" in said.err
    assert {call.key_id for call in s3.calls} == {"worker"}

    uri = f"s3://images-{abs(hash(include.parent))}/photos/{DAY}/a.png"
    assert main(["explain", "photos", uri, "--include", str(include)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{uri}\n  The source has it: ")
    assert "vision-batch explain: storage from Airflow's connection 'storage'\n" in said.err


def test_without_such_a_connection_it_is_reached_by_the_environment(s3, include, monkeypatch, capsys):
    for name, value in in_the_environment(s3).items():
        monkeypatch.setenv(name, value)
    assert main(["plan", "photos", "--from", DAY, "--include", str(include)]) == 0
    said = capsys.readouterr()
    assert "2 would be asked of Gemma 3 12B in 1 jobs; 0 of them cannot be sent, 1 are copies of others in" in said.out
    assert "vision-batch plan: storage from the environment (AWS_*)\n" in said.err
    assert {call.key_id for call in s3.calls} == {"all"}


def test_without_airflow_it_is_reached_by_the_environment(s3, include, monkeypatch):
    """Where the package was installed by itself."""
    connected(s3, monkeypatch)
    program = (
        "import sys; sys.modules['airflow'] = None; from vision_batch.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", "photos", "--from", DAY, "--include", str(include), "--json"],
        env={**os.environ, **in_the_environment(s3)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["copied"] == 1
    assert "storage from the environment (AWS_*)" in done.stderr
