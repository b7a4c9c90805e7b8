"""``vision-batch connections``: what is well, what is not, and no secret in either."""

from __future__ import annotations

import json

import pytest
from stand_in import Key

from vision_batch.hooks.connections import run

DECLARATION = """
name: photos
model: gemma-3-12b-it
connection: studio
work_folder: s3://work-{root}/here
source: {{uri: "s3://images-{root}/photos/{{partition}}/", connection: storage}}
prompt: prompts/photos.md
answer: {{fields: {{kind: {{type: string, description: what it is}}}}}}
destination: {{path: "{folder}/w.duckdb", table: enrichment.photos}}
"""
SECRETS = ("studio-key", "storage-secret", "wrong-key")


@pytest.fixture
def include(tmp_path):
    folder = tmp_path / "include"
    for name in ("enrichments", "prompts"):
        (folder / name).mkdir(parents=True)
    (folder / "prompts" / "photos.md").write_text("What is it?")
    text = DECLARATION.format(root=abs(hash(tmp_path)), folder=tmp_path)
    (folder / "enrichments" / "photos.yaml").write_text(text)
    return folder


@pytest.fixture
def tried(s3, emulator, include, monkeypatch, capsys):
    """Give a function that runs the command, with one of the connections as given."""
    running = emulator("--api-key", "studio-key")
    s3.keys["worker"] = Key("storage-secret")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")

    def run_with(*words, api_key="studio-key", secret="storage-secret"):
        studio = {"folder_id": "b1gtests", "tls": False}
        storage = {"endpoint_url": s3.url, "region_name": "us-east-1"}
        connections = {
            "STUDIO": {"conn_type": "ai_studio", "host": running.grpc, "password": api_key, "extra": studio},
            "STORAGE": {"conn_type": "aws", "login": "worker", "password": secret, "extra": storage},
        }
        for name, connection in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        code = run(["--include", str(include), *words])
        said = capsys.readouterr()
        assert not [secret for secret in SECRETS if secret in said.out + said.err]
        lines = [line for line in said.out.splitlines() if line.startswith(("good", "FAILED"))]
        return code, [line.partition(": ")[::2] for line in lines]

    return run_with


def test_buckets_are_made_when_asked_for_and_all_is_tried(tried):
    code, lines = tried("--only", "storage")
    assert code == 1
    assert all("there is no such bucket at this storage" in words for _, words in lines)
    for _ in range(2):
        code, lines = tried("--make-buckets")
        assert code == 0
        assert [words for _, words in lines] == [
            "AI Studio answers: 0 datasets in the folder.",
            "it can be listed, and nothing is there yet",
            "it refuses stale writes",
            "it lets us in",
        ]
        assert all(what.startswith("good ") for what, _ in lines)


def test_what_is_wrong_is_told_beside_what_is_well(tried, s3):
    tried("--make-buckets", "--only", "storage")
    code, lines = tried(api_key="wrong-key")
    assert code == 1
    assert [what.split()[0] for what, _ in lines] == ["FAILED", "good", "good", "good"]
    assert "Check the API key" in lines[0][1]
    code, lines = tried(secret="wrong-key")
    assert [what.split()[0] for what, _ in lines] == ["good", "FAILED", "FAILED", "good"]
    assert "the storage refuses the connection's key" in lines[1][1]
    s3.ignores = {"HTTP_IF_NONE_MATCH"}
    code, lines = tried("--only", "storage")
    s3.ignores = set()
    assert code == 1
    assert "cannot be a work folder" in lines[1][1]


def test_a_broken_declaration_is_told_and_the_others_are_tried(tried, include):
    (include / "enrichments" / "broken.yaml").write_text("name: broken\n")
    code, lines = tried("--make-buckets")
    assert code == 1
    assert len(lines) == 4
