"""Know words around and in a JSON object that say it is no answer: an example, a guess without a picture, a doubt."""

from __future__ import annotations

import re

_EXAMPLE = re.compile(
    r"\b(?:(?:на)?пример(?:а|е|ом|у|ный|ная|ное|ные)?|шаблон\w*|образец|examples?|template|hypothetical(?:ly)?"
    r"|sample (?:json|output|response|answer|format))\b",
    re.IGNORECASE,
)
_NO_PICTURE = re.compile(
    r"(?:изображение|фото|фотография|картинка) (?:отсутствует|не (?:прилож|прикреп|загру|предостав|отобра)\w+)"
    r"|не (?:вижу|прилож\w+|прикреп\w+|загру\w+|предостав\w+) (?:(?:само|никакого|ваше) )?(?:изображени|фото|картинк)"
    r"|(?<!you )(?:can(?:not|['’]t)|do(?: not|n['’]t)|unable to) (?:see|view|access|open) (?:(?:the|an|any|your) )?"
    r"(?:image|picture|photo)"
    r"|no (?:image|picture|photo) (?:(?:was|is|has been) )?(?:provided|attached|uploaded|included)"
    r"|(?:image|picture|photo) (?:(?:was|is|has) not|(?:was|is|has)n['’]t) (?:been )?"
    r"(?:provided|attached|uploaded|included|loaded)",
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
    """Tell whether the words shortly before an object call it an example."""
    return _EXAMPLE.search(words) is not None


def has_no_picture(words: str) -> bool:
    """Tell whether a model says that it was shown no picture."""
    return _NO_PICTURE.search(words) is not None
