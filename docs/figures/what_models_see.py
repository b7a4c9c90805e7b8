"""Draw ``what_models_see.png``: one photograph of a shelf as each family of models gets it.

Run it after a change of what is sent: ``python docs/figures/what_models_see.py``. Prices and sizes are those of
``vision_batch.images``; the photograph is drawn, so that it may be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vision_batch.images import deepseek, gemma, qwen
from vision_batch.images.prepare import prepare_image
from vision_batch.models import get_model

Size = tuple[int, int]

PHOTO: Size = (4032, 3024)
#: Tokens left for the image by a prompt of 500 and an answer of 300.
BUDGET = 3248
#: The price tag that is shown enlarged, as a share of the photograph: left, top, right, bottom.
TAG = (0.345, 0.572, 0.471, 0.661)
COLUMN, GAP, MARGIN = 372, 20, 16
ENLARGED, HEIGHT = 196, 572
WHOLE_SCALE = 372 / 1848
GOODS = ("МОЛОКО", "СЫР", "ЧАЙ", "КОФЕ", "МЁД", "ГРЕЧКА", "СЁМГА", "ЩАВЕЛЬ", "ХЛЕБ", "ЯБЛОКИ")
COLOURS = ("firebrick", "darkorange", "seagreen", "teal", "royalblue", "indigo", "sienna", "olivedrab")


@dataclass(frozen=True)
class View:
    """Hold what one family sees, and the lines along which it is cut."""

    title: str
    tokens: int
    pixels: Image.Image
    step: Size


@cache
def font(pixels: int, weight: str = "Bold") -> ImageFont.FreeTypeFont:
    """Return a font that Cyrillic can be written with."""
    file = files("font_roboto") / "files" / f"Roboto-{weight}.ttf"
    return ImageFont.truetype(str(file), pixels, layout_engine=ImageFont.Layout.BASIC)


def photograph() -> Image.Image:
    """Draw a shelf in three rows, with the light, the softness and the grain of a camera."""
    chance, (width, height) = Random(7), PHOTO
    image = Image.new("RGB", PHOTO, "antiquewhite")
    draw = ImageDraw.Draw(image)
    for row in range(3):
        floor, names = height * (row + 1) // 3 - 120, list[str]()
        for column in range(6):
            left, wide, high = 60 + column * 660, chance.randint(380, 540), chance.randint(480, 700)
            box = (left, floor - high, left + wide, floor)
            draw.rounded_rectangle(box, 50, chance.choice(COLOURS), "dimgray", 8)
            middle = (left + wide // 2, floor - high // 2)
            names.append(chance.choice(GOODS))
            draw.text(middle, names[-1], "white", font(wide // 6), anchor="mm")
        draw.rectangle((0, floor, width, floor + 120), "burlywood")
        for column, name in enumerate(names):
            tag(draw, (90 + column * 660, floor - 150), name, chance)
    light = Image.linear_gradient("L").resize(PHOTO).point(lambda value: 255 - value // 3)
    image = Image.composite(image, Image.new("RGB", PHOTO, "black"), light)
    small = (width // 2, height // 2)
    grain = Image.frombytes("L", small, chance.randbytes(small[0] * small[1])).resize(PHOTO).convert("RGB")
    return Image.blend(image.filter(ImageFilter.GaussianBlur(1.5)), grain, 0.05)


def tag(draw: ImageDraw.ImageDraw, corner: Size, name: str, chance: Random) -> None:
    """Draw a price tag with print of three sizes."""
    (left, top), price = corner, f"{chance.randint(19, 999)},{chance.randint(0, 99):02} ₽"
    draw.rectangle((left, top, left + 470, top + 240), "white", "gray", 4)
    draw.rectangle((left, top, left + 470, top + 64), "gold")
    draw.text((left + 235, top + 32), name, "black", font(48), anchor="mm")
    draw.text((left + 235, top + 124), price, "black", font(92), anchor="mm")
    small = f"за 1 кг  № {chance.randint(10**6, 10**7)}  до 24.12"
    draw.text((left + 235, top + 206), small, "black", font(27, "Regular"), anchor="mm")


def views(photo: Image.Image) -> list[View]:
    """Return what each family gets, in the pixels that it looks at."""
    file = BytesIO()
    photo.save(file, "JPEG", quality=92)
    found = []
    for title, model_id, step in (
        ("Qwen", "qwen2.5-vl-7b-instruct", qwen.CELL),
        ("DeepSeek", "deepseek-vl2", deepseek.TILE),
        ("Gemma", "gemma-3-12b-it", gemma.VIEW),
    ):
        made = prepare_image(file.getvalue(), model=get_model(model_id), budget_tokens=BUDGET)
        pixels = Image.open(BytesIO(made.data)).convert("RGB")
        if title == "Gemma":  # its processor squashes every picture into one square
            pixels = pixels.resize((gemma.VIEW, gemma.VIEW), Image.Resampling.BILINEAR)
        found.append(View(title, made.tokens, pixels, (step, step)))
    return found


def column(view: View) -> Image.Image:
    """Draw one family: the whole at a common scale, cut as the model cuts it, and the tag enlarged."""
    width, height = view.pixels.size
    whole = view.pixels.resize((round(width * WHOLE_SCALE), round(height * WHOLE_SCALE)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(whole, "RGBA")
    for axis, (side, step) in enumerate(zip(view.pixels.size, view.step, strict=True)):
        for at in range(step, side, step):
            place = round(at * WHOLE_SCALE)
            line = (place, 0, place, whole.height) if axis == 0 else (0, place, whole.width, place)
            draw.line(line, (255, 255, 255, 70 if step == qwen.CELL else 255), 1)
    box = tuple(round(share * side) for share, side in zip(TAG, (width, height) * 2, strict=True))
    near = view.pixels.crop(box).resize((COLUMN, ENLARGED), Image.Resampling.NEAREST)
    made = Image.new("RGB", (COLUMN, HEIGHT), "white")
    text = ImageDraw.Draw(made)
    text.text((0, 0), view.title, "black", font(22))
    text.text((0, 28), f"looks at {width} x {height}, costs {view.tokens:,} tokens", "black", font(15, "Regular"))
    made.paste(whole, (0, 56))
    seen = f"A price tag: {box[2] - box[0]} x {box[3] - box[1]} of these pixels"
    text.text((0, 350), seen, "black", font(15, "Regular"))
    made.paste(near, (0, 374))
    return made


def main() -> None:
    """Draw the picture beside this file."""
    columns = [column(view) for view in views(photograph())]
    made = Image.new("RGB", (3 * COLUMN + 2 * GAP + 2 * MARGIN, HEIGHT + 2 * MARGIN), "white")
    for number, each in enumerate(columns):
        made.paste(each, (MARGIN + number * (COLUMN + GAP), MARGIN))
    target = Path(__file__).with_suffix(".png")
    made.quantize(160, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
