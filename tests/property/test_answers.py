"""Any text a model may write: never an exception, never a value that the schema does not allow."""

import json
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.enrichment.parsing import ParsedAnswer, parse_answer

SCHEMA = AnswerSchema.model_validate(
    {
        "fields": {
            "text": {"type": "string", "description": "d"},
            "whole": {"type": "integer", "description": "d", "minimum": -5, "maximum": 10**6},
            "real": {"type": "number", "description": "d", "unit": "kg", "maximum": 2.5},
            "yes": {"type": "boolean", "description": "d"},
            "day": {"type": "date", "description": "d"},
            "kind": {"type": "enum", "values": ["photo", "рисунок"], "description": "d", "required": True},
            "marks": {"type": "list", "items": "integer", "description": "d"},
            "label": {
                "type": "object",
                "description": "d",
                "fields": {"words": {"type": "list", "items": "string", "description": "d"}},
            },
            "seal": {
                "type": "object",
                "store": "json",
                "description": "d",
                "fields": {
                    "number": {"type": "integer", "description": "d"},
                    "on": {"type": "date", "description": "d"},
                },
            },
        }
    }
)
TYPES = {
    "text": str, "whole": int, "real": float, "yes": bool, "day": date, "kind": str, "marks": list, "label_words": list,
    "seal": str,
}  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0`<")).filter(
    lambda text: (
        text.strip(" .:;*_`()[]{}|").casefold()
        not in {"", "words", "d", "null", "string", "str", "text", "строка", "текст", "...", "…"}
    )
)

VALID = st.fixed_dictionaries(
    {"kind": st.sampled_from(["photo", "рисунок"])},
    optional={
        "text": st.none() | TEXTS,
        "whole": st.none() | st.integers(-5, 10**6),
        "real": st.none() | st.floats(-1e9, 2.5),
        "yes": st.none() | st.booleans(),
        "day": st.none() | st.dates().map(str),
        "marks": st.none() | st.lists(st.integers(-(2**52), 2**52), max_size=3),
        "seal": st.none() | st.fixed_dictionaries({"number": st.integers(0, 9), "on": st.none() | st.dates().map(str)}),
        "label": st.none() | st.fixed_dictionaries({"words": st.none() | st.lists(TEXTS, max_size=3)}),
    },
)
FRAGMENTS = st.sampled_from(
    [
        *("{", "}", '"', "\\", ":", ",", "[", "]", " ", "\n", "\0", "\\ud800", "```", "```json", "<think>", "</think>"),
        *("null", "true", "NaN", "1e999", "9" * 30, "да", '"1,5"', '"kind"', '"photo"', '"whole"', '{"kind": "photo"}'),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TYPES, "x"]), inner, max_size=4),
    max_leaves=12,
)
ANYTHING = st.text() | st.lists(FRAGMENTS | st.text(max_size=3)).map("".join) | JSON.map(json.dumps)


def check(parsed: ParsedAnswer) -> None:
    if parsed.status == "invalid":
        assert parsed.fields == {}
        parsed.error.encode()
        assert "\0" not in parsed.error
        return
    assert parsed.error is None
    assert parsed.fields.keys() == TYPES.keys()
    for name, value in parsed.fields.items():
        assert value is None or type(value) is TYPES[name]
    fields = parsed.fields
    assert fields["seal"] is None or json.loads(fields["seal"]).keys() == {"number", "on"}
    assert fields["kind"] in {"photo", "рисунок"}
    assert fields["whole"] is None or -5 <= fields["whole"] <= 10**6
    assert fields["real"] is None or fields["real"] <= 2.5
    (fields["text"] or "").encode()
    assert "\0" not in (fields["text"] or "")


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_any_text_becomes_an_answer(text):
    check(parse_answer(SCHEMA, text))


@settings(max_examples=200, deadline=None)
@given(VALID, st.sampled_from(["{}", "```json\n{}\n```", "Ответ: {} Готово.", "<think>?</think>\n{}"]), st.booleans())
def test_a_valid_answer_is_read_as_it_is_in_any_wrapping(answer, frame, ascii_only):
    parsed = parse_answer(SCHEMA, frame.replace("{}", json.dumps(answer, ensure_ascii=ascii_only, indent=1)))
    assert parsed.status == "answered", parsed.error
    assert parsed.fields == columns(answer)


def columns(answer: dict) -> dict:
    """What the columns hold of an answer."""
    flat = {name: value for name, value in answer.items() if name != "label"}
    flat["label_words"] = (answer.get("label") or {}).get("words")
    flat["day"] = answer.get("day") and date.fromisoformat(answer["day"])
    seal = answer.get("seal")
    flat["seal"] = seal and json.dumps({name: seal[name] for name in ("number", "on")})
    return dict.fromkeys(TYPES) | flat


QUOTES = st.sampled_from(['""', "''", "“”", "«»", "„“"])
COMMENTS = st.sampled_from(["", " ", "\n", "\u00a0", " // {kind: drawing\n", " # }\n", '/* " */'])


@st.composite
def loosely_written(draw, value):
    """Write a value as a model may that has not learned JSON well."""
    between = draw(COMMENTS)
    if isinstance(value, dict):
        written = [(draw(st.just(name) | quoted(name)), draw(loosely_written(inner))) for name, inner in value.items()]
        inside = f"{between},{between}".join(f"{name}{between}:{between}{inner}" for name, inner in written)
        return f"{{{between}{inside}{draw(st.sampled_from(['', ','])) if inside else ''}{between}}}"
    if isinstance(value, list):
        inside = f"{between}, ".join([draw(loosely_written(each)) for each in value])
        return f"[{between}{inside}{draw(st.sampled_from(['', ','])) if inside else ''}{between}]"
    if isinstance(value, str):
        return draw(quoted(value))
    return draw(st.sampled_from([json.dumps(value), repr(value)]))


@st.composite
def quoted(draw, text):
    opening, closing = draw(QUOTES)
    escaped = json.dumps(text, ensure_ascii=draw(st.booleans()))[1:-1].replace('\\"', '"')
    for quote in {opening, closing, '"'} if '"' in opening else {opening, closing, "”"}:
        escaped = escaped.replace(quote, f"\\u{ord(quote):04x}")
    return f"{opening}{escaped}{closing}"


@settings(max_examples=300, deadline=None)
@given(VALID, st.data())
def test_an_answer_is_read_as_it_is_however_loosely_it_is_written(answer, data):
    written = data.draw(loosely_written(answer))
    parsed = parse_answer(
        SCHEMA, data.draw(st.sampled_from(["{}", "[{}]", "\ufeff{}", "Вот: {}."])).replace("{}", written)
    )
    assert parsed.status == "answered", (parsed.error, written)
    assert parsed.fields == columns(answer)


@settings(max_examples=200, deadline=None)
@given(VALID, st.data())
def test_an_answer_that_was_cut_is_never_taken(answer, data):
    text = json.dumps({"kind": "photo"} | answer, ensure_ascii=False)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert parse_answer(SCHEMA, text[:cut]).status == "invalid"
