"""Read a model's text as an answer. What is not certain is ``invalid``: never a wrong value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from vision_batch.enrichment.answer import AnswerSchema, PartField
from vision_batch.enrichment.echo import is_echo, says_declaration
from vision_batch.enrichment.loose_json import UnreadableError, read_object, unrepeated
from vision_batch.enrichment.prose import calls_it_example, has_no_picture
from vision_batch.enrichment.values import WrongValueError, keys_of, read_fields, spelling, storable

#: Longer texts are not answers to a question with a bounded number of tokens.
MAX_TEXT_CHARACTERS = 200_000

#: How far before an object words are looked at.
_NEAR = 120

_BLANK = "\ufeff\u200b\u2060 \t\r\n"
_REASONING = re.compile(
    r"[<◁](/?)(?:think|thinking|thoughts?|reasoning|analysis|reflection|scratchpad)[>▷]|\[(/?)THINK\]", re.IGNORECASE
)
_BRACES = re.compile(r'\\.|["{}]', re.DOTALL)
# In [1,5, 2,5] the commas mean two things.
_UNEVEN_LIST = re.compile(r"\[(?=[^\[\]]*+\])(?=[^\[\]]*?[0-9],[0-9])(?=[^\[\]]*?[0-9](?:,\s|\s++,))[0-9.,\s+-]*+\]")
_FOLDED_LIST = re.compile(r"\[[ \t\r]*+\n(?=[^\[\]]*+\])(?=[^\[\]]*?[0-9],[0-9])[0-9.,\s+-]*+\]")
# On a line of its own: 199,90 and 1,234,567 may be one number, 120,340,560,780 are four.
_ONE_NUMBER = re.compile(r"[0-9]++,[0-9]++,?+|[0-9]{1,3}(?:,[0-9]{3}){1,2},?+")
_SHORT_FRACTION = re.compile(r"[0-9],[0-9]{1,2}(?![0-9])")
_KEY_OF_LIST = re.compile(r"""([\w .\\-]++)["'`”»’]?\s*+:\s*+\Z""")
# Words that make an object a part of JSON whose own brace is missing.
_KEY_BEFORE = re.compile(r"""["']\s*+:[\s\[]*+\Z""")
_KEY_BEHIND = re.compile(
    r"""[\s\]}]*+,\s*+["'](?P<key>[\w ]++)["']\s*+:\s*+(?P<value>["'“«\[{0-9-]|(?:true|false|null|none)\b)?""",
    re.IGNORECASE,
)
_CLOSES_BEHIND = re.compile(r"[^{}\[\]]{0,200}[}\]]")
_WRAPPERS = frozenset({"answer", "result", "response"})
_LIST_GOES_ON = re.compile(r"\s*+(?:,?\s*+\]|,\s*+\{)")


@dataclass(frozen=True)
class ParsedAnswer:
    """Hold what a text says.

    :param fields: a value, or ``None``, for every column of the answer; empty if the text is invalid.
    :param error: why it is invalid.
    """

    status: Literal["answered", "invalid"]
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


class _Uncertain(Exception):  # noqa: N818 - never leaves this module
    pass


class _Declared:
    """Know the declared fields where a text is not yet an object."""

    def __init__(self, fields: Sequence[PartField]) -> None:
        self._fields = fields
        self._names = frozenset(map(spelling, _names(fields)))

    @cached_property
    def key(self) -> re.Pattern[str]:
        """Match the key of a field, with its colon; only broken texts need it."""
        spelled = "|".join(
            each.name.replace("_", "[ _.-]?") for each in sorted(self._fields, key=lambda each: each.name)
        )
        return re.compile(rf"""(?:{spelled})["'`”»’]?\s*+:""", re.IGNORECASE)

    def has(self, key: str) -> bool:
        return spelling(key) in self._names

    def names_one(self, key: str) -> bool:
        spelled = spelling(key)
        return any(name in spelled for name in self._names)

    def is_said_by(self, comment: str) -> bool:
        return says_declaration(self._fields, comment)


