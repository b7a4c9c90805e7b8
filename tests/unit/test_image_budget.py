import json
import math
import random
import string
from pathlib import Path

import pytest

from vision_batch.errors import ImageRejected
from vision_batch.images import deepseek, gemma, qwen
from vision_batch.images.budget import (
    Budget,
    fit,
    image_tokens,
    prompt_tokens,
    text_tokens_lower_bound,
    text_tokens_upper_bound,
)
from vision_batch.models import MODELS, get_model

SAMPLE = json.loads((Path(__file__).parent / "data" / "vision_tokens_sample.json").read_text(encoding="utf-8"))
MODES = {
    "default": {},
    "tiled (1-2 images)": {},
    "untiled (3+ images)": {"images": 3},
    "default (pan-and-scan off)": {},
    "pan-and-scan on": {"pan_and_scan": True},
}
CASES = [
    pytest.param(model, row, id=f"{model}-{row['width']}x{row['height']}-{row['mode']}")
    for row in SAMPLE["rows"]
    for model in SAMPLE["meta"]["models"][row["family"]]
]


@pytest.mark.parametrize(("model", "row"), CASES)
def test_every_row_of_the_real_processors_sample_is_exact(model, row):
    size = (row["width"], row["height"])
    mode = MODES[row["mode"]]
    if row["status"] == "rejected":
        with pytest.raises(ImageRejected, match="aspect_ratio"):
            image_tokens(get_model(model), *size, **mode)
        return
    assert image_tokens(get_model(model), *size, **mode) == row["image_tokens"]
    assert prompt_tokens(get_model(model), *size, **mode) == row["prompt_tokens"]


@pytest.mark.parametrize(("model", "row"), [case for case in CASES if case.values[1]["family"] == "deepseek-vl2"])
def test_grid_is_the_one_the_real_processor_chose(model, row):  # noqa: ARG001
    if "3+" not in row["mode"]:
        assert list(deepseek.chosen_grid(row["width"], row["height"])) == row["grid"]


@pytest.mark.parametrize(("model", "row"), [case for case in CASES if case.values[1]["status"] != "ok"])
def test_sizes_that_some_version_refuses_are_never_sent_as_they_are(model, row):
    size = (row["width"], row["height"])
    target = fit(get_model(model), *size, 4096)
    assert target != size
    short, long = sorted(target)
    assert short >= (28 if row["family"] == "qwen-vl" else 1)
    assert long <= (200 if row["family"] == "qwen-vl" else 767) * short


@pytest.mark.parametrize(
    ("model", "budget", "size", "target"),
    [
        ("qwen2-vl-7b-instruct", 3302, (4032, 3024), (1848, 1400)),
        ("qwen2-vl-7b-instruct", 3302, (640, 480), (640, 480)),
        ("qwen2-vl-7b-instruct", 3302, (20, 20), (28, 28)),
        ("qwen2-vl-7b-instruct", 3302, (1, 1), (28, 28)),
        ("qwen2-vl-7b-instruct", 3302, (27, 4000), (28, 4148)),
        ("qwen2-vl-7b-instruct", 3302, (10000, 10), (10000, 50)),
        ("qwen2-vl-7b-instruct", 102, (10, 1000), (28, 2800)),
        ("qwen2-vl-7b-instruct", 52, (10, 1000), (28, 1400)),
        ("qwen2-vl-7b-instruct", 99_999, (9000, 9000), (3584, 3584)),
        ("deepseek-vl2", 4000, (4032, 3024), (1152, 864)),
        ("deepseek-vl2", 4000, (385, 385), (385, 385)),
        ("deepseek-vl2", 1022, (385, 385), (384, 384)),
        ("deepseek-vl2", 421, (4032, 3024), (384, 288)),
        ("deepseek-vl2", 2100, (384, 3456), (341, 3072)),
        ("gemma-3-12b-it", 260, (4032, 3024), (1194, 896)),
        ("gemma-3-12b-it", 260, (640, 480), (640, 480)),
        ("gemma-3-12b-it", 260, (10000, 1000), (3584, 358)),
        ("gemma-3-12b-it", 260, (1, 1), (4, 4)),
        ("gemma-3-12b-it", 260, (10, 1), (40, 4)),
        ("gemma-3-12b-it", 260, (100_000, 1), (3584, 4)),
    ],
)
def test_size_to_send(model, budget, size, target):
    assert fit(get_model(model), *size, budget) == target


