"""What changes a model's window, and models that settings add: declaration, include/models.yaml, connection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from airflow.sdk import Connection

from vision_batch.dag import build_dag
from vision_batch.enrichment.declaration import Declaration, with_overrides
from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import ConnectionInputError, DeclarationError
from vision_batch.hooks.ai_studio import read_connection
from vision_batch.models import WIDER_WINDOW_TOKENS
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import image_budget_tokens

QWEN, GEMMA = "qwen2.5-vl-7b-instruct", "gemma-3-12b-it"
#: If this changes, every user of the sample declaration pays for all images again.
KEY_OF_THE_SAMPLE = "9f83aa1f699f649b22e9fec79b53db6e0f210c6d61ab202c7c4e68648025acad"


@pytest.fixture
def include(project, tmp_path) -> Path:
    return Path(shutil.copytree(project / "include", tmp_path / "include"))


@pytest.fixture
def load(include):
    def change(**values: object) -> Declaration:
        path = include / "enrichments" / "photo_quality.yaml"
        lines = path.read_text().replace(f"model: {GEMMA}", f"model: {values.pop('model', GEMMA)}")
        path.write_text(lines + "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))
        return load_declaration(path, include_folder=include, environ={})

    return change


def test_without_an_override_window_and_question_are_what_they_always_were(load):
    declaration = load()
    assert declaration.asked_model().window_tokens == 4096
    assert declaration.question_key() == KEY_OF_THE_SAMPLE


def test_a_declared_window_is_used_and_is_another_question(load):
    wider = load(model=QWEN, window_tokens=WIDER_WINDOW_TOKENS[QWEN])
    plain = wider.model_copy(update={"window_tokens": None})
    assert wider.asked_model().window_tokens == 16_384
    assert wider.question_key() != plain.question_key()
    assert image_budget_tokens(Resources(wider), {}) == image_budget_tokens(Resources(plain), {}) + 16_384 - 4096
    assert "16384 tokens" in build_dag(wider).params.get_param("model").schema["values_display"][QWEN]


def test_a_run_with_another_model_uses_that_models_own_window(load):
    other = with_overrides(load(model=QWEN, window_tokens=16_384), model=GEMMA)
    assert other.asked_model().window_tokens == 4096


@pytest.mark.parametrize("window", [0, 511, 1_000_001, "many"])
def test_a_window_that_cannot_be_is_refused_with_file_and_line(load, window):
    with pytest.raises(DeclarationError, match=r"photo_quality\.yaml, line \d+, field 'window_tokens': found"):
        load(window_tokens=window)


def connection(windows: object) -> Connection:
    extra = {"folder_id": "b1g", "window_tokens": windows}
    return Connection(conn_id="vl", conn_type="ai_studio", password="k", extra=json.dumps(extra))


@pytest.mark.parametrize("windows", [{QWEN: 16_384}, json.dumps({QWEN: 16_384}), {f"{QWEN}/latest": "16384"}])
def test_a_connection_gives_windows_by_model_and_changes_no_question(load, windows):
    config = read_connection(connection(windows))
    assert config.windows == {QWEN: 16_384}
    declaration = load(model=QWEN)
    assert Resources(declaration, config).model.window_tokens == 16_384
    assert Resources(with_overrides(declaration, model=GEMMA), config).model.window_tokens == 4096
    declared = declaration.model_copy(update={"window_tokens": 8192})
    assert Resources(declared, config).model.window_tokens == 8192


@pytest.mark.parametrize("windows", [None, "", {}])
def test_a_connection_need_not_have_windows(windows):
    assert read_connection(connection(windows)).windows == {}


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ("16384", "allowed: tokens by model, such as"),
        ("{", "allowed: tokens by model, such as"),
        ([QWEN], "allowed: tokens by model, such as"),
        ({"qwen2.5-vl-7b": 16_384}, "did you mean qwen2.5-vl-7b-instruct"),
        ({QWEN: 16}, "the window is 16; allowed: a whole number from 512"),
    ],
)
def test_a_connection_with_wrong_windows_says_what_is_allowed(windows, words):
    with pytest.raises(ConnectionInputError, match="connection 'vl', field 'window_tokens': found") as raised:
        read_connection(connection(windows))
    assert words in str(raised.value)


def test_a_model_of_the_settings_can_be_asked_and_is_known_to_its_shards(include, load):
    (include / "models.yaml").write_text("my-vl:\n  family: qwen\n  window_tokens: 8192\n  price_coefficient: 1.5\n")
    declaration = load(model="my-vl")
    model = Resources(declaration, ServiceConfig("b1g")).model
    assert (model.family, model.window_tokens, str(model.price_coefficient)) == ("qwen", 8192, "1.5")
    claimed = Declaration.model_validate(json.loads(json.dumps(declaration.model_dump(mode="json"))))
    assert claimed == declaration
    assert with_overrides(with_overrides(claimed, model=GEMMA), model="my-vl").asked_model() == model
    assert "my-vl" in build_dag(declaration).params.get_param("model").schema["enum"]


def test_adding_a_model_changes_no_other_question(include, load):
    before = load().question_key()
    (include / "models.yaml").write_text("my-vl: {family: qwen}\n")
    path = include / "enrichments" / "photo_quality.yaml"
    assert load_declaration(path, include_folder=include, environ={}).question_key() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- my-vl\n", "models.yaml, line 1: the file does not hold a mapping"),
        ("a: {family: qwen}\nb: {family: llama}\n", "models.yaml, line 2, field 'b': the family of b is 'llama'"),
        ("a: {family: qwen}\na: {family: qwen}\n", "models.yaml, line 2, field 'a': the field is there twice"),
    ],
)
def test_a_wrong_models_file_is_told_with_its_line(include, load, text, words):
    (include / "models.yaml").write_text(text)
    with pytest.raises(DeclarationError) as raised:
        load()
    assert words in str(raised.value)


def test_a_declaration_cannot_add_models_by_itself(load):
    with pytest.raises(DeclarationError, match="field 'added_models': there is no such field"):
        load(added_models={"my-vl": {"family": "qwen"}})


def test_an_empty_models_file_adds_nothing(include, load):
    (include / "models.yaml").write_text("# none yet\n")
    assert load().added_models == {}
