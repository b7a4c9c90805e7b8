"""Draw one picture as a shop's photographer might send it: products, price tags, streets, by day and by night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from random import Random
from typing import Final

from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageFont

Size = tuple[int, int]
Colour = str

_COLOURS: Final = ("firebrick", "darkorange", "gold", "seagreen", "teal", "royalblue", "indigo", "hotpink", "sienna")
_GOODS: Final = ("МОЛОКО", "ХЛЕБ", "СЫР", "ЯБЛОКИ", "ЧАЙ", "КОФЕ", "МЁД", "ГРЕЧКА", "СЁМГА", "ЩАВЕЛЬ")
_SCALES: Final = (1.0, 0.8, 0.64)
_BIG_SCALE: Final = 2.5
_GRAIN_SIDE: Final = 640
_JPEG_QUALITY: Final = 88


@dataclass(frozen=True)
class Scene:
    """Describe a picture that is drawn.

    :param name: of its file; the ending says which format.
    :param size: in pixels, upright, before scaling.
    :param grain: share of noise, as cameras make it; 0 for a clean drawing.
    :param blur: radius, as a share of the longer side.
    :param turned: stored on its side, with the EXIF orientation that a phone writes.
    """

    name: str
    size: Size
    paint: Callable[[ImageDraw.ImageDraw, Size, Random], None]
    grain: float = 0.12
    blur: float = 0.0
    turned: bool = False

    def draw(self, seed: str, *, big: bool = False) -> bytes:
        """Return the file's bytes; the same seed gives the same bytes."""
        chance = Random(seed)  # noqa: S311 - pictures, not secrets
        scale = _BIG_SCALE if big else chance.choice(_SCALES)
        size = (round(self.size[0] * scale), round(self.size[1] * scale))
        image = Image.new("RGB", size)
        self.paint(ImageDraw.Draw(image), size, chance)
        if self.blur:
            image = image.filter(ImageFilter.GaussianBlur(self.blur * max(size)))
        if self.grain:
            image = Image.blend(image, _noise(size, chance), self.grain)
        return self._encoded(image)

    def _encoded(self, image: Image.Image) -> bytes:
        file = BytesIO()
        if self.name.endswith(".png"):
            image.save(file, "PNG")
        elif self.turned:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 6
            lying = image.transpose(Image.Transpose.ROTATE_90)
            lying.save(file, "JPEG", quality=_JPEG_QUALITY, exif=exif)
        else:
            image.save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()


def _noise(size: Size, chance: Random) -> Image.Image:
    scale = _GRAIN_SIDE / max(size)
    small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return Image.frombytes("RGB", small, chance.randbytes(3 * small[0] * small[1])).resize(size)


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    file = files("font_roboto") / "files" / "Roboto-Bold.ttf"
    return ImageFont.truetype(str(file), pixels, layout_engine=ImageFont.Layout.BASIC)


def _sky_and_table(draw: ImageDraw.ImageDraw, size: Size, sky: Colour, table: Colour) -> None:
    width, height = size
    draw.rectangle((0, 0, width, height), sky)
    draw.rectangle((0, round(height * 0.7), width, height), table)


def _label(draw: ImageDraw.ImageDraw, centre: Size, text: str, width: int, fill: Colour) -> None:
    """Write a line in the middle of a place, as large as its width allows."""
    trial = _font(100)
    font = _font(round(min(100 * width / trial.getlength(text), width / 3)))
    draw.text(centre, text, fill, font, anchor="mm")


