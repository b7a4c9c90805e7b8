"""Turn every kind of pixels into 8-bit gray or sRGB, opaque on white."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Final, Literal

from PIL import Image, ImageCms

from vision_batch.errors import ImageRejected

_EIGHT_BIT_MAX: Final = 255
_SIXTEEN_BIT_MAX: Final = 65_535
_STRIP_ROWS: Final = 256

ON_WHITE: Final = "transparency put on white"

_DEEP_GRAY: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
#: Which colour space of a profile belongs to which mode.
_SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "LAB": "LAB"}

ProfileKind = Literal["none", "srgb", "other", "unreadable"]
Notes = list[str]


def profile_kind(profile: bytes | None) -> ProfileKind:
    """Say what an ICC profile means for the pixels; by its own description."""
    return _profile_kind(bytes(profile)) if profile else "none"


@lru_cache(maxsize=64)
def _profile_kind(profile: bytes) -> ProfileKind:
    try:
        described = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.profile_description or ""
    except Exception:  # noqa: BLE001 - a damaged profile does not make the pixels unreadable
        return "unreadable"
    return "srgb" if "srgb" in described.lower().replace(" ", "") else "other"


def resizable(image: Image.Image, notes: Notes) -> Image.Image:
    """Return the pixels in a mode of 8 bits per channel without transparency: gray, RGB, CMYK or LAB."""
    if image.mode in _DEEP_GRAY:
        return _to_eight_bits(image, notes)
    if image.has_transparency_data:
        return _on_white(image, notes)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in {"L", "RGB", "CMYK", "LAB"} else image.convert("RGB")


def to_srgb(image: Image.Image, profile: bytes | None, notes: Notes) -> Image.Image:
    """Return gray or sRGB pixels, through the ICC profile where there is one that belongs to them."""
    kind = profile_kind(profile)
    if profile and kind == "other":
        converted = _through_profile(image, profile)
        if converted is not None:
            notes.append(f"{image.mode} converted to sRGB through its ICC profile")
            return converted
    if profile and kind != "srgb":
        notes.append("its ICC profile could not be used")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _transformed(image, ImageCms.ImageCmsProfile(lab))
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB without an ICC profile")
        return image.convert("RGB")
    return image


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _SPACES.get(source.profile.xcolor_space.strip().upper()) != image.mode:
            return None
        return _transformed(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _transformed(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    assert made is not None  # noqa: S101 - only None for a conversion in place
    return made.convert("L") if image.mode == "L" else made


def _on_white(image: Image.Image, notes: Notes) -> Image.Image:
    notes.append(ON_WHITE)
    mode = "L" if image.mode in {"L", "LA", "La"} else "RGB"

    def flattened(strip: Image.Image) -> Image.Image:
        layered = strip.convert("RGBA")
        canvas = Image.new("RGB", layered.size, "white")
        canvas.paste(layered, mask=layered.getchannel("A"))
        return canvas.convert(mode)

    return _by_strips(image, mode, flattened)


def _to_eight_bits(image: Image.Image, notes: Notes) -> Image.Image:
    """Scale deeper gray to 8 bits: converting as it is would turn everything above 255 white."""
    low, high = 0.0, float(_SIXTEEN_BIT_MAX)
    if image.mode in {"I", "F"}:
        low, high = _range(image)
    if (low, high) == (0.0, float(_EIGHT_BIT_MAX)):
        return _by_strips(image, "L", lambda strip: strip.convert("L"))
    step = (high - low) / _EIGHT_BIT_MAX or 1.0
    notes.append(f"{image.mode} gray scaled to 8 bits")
    wide = "F" if image.mode == "F" else "I"
    clear = image.info.get("transparency")
    mask = [_EIGHT_BIT_MAX * (value == clear) for value in range(_SIXTEEN_BIT_MAX + 1)]
    if isinstance(clear, int):
        notes.append(ON_WHITE)

    def scaled(strip: Image.Image) -> Image.Image:
        deep = strip if strip.mode == wide else strip.convert(wide)
        gray = deep.point(lambda value: value * (1 / step) + (0.5 - low / step)).convert("L")
        if isinstance(clear, int):
            gray.paste(_EIGHT_BIT_MAX, mask=deep.point(mask, "L"))
        return gray

    return _by_strips(image, "L", scaled)


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the values that become black and white, guessed from those that occur."""
    extremes = image.getextrema()
    low, high = (float(value) for value in extremes)  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageRejected("corrupt", f"the pixels reach from {low} to {high}: no picture has such values")
    for white in (1.0, float(_EIGHT_BIT_MAX), float(_SIXTEEN_BIT_MAX)):
        if low >= 0 and high <= white and (white > 1 or image.mode == "F"):
            return 0.0, white
    return low, high


def _by_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Build a picture strip by strip, so that no further copy of it is held."""
    made = Image.new(mode, image.size)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        made.paste(change(image.crop((0, top, image.width, bottom))), (0, top))
    return made