def _names(fields: Sequence[PartField]) -> Iterator[str]:
    for each in fields:
        yield each.name
        yield from _names(each.fields)


def parse_answer(schema: AnswerSchema, text: str, language: str = "en") -> ParsedAnswer:
    """Find the one JSON object in a text and check it against the schema.

    :param language: the question's: ``03.04.2026`` is a date in Russian only.
    """
    try:
        fields = _read(schema, _answers(schema, text), language)
    except (_Uncertain, WrongValueError) as problem:
        return ParsedAnswer("invalid", error=storable(str(problem)))
    except RecursionError:
        return ParsedAnswer("invalid", error="the JSON object is nested too deeply")
    return ParsedAnswer("answered", fields)


def _read(schema: AnswerSchema, answers: Sequence[dict[str, Any]], language: str) -> dict[str, Any]:
    """Return what all the objects say alike."""
    if len(answers) == 1:
        return read_fields(schema.fields, answers[0], language)
    try:
        read = [read_fields(schema.fields, each, language) for each in answers]
    except WrongValueError:
        read = []
    if len({repr(each) for each in read}) != 1:
        raise _Uncertain(f"the text holds {len(answers)} different JSON objects")
    return read[0]


def _answers(schema: AnswerSchema, text: str) -> list[dict[str, Any]]:
    """Return the different objects of a text, without those that just repeat the declaration."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise _Uncertain(f"the text has {len(text)} characters; allowed are {MAX_TEXT_CHARACTERS}")
    for commas in _decimal_commas(schema.fields, text):
        raise _Uncertain(f"the list {commas[:50]} may have decimal commas")
    declared, keys = _Declared(schema.fields), keys_of(schema.fields)
    different: dict[str, dict[str, Any]] = {}
    for each in _objects(text, declared):
        found = _unwrapped(each, declared)
        if found and not is_echo(schema.fields, found):
            told = {key: value for key, value in found.items() if spelling(key) in keys}
            different.setdefault(repr(sorted(told.items()) if told else found), told)
    if not any(different.values()):
        raise _Uncertain("the text holds no JSON object with one of the declared fields")
    return list(different.values())


def _unwrapped(found: dict[str, Any], declared: _Declared) -> dict[str, Any]:
    """Return the object that is all there is in another, if that is only called the answer."""
    for key, value in found.items() if len(found) == 1 else ():
        if isinstance(value, dict) and key.casefold() in _WRAPPERS and not declared.has(key):
            return value
    return found


def _decimal_commas(fields: Sequence[PartField], text: str) -> Iterator[str]:
    """Yield lists of numbers whose commas may be decimal ones."""
    kinds = dict(_number_lists(fields))
    for found in (*_UNEVEN_LIST.finditer(text), *_FOLDED_LIST.finditer(text)) if kinds else ():
        key = _KEY_OF_LIST.search(text[max(0, found.start() - _NEAR) : found.start()])
        kind = kinds.get(spelling(key[1])) if key and "\\" not in key[1] else "number"
        if kind and (_UNEVEN_LIST.fullmatch(found[0]) or _is_ambiguous(found[0], kind)):
            yield found[0]


def _number_lists(fields: Sequence[PartField]) -> Iterator[tuple[str, str]]:
    """Yield the key of each list of numbers and what it holds; ``number`` if it is declared twice."""
    for each in sorted(fields, key=lambda field: field.items == "number"):
        if each.type == "list" and each.items in {"integer", "number"}:
            yield spelling(each.name), each.items
    for each in fields:
        yield from ((key, "number") for key, _ in _number_lists(each.fields))


def _is_ambiguous(folded: str, kind: str) -> bool:
    lines = [line for line in folded.strip("[]").split("\n") if line.strip()]
    if len(lines) > 1 or _ONE_NUMBER.fullmatch(lines[0].strip()):
        return True
    return kind == "number" and _SHORT_FRACTION.search(lines[0]) is not None


def _objects(text: str, declared: _Declared) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects of a text: all of it, as it should be, or what stands between other words."""
    whole = _decoded(text.strip(_BLANK))
    if isinstance(whole, str):  # encoded twice
        whole = _decoded(whole)
    if isinstance(whole, dict | list):
        yield from (each for each in (whole if isinstance(whole, list) else [whole]) if isinstance(each, dict))
    else:
        yield from _scattered(_without_reasoning(text), declared)


