"""Count tokens the way the emulator bills them: images exactly, texts by an estimate.

Image formulas are those of the published processors; written apart from ``images.budget`` on purpose, so that the bill
checks it. Text has no tokenizer here: the estimate gives what was measured on prose with the vocabularies of Qwen and
DeepSeek (Russian 2.7 to 3.6 characters a token, English 4.4 to 5.5, a digit almost one each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vision_batch.models import Family

#: What a job costs at least, in tokens (price page, section on batch mode).
MINIMUM_JOB_TOKENS = 200_000

#: Chat template around one request: measured for Qwen, read from the templates of the others.
TEMPLATE_TOKENS: dict[Family, int] = {"qwen": 19, "deepseek": 10, "gemma": 9}

_CELL = 28
_SMALLEST_AREA, _LARGEST_AREA = 3136, 12_845_056
_STEEPEST = 200
_TILE = 384
_MOST_TILES = 9
_TILED_IMAGES = 2
_GEMMA_TOKENS = 256 + 4
_WRAPPER = 2


class UnfitImageError(Exception):
    """Say that a processor refuses an image of this size."""


@dataclass(frozen=True)
class Size:
    """Hold width and height in pixels."""

    width: int
    height: int


def image_tokens(family: Family, sizes: Sequence[Size]) -> int:
    """Return the prompt tokens of the images of one request, their wrappers included.

    :raises UnfitImageError: the family's processor refuses one of them.
    """
    if family == "gemma":
        return _GEMMA_TOKENS * len(sizes)
    if family == "qwen":
        return sum(_qwen(size) + _WRAPPER for size in sizes)
    tiled = len(sizes) <= _TILED_IMAGES
    return sum(_deepseek(size) if tiled else _tiles_cost(1, 1) for size in sizes)


def _qwen(size: Size) -> int:
    long, short = max(size.width, size.height), min(size.width, size.height)
    if long > _STEEPEST * short:
        raise UnfitImageError(f"{size.width}x{size.height}: one side is more than {_STEEPEST} times the other")
    columns, rows = (round(side / _CELL) for side in (size.width, size.height))
    rounded = columns * rows * _CELL**2
    area = size.width * size.height
    if rounded > _LARGEST_AREA:
        ratio = math.sqrt(area / _LARGEST_AREA)
        columns, rows = (max(1, math.floor(side / ratio / _CELL)) for side in (size.width, size.height))
    elif rounded < _SMALLEST_AREA:
        ratio = math.sqrt(_SMALLEST_AREA / area)
        columns, rows = (math.ceil(side * ratio / _CELL) for side in (size.width, size.height))
    return columns * rows


def _deepseek(size: Size) -> int:
    grids = [(m, n) for m in range(1, _MOST_TILES + 1) for n in range(1, _MOST_TILES // m + 1)]
    best = max(grids, key=lambda grid: _tile_fit(size, *grid))
    return _tiles_cost(*best)


def _tile_fit(size: Size, columns: int, rows: int) -> tuple[int, int]:
    """Return what the processor maximises: pixels kept, then pixels not wasted."""
    width, height = columns * _TILE, rows * _TILE
    scale = min(width / size.width, height / size.height)
    kept = min(int(size.width * scale) * int(size.height * scale), size.width * size.height)
    return kept, kept - width * height


def _tiles_cost(columns: int, rows: int) -> int:
    return 211 + 14 * rows * (14 * columns + 1)


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return math.ceil(sum(map(_weight, text)))


def cut(text: str, tokens: int | None) -> str:
    """Return the beginning of a text that fits a number of tokens, as a model stops at ``max_tokens``."""
    if tokens is None:
        return text
    spent = 0.0
    for position, character in enumerate(text):
        spent += _weight(character)
        if spent > tokens:
            return text[:position]
    return text


def _weight(character: str) -> float:  # noqa: PLR0911 - a table with ranges for keys
    if character.isdigit():
        return 0.9
    if "a" <= character <= "z":
        return 0.23
    if "A" <= character <= "Z":
        return 0.45
    if "а" <= character <= "я" or character == "ё":
        return 0.36
    if "А" <= character <= "Я" or character == "Ё":
        return 0.65
    if character == " ":
        return 0.05
    return 0.5 if character.isascii() else len(character.encode()) / 2
