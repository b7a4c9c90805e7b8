"""What is asked of the answer: the prompt's words, the columns' names."""

from __future__ import annotations

import pytest

from vision_batch.enrichment.answer import RESERVED, AnswerSchema, plain_number, schema_prompt
from vision_batch.warehouse.protocol import PROVENANCE

SCHEMA = AnswerSchema.model_validate(
    {
        "fields": {
            "colour": {"type": "enum", "values": ["red", 'dark "blue"'], "description": "цвет"},
            "price": {
                "type": "number",
                "unit": "руб.",
                "minimum": 0,
                "maximum": 1234567.5,
                "description": "цена\nтовара\n",
            },
            "count": {"type": "integer", "minimum": 1, "description": "сколько", "required": True},
            "tilt": {"type": "number", "maximum": -0.00001, "description": "наклон"},
            "readable": {"type": "boolean", "description": "читается ли"},
            "day": {"type": "date", "description": "дата"},
            "text": {"type": "string", "description": "надпись {price}"},
        }
    }
)

RUSSIAN = """\
Ответь одним объектом JSON и ничем больше: без пояснений и без оформления кода. Его поля:
- "colour" (строка): цвет; одно из: "red", "dark \\"blue\\""
- "price" (число): цена товара; единица: руб.; от 0 до 1234567.5
- "count" (целое число): сколько; не меньше 1
- "tilt" (число): наклон; не больше -0.00001
- "readable" (true/false): читается ли
- "day" (дата ГГГГ-ММ-ДД): дата
- "text" (строка): надпись {price}
Если значение поля нельзя определить по изображению, укажи null."""

ENGLISH = """\
Answer with one JSON object and nothing else: no explanations, no code fences. Its fields:
- "colour" (string): цвет; one of: "red", "dark \\"blue\\""
- "price" (number): цена товара; in руб.; from 0 to 1234567.5
- "count" (integer): сколько; at least 1
- "tilt" (number): наклон; at most -0.00001
- "readable" (true/false): читается ли
- "day" (date YYYY-MM-DD): дата
- "text" (string): надпись {price}
If a field cannot be told from the image, give null."""


@pytest.mark.parametrize(("language", "expected"), [("ru", RUSSIAN), ("en", ENGLISH)])
def test_the_schema_is_asked_for_in_these_words(language, expected):
    """Other words are another question: every image would be asked and paid for again."""
    assert schema_prompt(SCHEMA, language) == expected


NESTED = AnswerSchema.model_validate(
    {
        "fields": {
            "colours": {"type": "list", "items": "enum", "values": ["red", "blue"], "description": "цвета"},
            "marks": {"type": "list", "items": "integer", "minimum": 1, "maximum": 5, "description": "оценки"},
            "label": {
                "type": "object",
                "description": "этикетка",
                "fields": {
                    "status": {"type": "string", "description": "состояние"},
                    "size": {
                        "type": "object",
                        "description": "размер",
                        "fields": {
                            "width": {"type": "number", "unit": "см", "description": "ширина", "required": True}
                        },
                    },
                },
            },
            "days": {"type": "list", "items": "date", "description": "даты"},
        }
    }
)

NESTED_LINES = {
    "ru": """\
- "colours" (список строк): цвета; каждое значение одно из: "red", "blue"
- "marks" (список целых чисел): оценки; каждое значение от 1 до 5
- "label" (объект): этикетка; его поля:
  - "status" (строка): состояние
  - "size" (объект): размер; его поля:
    - "width" (число): ширина; единица: см
- "days" (список дат ГГГГ-ММ-ДД): даты""",
    "en": """\
- "colours" (list of strings): цвета; each value one of: "red", "blue"
- "marks" (list of integers): оценки; each value from 1 to 5
- "label" (object): этикетка; its fields:
  - "status" (string): состояние
  - "size" (object): размер; its fields:
    - "width" (number): ширина; in см
- "days" (list of dates YYYY-MM-DD): даты""",
}


@pytest.mark.parametrize("language", ["ru", "en"])
def test_lists_and_objects_are_asked_for_in_these_words(language):
    assert schema_prompt(NESTED, language).split("\n", 1)[1].rsplit("\n", 1)[0] == NESTED_LINES[language]


def test_a_list_is_one_column_and_an_object_one_for_each_of_its_fields():
    found = [(column.name, column.field.column_type, column.comment) for column in NESTED.columns()]
    assert found == [
        ("colours", "list[string]", "цвета"),
        ("marks", "list[integer]", "оценки"),
        ("label_status", "string", "состояние"),
        ("label_size_width", "number", "ширина, см"),
        ("days", "list[date]", "даты"),
    ]


def stored_as_json(*path: str) -> AnswerSchema:
    """Return the nested schema with one of its objects kept as JSON."""
    found = NESTED.model_dump(mode="json")
    fields = found["fields"]
    for name in path:
        field = next(each for each in fields if each["name"] == name)
        fields = field["fields"]
    field["store"] = "json"
    return AnswerSchema.model_validate(found)


def test_an_object_that_is_kept_as_json_is_one_column():
    names = {
        ("label",): ["colours", "marks", "label", "days"],
        ("label", "size"): ["colours", "marks", "label_status", "label_size", "days"],
    }
    for path, expected in names.items():
        columns = {column.name: column for column in stored_as_json(*path).columns()}
        assert list(columns) == expected
        column = columns["_".join(path)]
        assert (column.field.column_type, column.place[-1]) == ("json", path[-1])


@pytest.mark.parametrize("language", ["ru", "en"])
def test_how_an_object_is_kept_changes_no_word_of_the_prompt(language):
    assert schema_prompt(stored_as_json("label"), language) == schema_prompt(NESTED, language)


def test_an_answer_cannot_have_a_column_that_every_table_has():
    assert {column.name for column in PROVENANCE} == RESERVED


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.0, "0"), (10.0, "10"), (1e7, "10000000"), (0.1, "0.1"), (1e-7, "0.0000001"), (-2.5, "-2.5")],
)
def test_bounds_are_written_in_full(number, expected):
    assert plain_number(number) == expected


def test_fields_may_be_a_list_or_a_mapping():
    as_list = [{"name": "a", "type": "string", "description": "d"}]
    as_mapping = {"a": {"type": "string", "description": "d"}}
    assert AnswerSchema.model_validate({"fields": as_list}) == AnswerSchema.model_validate({"fields": as_mapping})
