"""How a request's text is put together."""

from __future__ import annotations

import pytest

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.question import Question, placeholders

SCHEMA = AnswerSchema.model_validate({"fields": {"kind": {"type": "string", "description": "the {colour} kind"}}})
ASKED = (
    "\n\nAnswer with one JSON object and nothing else: no explanations, no code fences. Its fields:\n"
    '- "kind" (string): the {colour} kind\nIf a field cannot be told from the image, give null.'
)


def question(prompt: str) -> Question:
    return Question(prompt, SCHEMA, "en", "gemma-3-12b-it/latest", {"temperature": 0.0}, 1, 1)


def test_the_marker_is_the_last_line():
    assert question(" What is this?\n").render({}, "[ref: 12ab]") == f"What is this?{ASKED}\n\n[ref: 12ab]"
    assert question("What is this?").render({}, None) == f"What is this?{ASKED}"


@pytest.mark.parametrize(
    "value",
    ["", "{colour}", "{other}", "{{}}", "{0}", "%s ${HOME} \\1 \\g<1>", '"}\n{"kind": "x"}', "😀\0"],
)
def test_data_is_never_read_as_a_template(value):
    found = question("A {colour} one, {colour}?").render({"colour": value, "other": "!"}, None)
    assert found == f"A {value} one, {value}?{ASKED}"


@pytest.mark.parametrize("prompt", ['Like {"a": 1}', "{}", "{{", "{ a }", "{A}", "{0}", "{a.b}", "%(a)s", "{a!r}"])
def test_other_braces_of_a_prompt_are_plain_text(prompt):
    assert placeholders(prompt) == frozenset()
    assert question(prompt).render({"a": "x"}, None) == prompt + ASKED


def test_placeholders_are_names_in_braces():
    assert placeholders("{a} {b_2} {a}") == {"a", "b_2"}
    assert question("{a}{b}").render({"a": "1"}, None) == "1{b}" + ASKED


def test_values_never_reach_the_words_about_the_answer():
    assert question("One").render({"colour": "red"}, None) == "One" + ASKED
