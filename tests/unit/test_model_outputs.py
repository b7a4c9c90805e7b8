"""What models really write, as two people wrote it down who had not seen the parser: see the READMEs beside the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.parsing import ParsedAnswer, parse_answer

DATA = Path(__file__).resolve().parents[1] / "data"
FOLDERS = [DATA / "model_outputs", DATA / "more_model_outputs"]
QUESTIONS = {
    name: found for each in FOLDERS for name, found in yaml.safe_load((each / "schemas.yaml").read_text()).items()
}
SCHEMAS = {name: AnswerSchema.model_validate({"fields": found["fields"]}) for name, found in QUESTIONS.items()}
CORPORA = [[json.loads(line) for line in (each / "corpus.jsonl").read_text().splitlines()] for each in FOLDERS]
CORPUS = [case for corpus in CORPORA for case in corpus]


def parsed(case: dict[str, Any]) -> ParsedAnswer:
    return parse_answer(SCHEMAS[case["schema"]], case["text"], QUESTIONS[case["schema"]]["language"])


def by_column(declared: dict[str, Any], found: dict[str, Any], before: str = "") -> dict[str, Any]:
    """The right reading as columns: those of an object begin with its name."""
    columns: dict[str, Any] = {}
    for name, field in declared.items():
        if field["type"] == "object":
            columns |= by_column(field["fields"], found.get(name) or {}, f"{before}{name}_")
        else:
            columns[f"{before}{name}"] = found.get(name)
    return columns


@pytest.mark.parametrize("case", CORPUS, ids=[case["id"] for case in CORPUS])
def test_nothing_is_read_wrong(case):
    answer = parsed(case)
    if answer.status == "answered":
        assert case["expected"]["status"] != "invalid", case["why"]
        right = by_column(QUESTIONS[case["schema"]]["fields"], case["expected"]["fields"])
        assert json.loads(json.dumps(dict(answer.fields), default=str)) == right, case["why"]


@pytest.mark.parametrize("corpus", CORPORA, ids=[each.name for each in FOLDERS])
def test_a_text_that_ends_anywhere_is_read_as_it_was_or_not_at_all(corpus):
    for case in corpus:
        whole = parsed(case)
        if whole.status == "answered":
            for end in range(max(0, len(case["text"]) - 700), len(case["text"])):
                cut = parsed({**case, "text": case["text"][:end]})
                assert cut.status == "invalid" or cut.fields == whole.fields, case["text"][:end]


def test_the_corpora_do_not_share_names():
    assert len({case["id"] for case in CORPUS}) == len(CORPUS)
    assert len(QUESTIONS) == sum(len(yaml.safe_load((each / "schemas.yaml").read_text())) for each in FOLDERS)


@pytest.mark.parametrize("corpus", CORPORA, ids=[each.name for each in FOLDERS])
def test_nearly_everything_that_can_be_read_is_read(corpus, capsys):
    answerable = [case for case in corpus if case["expected"]["status"] == "answered"]
    lost = [f"{case['id']} ({case['why']})" for case in answerable if parsed(case).status == "invalid"]
    rate = 1 - len(lost) / len(answerable)
    with capsys.disabled():
        print(  # noqa: T201 - the rate is what the corpus is for
            f"\n{len(corpus)} model outputs: {len(answerable) - len(lost)} of {len(answerable)} answers read, {rate:.1%}; "
            f"not read: {', '.join(lost) or 'none'}"
        )
    assert len(corpus) >= 200
    assert rate >= 0.95
