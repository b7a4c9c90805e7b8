"""Answer honestly from measurements, and never pretend to be a model.

``answer`` depends on nothing but its arguments, so a test can compute the right answer of any image again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vision_batch.emulator.measures import BRIGHT, DARK, Pixels, measure
from vision_batch.emulator.prompt_fields import AskedField, asked_fields

Scalar = str | float | int | bool | None
Value = Scalar | list[Scalar] | dict[str, "Value"]

#: Beginnings of words by which people may call what was found, in both languages.
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "white": ("white", "бел"),
    "gray": ("gray", "grey", "сер"),
    "black": ("black", "черн"),
    "red": ("red", "красн"),
    "orange": ("orange", "оранж"),
    "yellow": ("yellow", "желт"),
    "green": ("green", "зелен"),
    "cyan": ("cyan", "turquoise", "teal", "голуб", "бирюз"),
    "blue": ("blue", "син"),
    "purple": ("purple", "violet", "фиолет", "пурпур", "лилов"),
    "pink": ("pink", "розов"),
    "brown": ("brown", "корич"),
    "dark": ("dark", "low", "dim", "underexp", "темн", "низк"),
    "normal": ("normal", "medium", "mid", "good", "норм", "средн"),
    "bright": ("bright", "high", "light", "overexp", "ярк", "светл", "высок"),
    "sharp": ("sharp", "crisp", "clear", "high", "резк", "четк", "высок"),
    "soft": ("soft", "medium", "slight", "мягк", "средн"),
    "blurred": ("blur", "unsharp", "low", "размыт", "нерезк", "нечетк", "смаз", "низк"),
    "high": ("high", "strong", "высок", "сильн"),
    "medium": ("medium", "normal", "средн", "норм"),
    "low": ("low", "weak", "flat", "низк", "слаб"),
    "landscape": ("landscape", "horiz", "альбом", "гориз"),
    "portrait": ("portrait", "vert", "портрет", "книж", "верт"),
    "square": ("square", "квадрат"),
    "photo": ("photo", "фото", "снимок"),
    "drawing": ("drawing", "draw", "illustr", "graphic", "paint", "рис", "иллюстр", "графи"),
    "day": ("day", "дн", "ден", "светл"),
    "night": ("night", "ноч", "темн"),
}

_RUSSIAN_WORDS: Final[Mapping[str, str]] = {
    "white": "белый", "gray": "серый", "black": "чёрный", "red": "красный", "orange": "оранжевый", "yellow": "жёлтый",
    "green": "зелёный", "cyan": "голубой", "blue": "синий", "purple": "фиолетовый", "pink": "розовый",
    "brown": "коричневый", "landscape": "альбомная", "portrait": "портретная", "square": "квадратная",
    "photo": "фотография", "drawing": "рисунок",
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """Describe something measurable.

    :param words: pattern of the names and descriptions that mean it.
    :param words_found: names of what was found, best first; later ones are used if the first is not allowed.
    :param number: the measure itself, or ``None`` if it is only a name.
    :param scaled: the number runs from 0 to 1 and may be stretched to the bounds that the prompt gives.
    """

    words: re.Pattern[str]
    names: Callable[[Pixels], tuple[str, ...]]
    number: Callable[[Pixels], float] | None = None
    scaled: bool = True


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _contrast_names(pixels: Pixels) -> tuple[str, ...]:
    return ("high",) if pixels.contrast > 0.5 else ("medium",) if pixels.contrast > 0.2 else ("low",)  # noqa: PLR2004


_SUBJECTS: Final = (
    Subject(
        _words(r"time_?of_?day|time of day|время суток|\bnight\b|is_night|\bday\b|is_day|ноч|день"),
        lambda p: (p.time_of_day,),
    ),
    Subject(_words(r"colou?r|цвет"), lambda p: (p.colour,)),
    Subject(
        _words(r"sharp|blur|focus|резк|размыт|чётк|четк|фокус"),
        lambda p: {"sharp": ("sharp",), "soft": ("soft", "blurred"), "blurred": ("blurred",)}[p.focus],
        lambda p: p.sharpness,
    ),
    Subject(
        _words(r"bright|dark|exposure|luminance|ярк|освещ|темн|тёмн|экспозиц"),
        lambda p: (p.light, "dark" if p.brightness < (DARK + BRIGHT) / 2 else "bright"),
        lambda p: p.brightness,
    ),
    Subject(_words(r"contrast|контраст"), _contrast_names, lambda p: p.contrast),
    Subject(_words(r"orientation|ориентац|landscape|portrait"), lambda p: (p.orientation,)),
    Subject(_words(r"width|ширин"), lambda _: (), lambda p: p.width, scaled=False),
    Subject(_words(r"height|высот"), lambda _: (), lambda p: p.height, scaled=False),
    Subject(
        _words(r"drawing|illustration|рисун|рисов|is_?photo\b|\bphoto or|фото(графия)? (это )?или|^kind$"),
        lambda p: (p.kind,),
    ),
)

_INTEGER_SCALE = 100


def answer(image: bytes | None, prompt: str) -> str:
    """Return the answer to a prompt about an image: one JSON object if the prompt asks for fields, else a sentence.

    :param image: the bytes as they were sent, or ``None`` for a request without one.
    :raises UnreadableImageError: the image cannot be decoded.
    """
    return answer_about(measure(image) if image is not None else None, prompt)


def answer_about(pixels: Pixels | None, prompt: str) -> str:
    """Return the answer to a prompt about an image that is measured already, or about none."""
    fields = asked_fields(prompt)
    if fields:
        found = {field.name: _value(field, pixels) if pixels is not None else None for field in fields}
        return json.dumps(found, ensure_ascii=False)
    is_russian = re.search("[а-яё]", prompt, re.IGNORECASE) is not None
    if pixels is None:
        return _wordless(prompt, is_russian=is_russian)
    return _russian(pixels) if is_russian else _english(pixels)


def _value(field: AskedField, pixels: Pixels) -> Value:
    if field.fields:
        return {inner.name: _value(inner, pixels) for inner in field.fields}
    one = _one(field, pixels)
    return one if not field.is_list or one is None else [one]


def _one(field: AskedField, pixels: Pixels) -> Scalar:
    subject = _subject(field)
    if subject is None:
        return None
    if field.values:
        return _allowed(subject.names(pixels), field.values)
    if field.type == "boolean":
        return _truth(field, subject, pixels)
    if field.type in {"integer", "number"}:
        return _number(field, subject, pixels)
    names = subject.names(pixels)
    return names[0] if field.type == "string" and names else None


def _subject(field: AskedField) -> Subject | None:
    for text in (field.name, field.description):
        for subject in _SUBJECTS:
            if subject.words.search(text):
                return subject
    return None


def _allowed(names: tuple[str, ...], values: tuple[str, ...]) -> str | None:
    for name in names:
        for value in values:
            if _means(value, name):
                return value
    return None


def _means(text: str, name: str) -> bool:
    plain = text.lower().replace("ё", "е")
    return any(plain.startswith(word) for word in _SYNONYMS[name])


def _truth(field: AskedField, subject: Subject, pixels: Pixels) -> bool | None:
    """Answer yes or no: is what was found the thing that the name, else the description, speaks of."""
    names = subject.names(pixels)
    if not names:
        return None
    for text in (field.name, field.description):
        for word in re.findall(r"[a-z]+|[а-яё]+", text.lower()):
            meant = [name for name in _SYNONYMS if _means(word, name) and name not in {"high", "medium", "low"}]
            if meant:
                return names[0] in meant
    return None


def _number(field: AskedField, subject: Subject, pixels: Pixels) -> float | int | None:
    if subject.number is None:
        return None
    found = subject.number(pixels)
    if subject.scaled:
        low = field.minimum if field.minimum is not None else 0
        usual = _INTEGER_SCALE if field.type == "integer" else 1
        high = field.maximum if field.maximum is not None else usual
        found = low + found * (high - low)
    return round(found) if field.type == "integer" or not subject.scaled else round(found, 3)


def _english(pixels: Pixels) -> str:
    return (
        f"This is the emulator of AI Studio, not a model; it only measures pixels. The image has {pixels.width} x "
        f"{pixels.height} pixels, {pixels.orientation}; the dominant colour is {pixels.colour}; brightness "
        f"{pixels.brightness:g}, contrast {pixels.contrast:g}, sharpness {pixels.sharpness:g}; by its flat areas "
        f"it is a {pixels.kind}."
    )


def _russian(pixels: Pixels) -> str:
    word = _RUSSIAN_WORDS
    return (
        f"Это эмулятор AI Studio, а не модель: он лишь измеряет пиксели. "
        f"Изображение {pixels.width} x {pixels.height}, ориентация {word[pixels.orientation]}; "
        f"преобладающий цвет {word[pixels.colour]}; яркость {pixels.brightness:g}, контраст {pixels.contrast:g}, "
        f"резкость {pixels.sharpness:g}; судя по ровным участкам, это {word[pixels.kind]}."
    )


def _wordless(prompt: str, *, is_russian: bool) -> str:
    if is_russian:
        return f"Это эмулятор AI Studio, а не модель. В запросе {len(prompt)} символов и нет изображения."
    return f"This is the emulator of AI Studio, not a model. The request has {len(prompt)} characters and no image."
