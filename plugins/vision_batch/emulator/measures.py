"""Measure an image: what the answerer knows comes from here and from nowhere else.

Everything is measured on the stored pixels (EXIF orientation is not applied: the models' servers do not apply it
either), scaled down to at most 512 pixels, so that a measure does not depend on the machine.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LONGEST = 512
_MODES = {"I;16", "I", "F"}

#: Luma 0..1: below is dark, above is bright, between is normal.
DARK, BRIGHT = 0.35, 0.75
#: Steepest edges as a share of the image's own range of luma: from here on sharp, soft.
SHARP, SOFT = 0.30, 0.15
#: Share of neighbouring pixels that are alike: drawings have flat areas.
FLAT = 0.80
_ALIKE = 3
#: Sides that differ by less are called square.
SQUARE = 1.02

#: Hue in degrees from which each colour begins.
_HUES = (
    (0, "red"),
    (18, "orange"),
    (45, "yellow"),
    (70, "green"),
    (165, "cyan"),
    (195, "blue"),
    (255, "purple"),
    (290, "pink"),
    (335, "red"),
)
_COLOURS = ("white", "gray", "black", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown")

Floats = NDArray[np.float64]


class UnreadableImageError(Exception):
    """Say that bytes are not an image that can be decoded."""


@dataclass(frozen=True)
class Pixels:
    """Hold a decoded image and its measures, each computed when asked for.

    :param width: of the image as it was sent.
    :param rgb: the pixels scaled down, 0..255.
    """

    width: int
    height: int
    rgb: Floats

    @cached_property
    def luma(self) -> Floats:
        """Give the lightness of every pixel, 0..1 (ITU-R BT.601)."""
        weighted: Floats = self.rgb @ np.array([0.299, 0.587, 0.114]) / 255
        return weighted

    @cached_property
    def brightness(self) -> float:
        """Give the mean lightness, 0..1."""
        return round(float(self.luma.mean()), 3)

    @cached_property
    def contrast(self) -> float:
        """Give the spread of lightness: its standard deviation, doubled, so that half black and half white is 1."""
        return round(min(1.0, 2 * float(self.luma.std())), 3)

    @cached_property
    def sharpness(self) -> float:
        """Give how steep the steepest edges are, as a share of the range of lightness, 0..1."""
        low, high = np.percentile(self.luma, (0.5, 99.5))
        if high - low < 0.02:  # noqa: PLR2004 - one colour has no edges
            return 0.0
        down, across = np.abs(np.diff(self.luma, axis=0)), np.abs(np.diff(self.luma, axis=1))
        steps = np.concatenate([down.ravel(), across.ravel()])
        count = min(steps.size, max(8, self.luma.size // 500))
        steep = np.partition(steps, -count)[-count:]
        return round(min(1.0, float(steep.mean()) / float(high - low)), 3)

    @cached_property
    def flatness(self) -> float:
        """Give the share of neighbouring pixels that are alike, 0..1."""
        down = np.abs(np.diff(self.rgb, axis=0)).max(axis=2) <= _ALIKE
        across = np.abs(np.diff(self.rgb, axis=1)).max(axis=2) <= _ALIKE
        pairs = down.size + across.size
        return round(float(down.sum() + across.sum()) / pairs, 3) if pairs else 1.0

    @cached_property
    def colour(self) -> str:
        """Give the name of the colour that most pixels have."""
        names = _colour_names(self.rgb)
        counts = np.bincount(names.ravel(), minlength=len(_COLOURS))
        return _COLOURS[int(counts.argmax())]

    @property
    def orientation(self) -> str:
        """Give landscape, portrait or square."""
        if max(self.width, self.height) < SQUARE * min(self.width, self.height):
            return "square"
        return "landscape" if self.width > self.height else "portrait"

    @property
    def kind(self) -> str:
        """Give drawing for large flat areas, else photo."""
        return "drawing" if self.flatness >= FLAT else "photo"

    @property
    def light(self) -> str:
        """Give dark, normal or bright."""
        return "dark" if self.brightness < DARK else "bright" if self.brightness > BRIGHT else "normal"

    @property
    def focus(self) -> str:
        """Give sharp, soft or blurred."""
        return "sharp" if self.sharpness >= SHARP else "soft" if self.sharpness >= SOFT else "blurred"

    @property
    def time_of_day(self) -> str:
        """Give night for dark pictures, else day."""
        return "night" if self.light == "dark" else "day"


def measure(data: bytes) -> Pixels:
    """Decode an image for measuring.

    :raises UnreadableImageError: it is no image, or a broken or an immense one.
    """
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(data)) as picture,
        ):
            width, height = picture.size
            picture.draft("RGB", (_LONGEST, _LONGEST))
            picture.load()
            small = _rgb(picture)
            small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
            return Pixels(width, height, np.asarray(small, dtype=np.float64))
    except Exception as error:
        # Pillow's decoders raise whatever they meet: OSError, SyntaxError, struct.error, zlib.error ...
        raise UnreadableImageError(f"{len(data)} bytes are not an image that can be decoded") from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _MODES:
        values = np.asarray(picture, dtype=np.float64)
        top = values.max() or 1.0
        return Image.fromarray((values / top * 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _colour_names(rgb: Floats) -> NDArray[np.int64]:
    """Return the index of every pixel's colour name."""
    high, low = rgb.max(axis=2), rgb.min(axis=2)
    spread = high - low
    hue = _hue(rgb, high, spread)
    value, saturation = high / 255, np.divide(spread, high, out=np.zeros_like(high), where=high > 0)
    index = {name: number for number, name in enumerate(_COLOURS)}
    starts = np.array([start for start, _ in _HUES])
    names = np.array([index[name] for _, name in _HUES])[np.searchsorted(starts, hue, side="right") - 1]
    is_warm = (hue < 45) | (hue >= 335)  # noqa: PLR2004 - red to orange, as in _HUES
    names[is_warm & (value < 0.62) & (value >= 0.2) & (hue >= 8) & (hue < 45)] = index["brown"]  # noqa: PLR2004
    grey = saturation < 0.16  # noqa: PLR2004 - no hue that people would name
    names[grey & (value >= 0.85)] = index["white"]  # noqa: PLR2004
    names[grey & (value < 0.85)] = index["gray"]  # noqa: PLR2004
    names[value < 0.2] = index["black"]  # noqa: PLR2004
    return names.astype(np.int64)


def _hue(rgb: Floats, high: Floats, spread: Floats) -> Floats:
    """Return the hue of every pixel in degrees."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    safe = np.where(spread > 0, spread, 1)
    sector = np.select(
        [high == red, high == green], [(green - blue) / safe % 6, (blue - red) / safe + 2], (red - green) / safe + 4
    )
    hue: Floats = np.where(spread > 0, sector * 60, 0)
    return hue
