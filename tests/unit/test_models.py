import pickle
from decimal import Decimal

import pytest

from vision_batch.errors import InputError, UnknownModelError
from vision_batch.models import (
    MODELS,
    WIDER_WINDOW_TOKENS,
    Model,
    ModelUri,
    added_model,
    get_model,
    may_be_same_model,
    parse_model_uri,
)

EIGHT = {
    "qwen2-vl-7b-instruct": ("qwen", "0.5"),
    "qwen2.5-vl-7b-instruct": ("qwen", "0.5"),
    "qwen2.5-vl-32b-instruct": ("qwen", "2"),
    "deepseek-vl2": ("deepseek", "2"),
    "deepseek-vl2-tiny": ("deepseek", "0.5"),
    "gemma-3-4b-it": ("gemma", "0.5"),
    "gemma-3-12b-it": ("gemma", "1"),
    "gemma-3-27b-it": ("gemma", "2"),
}


def test_the_eight_models_and_their_prices():
    assert {m.id: (m.family, str(m.price_coefficient)) for m in MODELS.values()} == EIGHT
    assert list(MODELS) == list(EIGHT)
    assert {m.window_tokens for m in MODELS.values()} == {4096}
    assert all(m.licence and m.name for m in MODELS.values())


def test_wider_windows_are_of_known_models():
    assert set(WIDER_WINDOW_TOKENS) == {"qwen2-vl-7b-instruct", "qwen2.5-vl-7b-instruct"}


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("gpt://b1g/gemma-3-12b-it/", ModelUri("b1g", "gemma-3-12b-it", "")),
        ("gpt://b1g/gemma-3-12b-it", ModelUri("b1g", "gemma-3-12b-it", "")),
        ("gpt://b1g/gemma-3-12b-it/latest", ModelUri("b1g", "gemma-3-12b-it")),
        ("gpt://b1g/gemma-3-12b-it/rc", ModelUri("b1g", "gemma-3-12b-it", "rc")),
        ("gpt://b1g/qwen2.5-vl-7b-instruct/latest@tamr1", ModelUri("b1g", "qwen2.5-vl-7b-instruct", "latest", "tamr1")),
    ],
)
def test_uri_parts(uri, parts):
    assert parse_model_uri(uri) == parts


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.id)
@pytest.mark.parametrize(("branch", "suffix"), [("latest", None), ("rc", None), ("", None), ("latest", "tamr1")])
def test_uri_is_parsed_back(model, branch, suffix):
    uri = model.uri("b1gfolder", branch, suffix)
    assert parse_model_uri(uri) == ModelUri("b1gfolder", model.id, branch, suffix)
    assert get_model(uri) is model


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "gpt://",
        "gpt:///gemma-3-12b-it/latest",
        "gpt://b1g",
        "gpt://b1g/",
        "gpt://b1g//latest",
        "gpt://b1g/gemma-3-12b-it/a/b",
        "gpt://b1g/gemma-3-12b-it/latest@",
        "gpt://b1g/gemma-3-12b-it/@x",
        "gpt://b1g/gemma 3/latest",
        "emb://b1g/gemma-3-12b-it/latest",
        "b1g/gemma-3-12b-it/latest",
    ],
)
def test_what_is_no_model_uri(uri):
    with pytest.raises(InputError):
        parse_model_uri(uri)


@pytest.mark.parametrize(("folder", "branch", "suffix"), [("", "latest", None), ("a/b", "rc", None), ("b", "", "x")])
def test_uri_is_not_built_from_parts_that_break_it(folder, branch, suffix):
    with pytest.raises(InputError, match="cannot stand in a model URI"):
        MODELS["deepseek-vl2"].uri(folder, branch, suffix)


