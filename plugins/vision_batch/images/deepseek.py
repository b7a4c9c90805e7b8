"""Count and fit pictures for DeepSeek-VL2 and VL2-Tiny: a global view and up to nine tiles of 384 pixels.

Source: ``select_best_resolution`` and ``tokenize_with_images`` of the published ``processing_deepseek_vl_v2.py``; the
23 candidate grids are the paper's rule (at most nine tiles).
"""

from __future__ import annotations

from typing import Final

TILE: Final = 384
MAX_TILES: Final = 9
#: Tokens along one side of a tile: patches of 14, merged two by two.
SIDE_TOKENS: Final = 14
#: The global view with a newline per row, and the separator after it.
GLOBAL_TOKENS: Final = SIDE_TOKENS * (SIDE_TOKENS + 1) + 1
#: From a ratio of 768 on, padding to the global view leaves a side of 0 pixels, which older Pillow refuses.
MAX_RATIO: Final = 767

Grid = tuple[int, int]

#: Columns and rows of every grid the processor may choose.
GRIDS: Final[tuple[Grid, ...]] = tuple(
    (columns, rows)
    for columns in range(1, MAX_TILES + 1)
    for rows in range(1, MAX_TILES + 1)
    if columns * rows <= MAX_TILES
)


def grid_tokens(grid: Grid) -> int:
    """Return the placeholder tokens of a picture cut into this grid: one newline for each row of the whole grid."""
    columns, rows = grid
    return GLOBAL_TOKENS + SIDE_TOKENS * rows * (SIDE_TOKENS * columns + 1)


LEAST_TOKENS: Final = grid_tokens((1, 1))


def chosen_grid(width: int, height: int) -> Grid:
    """Return the grid the processor chooses: most effective pixels, then least waste.

    The truncated floats are the processor's own; integers would choose otherwise for some sizes.
    """

    def merit(grid: Grid) -> tuple[int, int]:
        wide, high = grid[0] * TILE, grid[1] * TILE
        scale = min(wide / width, high / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        return effective, effective - wide * high

    return max(GRIDS, key=merit)


def image_tokens(width: int, height: int, *, tiled: bool = True) -> int:
    """Return the placeholder tokens of one picture.

    :param tiled: false in a request with three or more images, where each gets a single tile.
    """
    return grid_tokens(chosen_grid(width, height) if tiled else (1, 1))


def fit(width: int, height: int, budget_tokens: int) -> tuple[int, int]:
    """Return the size to send within the budget.

    A picture is never larger than the grid that it is cut into: the processor would only shrink it again.
    """
    width, height = max(width, _least_side(height)), max(height, _least_side(width))
    affordable = (grid for grid in GRIDS if grid_tokens(grid) <= budget_tokens)
    targets = {contained(width, height, grid) for grid in affordable}
    for target in sorted(targets, reverse=True):
        if image_tokens(*target) <= budget_tokens:
            return target
    # A single tile always costs a single tile.
    return contained(width, height, (1, 1))


def contained(width: int, height: int, grid: Grid) -> tuple[int, int]:
    """Return the largest size of the same ratio inside a grid, at most the original."""
    wide, high = grid[0] * TILE, grid[1] * TILE
    if width <= wide and height <= high:
        return width, height
    if width * high >= height * wide:
        return wide, max(_least_side(wide), (2 * height * wide + width) // (2 * width))
    return max(_least_side(high), (2 * width * high + height) // (2 * height)), high


def _least_side(other: int) -> int:
    """Return the shortest side beside another one that keeps the ratio which the processor takes."""
    return -(-other // MAX_RATIO)