def test_pan_and_scan_makes_a_wide_picture_smaller_only_when_it_must():
    model = get_model("gemma-3-4b-it")
    assert fit(model, 1024, 256, 1324, pan_and_scan=True) == (1024, 256)
    assert fit(model, 1024, 256, 1323, pan_and_scan=True) == (1023, 256)
    assert gemma.crops(896, 3136) == 4


def test_budget_is_what_the_rest_of_the_window_leaves():
    assert Budget(4096, 300, 448).image_tokens == 4096 - 300 - 448 - 32 - 16
    assert Budget(4096, 4000, 448).image_tokens == 0
    assert Budget(100, 10, 20, template_tokens=1, margin_tokens=2).image_tokens == 67


@pytest.mark.parametrize("model", MODELS.values(), ids=str)
def test_least_budget_is_refused_below_and_enough_above(model):
    least = {"qwen": qwen.LEAST_TOKENS, "deepseek": deepseek.LEAST_TOKENS, "gemma": gemma.LEAST_TOKENS}[model.family]
    fit(model, 1000, 1000, least)
    with pytest.raises(ImageRejected, match=f"{least - 1} tokens.*needs {least}"):
        fit(model, 1000, 1000, least - 1)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, 5)])
def test_a_size_without_pixels_is_refused(size):
    for call in (image_tokens, prompt_tokens, lambda *a: fit(*a, 4096)):
        with pytest.raises(ImageRejected, match="empty"):
            call(get_model("gemma-3-4b-it"), *size)


def test_there_are_23_grids_and_the_table_of_costs_holds():
    table = {(1, 1): 421, (2, 1): 617, (1, 2): 631, (3, 1): 813, (1, 3): 841, (2, 2): 1023, (4, 1): 1009, (1, 4): 1051}
    table |= {(3, 2): 1415, (2, 3): 1429, (4, 2): 1807, (2, 4): 1835, (3, 3): 2017, (9, 1): 1989, (1, 9): 2101}
    assert len(deepseek.GRIDS) == 23
    assert {grid: deepseek.grid_tokens(grid) for grid in table} == table


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 4),
        ("а" * 24, math.ceil(13.2) + 4),
        ("ЁЖ", math.ceil(2.2) + 4),
        ("abc", math.ceil(1.1 * 1.05) + 4),
        ("ABC 123\n", math.ceil(1.1 * (2.1 + 0.1 + 3 + 0.5)) + 4),
        ("🙂", math.ceil(4.4) + 4),
        ("ї", math.ceil(2.2) + 4),
        ("и\u0306", math.ceil(0.55) + 4),
        ("\ud800", math.ceil(3.3) + 4),
        ("Какого цвета товар? Ответь одним словом.", math.ceil(1.1 * (2 * 1 + 31 * 0.5 + 5 * 0.1 + 2 * 0.8)) + 4),
        (
            "Is the price tag readable, and what does it say?\n",
            math.ceil(1.1 * (0.7 + 36 * 0.35 + 9 * 0.1 + 2 * 0.8 + 0.5)) + 4,
        ),
    ],
)
def test_text_bound(text, tokens):
    assert text_tokens_upper_bound(text) == tokens


def drawn(letters: str, length: int, between: str = "") -> str:
    """Return the same letters, drawn at random, each time."""
    dice = random.Random(1)
    return between.join(dice.choice(letters) for _ in range(length))


SMALL, RUSSIAN = string.ascii_lowercase, "абвгдежзийклмнопрстуфхцчшщъыьэюя"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (drawn(SMALL, 2000), 1084),
        (drawn(SMALL + string.digits, 2000), 1430),
        (drawn(string.ascii_letters, 2000), 1310),
        (drawn(string.ascii_letters + string.digits + "+/", 2000), 1479),
        (drawn("0123456789abcdef", 2000), 1754),
        (drawn(RUSSIAN, 2000), 1583),
        (drawn(SMALL, 1000, "\n"), 1999),
        (drawn(SMALL, 600, "  "), 1199),
        ("|a|b|c|d|e|\n" * 100, 1100),
    ],
)
def test_texts_that_are_no_words_cost_no_more_than_is_thought(text, tokens):
    """As many as Qwen's vocabulary makes of them were counted once."""
    assert tokens <= text_tokens_upper_bound(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("a", 1), ("one  two\nthree\n", 3), ('- "white", 0.5: — [ref: 00000000]', 4), ("\u00a0 ... \n", 0)],
)
def test_least_text_tokens(text, words):
    """No fewer were counted with the vocabularies of Qwen and DeepSeek, on 20 000 texts of such parts."""
    assert text_tokens_lower_bound(text) == words
