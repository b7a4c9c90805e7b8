import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import (
    fit,
    image_tokens,
    prompt_tokens,
    text_tokens_lower_bound,
    text_tokens_upper_bound,
)
from vision_batch.models import MODELS

CELL = 28
LEAST = {"qwen": 10, "deepseek": 421, "gemma": 260}
MIN_SIDE = {"qwen": 28, "deepseek": 1, "gemma": 4}
MAX_RATIO = {"qwen": 200, "deepseek": 767, "gemma": math.inf}

FAMILIES = {model.family: model for model in MODELS.values()}
models = st.sampled_from(list(FAMILIES.values()))
sides = st.one_of(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 100_000))
budgets = st.one_of(st.integers(10, 500), st.integers(421, 4096), st.integers(4096, 20_000))


def enlarges(model, width, height):
    """A size that the family's processor wants larger."""
    short, long = sorted((width, height))
    return short < MIN_SIDE[model.family] or long > MAX_RATIO[model.family] * short


def affordable(model, budget):
    assume(budget >= LEAST[model.family])


@given(models, sides, sides, budgets)
@example(FAMILIES["qwen"], 38, 38, 10)
@example(FAMILIES["qwen"], 50_000, 257, 3300)
@example(FAMILIES["qwen"], 10_000, 10, 4096)
@example(FAMILIES["deepseek"], 385, 385, 1022)
@example(FAMILIES["deepseek"], 10_000, 10, 4096)
@example(FAMILIES["gemma"], 100_000, 1, 4096)
def test_target_never_costs_more_than_the_budget(model, width, height, budget):
    affordable(model, budget)
    assert prompt_tokens(model, *fit(model, width, height, budget)) <= budget


@given(models, sides, sides, budgets)
def test_target_is_never_larger_than_the_original(model, width, height, budget):
    affordable(model, budget)
    assume(not enlarges(model, width, height))
    target_width, target_height = fit(model, width, height, budget)
    assert target_width <= width
    assert target_height <= height


@given(models, sides, sides, budgets)
def test_a_target_is_enlarged_no_more_than_the_processor_needs(model, width, height, budget):
    affordable(model, budget)
    target_width, target_height = fit(model, width, height, budget)
    short, long = sorted((target_width, target_height))
    assert short >= MIN_SIDE[model.family]
    assert long <= MAX_RATIO[model.family] * short
    if target_width > width or target_height > height:
        grown = max(target_width / width, target_height / height)
        needed = max(MIN_SIDE[model.family] / min(width, height), max(width, height) / MAX_RATIO[model.family])
        assert grown <= needed + 1


@given(models, sides, sides, budgets)
def test_ratio_is_kept_within_a_cell(model, width, height, budget):
    affordable(model, budget)
    assume(max(width, height) <= MAX_RATIO[model.family] * min(width, height))
    target_width, target_height = fit(model, width, height, budget)
    scale = max(target_width, target_height) / max(width, height)
    assume(
        min(target_width, target_height) > MIN_SIDE[model.family] or model.family == "deepseek"
    )  # the smallest side wins over the ratio
    assert abs(target_width - scale * width) <= CELL
    assert abs(target_height - scale * height) <= CELL


@given(models, sides, sides, budgets, budgets)
def test_target_grows_with_the_budget(model, width, height, one, other):
    small, large = sorted((one, other))
    affordable(model, small)
    few, many = fit(model, width, height, small), fit(model, width, height, large)
    assert few[0] <= many[0]
    assert few[1] <= many[1]


@given(models, sides, sides, budgets)
@example(FAMILIES["deepseek"], 1, 1025, 631)
def test_target_of_a_target_is_itself(model, width, height, budget):
    affordable(model, budget)
    target = fit(model, width, height, budget)
    assert fit(model, *target, budget) == target


@given(sides, sides, budgets)
def test_pan_and_scan_is_within_the_budget_too(width, height, budget):
    gemma = FAMILIES["gemma"]
    affordable(gemma, budget)
    target = fit(gemma, width, height, budget, pan_and_scan=True)
    assert prompt_tokens(gemma, *target, pan_and_scan=True) <= budget
    assert fit(gemma, *target, budget, pan_and_scan=True) == target


@given(models, sides, sides, st.integers(-10, 500))
def test_a_budget_below_the_least_is_refused_with_its_reason(model, width, height, budget):
    assume(budget < LEAST[model.family])
    with pytest.raises(ImageRejected, match="no_room") as refused:
        fit(model, width, height, budget)
    assert str(LEAST[model.family]) in str(refused.value)


@given(st.integers(28, 4000), st.integers(28, 4000))
def test_qwen_target_is_not_resampled_again_by_the_server(width, height):
    qwen = FAMILIES["qwen"]
    assume(max(width, height) <= 200 * min(width, height))
    target = fit(qwen, width, height, 1000)
    if target != (width, height):
        assert target[0] % CELL == 0
        assert target[1] % CELL == 0
        assert image_tokens(qwen, *target) == max(4, target[0] * target[1] // CELL**2) or min(target) == CELL


@given(st.text(), st.text())
def test_text_bound_grows_with_the_text(one, other):
    assert text_tokens_upper_bound(one) <= text_tokens_upper_bound(one + " " + other) + 1


@given(st.text(), st.text(), st.sampled_from([" ", "\n", "\n\n"]))
@example("a b c d e f g h i j k l m n o p", "", " ")
def test_a_text_has_a_token_for_each_word_at_least_and_never_more_than_at_most(one, other, between):
    bounds = [text_tokens_lower_bound(text) for text in (one, other, one + between + other)]
    assert bounds[2] == bounds[0] + bounds[1]
    assert 0 <= bounds[2] <= min(len(one + other), text_tokens_upper_bound(one + between + other))