def _cup(draw: ImageDraw.ImageDraw, size: Size, chance: Random) -> None:
    width, height = size
    _sky_and_table(draw, size, "aliceblue", "burlywood")
    colour = chance.choice(_COLOURS)
    left, right = round(width * (0.25 + chance.random() / 10)), round(width * 0.65)
    top, bottom = round(height * 0.25), round(height * 0.85)
    handle = round(width * 0.12)
    draw.arc((right - handle, top + handle, right + handle, bottom - handle), 270, 90, colour, max(4, width // 40))
    draw.rounded_rectangle((left, top, right, bottom), width // 25, colour)
    draw.ellipse((left, top - height // 25, right, top + height // 25), "saddlebrown", "white", max(2, width // 200))
    _label(draw, ((left + right) // 2, (top + bottom) // 2), chance.choice(_GOODS), (right - left) // 2, "white")


def _price_tag(draw: ImageDraw.ImageDraw, size: Size, chance: Random) -> None:
    width, height = size
    draw.rectangle((0, 0, width, height), "white")
    draw.rectangle((0, 0, width, height // 3), chance.choice(_COLOURS))
    _label(draw, (width // 2, height // 6), chance.choice(_GOODS), width // 2, "white")
    price = f"{chance.randint(19, 999)},{chance.randint(0, 99):02} ₽"
    _label(draw, (width // 2, height * 3 // 5), price, width * 3 // 4, "black")
    _label(draw, (width // 2, height * 9 // 10), f"за 1 шт. № {chance.randint(10**6, 10**7)}", width // 3, "black")


def _street(draw: ImageDraw.ImageDraw, size: Size, chance: Random) -> None:
    width, height = size
    _sky_and_table(draw, size, "midnightblue", "black")
    moon = width // 16
    draw.ellipse((width - 3 * moon, moon, width - moon, 3 * moon), "lightyellow")
    house = width // 6
    for left in range(0, width, house):
        top = round(height * (0.2 + chance.random() * 0.3))
        draw.rectangle((left, top, left + house - 4, round(height * 0.7)), "darkslategray")
        pane = house // 6
        for across in range(left + pane, left + house - 2 * pane, 2 * pane):
            for down in range(top + pane, round(height * 0.7) - 2 * pane, 2 * pane):
                if chance.random() < 0.25:  # noqa: PLR2004 - so many windows are lit
                    draw.rectangle((across, down, across + pane, down + pane), "gold")


def _bottle(draw: ImageDraw.ImageDraw, size: Size, chance: Random) -> None:
    width, height = size
    _sky_and_table(draw, size, "lavender", "darkgray")
    colour, middle = chance.choice(_COLOURS), width // 2
    draw.rectangle((middle - width // 14, height // 10, middle + width // 14, height // 2), colour)
    draw.rounded_rectangle(
        (middle - width // 5, height // 3, middle + width // 5, height * 9 // 10), width // 12, colour
    )
    draw.rectangle((middle - width // 5, height // 2, middle + width // 5, height * 3 // 4), "white")
    _label(draw, (middle, height * 5 // 8), chance.choice(_GOODS), width // 3, "black")


def _boxes(draw: ImageDraw.ImageDraw, size: Size, chance: Random) -> None:
    width, height = size
    _sky_and_table(draw, size, "gainsboro", "dimgray")
    for number in range(3):
        left, side = round(width * (0.08 + 0.3 * number)), round(width * (0.18 + chance.random() / 12))
        floor = round(height * 0.9)
        draw.rectangle((left, floor - 2 * side, left + side, floor), chance.choice(_COLOURS), "black", width // 200)
        _label(draw, (left + side // 2, floor - side), chance.choice(_GOODS), side * 4 // 5, "white")


#: What one day brings, in this order.
SCENES: Final = (
    Scene("cup-by-day.jpg", (1600, 1200), _cup),
    Scene("price-tag.png", (1000, 750), _price_tag, grain=0),
    Scene("street-at-night.jpg", (1280, 720), _street),
    Scene("bottle-upright.jpg", (900, 1200), _bottle, turned=True),
    Scene("boxes-blurred.jpg", (1200, 800), _boxes, blur=0.03),
    Scene("price-tag-square.jpg", (1000, 1000), _price_tag, grain=0.1),
)