def _decoded(text: str) -> Any:
    """Return what strict JSON holds, also where it was escaped once more; ``None`` if it is not strict."""
    try:
        return _DECODER.decode(f'"{text}"' if text.startswith("{\\") else text)
    except (ValueError, RecursionError):
        return None


def _without_reasoning(text: str) -> str:
    """Leave out what a model says to itself, also if its opening or its closing tag is missing."""
    kept: list[str] = []
    inside, position = False, 0
    for tag in _REASONING.finditer(text):
        closes = bool(tag[1] or tag[2])
        if not inside:
            kept.append(text[position : tag.start()])
            if closes:
                kept.clear()
        inside, position = not closes, tag.end()
    return " ".join(kept if inside else [*kept, text[position:]])


def _scattered(text: str, declared: _Declared) -> Iterator[dict[str, Any]]:
    """Yield objects from between other words; what lies inside of broken braces is not one of them."""
    in_list, blind, behind = False, False, 0
    position = text.find("{")
    while position >= 0:
        words = text[behind:position]
        blind = blind or has_no_picture(words)
        before = words.rstrip()[-1:]
        in_list = before == "[" or (in_list and before == ",")
        try:
            found, behind = read_object(text, position, declared)
        except UnreadableError as problem:
            behind = _behind_broken(text, position, problem, declared)
        else:
            if in_list and not _LIST_GOES_ON.match(text, behind):
                raise _Uncertain(f"the list around the JSON object at character {position} is cut off")
            if _KEY_BEFORE.search(words[-_NEAR:]) or _goes_on(text, behind, declared):
                raise _Uncertain(f"the JSON object at character {position} is a part of one without a beginning")
            if calls_it_example(words[-_NEAR:]):
                raise _Uncertain(f"the JSON object at character {position} is called an example")
            yield found
        position = text.find("{", behind)
    if behind and (blind or has_no_picture(text[behind:])):
        raise _Uncertain("the model says that it has no picture")


def _goes_on(text: str, behind: int, declared: _Declared) -> bool:
    """Tell whether a key and a value of the object around follow, and not words in which one is quoted."""
    key = _KEY_BEHIND.match(text, behind)
    return key is not None and (
        key["value"] is not None or declared.names_one(key["key"]) or _CLOSES_BEHIND.match(text, key.end()) is not None
    )


def _behind_broken(text: str, position: int, problem: UnreadableError, declared: _Declared) -> int:
    """Return where braces that are no object end, if nothing in them can be meant as an answer."""
    end = _after_braces(text, position)
    if problem.is_cut or end is None:
        raise _Uncertain(f"the JSON object at character {position} is cut off") from None
    behind = max(end, problem.at)
    if declared.key.search(text, position, behind):
        raise _Uncertain(f"the JSON object at character {position} {problem}") from None
    return behind


def _after_braces(text: str, position: int) -> int | None:
    """Return where the braces that open at a position are closed again; ``None`` if they never are."""
    depth, quoted = 0, False
    for token in _BRACES.finditer(text, position):
        if token[0] == '"':
            quoted = not quoted
        elif not quoted and token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
            if depth == 0:
                return token.end()
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a value")


_DECODER = json.JSONDecoder(object_pairs_hook=unrepeated, parse_constant=_no_constant)
