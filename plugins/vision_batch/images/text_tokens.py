"""Say what a text costs at most and at least, in any of the model families, without their tokenizers."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_EXACT_HUNDREDTHS: Final = {" ": 10, "\n": 50, "ё": 50, "Ё": 100}
_RANGE_HUNDREDTHS: Final = (
    ("а", "я", 50),
    ("А", "Я", 100),
    ("a", "z", 35),
    ("A", "Z", 70),
    ("0", "9", 100),
    ("\x00", "\x7f", 80),
    ("\u0400", "\u052f", 200),
)

#: What holds a digit, words, blanks, and runs of other characters; no vocabulary has tokens across two of them, but
#: for one space or sign before a word.
_PIECE: Final = re.compile(r"[^\W_]*\d[^\W_]*|[^\W\d_]+|\s+|(?:[^\w\s]|_)+")
_VOWELS: Final = frozenset("aeiouyáéíóúýàèìòùâêîôûäëïöüãõåæøąęıаеёиоуыэюяіїєў")
_CONSONANTS: Final = re.compile(r"[bcdfghjklmnpqrstvwxzбвгджзйклмнпрстфхцчшщъь]{5}")
_LONGEST_WORD = 24


def text_tokens_upper_bound(text: str) -> int:
    """Return an upper estimate of a text's tokens in any of the families, without their tokenizers.

    Weights per character, times 1.1, plus 4: no underestimate on 2,129 pieces of Russian and English text, code
    and digits under the Qwen, DeepSeek and Gemma vocabularies; a long text really takes 55-67 % of it. Variables of a
    prompt bring other texts: what is no word of a language (codes, hashes, base64) counts as many tokens as it can
    be, and each piece of punctuation, line end or single letter at least one.
    """
    typical, certain = 0, 0
    for piece in _PIECE.findall(unicodedata.normalize("NFC", text)):
        weights = _known_weights(piece) if len(piece) <= _LONGEST_WORD else _weights(piece)
        typical += weights[0]
        certain += weights[1]
    return max(-(-11 * typical // 1000) + 4, -(-certain // 100))


def text_tokens_lower_bound(text: str) -> int:
    """Return how many tokens a text has at least, in any of the families: one for each word.

    No vocabulary has a piece that goes on behind a space or a line's end. Prose really takes one and a half to three
    times as many.
    """
    return sum(any(map(str.isalnum, word)) for word in text.replace("\n", " ").split(" "))


def _weights(piece: str) -> tuple[int, int]:
    """Return hundredths of tokens: by weight, and as many as what is no word can be."""
    typical = sum(map(_hundredths, piece))
    if piece == " ":
        return typical, 0
    if not piece[0].isalnum() or _is_word(piece):
        return typical, max(100, typical)
    return typical, sum(100 if _is_plain(each) else _hundredths(each) for each in piece)


_known_weights = lru_cache(maxsize=8192)(_weights)


def _is_plain(character: str) -> bool:
    """Tell whether a character is never more than one token."""
    return character < "\x80" or "а" <= character.lower() <= "я"


def _is_word(piece: str) -> bool:
    """Tell whether letters look like a word, of which vocabularies have long parts."""
    if len(piece) > _LONGEST_WORD or not piece.isalpha() or not (piece.isupper() or piece[1:] == piece[1:].lower()):
        return False
    small = piece.lower()
    vowels = sum(each in _VOWELS for each in small)
    return len(piece) < 4 or (5 * vowels >= len(piece) and not _CONSONANTS.search(small))  # noqa: PLR2004


def _hundredths(character: str) -> int:
    if (exact := _EXACT_HUNDREDTHS.get(character)) is not None:
        return exact
    for first, last, weight in _RANGE_HUNDREDTHS:
        if first <= character <= last:
            return weight
    return 100 * len(character.encode("utf-8", "surrogatepass"))
