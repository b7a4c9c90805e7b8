"""Write the bytes that are sent: JPEG by the kind of picture, or PNG where that is smaller and loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nlargest
from io import BytesIO
from typing import Final, Literal

from PIL import Image

JPEG_QUALITY: Final = 90
_FULL_COLOUR: Final = 0
_HALF_COLOUR: Final = 2

#: A drawing is mostly a few flat colours: this share of its points lies in this many of 4096 colours.
_FLAT_SHARE: Final = 0.6
_FLAT_COLOURS: Final = 6
_SAMPLE_SIDE: Final = 128
_CUBES: Final = 4096

Kind = Literal["photo", "drawing"]


@dataclass(frozen=True)
class EncodedImage:
    """Hold the bytes and their media type."""

    data: bytes
    media_type: str


def encode(image: Image.Image, *, lossless_source: bool) -> EncodedImage:
    """Encode gray or RGB pixels without any metadata.

    Photographs are JPEG of quality 90 with halved colour resolution; documents, screens and drawings keep the full one,
    for coloured text. A drawing that came without losses stays so if its PNG is not larger.
    """
    plain = image.copy() if image.info else image
    plain.info = {}
    kind = kind_of(plain)
    jpeg = BytesIO()
    plain.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=_HALF_COLOUR if kind == "photo" else _FULL_COLOUR)
    if lossless_source and kind == "drawing":
        png = BytesIO()
        plain.save(png, "PNG")
        if png.tell() <= jpeg.tell():
            return EncodedImage(png.getvalue(), "image/png")
    return EncodedImage(jpeg.getvalue(), "image/jpeg")


def kind_of(image: Image.Image) -> Kind:
    """Tell photographs from documents, screens and drawings, by how many points have the commonest colours."""
    sample = image.resize((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.NEAREST)
    coarse = sample.point(lambda value: value & 0xF0)
    commonest = nlargest(_FLAT_COLOURS, (count for count, _ in coarse.getcolors(_CUBES) or []))
    flat = sum(commonest) / (_SAMPLE_SIDE * _SAMPLE_SIDE)
    return "drawing" if flat >= _FLAT_SHARE else "photo"
