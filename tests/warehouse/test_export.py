"""``vision-batch export`` as a person types it."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from places import Place, answers

from vision_batch.cli import main
from vision_batch.enrichment.reader import load_declaration
from vision_batch.steps.table import table_spec

YAML = """
name: photos
model: qwen2.5-vl-32b-instruct
work_folder: var/work
source: {{uri: "file:///photos/{{partition}}/"}}
destination: {destination}
prompt: prompts/photos.md
answer:
  fields:
    kind: {{type: string, description: what it is}}
    day: {{type: date, description: the day}}
    words: {{type: list, items: string, description: the words}}
"""
FILE_OF = {"duckdb": "{{type: duckdb, path: {url}, table: enrichment.photos}}"}
SERVER = "{{type: {kind}, connection: dwh, table: enrichment.photos{more}}}"


@pytest.fixture
def include(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a declaration whose table has two present answers and one earlier."""
    folder = tmp_path / "include"
    (folder / "enrichments").mkdir(parents=True)
    (folder / "prompts").mkdir()
    (folder / "prompts" / "photos.md").write_text("What is it?")
    more = ", staging: s3://shop/staging/" if place.kind == "redshift" else ""
    destination = FILE_OF.get(place.kind, SERVER).format(url=place.url, kind=place.kind, more=more)
    path = folder / "enrichments" / "photos.yaml"
    path.write_text(YAML.format(destination=destination))
    if place.kind != "duckdb":
        monkeypatch.setenv("VISION_BATCH_DSN", place.url)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")  # there is no database of Airflow's to look into
    spec = table_spec(load_declaration(path, include_folder=folder, environ={}))
    warehouse = place.open()
    warehouse.ensure_table(spec)
    rows = [
        {"item_key": "a", "kind": "", "day": date(2026, 11, 22), "words": ["a", 'ж "b"']},
        {"item_key": "b", "raw_text": 'Ж "🙂"\n'},
    ]
    warehouse.load(spec, answers(spec, rows))
    warehouse.load(spec, answers(spec, [{"item_key": "a", "kind": "earlier", "question_key": "q0"}]))
    return folder


def exported(include: Path, to: Path, *more: str) -> int:
    return main(["export", "photos", "--to", str(to), "--include", str(include), *more])


def test_a_parquet_file_has_the_tables_types(include: Path, capsys):
    file = include.parent / "a.parquet"
    assert exported(include, file) == 0
    assert capsys.readouterr().out == f"2 answers of photos in {file}\n"
    found = {row["item_key"]: row for row in pq.read_table(file).to_pylist()}
    assert (found["a"]["kind"], found["a"]["day"], found["b"]["kind"]) == ("", date(2026, 11, 22), None)
    assert found["a"]["words"] == ["a", 'ж "b"']
    assert found["a"]["asked_at"].isoformat() == "2026-11-22T12:00:00+00:00"


def test_csv_tells_an_empty_text_from_none(include: Path):
    file = include.parent / "a.CSV"
    assert exported(include, file) == 0
    assert '"a",,"",2026-11-22,' in file.read_text(encoding="utf-8")
    with file.open(encoding="utf-8", newline="") as text:
        found = {row["item_key"]: row for row in csv.DictReader(text)}
    assert found["b"]["raw_text"] == 'Ж "🙂"\n'
    assert json.loads(found["a"]["words"]) == ["a", 'ж "b"']


def test_jsonl_with_every_question(include: Path):
    file = include.parent / "a.jsonl"
    assert exported(include, file, "--every-question") == 0
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted((row["item_key"], row["kind"] or "") for row in found) == [("a", ""), ("a", "earlier"), ("b", "")]
    assert ["a", 'ж "b"'] in [row["words"] for row in found]


def test_what_cannot_be_exported_is_explained_and_leaves_no_file(include: Path, place: Place, capsys, monkeypatch):
    assert exported(include, include.parent / "a.xlsx") == 2
    assert "'a.xlsx' has no known ending; allowed: .parquet, .csv, .jsonl" in capsys.readouterr().err
    assert main(["export", "photo", "--to", "x.csv", "--include", str(include)]) == 2
    assert "there is no enrichment 'photo' in" in capsys.readouterr().err
    if place.kind != "duckdb":
        monkeypatch.delenv("VISION_BATCH_DSN")
        assert exported(include, include.parent / "a.csv") == 2
        assert "the destination is Airflow's connection 'dwh', which is not known here: " in capsys.readouterr().err
        monkeypatch.setenv("AIRFLOW_CONN_DWH", place.url)
        assert exported(include, include.parent / "b.csv") == 0
        assert "vision-batch export: destination from Airflow's connection 'dwh'\n" in capsys.readouterr().err
        monkeypatch.setenv("AIRFLOW_CONN_DWH", "postgres://nobody@127.0.0.1:9/nothing")
        assert exported(include, include.parent / "b.csv", "--dsn", place.url) == 0
        assert "vision-batch export: destination from the given address\n" in capsys.readouterr().err
    assert [path.name for path in include.parent.iterdir() if path.name.startswith((".", "a."))] == []
