"""Compare our counts for Qwen and Gemma with the real image processors on 300 sizes: ``make oracle``.

Needs the extra ``oracle`` (transformers, torch), which the locks leave out. The processors get real pixels and the
settings of the models' own ``preprocessor_config.json``: nothing is downloaded. DeepSeek-VL2 has no port there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from random import Random

from PIL import Image

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import fit, image_tokens
from vision_batch.models import get_model

SIZES = 300
QWEN, GEMMA = get_model("qwen2.5-vl-7b-instruct"), get_model("gemma-3-12b-it")
#: Where formulas have steps, and what processors refuse.
CORNERS = (
    (1, 1), (1, 2), (1, 3), (2, 3), (14, 14), (14, 15), (27, 4000), (28, 28), (42, 42), (70, 70), (200, 1), (1000, 5),
    (1005, 5), (10_000, 10), (14, 2800), (896, 896), (1075, 896), (1076, 896), (640, 480), (512, 255), (512, 256),
    (1024, 256), (5000, 1000), (896, 3136), (4032, 3024), (3584, 3584), (3640, 3640), (6000, 4000), (50_000, 257),
)  # fmt: skip
Count = Callable[[int, int], "int | str"]


def sizes(number: int, seed: int) -> Iterator[tuple[int, int]]:
    """Give the corners, then sizes by chance, small ones as often as large ones."""
    yield from CORNERS
    chance = Random(seed)
    for _ in range(number - len(CORNERS)):
        longest = chance.choice((60, 600, 2000, 4000))
        yield chance.randint(1, longest), chance.randint(1, longest)


def ours(count: Count) -> Count:
    """Turn our rejection into a word."""

    def counted(width: int, height: int) -> int | str:
        try:
            return count(width, height)
        except ImageRejected:
            return "rejected"

    return counted


def theirs(count: Count) -> Count:
    """Turn the processor's refusal into the same word."""

    def counted(width: int, height: int) -> int | str:
        try:
            return count(width, height)
        except ValueError:
            return "rejected"

    return counted


def processors() -> dict[str, tuple[Count, Count]]:
    """Return our count and the real one by name."""
    from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    qwen = Qwen2VLImageProcessor(min_pixels=3136, max_pixels=12_845_056)
    gemma = Gemma3ImageProcessor(size={"height": 896, "width": 896}, image_seq_length=256)
    crops = {
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 256,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    }

    def cells(width: int, height: int) -> int:
        grid = qwen(images=[Image.new("RGB", (width, height))], return_tensors="pt")["image_grid_thw"]
        return int(grid.prod()) // qwen.merge_size**2

    def views(width: int, height: int, **options: object) -> int:
        made = gemma(images=[Image.new("RGB", (width, height))], return_tensors="pt", **options)
        return gemma.image_seq_length * len(made["pixel_values"])

    return {
        "Qwen": (lambda w, h: image_tokens(QWEN, w, h), cells),
        "Qwen, size as sent": (
            lambda w, h: image_tokens(QWEN, *fit(QWEN, w, h, 3248)),
            lambda w, h: cells(*fit(QWEN, w, h, 3248)),
        ),
        "Gemma": (lambda w, h: image_tokens(GEMMA, w, h), views),
        "Gemma, pan-and-scan": (
            lambda w, h: image_tokens(GEMMA, w, h, pan_and_scan=True),
            lambda w, h: views(w, h, **crops),
        ),
    }


def main() -> int:
    """Compare; return 0 if all counts are equal, or if there is nothing to compare with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, default=SIZES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    try:
        print(f"transformers {version('transformers')}, torch {version('torch')}")
    except PackageNotFoundError as missing:
        print(f"Skipped: {missing.name} is not installed here. Install the extra: pip install -e '.[oracle]'")
        return 0
    different = 0
    for name, (our_count, real_count) in processors().items():
        pairs = [
            ((w, h), ours(our_count)(w, h), theirs(real_count)(w, h)) for w, h in sizes(options.sizes, options.seed)
        ]
        wrong = [f"{w}x{h}: ours {mine}, real {real}" for (w, h), mine, real in pairs if mine != real]
        refused = sum(real == "rejected" for _, _, real in pairs)
        print(f"{name}: {len(pairs) - len(wrong)} of {len(pairs)} equal, {refused} of them refused by both", *wrong[:9])
        different += len(wrong)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
