"""Count and fit pictures for Qwen2-VL and Qwen2.5-VL: one token per cell of 28 x 28 pixels.

Source: ``smart_resize`` of ``transformers`` (``models/qwen2_vl``), which Qwen2.5-VL and vLLM reuse, with the limits
of the models' own ``preprocessor_config.json`` (the class default of 1280 tokens is not what they use).
"""

from __future__ import annotations

import math
from typing import Final

from vision_batch.errors import ImageRejected

#: Side of one token's cell in pixels: patches of 14, merged two by two.
CELL: Final = 28
MIN_CELLS: Final = 4
MAX_CELLS: Final = 16_384
MAX_RATIO: Final = 200
#: ``<|vision_start|>`` and ``<|vision_end|>``.
WRAPPER_TOKENS: Final = 2
#: Under four cells the processor enlarges: 1x1 costs 4, 1x2 costs 6, 1x3 costs 8. Below this no size is sure to fit.
LEAST_TOKENS: Final = 8 + WRAPPER_TOKENS

_BISECTIONS: Final = 60


def image_tokens(width: int, height: int) -> int:
    """Return the cells that the processor cuts a picture of this size into.

    :raises ImageRejected: if one side is more than 200 times the other.
    """
    if max(width, height) / min(width, height) > MAX_RATIO:
        raise ImageRejected(
            "aspect_ratio", f"{width}x{height}: the model's processor refuses sides in a ratio above {MAX_RATIO}"
        )
    columns, rows = round(width / CELL), round(height / CELL)
    pixels = width * height
    if columns * rows > MAX_CELLS:
        shrink = math.sqrt(pixels / (MAX_CELLS * CELL * CELL))
        columns = max(1, math.floor(width / shrink / CELL))
        rows = max(1, math.floor(height / shrink / CELL))
    elif columns * rows < MIN_CELLS:
        enlarge = math.sqrt(MIN_CELLS * CELL * CELL / pixels)
        columns = math.ceil(width * enlarge / CELL)
        rows = math.ceil(height * enlarge / CELL)
    return columns * rows


def fit(width: int, height: int, budget_tokens: int) -> tuple[int, int]:
    """Return the size to send within the budget, wrapper included.

    A picture that fits is left as it is. A smaller target is made of whole cells, so that the processor does
    not resample a second time.
    """
    cells = min(budget_tokens - WRAPPER_TOKENS, MAX_CELLS)
    width, height = _acceptable(width, height)
    if max(round(width / CELL) * round(height / CELL), image_tokens(width, height)) <= cells:
        return width, height
    columns, rows = _most_cells(width, height, cells)
    return columns * CELL, rows * CELL


def _acceptable(width: int, height: int) -> tuple[int, int]:
    """Enlarge what the processor would refuse or mangle: a ratio above 200, then a side under 28."""
    width, height = max(width, -(-height // MAX_RATIO)), max(height, -(-width // MAX_RATIO))
    short = min(width, height)
    if short >= CELL:
        return width, height
    longest = CELL * MAX_RATIO
    width, height = (max(CELL, min(longest, (side * CELL + short // 2) // short)) for side in (width, height))
    return width, height


def _most_cells(width: int, height: int, cells: int) -> tuple[int, int]:
    """Return the columns and rows of the largest scale of at most 1 that needs no more than ``cells``."""

    def grid(scale: float) -> tuple[int, int]:
        columns = max(1, min(width // CELL, round(scale * width / CELL)))
        rows = max(1, min(height // CELL, round(scale * height / CELL)))
        return columns, rows

    low, high = 0.0, 1.0
    if math.prod(grid(high)) <= cells:
        low = high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if math.prod(grid(middle)) <= cells:
            low = middle
        else:
            high = middle
    columns, rows = grid(low)
    return min(columns, MAX_RATIO * rows), min(rows, MAX_RATIO * columns)
