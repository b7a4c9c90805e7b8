"""Count and fit pictures for Gemma 3: 256 tokens for every view of 896 x 896 pixels.

Source: ``transformers`` ``models/gemma3`` (image processor and processor); the published configuration leaves
pan-and-scan off, and then a picture of any size is squashed into one view.
"""

from __future__ import annotations

import math
from typing import Final

VIEW: Final = 896
VIEW_TOKENS: Final = 256
#: Start, end and a double newline on both sides of a view; newlines may merge with the text beside them.
WRAPPER_TOKENS: Final = 4
#: The fixed English sentence before crops: 20 were counted, and a margin.
CROPS_SENTENCE_TOKENS: Final = 24
LEAST_TOKENS: Final = VIEW_TOKENS + WRAPPER_TOKENS

#: Older processors take a picture that is 1 or 3 pixels high for one with its channels first.
MIN_SIDE: Final = 4
MAX_CROPS: Final = 4
MIN_CROP_SIDE: Final = 256
MIN_CROP_RATIO: Final = 1.2
#: All that pan-and-scan could look at along the longer side.
MAX_SIDE: Final = MAX_CROPS * VIEW


def crops(width: int, height: int) -> int:
    """Return how many crops pan-and-scan adds to the whole picture: 0, or 2 to 4 along the longer side."""
    long, short = max(width, height), min(width, height)
    if long / short < MIN_CROP_RATIO:
        return 0
    wanted = min(math.floor(long / short + 0.5), long // MIN_CROP_SIDE)
    number = min(MAX_CROPS, max(2, wanted))
    return 0 if min(math.ceil(long / number), short) < MIN_CROP_SIDE else number


def image_tokens(width: int, height: int, *, pan_and_scan: bool = False) -> int:
    """Return the placeholder tokens of one picture."""
    return VIEW_TOKENS * (1 + (crops(width, height) if pan_and_scan else 0))


def prompt_tokens(width: int, height: int, *, pan_and_scan: bool = False) -> int:
    """Return an upper bound of the tokens of one picture with what is put around it."""
    extra = crops(width, height) if pan_and_scan else 0
    return (VIEW_TOKENS + WRAPPER_TOKENS) * (1 + extra) + (CROPS_SENTENCE_TOKENS if extra else 0)


def fit(width: int, height: int, budget_tokens: int, *, pan_and_scan: bool = False) -> tuple[int, int]:
    """Return the size to send within the budget.

    The shorter side stays at 896 pixels or more, so that nothing the model can see is lost; the longer one is at
    most 3584. Only pan-and-scan can make a picture dearer than the least budget.
    """
    short = min(width, height)
    if short < MIN_SIDE:
        width, height = _scaled(width, height, max(width, height) * MIN_SIDE // short)
    long = max(width, height)
    useful = max(long * VIEW // min(width, height), VIEW)
    longest = min(long, useful, MAX_SIDE)
    if pan_and_scan:
        longest = _affordable(width, height, longest, budget_tokens)
    return _scaled(width, height, longest)


def _affordable(width: int, height: int, longest: int, budget_tokens: int) -> int:
    """Return the longest side, at most ``longest``, whose crops are within the budget."""
    low, high = 1, longest
    while low < high:
        middle = (low + high + 1) // 2
        if prompt_tokens(*_scaled(width, height, middle), pan_and_scan=True) <= budget_tokens:
            low = middle
        else:
            high = middle - 1
    return low


def _scaled(width: int, height: int, longest: int) -> tuple[int, int]:
    """Scale both sides so that the longer one has ``longest`` pixels, and neither less than the smallest."""
    long = max(width, height)
    width, height = (max(MIN_SIDE, (2 * side * longest + long) // (2 * long)) for side in (width, height))
    return width, height