@pytest.mark.parametrize("name", ["deepseek-vl2", "deepseek-vl2/latest", "gpt://b1g/deepseek-vl2/"])
def test_model_is_found_by_id_branch_and_uri(name):
    assert get_model(name) is MODELS["deepseek-vl2"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("gemma-3-12b", "gemma-3-12b-it"),
        ("gpt://b1g/gemma3-27b-it/latest", "gemma-3-27b-it"),
        ("Qwen2.5 VL 32B", "qwen2.5-vl-32b-instruct"),
        ("deepseek-vl", "deepseek-vl2"),
    ],
)
def test_unknown_model_names_the_nearest(name, nearest):
    with pytest.raises(UnknownModelError, match=f"did you mean .*{nearest}"):
        get_model(name)


def test_unknown_model_that_is_like_none_lists_all():
    with pytest.raises(UnknownModelError, match=r"known are qwen2-vl-7b-instruct, .*gemma-3-27b-it"):
        get_model("yandexgpt")


def test_settings_can_add_a_model_by_its_family():
    mine = added_model("my-vl", {"family": "gemma"})
    assert mine == Model("my-vl", "my-vl", "gemma", Decimal(2), "unknown", window_tokens=4096)
    assert get_model("my-vl", known={**MODELS, mine.id: mine}) is mine
    assert pickle.loads(pickle.dumps(mine)) == mine


def test_settings_can_say_all_about_an_added_model():
    found = {"family": "qwen", "name": "Mine", "window_tokens": 8192, "price_coefficient": 0.5, "licence": "MIT"}
    assert added_model("my-vl", found) == Model("my-vl", "Mine", "qwen", Decimal("0.5"), "MIT", 8192)


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("gemma-3-4b-it", {"family": "gemma"}, "one of the eight"),
        ("a/b", {"family": "gemma"}, "can stand in a URI"),
        ("x", None, "the family of x is None; allowed: qwen, deepseek, gemma"),
        ("x", {"family": "llama"}, "'llama'; allowed"),
        ("x", {"family": "qwen", "windows": 1}, "x has .'windows'.; allowed: family, name"),
        ("x", {"family": "qwen", 5: 1, "windows": 1}, "x has .'5', 'windows'.; allowed: family, name"),
        ("x", {"family": "qwen", "window_tokens": "many"}, "the window is 'many'; allowed: a whole number from 512"),
        ("x", {"family": "qwen", "window_tokens": 4096.5}, "the window is 4096.5"),
        ("x", {"family": "qwen", "price_coefficient": "dear"}, "'dear'; allowed: a number"),
        ("x", {"family": "qwen", "price_coefficient": -1}, "-1; allowed: a number, 0 or more"),
        ("x", {"family": "qwen", "price_coefficient": float("nan")}, "nan; allowed: a number, 0 or more"),
        ("x", {"family": "qwen", "price_coefficient": float("inf")}, "inf; allowed: a number, 0 or more"),
    ],
)
def test_a_wrong_added_model_is_told_by_field(name, found, words):
    with pytest.raises(InputError, match=words):
        added_model(name, found)


@pytest.mark.parametrize(
    ("told", "same"),
    [
        ("gpt://b1g/gemma-3-12b-it/latest", True),
        ("gpt://b1g/gemma-3-12b-it/", True),
        ("gpt://b1g/gemma-3-12b-it", True),
        ("gpt://another/gemma-3-12b-it/latest", True),
        ("gpt://b1g/gemma-3-12b-it/2026-03-03", True),
        ("", True),
        ("gemma-3-4b-it", True),
        ("gpt://b1g/gemma-3-4b-it/latest", False),
        ("gpt://b1g/gemma-3-12b-it-tuned/latest", False),
        ("gpt://b1g/gemma-3-12b-it/rc", False),
        ("gpt://b1g/gemma-3-12b-it/latest@tamr1", False),
    ],
)
def test_what_the_service_says_of_a_model_counts_where_it_contradicts(told, same):
    assert may_be_same_model("gpt://b1g/gemma-3-12b-it/latest", told) is same
    assert may_be_same_model("gpt://b1g/gemma-3-12b-it/rc", "gpt://b1g/gemma-3-12b-it/") is False
