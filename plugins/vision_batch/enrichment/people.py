"""Read numbers and dates as people write them, in Russian and English; ``None`` where there are two readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

#: No number is longer.
MAX_CHARACTERS = 60

_SPACES = " \u00a0\u2009\u202f"
_SHAPE = re.compile(
    rf"(?P<before>[^0-9.,+\-\u2212]*?)\s*(?P<sign>[+\-\u2212]?)(?P<digits>[0-9.,](?:[{_SPACES}'’]?[0-9.,])*)(?P<after>.*)"
)
_PLAIN = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"([0-9]*)[.,]([0-9]+)")
_SPACED = re.compile(rf"[1-9][0-9]{{0,2}}(?:[{_SPACES}'’][0-9]{{3}})+(?:[.,][0-9]+)?")
_GROUPED = (
    re.compile(r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3}){2,}(?:\.[0-9]+)?|,[0-9]{3}\.[0-9]+)"),
    re.compile(r"[1-9][0-9]{0,2}(?:(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|\.[0-9]{3},[0-9]+)"),
)
_GROUP = 3

#: Words for one unit, without case, dots and spaces.
_UNITS = tuple(
    frozenset(words.split())
    for words in (
        "₽ руб р рубль рубля рублей рубли rub rur rouble roubles ruble rubles",
        "$ usd доллар доллара долларов доллары dollar dollars",
        "€ eur евро euro euros",
        "% процент процента процентов проценты percent percents pct",
        "кг kg килограмм килограмма килограммов килограммы kilogram kilograms kilo kilos",
        "г гр g gr грамм грамма граммов граммы gram grams",
        "мг mg миллиграмм миллиграмма миллиграммов milligram milligrams",
        "т t тонна тонны тонн tonne tonnes",
        "л l литр литра литров литры litre litres liter liters",
        "мл ml миллилитр миллилитра миллилитров millilitre millilitres milliliter milliliters",
        "м m метр метра метров метры metre metres meter meters",
        "см cm сантиметр сантиметра сантиметров centimetre centimetres centimeter centimeters",
        "мм mm миллиметр миллиметра миллиметров millimetre millimetres millimeter millimeters",
        "км km километр километра километров kilometre kilometres kilometer kilometers",
        "шт штук штука штуки pc pcs piece pieces",
        "°c °с градусовцельсия degreescelsius",
        "px пикс пикселей пикселя пиксель pixel pixels",
    )
)

_YEAR_FIRST = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAY_FIRST = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})")


#: The names of the months in dates, of which Russian ones are in the genitive; short ones too.
_MONTHS: Mapping[str, int] = {
    name: number
    for names in (
        "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
        "янв фев мар апр мая июн июл авг сен окт ноя дек",
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
    )
    for number, name in enumerate(names.split(), start=1)
}
_IN_WORDS = (
    re.compile(r"(?P<day>[0-9]{1,2}) (?P<month>[а-яa-z]+)\.?,? (?P<year>[0-9]{4})(?: ?г\.?| года)?"),
    re.compile(r"(?P<month>[a-z]+)\.? (?P<day>[0-9]{1,2}),? (?P<year>[0-9]{4})"),
)


def read_number(text: str, unit: str | None) -> float | int | None:
    """Return the one number that a text is, in the given unit or in none."""
    shape = _SHAPE.fullmatch(text.strip()) if len(text) <= MAX_CHARACTERS else None
    if shape is None or not all(_is_unit(shape[side], unit) for side in ("before", "after")):
        return None
    number, is_minus = _digits(shape["digits"]), shape["sign"] in {"-", "\u2212"}
    if is_minus and shape["before"]:  # "руб-89" may be a dash
        return None
    return -number if number is not None and is_minus else number


def _digits(digits: str) -> float | int | None:
    if _PLAIN.fullmatch(digits):
        return int(digits)
    decimal = _DECIMAL.fullmatch(digits)
    if decimal is not None:
        whole, fraction = decimal.groups()
        # 1,234 and 1.234 may be a thousand or a fraction.
        may_be_thousand = len(fraction) == _GROUP and 0 < len(whole) <= _GROUP and whole != "0"
        return None if may_be_thousand else float(f"{whole or 0}.{fraction}")
    if _SPACED.fullmatch(digits):
        plain = re.sub(rf"[{_SPACES}'’]", "", digits).replace(",", ".")
    elif _GROUPED[0].fullmatch(digits):
        plain = digits.replace(",", "")
    elif _GROUPED[1].fullmatch(digits):
        plain = digits.replace(".", "").replace(",", ".")
    else:
        return None
    return float(plain) if "." in plain else int(plain)


def _is_unit(found: str, unit: str | None) -> bool:
    """Tell whether words beside a number are nothing, or say the unit that was asked for."""
    word = _unit(found)
    if not word:
        return True
    asked = _unit(unit or "")
    return word == asked or any(word in words and asked in words for words in _UNITS)


def _unit(words: str) -> str:
    return re.sub(r"[\s.]", "", words).casefold()


def read_date(text: str, language: str) -> date | None:
    """Return the day that a text is: ``2026-11-22``, ``22 ноября 2026 г.``, in Russian also ``22.11.2026``."""
    if found := _YEAR_FIRST.fullmatch(text.strip()):
        year, month, day = map(int, found.groups())
    elif language == "ru" and (found := _DAY_FIRST.fullmatch(text.strip())):
        day, month, year = map(int, found.groups())
    elif found := _in_words(text):
        year, month, day = int(found["year"]), _MONTHS[found["month"]], int(found["day"])
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _in_words(text: str) -> re.Match[str] | None:
    """Match a day with the name of its month, of which there is one reading only."""
    plain = " ".join(text.split()).casefold()
    matches = (shape.fullmatch(plain) for shape in _IN_WORDS)
    return next((found for found in matches if found and found["month"] in _MONTHS), None)
