"""What models write, and what is taken from it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.parsing import MAX_TEXT_CHARACTERS, ParsedAnswer, parse_answer

KIND = {"kind": {"type": "enum", "values": ["photo", "Drawing"], "description": "d"}}


def schema(**fields: dict) -> AnswerSchema:
    return AnswerSchema.model_validate(
        {"fields": {name: {"description": "d", **each} for name, each in fields.items()}}
    )


def kind_of(text: str) -> str | None:
    """Return the kind, or raise with the reason why the text is invalid."""
    parsed = parse_answer(AnswerSchema.model_validate({"fields": KIND}), text)
    if parsed.status == "invalid":
        raise ValueError(parsed.error)
    return parsed.fields["kind"]


def value_of(text: str, **declared: object) -> object:
    """Return the value of the only field; ``text`` is its JSON."""
    parsed = parse_answer(schema(field=declared), f'{{"field": {text}}}')
    if parsed.status == "invalid":
        raise ValueError(parsed.error)
    return parsed.fields["field"]


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "photo"}',
        '  \n{"kind":"photo"}\n  ',
        'Sure! Here you are: {"kind": "photo"} Anything else?',
        '```json\n{"kind": "photo"}\n```',
        '```\n{"kind": "photo"}\n```',
        '```JSON {"kind": "photo"}```',
        'Schema: {"kind": "string"}\n```json\n{"kind": "photo"}\n```',
        '```json\n{"kind": "photo"}',
        'A fence without an object ```here``` and {"kind": "photo"}',
        '[{"kind": "photo"}]',
        '{"kind": "photo"}\n{"kind": "photo"}',
        '{"kind": "photo", "other": {"kind": "drawing", "deep": [1, {}]}}',
        '{"kind": "photo", "kind": "photo"}',
        'Braces {like these} or {} are not it. {"kind": "photo"}',
        '"{\\"kind\\": \\"photo\\"}"',
        '{\\n \\"kind\\": \\"photo\\"}',
        '<think>Perhaps {"kind": "drawing"}?</think>{"kind": "photo"}',
        '<Thinking>{"kind": "drawing"}</THINKING> {"kind": "photo"}',
        'perhaps {"kind": "drawing"}</think>{"kind": "photo"}',
        '{"kind": "photo"}<think>or {"kind": "drawing"}',
        '{"kind": " PHOTO "}',
        "{'kind': 'photo'}",
        '{"kind": "photo",}',
        '[{"kind": "photo"},]',
        '{kind: "photo"}',
        '{"kind": photo}',
        "{“kind”: «photo»}",
        "{„kind“: ‘photo’}",
        '{"Kind": "photo"}',
        '{"kind": "рhоtо"}',
        '{"kind": "photo."}',
        '\ufeff{"kind": "photo"}',
        '\ufeff```json\n{"kind": "photo"}',
        '{\n  // what it is\n  "kind": "photo", # sure\n  /* "kind": "drawing" */\n}',
        '{"kind": "photo", "x": -Infinity}',
        '{"kind": "photo", "x": ' + "9" * 5000 + "}",
        '{"kind": "photo"} {"kind": "PHOTO"}',
        '{"kind": "photo", "kind ": "photo", "x": None, "y": True}',
        '{"kind": "string"}\n{"kind": "photo"}',
        '{"kind": "строка"}\n{"kind": "photo"}',
        '{"kind": "photo" | "Drawing"}\n{"kind": "photo"}',
        '{"kind": "photo|drawing"}\n{"kind": "photo"}',
        '{"kind": ["photo", "Drawing"]}\n{"kind": "photo"}',
        '{"kind": "<one of them>"}\n{"kind": "photo"}',
        '{"kind": {"type": "string", "enum": ["photo", "Drawing"]}}\n{"kind": "photo"}',
        '{"type": "object", "properties": {"kind": {"type": "string"}}, "kind": 1}\n{"kind": "photo"}',
        '◁think▷{"kind": "drawing"}◁/think▷{"kind": "photo"}',
        '[THINK]{"kind": "drawing"}[/THINK]{"kind": "photo"}',
        '{"kind": "photo"} Tell me if you cannot see the image.',
        '{"kind": "photo", // orange, etched, который\n}',
        'Примерно так: {"kind": "photo"}',
        'На изображении отсутствует ценник. {"kind": "photo"}',
        '{"answer": {"kind": "photo"}}',
        '```json\n{"Result": {"kind": "photo"}}\n```',
        '{"response": {"kind": "photo", "more": 1}} {"kind": "photo"}',
        '{"kind": "photo"}, "see": it',
        '{"kind": "photo"}, "see": the lens.',
        '{"kind": "photo"}\nFor example, the colours are those of a camera.',
    ],
)
def test_one_object_is_found(text):
    assert kind_of(text) == "photo"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("I cannot see the image.", "no JSON object"),
        ('"photo"', "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "no JSON object"),
        ('{"question": {"kind": "photo"}}', "no JSON object"),
        ('{"answer": {"kind": "photo"}, "more": 1}', "no JSON object"),
        ('{"answer": {"result": {"kind": "photo"}}}', "no JSON object"),
        ('{"answer": {"kind": "string"}}', "no JSON object"),
        ('{"answer": [{"kind": "photo"}]}', "no JSON object"),
        ('{"answer": {"kind": "photo"}} {"kind": "drawing"}', "2 different JSON objects"),
        ('Пример: {"answer": {"kind": "photo"}}', "is called an example"),
        ('{"answer": {"kind": "photo"}', "is cut off"),
        ('{"answer": {"kind": "cat"}}', "field 'kind' is \"cat\""),
        ('{"a": 1} {"b": 2}', "no JSON object"),
        ('{"a": 1} {"kind": "photo"}', "2 different JSON objects"),
        ("{'format': 'is a brace } here'} {\"kind\": \"photo\"}", "2 different JSON objects"),
        ('{"kind": "pho', "at character 0 is cut off"),
        ('{"kind": "photo"', "at character 0 is cut off"),
        ('{"list": [{"kind": "photo"}, {"ki', "at character 0 is cut off"),
        ('[{"kind": "photo"}', "the list around the JSON object at character 1 is cut off"),
        ('[{"kind": "photo"}, {"kind": "photo"}, ', "the list around the JSON object at character 20 is cut off"),
        ('{"kind": "photo"} {"kind": "dra', "at character 18 is cut off"),
        ("{'kind': 'photo'} {“kind': 'drawing'}", "at character 18 is cut off"),
        ('{"kind": "photo"} {"kind": "drawing" or so}', "at character 18 has no comma"),
        ('{"note": "x" y", "inner": {"kind": "photo"}}', "at character 0 is cut off"),
        ('{"kind": "photo",, "x": 1}', "has no name of a field"),
        ('{"kind": }', "has no value"),
        ('{"kind" "photo", kind: 1}', "has no ':'"),
        ("{'kind': 'photo', 'note': 'it's'}", "has no comma"),
        ('{"kind": "photo" /* and so on }', "is cut off"),
        ('{"kind": "\\photo", /* \\p is no escape */}', "escape that JSON does not know"),
        ('<think>{"kind": "photo"} but then', "no JSON object"),
        ('{"kind": "photo"} or {"kind": "drawing"}', "2 different JSON objects"),
        ('```{"kind": "photo"}``` ```{"kind": null}```', "2 different JSON objects"),
        ('{"kind": "photo", "kind": "drawing"}', "gives 'kind' two different values"),
        ('{"kind": "photo", "Kind": "drawing"}', "field 'kind' has two different values"),
        ('{"kind": true, "kind": 1}', "gives 'kind' two different values"),
        ('{"kind": true} {"kind": 1}', "2 different JSON objects"),
        ('{"kind": "cat"}', "field 'kind' is \"cat\"; allowed: 'photo' or 'Drawing'"),
        ('{"kind": ["photo"]}', "allowed: 'photo' or 'Drawing'"),
        ('{"kind": NaN}', "field 'kind' is \"NaN\"; allowed"),
        ('{"kind": ' + "[" * 100_000 + "}", "nested too deeply"),
        ('{"kind": ' * 20_000, "cut off"),
        ('{"kind": ' * 40_000 + "}" * 40_000, "characters; allowed are"),
        ('{"kind": ' * 100 + '"photo"' + "}" * 100, "allowed: 'photo' or 'Drawing'"),
        ("{kind: " * 100 + '"photo"' + "}" * 100, "nested too deeply"),
        ('{"kind": "photo", // what it is "kind": "drawing"\n}', "has a comment that leaves more than one reading"),
        ('{"kind": "photo", "x": ["a", # one "b",\n]}', "has a comment that leaves more than one reading"),
        ("{«x: null, «y»: 1, «kind»: «photo»}", "has no name of a field"),
        ('{"kind": "photo" // or drawing\n}', "has a comment that leaves more than one reading"),
        ('{"kind": "photo", /* может, рисунок */ "x": 1}', "has a comment that leaves more than one reading"),
        ('{"kind": "photo", "x": [1, # и т.д.\n]}', "has a comment that leaves more than one reading"),
        ('{"kind": "photo", "x": [1, // ...\n]}', "has a comment that leaves more than one reading"),
        ('An example: {"kind": "photo"}', "at character 12 is called an example"),
        ('```\nПример ответа:\n{"kind": "photo"}\n```', "is called an example"),
        ('{"kind": "photo"}\nНа деле изображение не загружено.', "the model says that it has no picture"),
        ('I can\'t see the image. {"kind": "photo"}', "the model says that it has no picture"),
        ('"answer": {"kind": "photo"}}', "is a part of one without a beginning"),
        ('"list": [{"kind": "photo"}], "kind": "drawing"}', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "kind": drawing', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "Kind": drawing', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "see": it}', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "see": "it"', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "see": 1', "is a part of one without a beginning"),
        ('{"kind": "photo"}, "see": null', "is a part of one without a beginning"),
        ('{"kind": "photo"}], "kind": "drawing"}', "is a part of one without a beginning"),
        ("x" * (MAX_TEXT_CHARACTERS + 1), "200001 characters; allowed are 200000"),
    ],
)
def test_what_is_not_certain_is_invalid(text, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        kind_of(text)


@pytest.mark.parametrize(
    "words",
    [
        "На фото мебель, например стул.\n",
        "furniture, for example a chair.\n```json\n",
        "Это мебель, например, стул или стол\n\n",
        "Вот ответ в формате, как в примере:\n",
        "Вот ответ в формате, как в примере: ",
        "JSON по заданному шаблону:\n",
        "Согласно вашему шаблону:\n",
        "As in the example:\n",
        "Here is the filled-in template:\n",
        "Here is the completed template.\n",
        "Заполненный шаблон:\n",
        "На снимке образец ткани.\n",
        "На фото виден шаблон для резки.\n",
        "The image shows an example of art deco.\n",
    ],
)
def test_words_for_an_example_that_are_not_about_the_object_are_passed_over(words):
    assert kind_of(words + '{"kind": "photo"}') == "photo"


@pytest.mark.parametrize(
    "words",
    [
        "Например:\n",
        "К примеру:\n",
        "Для примера: ",
        "For example:\n```json\n",
        "Example output:\n",
        "**Пример**\n\n",
        "Например, ответ может быть таким.\n",
        "For example, the output could look like this.\n",
        "Поля заполняются, например, так.\n",
        "Вид не важен, например чертёж: ",
        "Вот пример. Данные в нём вымышлены.\n",
        "Here is a sample response. Replace the values with your own.\n",
        "На изображении ничего не видно, поэтому приведу пример.\n",
        "На изображении ничего не видно, отвечу, например, наугад.\n",
        "На фото образец ответа.\n",
        "The image shows an example of the output.\n",
        "Here is an example of the filled-in template:\n",
        "Here is how an answer would look, following the template:\n",
        "Вот как выглядел бы ответ по шаблону:\n",
        "Here is the completed template with made-up values:\n",
        "Вот шаблон:\n",
        "A filled-in template:\n",
        "Отвечу, как в следующем примере:\n",
        "The answer is written as in the following example:\n",
        "As in this example:\n",
        "Изображения нет, например чек.\n",
        "Данные взяты по шаблону, настоящих нет.\n",
    ],
)
def test_an_object_that_is_called_an_example_is_invalid(words):
    with pytest.raises(ValueError, match="is called an example"):
        kind_of(words + '{"kind": "photo"}')


@pytest.mark.parametrize(
    "words",
    [
        "I cannot see the image clearly in the corner, but:",
        "I can't view the picture in detail:",
        "На упаковке изображение отсутствует.",
        "На лицевой стороне коробки фото отсутствует.",
        "There is no picture attached to the frame.",
        "No image included on the label.",
    ],
)
def test_what_is_not_told_of_the_whole_picture_is_passed_over(words):
    assert kind_of(words + '\n{"kind": "photo"}') == "photo"
    assert kind_of('{"kind": "photo"}\n' + words) == "photo"


@pytest.mark.parametrize(
    "words",
    [
        "К сожалению, изображение отсутствует.",
        "В вашем сообщении изображение отсутствует.",
        "На самом деле изображение отсутствует.",
        "На сервере фото отсутствует.",
        "No picture attached to the message.",
        "There is no image attached.",
        "I cannot see the image, but:",
        "I cannot view the image fully because it was not uploaded:",
        "I can't see the picture clearly, please send it again.",
        "I can't view the image well, it is missing.",
        "I cannot see the picture well enough, so this is a guess:",
        "На упаковке изображение отсутствует. Фото не загружено.",
    ],
)
def test_words_of_a_model_that_has_no_picture_are_heard(words):
    with pytest.raises(ValueError, match="has no picture"):
        kind_of(words + '\n{"kind": "photo"}')


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"photo","note":"x","Цена, руб":5}',
        '{"kind":"photo","16:9":true}',
        '{"kind":"photo","ratios":{"4:3":1,"16:9":2}}',
        "{'kind':'photo','ratios':[{'4:3, wide':1}]}",
    ],
)
def test_names_that_were_not_declared_may_hold_signs(text):
    assert kind_of(f"```json\n{text}\n```") == "photo"


@pytest.mark.parametrize(
    "text",
    [
        "{“old_price: null, “price”: 5}",
        "{“x: null, old price: 3”: 5, “price”: 5}",
        "{'price': 5, 'x, old-price': 5}",
        "{'price': 5, 'x\nold': 5}",
        "{'price': 5, 'deep': {«x: 1, «y»: 2}}",
        "{'price': 5, 'deep': {“x: 1, size: 3”: 2}}",
    ],
)
def test_a_name_that_swallows_another_is_invalid(text):
    part = {"size": {"type": "integer", "description": "d"}}
    declared = {
        "old_price": {"type": "integer"},
        "price": {"type": "integer"},
        "deep": {"type": "object", "fields": part},
    }
    assert "has no name of a field" in str(parse_answer(schema(**declared), text).error)


MORE_KINDS = {
    "kind": {"type": "enum", "values": ["photo", "drawing", "scan"], "description": "тип (какой?)"},
    "sharp": {"type": "boolean", "description": "Is it sharp, or not"},
}


@pytest.mark.parametrize(
    "comment",
    [
        "photo or drawing or scan",
        "photo, drawing, or scan",
        "`photo` / `drawing` или `scan`",
        "один из: photo, drawing или scan",
        "true or false",
        "тип (какой?)",
        "kind: тип (какой?)",
        "Is it sharp, or not",
    ],
)
def test_comments_that_repeat_the_declaration_are_passed_over(comment):
    for text in (f'{{"kind": "photo", // {comment}\n}}', f'{{"kind": "photo" /* {comment} */}}'):
        parsed = parse_answer(schema(**MORE_KINDS), text)
        assert parsed.fields == {"kind": "photo", "sharp": None}, parsed.error


@pytest.mark.parametrize(
    "comment",
    [
        "photo or drawing",
        "or scan",
        "drawing or photo or scan",
        "photo or drawing or scan?",
        "or false",
        "sharp or not",
    ],
)
def test_comments_that_doubt_in_words_of_the_declaration_are_heard(comment):
    for text in (f'{{"kind": "photo", // {comment}\n}}', f'{{"kind": "photo" /* {comment} */}}'):
        assert "has a comment that leaves" in str(parse_answer(schema(**MORE_KINDS), text).error)


SIGNS = {
    "sale": {"type": "string"},
    "menu": {"type": "string"},
    "count": {"type": "integer"},
    "words": {"type": "list", "items": "string"},
}


@pytest.mark.parametrize(
    "told",
    [
        {"sale": "SALE"},
        {"sale": "SALE", "menu": None, "count": 3},
        {"sale": "Sale", "menu": "Tea, coffee"},
        {"menu": "Menu", "words": ["tea", "Words"]},
        {"words": ["WORDS"], "count": 3},
    ],
)
def test_a_text_may_be_the_name_of_its_field_where_a_sign_says_so(told):
    parsed = parse_answer(schema(**SIGNS), json.dumps(told))
    assert parsed.fields == dict.fromkeys(SIGNS) | told, parsed.error


@pytest.mark.parametrize(
    "told",
    [
        {"sale": "sale", "menu": "Tea"},
        {"sale": "Sale", "menu": "Menu", "count": 3},
        {"sale": "SALE", "menu": "MENU"},
        {"sale": "SALE", "menu": "Menu", "words": ["Words"]},
        {"menu": "Menu"},
        {"menu": "Menu", "count": 3},
        {"menu": "Menu | null", "sale": "x"},
        {"menu": "`menu`", "sale": "x"},
        {"words": ["tea", "words"]},
    ],
)
def test_names_in_the_place_of_values_are_invalid(told):
    assert parse_answer(schema(**SIGNS), json.dumps(told)).status == "invalid"


BOXES = {
    "box": {"type": "list", "items": "integer"},
    "marks": {"type": "list", "items": "number"},
    "deep": {"type": "object", "fields": {"more": {"type": "list", "items": "number", "description": "d"}}},
    **KIND,
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"box": [\n 120,340,560,780\n]}', {"box": [120, 340, 560, 780]}),
        ('{"box": [\n 12,34,56,78\n]}', {"box": [12, 34, 56, 78]}),
        ('{"marks": [\n 120,340,560,780\n]}', {"marks": [120.0, 340.0, 560.0, 780.0]}),
        ('{"kind": "photo", "other": [\n 1,5\n]}', {"kind": "photo"}),
        ('```{"kind": "photo", other: [1,5, 2,5], "most": [\n1,2,\n3\n]}```', {"kind": "photo"}),
    ],
)
def test_lists_whose_commas_are_certain(text, told):
    parsed = parse_answer(schema(**BOXES), text)
    assert parsed.fields == {"box": None, "marks": None, "deep_more": None, "kind": None} | told, parsed.error


@pytest.mark.parametrize(
    "text",
    [
        '{"marks": [\n 199,90\n]}',
        '{"marks": [\n 199,90,249,90\n]}',
        '{"marks": [\n 199,90,\n 249,90\n]}',
        '{"marks": [\n 1,234\n]}',
        '{"marks": [\n 1,234,567\n]}',
        '{"box": [\n 199,90\n]}',
        '{"box": [\n 120,340,\n 560,780\n]}',
        '{"box": [\n 1,234,\n 2,345\n]}',
        '{"box": [1,5, 2,5]}',
        '{"deep": {"more": [\n 1,5\n]}}',
        '{\\n \\"marks\\": [\n 1,5\n]}',
        "{MARKS: [\n 1,5\n]}",
        '{"marks": /* what */ [\n 1,5\n]}',
        '{"mаrks": [1,5, 2,5]}',
        '{"m\\u0061rks": [1,5, 2,5]}',
    ],
)
def test_lists_whose_commas_may_be_decimal_ones_are_invalid(text):
    assert "may have decimal commas" in str(parse_answer(schema(**BOXES), text).error)


TEXTS = {"type": "string"}
WHOLE = {"type": "integer", "minimum": -10, "maximum": 1234567}
REAL = {"type": "number", "minimum": 0, "maximum": 2.5, "unit": "кг"}


@pytest.mark.parametrize(
    ("text", "declared", "expected"),
    [
        ('"a"', TEXTS, "a"),
        ('""', TEXTS, ""),
        ("null", TEXTS, None),
        ('"a\\u0000b"', TEXTS, "ab"),
        ('"a\\_b", // sure\n', TEXTS, "a_b"),
        ("5", TEXTS, "5"),
        ('"half \\ud83d of one"', TEXTS, "half ? of one"),
        ('"\\ud83d\\ude00"', TEXTS, "😀"),
        ("5", WHOLE, 5),
        ("5.0", WHOLE, 5),
        ('" 5 "', WHOLE, 5),
        ('"-7"', WHOLE, -7),
        ('"1 234"', WHOLE, 1234),
        ('"1\u00a0234"', WHOLE, 1234),
        ('""', WHOLE, None),
        ("null", WHOLE, None),
        ("1e3", WHOLE, 1000),
        ("1", REAL, 1.0),
        ('"1,5"', REAL, 1.5),
        ('"1.5"', REAL, 1.5),
        ('"1,5 кг"', REAL, 1.5),
        ("true", {"type": "boolean"}, True),
        ('"Да"', {"type": "boolean"}, True),
        ('"НЕТ"', {"type": "boolean"}, False),
        ('"no"', {"type": "boolean"}, False),
        ('" "', {"type": "boolean"}, None),
        ("1,5", REAL, 1.5),
        ("1.5 кг, // it says\n", REAL, 1.5),
        ('"1,5 килограмма"', REAL, 1.5),
        ('"кг 1.5"', REAL, 1.5),
        ("0,125", REAL, 0.125),
        ('"−7"', WHOLE, -7),
        ('"1,234,567"', WHOLE, 1234567),
        ('"1.234.567,0"', WHOLE, 1234567),
        ('"1 234,0"', WHOLE, 1234),
        ("1 234", WHOLE, 1234),
        ('"1 234 ₽"', WHOLE | {"unit": "руб."}, 1234),
        ('"$12.50"', {"type": "number", "unit": "USD"}, 12.5),
        ("None", WHOLE, None),
        ('"null"', WHOLE, None),
        ("True", {"type": "boolean"}, True),
        ("нет", {"type": "boolean"}, False),
        ('"none"', {"type": "enum", "values": ["none", "some"]}, "none"),
        ("2", {"type": "enum", "values": ["1", "2"]}, "2"),
        ("2026-11-22", {"type": "date"}, date(2026, 11, 22)),
        ('"2026-11-22"', {"type": "date"}, date(2026, 11, 22)),
        ('"c"', {"type": "enum", "values": [" C ", "d"]}, " C "),
        ('"22 ноября 2026 г."', {"type": "date"}, date(2026, 11, 22)),
        ('"1 мая  2026 года"', {"type": "date"}, date(2026, 5, 1)),
        ('"November 22, 2026"', {"type": "date"}, date(2026, 11, 22)),
        ('"22 Nov. 2026"', {"type": "date"}, date(2026, 11, 22)),
        ('"None"', WHOLE, None),
        ('"СВЕТЛО"', {"type": "enum", "values": ["темно", "светло"]}, "светло"),
    ],
)
def test_values_become_the_column_type(text, declared, expected):
    found = value_of(text, **declared)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "declared", "reason"),
    [
        ("5.0", TEXTS, "field 'field' is 5.0; allowed: a text"),
        ('["a"]', TEXTS, "allowed: a text"),
        ("null", TEXTS | {"required": True}, "'field' is required and has no value"),
        ('" "', WHOLE | {"required": True}, "'field' is required and has no value"),
        ("true", WHOLE, "allowed: a number"),
        ('"five"', WHOLE, 'is "five"; allowed: a number'),
        ("5.5", WHOLE, "allowed: a whole number"),
        ("-11", WHOLE, "allowed: at least -10"),
        ("1234568", WHOLE, "allowed: at most 1234567"),
        ("2.500001", REAL, "allowed: at most 2.5"),
        ('"1,234"', REAL, "allowed: a number"),
        ('"1.234"', REAL, "allowed: a number"),
        ("1,234", REAL, "allowed: a number"),
        ("~1", REAL, "allowed: a number"),
        ('"около 1"', REAL, "allowed: a number"),
        ('"1-2"', REAL, "allowed: a number"),
        ("1..2", REAL, "allowed: a number"),
        ('"один"', REAL, "allowed: a number, in кг or without a unit"),
        ('"1 m"', WHOLE, "allowed: a number"),
        ("NaN", REAL, "allowed: a number"),
        ('"1 23"', REAL, "allowed: a number"),
        ('"1,5 г"', REAL, "allowed: a number"),
        ('"NaN"', REAL, "allowed: a number"),
        ("1e999", REAL, "allowed: a number of ordinary size"),
        ("9" * 400, REAL, "allowed: a number of ordinary size"),
        ("9007199254740992", {"type": "integer"}, "allowed: a number of ordinary size"),
        ('"' + "9" * 5000 + '"', {"type": "integer"}, "allowed: a number"),
        ("1", {"type": "boolean"}, "allowed: true or false"),
        ('"возможно"', {"type": "boolean"}, "allowed: true or false"),
        ('"03.04.2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"03/04/2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"22.11.26"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"22.11.2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"2026/11/22"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"22 ноября"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"ноябрь 2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"November 2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"22 ноября 26"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"31 ноября 2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"до 22 ноября 2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"22 мяса 2026"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"0 123"', REAL, "allowed: a number"),
        ('"кг-1"', REAL, "allowed: a number"),
        ('"кг -1"', REAL, "allowed: a number"),
        ('"none"', WHOLE, "allowed: a number"),
        ('"none"', {"type": "list", "items": "string"}, "allowed: a list"),
        ('""', TEXTS | {"required": True}, "'field' is required and has no value"),
        ('" "', TEXTS | {"required": True}, "'field' is required and has no value"),
        ('"Field"', TEXTS, "no JSON object"),
        ('"string | null"', TEXTS, "no JSON object"),
        ('"2026-02-30"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"2026-11-22T10:00"', {"type": "date"}, "allowed: a date like 2026-11-22"),
        ("20261122", {"type": "date"}, "allowed: a date like 2026-11-22"),
        ('"null"', TEXTS, "allowed: a text, or null without quotes"),
        ("word", TEXTS, 'is "word"; allowed: a text'),
        ('"string"', TEXTS, "no JSON object"),
        ("[" * 300 + "]" * 300, TEXTS, "allowed: a text"),
    ],
)
def test_values_that_do_not_fit_are_invalid(text, declared, reason):
    with pytest.raises(ValueError, match=reason):
        value_of(text, **declared)


def test_every_declared_field_is_there_and_no_other():
    parsed = parse_answer(schema(a=TEXTS, b=TEXTS), '{"b": "x", "c": 1}')
    assert parsed == ParsedAnswer("answered", {"a": None, "b": "x"})


def test_one_wrong_field_makes_the_answer_invalid_and_gives_no_values():
    parsed = parse_answer(schema(a=TEXTS, b=WHOLE), '{"a": "x", "b": "many"}')
    assert parsed == ParsedAnswer("invalid", {}, "field 'b' is \"many\"; allowed: a number")


def test_reasons_can_be_stored():
    error = parse_answer(schema(a=WHOLE), '{"a": "\\ud800\\u0000' + "x" * 1000 + '"}').error
    assert error.encode()
    assert "\0" not in error
    assert len(error) < 200


@pytest.mark.parametrize(
    "text",
    [
        "```" + " " * 199_000,
        "```json" * 28_000,
        "<think>" * 28_000,
        "{" * 200_000,
        '{"kind": {' * 19_000,
        '{"a"}' * 39_000,
        '{"kind": null}' * 14_000,
        '"' * 200_000,
        "\\" * 200_000,
        '{"kind": "' + "9 " * 99_000 + '"}',
        "{“}" * 66_000,
        "{//}" * 50_000,
        "{/*}" * 50_000,
        "{/**/}" * 33_000,
        "{'a': b'}" * 22_000,
        "{a: 1}" * 33_000,
        "[{" * 100_000,
        "{kind:[" * 28_000,
        "{x:" + "[" * 199_000,
        "{" + "a" * 199_000,
        "{ " * 100_000,
        "<think>{" * 25_000,
        "[1,5" * 49_000,
        "[1" + ",5" * 99_000,
        "".join(f'{{"kind": {number}}}' for number in range(12_000)),
        '{"kind": "x", ' + "kind" * 49_000 + "}",
        '{"kind" y}' + '{"kin' * 39_000,
        '{"note": ' + "1," * 99_000 + "}",
        "{ // " + "/* " * 60_000 + '\n"kind": "photo"}',
        "{ // " + '"' * 99_000 + '\n"kind": "photo"}',
        '{"kind": "photo"} ' + "example " * 20_000 + '{"kind": "photo"}',
        '{"kind": ["photo", ' + "[\n1, " * 30_000,
        "cannot see " * 17_000,
        "{'" + ":," * 99_000 + "': 1}",
        "{'kind': 'photo'} " + "на " * 60_000,
        "{'kind': 'photo'} " + "cannot see the image clearly " * 6_000,
        "{ // or " + "photo, " * 28_000 + '\n"kind": "photo"}',
        "{ // or\n" * 24_000,
        "[\n1,5\n" * 28_000,
        "{'x': [\n1,5\n]}" * 14_000,
        "a " * 90_000 + ": [\n1,5\n]",
        "a, for example b " * 11_000 + '{"kind": "photo"}',
        '{"kind": ' + "1 " * 99_000 + "}",
    ],
)
@pytest.mark.timeout(100)  # for half a second of work; what is not linear takes much longer
def test_texts_of_models_that_run_wild_take_no_time(text):
    parse_answer(schema(**KIND, marks={"type": "list", "items": "number"}), text)


LABEL = {
    "colours": {"type": "list", "items": "enum", "values": ["red", "blue"]},
    "marks": {"type": "list", "items": "number", "minimum": 0, "unit": "кг", "required": True},
    "label": {
        "type": "object",
        "fields": {
            "text": {"type": "string", "description": "its text", "required": True},
            "size": {
                "type": "object",
                "description": "d",
                "fields": {"width": {"type": "integer", "description": "d"}},
            },
        },
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"marks": []}', (None, [], None, None)),
        (
            '{"marks": [1, "2,5 кг", 3.5, 4 кг,], "colours": ["RED", "blue"]}',
            (["red", "blue"], [1.0, 2.5, 3.5, 4.0], None, None),
        ),
        ('{"marks": [1], "label": {"text": "a", "size": {"width": "7"}}}', (None, [1.0], "a", 7)),
        ("{'marks': [1], 'label': {'Text': 'a', 'size': None}}", (None, [1.0], "a", None)),
        (
            '{"colours": ["red | blue"], "marks": ["number"], "label": {"text": "string"}} {"marks": [0]}',
            (None, [0.0], None, None),
        ),
    ],
)
def test_lists_and_objects(text, expected):
    parsed = parse_answer(schema(**LABEL), text)
    assert parsed.status == "answered", parsed.error
    assert parsed.fields == dict(zip(["colours", "marks", "label_text", "label_size_width"], expected, strict=True))


DAY_IN_LABEL = {"type": "object", "description": "d", "fields": {"day": {"type": "date", "description": "d"}}}
KEPT = {
    "label": {
        "type": "object",
        "store": "json",
        "fields": {**LABEL["label"]["fields"], "printed": DAY_IN_LABEL},
    },
    "outer": {"type": "object", "fields": {"inner": {**DAY_IN_LABEL, "store": "json"}}},
    **KIND,
}


@pytest.mark.parametrize(
    ("text", "label", "inner"),
    [
        ('{"kind": "photo"}', None, None),
        (
            "{label: {TEXT: 'Ж \"1\"', size: {width: '7'}, printed: {day: '2026-11-22'}, more: 1}, outer: {inner: {}}}",
            {"text": 'Ж "1"', "size": {"width": 7}, "printed": {"day": "2026-11-22"}},
            {"day": None},
        ),
        (
            '{"label": {"text": "a\\u0000"}, "outer": {"inner": null}}',
            {"text": "a", "size": None, "printed": None},
            None,
        ),
    ],
)
def test_an_object_that_is_kept_as_json_has_every_declared_field_in_its_type(text, label, inner):
    parsed = parse_answer(schema(**KEPT), text)
    assert parsed.status == "answered", parsed.error
    assert list(parsed.fields) == ["label", "outer_inner", "kind"]
    for name, expected in (("label", label), ("outer_inner", inner)):
        assert parsed.fields[name] == (None if expected is None else json.dumps(expected, ensure_ascii=False))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"label": {"size": {"width": 1}}}', "field 'label.text' is required and has no value"),
        ('{"label": {"text": "a", "size": {"width": "wide"}}}', "field 'label.size.width' is \"wide\""),
        ('{"label": "a"}', "field 'label' is \"a\"; allowed: an object"),
        ('{"outer": {"inner": [1]}}', "field 'outer.inner' is [1]; allowed: an object"),
    ],
)
def test_an_object_that_is_kept_as_json_is_checked_like_columns(text, reason):
    assert reason in parse_answer(schema(**KEPT), text).error


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"colours": []}', "field 'marks' is required and has no value"),
        ('{"marks": 1}', "field 'marks' is 1; allowed: a list"),
        ('{"marks": {"1": 2}}', "allowed: a list"),
        ('{"marks": [null]}', "field 'marks' is null; allowed: a number"),
        ('{"marks": [-1]}', "allowed: at least 0"),
        ('{"marks": [1,5, 2,5]}', "the list [1,5, 2,5] may have decimal commas"),
        ('{"marks": [\n1,5\n]}', "may have decimal commas"),
        ('{"marks": [1,5 кг, 2,5 кг]}', "has a list whose commas may be decimal ones"),
        ('{"marks": [1,5кг]}', "has a list whose commas may be decimal ones"),
        ('{"marks": [2 кг, 1,5]}', "has a list whose commas may be decimal ones"),
        ('{"marks": [1], "text": "a"}', "field 'label.text' stands outside of its object, as 'text'"),
        ('{"marks": [1,5 , 2,5]}', "the list [1,5 , 2,5] may have decimal commas"),
        ('{"marks": [1], "label_text": "a"}', "field 'label.text' stands outside of its object, as 'label_text'"),
        ('{"marks": [[1]]}', "allowed: a number"),
        ('{"marks": [1, "2 г"]}', "allowed: a number, in кг"),
        ('{"marks": [1], "colours": ["green"]}', "field 'colours' is \"green\"; allowed: 'red' or 'blue'"),
        ('{"marks": [1], "label": {}}', "field 'label.text' is required and has no value"),
        ('{"marks": [1], "label": "a"}', "field 'label' is \"a\"; allowed: an object"),
        ('{"marks": [1], "label": {"text": "a", "size": {"width": "wide"}}}', "field 'label.size.width' is \"wide\""),
        ('{"marks": [1], "label": {"text": "its text"}}', "allowed: a text, not what the field is"),
        ('{"marks": [1], "label": {"text": "a", "TEXT": "b"}}', "field 'label.text' has two different values"),
    ],
)
def test_lists_and_objects_that_are_invalid(text, reason):
    parsed = parse_answer(schema(**LABEL), text)
    assert reason in parsed.error


@pytest.mark.parametrize(("language", "day"), [("ru", date(2026, 4, 3)), ("en", None)])
def test_a_date_with_dots_is_certain_in_russian_only(language, day):
    parsed = parse_answer(schema(day={"type": "date"}), '{"day": "03.04.2026"}', language)
    assert parsed.fields.get("day") == day


@pytest.mark.parametrize("key", ["old_price", "oldPrice", "Old price", "old-price", "old.price", "оld_рrice"])
def test_a_name_may_be_parted_in_another_way(key):
    declared = {"old_price": {"type": "integer"}, "price": {"type": "integer"}}
    assert parse_answer(schema(**declared), json.dumps({"price": 1, key: 2})).fields == {"old_price": 2, "price": 1}
    assert "two different values" in str(parse_answer(schema(**declared), json.dumps({"old price": 1, key: 2})).error)


def test_names_that_differ_by_what_parts_them_alone_are_told_apart():
    declared = {"a_b": {"type": "integer"}, "ab": {"type": "integer"}}
    assert parse_answer(schema(**declared), '{"A_B": 1, "AB": 2}').fields == {"a_b": 1, "ab": 2}
    assert parse_answer(schema(**declared), '{"a_b": 1, "a b": 2}').fields == {"a_b": 1, "ab": None}


TWO_OBJECTS = {
    name: {"type": "object", "fields": {"name": TEXTS | {"description": "d"}, "size": WHOLE | {"description": "d"}}}
    for name in ("a", "b")
} | {"c": TEXTS}


@pytest.mark.parametrize(
    "text",
    [
        '{"b": {"name": "x"}, "a": {"name": "y"}, "c": "a", "name": "zz"}',
        '{"name": "zz", "b": {"Name": "x"}, "a": {"name": "y"}, "c": "a"}',
        '{"b": {"name": "x"}, "a": {"name": "y"}, "c": "a", "b_name": "x"}',
    ],
)
def test_what_stands_outside_of_objects_that_are_whole_is_passed_over(text):
    fields = parse_answer(schema(**TWO_OBJECTS), text).fields
    assert fields == {"a_name": "y", "a_size": None, "b_name": "x", "b_size": None, "c": "a"}


@pytest.mark.parametrize(
    "text",
    [
        '{"b": {"name": "x"}, "c": "a", "name": "zz"}',
        '{"a": {"name": "x"}, "c": "a", "name": "zz"}',
        '{"a": {"name": "x"}, "b": {"name": null}, "name": "zz"}',
        '{"a": {"name": "x"}, "b": {"name": "y"}, "size": 1}',
        '{"a": {"name": "x"}, "b": {"name": "y"}, "b_name": "zz"}',
        '{"a": {"name": "x"}, "b": "y", "name": "zz"}',
    ],
)
def test_what_stands_outside_of_an_object_that_lacks_it_is_invalid(text):
    assert "stands outside of its object" in parse_answer(schema(**TWO_OBJECTS), text).error


def test_a_wrapper_that_is_itself_a_field_is_none():
    declared = {"answer": {"type": "string"}, "deep": {"type": "object", "fields": KIND}}
    assert "field 'answer' is" in parse_answer(schema(**declared), '{"answer": {"deep": {"kind": "photo"}}}').error
    nested = {"deep": {"type": "object", "fields": {"result": TEXTS | {"description": "d"}}}}
    assert parse_answer(schema(**nested), '{"result": {"deep": {"result": "x"}}}').status == "invalid"


def test_a_part_that_stands_outside_of_its_object_and_has_no_value_tells_nothing():
    assert parse_answer(schema(**LABEL), '{"marks": [1], "label_text": null}').fields["label_text"] is None
