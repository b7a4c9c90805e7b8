"""Know words around and in a JSON object that say it is no answer: an example, a guess without a picture, a doubt."""

from __future__ import annotations

import re

_EXAMPLE = re.compile(
    r"\b(?:(?:на)?пример(?:а|е|ом|у|ный|ная|ное|ные)?|шаблон\w*|образец|examples?|template|hypothetical(?:ly)?"
    r"|sample (?:json|output|response|answer|format))\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"(?<=[.!?;])\s+|\n+")
# The object was made after an example, and is none.
_AFTER_EXAMPLE = re.compile(
    r"\b(?:(?:как в|по|согласно|следуя) (?:(?:ваш|заданн|указанн|предложенн|запрошенн)\w+ )?(?:пример|шаблон)[еу]"
    r"|заполненный (?:ваш )?шаблон"
    r"|(?:as in|as per|per|following|according to) (?:the|your) (?:(?:given|provided|requested) )?(?:example|template)"
    r"|the (?:filled|completed)(?:[ -](?:in|out))? template)\b",
    re.IGNORECASE,
)
# What the picture shows is one, or the clause names one of several things.
_EXAMPLE_OF_THING = re.compile(
    r"(?:на (?:\w+ )?(?:фото|снимке|изображении|картинке)(?: (?:—|-|вид(?:ен|на|но)|показан\w?|изображ[её]н\w?))?"
    r" (?:пример|образец|шаблон)"
    r"|the (?:image|picture|photo) (?:shows|depicts) (?:an?|the) (?:\w+ )?(?:example|template)"
    r"|\w[^,:]*, (?:например|for example),?)(?: [\w-]+){1,4}[.!;]?",
    re.IGNORECASE,
)
_UNREAL = re.compile(
    r"\b(?:would|could|might|should|made[ -]up|fictional|placeholder|invented|random|dummy|guess|only"
    r"|no\b|not\b|cannot|\w+n['’]t\b|не\b|нет\b|без\b|отсутств|бы\b|мо[гж]|выгляд|долж|вымышлен|выдуман|произвольн|условн|наугад|заглушк|только|лишь)",
    re.IGNORECASE,
)
_ABOUT_OBJECT = re.compile(
    r"\b(?:json|output|response|answer|reply|result|format|structure|schema|value|like|these|this|following|purpose|illustrat"
    r"|ответ|вывод|результат|формат|структур|схем|значени|так|следующ|иллюстр|предполож)",
    re.IGNORECASE,
)
_NO_PICTURE = re.compile(
    r"(?:изображение|фото|фотография|картинка) (?:отсутствует|не (?:прилож|прикреп|загру|предостав|отобра)\w+)"
    r"|не (?:вижу|прилож\w+|прикреп\w+|загру\w+|предостав\w+) (?:(?:само|никакого|ваше) )?(?:изображени|фото|картинк)"
    r"|(?<!you )(?:can(?:not|['’]t)|do(?: not|n['’]t)|unable to) (?:see|view|access|open) (?:(?:the|an|any|your) )?"
    r"(?:image|picture|photo)"
    r"(?! (?:clearly|in detail|well|fully)\b"
    r"(?![^.!?\n]{0,120}(?:load|attach|provid|send|again|another|missing|guess|assum)))"
    r"|no (?:image|picture|photo) (?:(?:was|is|has been) )?(?:provided|attached|uploaded|included)"
    r"|(?:image|picture|photo) (?:(?:was|is|has) not|(?:was|is|has)n['’]t) (?:been )?"
    r"(?:provided|attached|uploaded|included|loaded)",
    re.IGNORECASE,
)
# What is seen in the picture has no picture on it.
_THING_WITHOUT_PICTURE = re.compile(
    r"\bна (?:\w+ )?(?:сторон[еа] )?"
    r"(?:упаковк|этикетк|ценник|коробк|обложк|пачк|бутылк|банк|вывеск|наклейк|футболк|кружк)\w*"
    r" (?:изображение|фото|фотография|картинка) отсутствует"
    r"|\bno (?:image|picture|photo) (?:attached|included) (?:to|on|in) (?:the|this|its) (?:\w+ )?"
    r"(?:frame|wall|label|box|board|packag(?:e|ing)|cover|bottle|tag|sign|sticker)\b",
    re.IGNORECASE,
)

_DOUBT = re.compile(
    r"\.\.\.|…|\?"
    r"|\b(?:or|maybe|perhaps|possibly|probably|approx\w*|unsure|not sure|unclear|guess\w*|estimat\w*|etc|might|could be"
    r"|или|возможно|вероятно|наверное|примерно|приблизительно|около|может|не увер\w+|предположит\w+"
    r"|и т\.? ?[дп]|и друг\w+|и др|и ещё|и еще)\b",
    re.IGNORECASE,
)


def doubts(comment: str) -> bool:
    """Tell whether a comment says that a value may be another one, or that values are left out."""
    return _DOUBT.search(comment) is not None


def calls_it_example(words: str) -> bool:
    """Tell whether the words shortly before an object call it an example, in any of their clauses."""
    clauses = _CLAUSE.split(words)
    ended = [*clauses[:-1], clauses[-1] + ("" if clauses[-1].endswith((".", "!", ";")) else ":")]
    return any(map(_calls_it_example, ended))


def _calls_it_example(clause: str) -> bool:
    if _EXAMPLE.search(clause) is None:
        return False
    if _UNREAL.search(clause):
        return True
    if _EXAMPLE_OF_THING.fullmatch(clause.strip()):
        return _ABOUT_OBJECT.search(clause) is not None
    return _EXAMPLE.search(_AFTER_EXAMPLE.sub(" ", clause)) is not None


def has_no_picture(words: str) -> bool:
    """Tell whether a model says that it was shown no picture."""
    return _NO_PICTURE.search(_THING_WITHOUT_PICTURE.sub(" ", words)) is not None
