"""``vision-batch parse``: a line for each text, and a clear word about lines that are none."""

from __future__ import annotations

import io
import json
import sys

import pytest

from vision_batch import cli

DECLARATION = """\
name: tags
model: gemma-3-12b-it
work_folder: var/work
source: {uri: "s3://shop/photos/{partition}/"}
prompt: prompts/tags.md
language: ru
answer:
  fields:
    price: {type: number, description: цена, unit: руб.}
    sold: {type: date, description: дата}
    colours: {type: list, items: string, description: цвета}
    size: {type: object, description: размер, fields: {width: {type: integer, description: ширина}}}
    maker: {type: object, store: json, description: кто, fields: {since: {type: date, description: с}}}
destination: {path: w.duckdb, table: enrichment.tags}
"""
TEXTS = [
    "```json\n{'price': '1 299,50 ₽', 'sold': '03.04.2026', 'colours': ['белый',], 'size': {'width': 7},\n'maker': {'since': '01.04.1999'}}\n```",
    "Не вижу.",
    '{"price": "1,234"}',
]
PARSED = [
    {
        "status": "answered",
        "fields": {
            "price": 1299.5,
            "sold": "2026-04-03",
            "colours": ["белый"],
            "size_width": 7,
            "maker": {"since": "1999-04-01"},
        },
        "error": None,
    },
    {"status": "invalid", "fields": {}, "error": "the text holds no JSON object with one of the declared fields"},
    {
        "status": "invalid",
        "fields": {},
        "error": "field 'price' is \"1,234\"; allowed: a number, in руб. or without a unit",
    },
]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """The file of texts, beside an enrichment."""
    for folder in ("enrichments", "prompts"):
        (tmp_path / "include" / folder).mkdir(parents=True)
    (tmp_path / "include" / "prompts" / "tags.md").write_text("Что на ценнике?")
    (tmp_path / "include" / "enrichments" / "tags.yaml").write_text(DECLARATION)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def printed(capsys) -> list[dict]:
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def test_each_text_has_its_line(texts, capsys):
    assert cli.main(["parse", "tags", "--in", str(texts)]) == 0
    assert printed(capsys) == PARSED


def test_texts_may_come_from_standard_input(texts, capsys, monkeypatch):
    lines = b"\n" + texts.read_bytes().replace(b"\n", b"\r\n") + b"  \n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert cli.main(["parse", "tags", "--in", "-"]) == 0
    assert printed(capsys) == PARSED


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"text": 1}', 'texts.jsonl, line 2: there is no text; write each line like {"text": "..."}'),
        (b"[]", "texts.jsonl, line 2: there is no text"),
        (b"text", "texts.jsonl, line 2: this is not JSON: Expecting value"),
        (b"[" * 100_000, "texts.jsonl, line 2: this is not JSON"),
        (b"\xff", "texts.jsonl, line 2: this is not UTF-8 text"),
    ],
)
def test_a_line_that_is_no_text_is_named(texts, capsys, line, words):
    texts.write_bytes(b'\xef\xbb\xbf{"text": "{}"}\n' + line + b"\n")
    assert cli.main(["parse", "tags", "--in", str(texts)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err.startswith(f"vision-batch parse: {words}")
    assert err.count("\n") == 1


def test_no_such_file_or_enrichment(texts, capsys):
    assert cli.main(["parse", "tags", "--in", "nothing.jsonl"]) == 2
    assert capsys.readouterr().err == "vision-batch parse: nothing.jsonl cannot be read: No such file or directory\n"
    assert cli.main(["parse", "tgas", "--in", str(texts)]) == 2
    assert "there is no enrichment 'tgas'" in capsys.readouterr().err
