"""What ``vision-batch plan`` takes from Airflow's connections, and what it does without."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vision_batch.cli import COMMANDS, main

DAY = "2026-11-22"


@pytest.fixture
def words(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the words of a plan for one picture, large enough for any window."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("VISION_BATCH_IMAGES", f"file://{tmp_path}/bucket")
    monkeypatch.setenv("VISION_BATCH_WORK", f"file://{tmp_path}/work")
    monkeypatch.setenv("VISION_BATCH_WAREHOUSE", f"{tmp_path}/warehouse.duckdb")
    folder = tmp_path / "bucket" / DAY
    folder.mkdir(parents=True)
    Image.new("RGB", (4000, 4000)).save(folder / "a.png")
    include = str(project / "include")
    return ["plan", "photo-quality", "--include", include, "--from", DAY, "--model", "qwen2.5-vl-7b-instruct"]


def test_window_and_price_are_the_connections_though_it_has_no_key(words, monkeypatch, capsys):
    """Whoever may not ask the service may still know what that would cost."""
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    before = json.loads(said.out)["price"]
    assert (before["money"], before["tokens"] < 4096) == (None, True)
    assert "vision-batch plan: window and unit price from the table of models, which has no price\n" in said.err

    extra = {"unit_price": "0.2", "window_tokens": {"qwen2.5-vl-7b-instruct": 16384}}
    monkeypatch.setenv("AIRFLOW_CONN_AI_STUDIO_DEFAULT", json.dumps({"conn_type": "ai_studio", "extra": extra}))
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)["price"]
    assert found["tokens"] > 4096
    assert float(found["money"]) == float(found["units"]) * 0.2
    assert "vision-batch plan: window and unit price from Airflow's connection 'ai_studio_default'\n" in said.err

    assert main([*words, "--json", "--unit-price", "0.5"]) == 0
    assert float(json.loads(capsys.readouterr().out)["price"]["money"]) == float(found["units"]) * 0.5


def test_a_connection_that_is_there_and_wrong_is_told(words, monkeypatch, capsys):
    extra = {"window_tokens": {"qwen": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_AI_STUDIO_DEFAULT", json.dumps({"conn_type": "ai_studio", "extra": extra}))
    assert main(words) == 2
    assert "connection 'ai_studio_default', field 'window_tokens': found" in capsys.readouterr().err


def test_a_connection_of_a_secrets_backend_is_found_and_nothing_else_is_printed(words, tmp_path):
    """As a person types it: what Airflow logs is not on standard output."""
    path = tmp_path / "connections.json"
    path.write_text(json.dumps({"ai_studio_default": {"conn_type": "ai_studio", "extra": {"unit_price": "0.2"}}}))
    backend = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(path)}),
        "AIRFLOW_HOME": str(tmp_path / "home"),
    }
    environ = {name: value for name, value in os.environ.items() if name != "_AIRFLOW_PROCESS_CONTEXT"}
    done = subprocess.run(
        [sys.executable, "-m", "vision_batch.cli", *words, "--json"],
        env={**environ, **backend},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["price"]["money"] is not None
    assert "window and unit price from Airflow's connection 'ai_studio_default'" in done.stderr


def test_every_command_can_be_carried_out_and_says_what_it_is_for(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for name, _, text in COMMANDS:
        assert f"{name} " in told
        assert text in told
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert name in capsys.readouterr().out


COMMANDS_OF_AN_ENRICHMENT = (["plan"], ["explain", "x"], ["export", "--to", "x.csv"], ["parse", "--in", "x.jsonl"])


@pytest.mark.parametrize("command", COMMANDS_OF_AN_ENRICHMENT, ids=lambda words: words[0])
def test_an_enrichment_that_is_not_there_is_told_with_what_to_do(command, project, capsys):
    include = str(project / "include")
    name, *rest = command
    said = (
        f"vision-batch {name}: there is no enrichment 'photo_quality.yaml' in {include}; did you mean 'photo-quality'?"
    )
    assert main([name, "photo_quality.yaml", *rest, "--include", include]) == 2
    assert said in capsys.readouterr().err
    assert main([name, "photo-quality", *rest, "--include", "nowhere"]) == 2
    told = capsys.readouterr()
    assert told.err == f"vision-batch {name}: there is no folder nowhere/enrichments; name its parent with --include\n"
    assert told.out == ""


def test_connections_of_no_declaration_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["connections", "--include", "nowhere"])
    assert ended.value.code == 2
    assert "there are no declarations in nowhere/enrichments" in capsys.readouterr().err


def test_a_warehouse_that_is_none_is_told_without_a_traceback(words, tmp_path, capsys):
    (tmp_path / "warehouse.duckdb").write_text("no database")
    include = words[3]
    for command in (words, ["export", "photo-quality", "--to", str(tmp_path / "a.csv"), "--include", include]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert f"vision-batch {command[0]}: IOException: " in said.err
        assert "not a valid DuckDB database file" in said.err


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("nowhere/a.csv", "there is no folder 'nowhere' for the file 'a.csv'; make it first"),
        ("folder.csv", "'folder.csv' is a folder; name a file"),
    ],
)
def test_a_place_where_no_file_can_be_is_told(to, message, words, tmp_path, capsys):
    with contextlib.chdir(tmp_path):
        Path("folder.csv").mkdir()
        assert main(["export", "photo-quality", "--to", to, "--include", words[3]]) == 2
    assert capsys.readouterr().err.endswith(f"vision-batch export: {message}\n")


def test_whoever_has_read_enough_sees_no_error(project, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "no"}\n' * 20_000)
    sizes = " ".join(f"1{number}x20" for number in range(500))
    for words in (
        f"parse photo-quality --in {tmp_path}/texts.jsonl --include {project}/include",
        f"tokens all {sizes} --json",
    ):
        command = f"{sys.executable} -m vision_batch.cli {words} | head -1 >&2; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 141
        assert len(done.stderr.splitlines()) == 1


def test_answers_in_russian_are_utf_8_whatever_the_locale(project, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "{\\"orientation\\": \\"square\\", \\"price_text\\": \\"Ёж\\"}"}\n')
    command = [
        sys.executable,
        "-m",
        "vision_batch.cli",
        "parse",
        "photo-quality",
        "--in",
        str(tmp_path / "texts.jsonl"),
    ]
    done = subprocess.run(
        [*command, "--include", str(project / "include")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
        timeout=100,
    )
    assert json.loads(done.stdout.decode())["fields"]["price_text"] == "Ёж"


def test_faults_of_ours_keep_their_traceback(monkeypatch):
    def broken(_: object) -> int:
        raise KeyError("ours")

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("vision_batch.images.report.run", broken)
    with pytest.raises(KeyError, match="ours"):
        main(["tokens"])
    monkeypatch.setattr("vision_batch.images.report.run", interrupted)
    assert main(["tokens"]) == 130
