"""Make one picture ready to send: bytes in, bytes and facts out.

The same bytes, model, budget and preprocessing version give the same pixels. Calls may run on many threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFile

from vision_batch.errors import InputError
from vision_batch.images.budget import fit, prompt_tokens
from vision_batch.images.colour import Notes, profile_kind, resizable, to_srgb
from vision_batch.images.encode import EncodedImage, encode
from vision_batch.images.jpeg_segments import complete_jpeg
from vision_batch.images.opening import (
    DEFAULT_LIMITS,
    ImageLimits,
    OpenedImage,
    open_image,
    rejecting,
    require_pixels,
)
from vision_batch.images.png_chunks import complete_png
from vision_batch.models import Model

#: What a declaration can pin. A change of the pixels sent is a new version; a version is never changed.
PREPROCESSING_VERSIONS: Final = (1,)

#: A target that differs from the picture's ratio by no more than a cell is filled, a farther one gets white margins.
_CELL: Final = 28
#: Above this a PNG is a photograph in the wrong format, and not worth its bytes.
_MAX_PNG_BYTES_PER_PIXEL: Final = 1.5
#: A reduction by whole numbers comes first as long as the resampling proper still has this much to do.
_REDUCING_GAP: Final = 3.0

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Size = tuple[int, int]


@dataclass(frozen=True)
class PreparedImage:
    """Hold a picture as it is sent, and what was done to it.

    :param width: as sent, in pixels; so is the height.
    :param source_width: as stored, after orientation.
    :param source_format: by content.
    :param tokens: of the model's window that the picture takes, its wrapper included.
    :param passed_through: whether the pixels are the stored ones, not encoded again.
    :param notes: what a reader of the answer may want to know, in English.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    source_width: int
    source_height: int
    source_format: str
    tokens: int
    passed_through: bool
    notes: tuple[str, ...]


def prepare_image(
    data: bytes, *, model: Model, budget_tokens: int, version: int = 1, limits: ImageLimits = DEFAULT_LIMITS
) -> PreparedImage:
    """Guard, orient, fit and encode one picture; metadata such as the place of a photograph never leave.

    :param budget_tokens: for the image with its wrapper.
    :param version: of preprocessing, pinned in the declaration.
    :raises ImageRejected: if the picture cannot be sent, whatever the bytes are.
    :raises InputError: for an unknown version.
    """
    if version not in PREPROCESSING_VERSIONS:
        known = ", ".join(map(str, PREPROCESSING_VERSIONS))
        raise InputError(f"there is no preprocessing version {version}: known are {known}")
    opened = open_image(data, limits)
    target = fit(model, opened.width, opened.height, budget_tokens)
    notes: Notes = []
    if opened.is_animated:
        notes.append("the first of several frames or pages")
    made = _untouched(data, opened, target, notes)
    passed_through = made is not None
    with rejecting(opened.format):
        if made is None:
            made = _made(opened, target, limits, notes)
    return PreparedImage(
        data=made.data,
        media_type=made.media_type,
        width=target[0],
        height=target[1],
        source_width=opened.width,
        source_height=opened.height,
        source_format=opened.format,
        tokens=prompt_tokens(model, *target),
        passed_through=passed_through,
        notes=tuple(notes),
    )


def _untouched(data: bytes, opened: OpenedImage, target: Size, notes: Notes) -> EncodedImage | None:
    """Return the stored bytes, without metadata, if they can be sent as they are."""
    if target != (opened.width, opened.height) or opened.orientation != 1 or opened.is_animated:
        return None
    kind = profile_kind(opened.image.info.get("icc_profile"))
    if kind == "other":
        return None
    plain: bytes | None = None
    if opened.format == "JPEG":
        plain = complete_jpeg(data, keep_profile=kind == "srgb")
    elif opened.format == "PNG" and len(data) <= _MAX_PNG_BYTES_PER_PIXEL * target[0] * target[1] + 4096:
        plain = complete_png(data, keep_profile=kind == "srgb")
    if plain is None:
        return None
    if plain is not data:
        notes.append("metadata taken out")
    return EncodedImage(plain, f"image/{opened.format.lower()}")


def _made(opened: OpenedImage, target: Size, limits: ImageLimits, notes: Notes) -> EncodedImage:
    """Decode, convert, scale, turn and encode."""
    content = _content_size((opened.width, opened.height), target)
    lying = (content[1], content[0]) if opened.is_sideways else content
    box = _drafted(opened.image, lying, limits)
    opened.image.load()
    require_pixels(opened.image, limits)
    profile = opened.image.info.get("icc_profile")
    pixels: Image.Image = resizable(opened.image, notes)
    if pixels.size != lying or box not in {None, (0.0, 0.0, *lying)}:
        pixels = pixels.resize(lying, _filter(pixels.size, lying), box, _REDUCING_GAP)
    pixels = to_srgb(pixels, profile, notes)
    if (turn := _TURNS.get(opened.orientation)) is not None:
        pixels = pixels.transpose(turn)
    if content != target:
        notes.append(f"white margins around {content[0]}x{content[1]}")
        pixels = _centred(pixels, target)
    return encode(pixels, lossless_source=opened.format in {"PNG", "GIF", "BMP", "TIFF"})


def _filter(size: Size, target: Size) -> Image.Resampling:
    """Shrink with the quickest filter that loses nothing to see (``make bench`` prints SSIM); enlarge smoothly."""
    shrinks = target[0] <= size[0] and target[1] <= size[1]
    return Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC


def _content_size(source: Size, target: Size) -> Size:
    """Return the size to scale to: the target, or less where that would distort by more than a cell."""
    width, height = source
    scale = min(target[0] / width, target[1] / height)
    inside = (max(1, round(width * scale)), max(1, round(height * scale)))
    near = all(room - side <= _CELL for room, side in zip(target, inside, strict=True))
    return target if near else inside


def _drafted(image: ImageFile.ImageFile, size: Size, limits: ImageLimits) -> tuple[float, float, float, float] | None:
    """Let the JPEG decoder skip what the target does not need; return what of its pixels is the picture."""
    box = None
    if image.format == "JPEG":
        if image.info.get("progressive"):
            # Its coefficients are all held at once, however small the output.
            require_pixels(image, limits)
        drafted = image.draft(None, size)
        box = None if drafted is None else tuple(map(float, drafted[1]))
    require_pixels(image, limits)
    return box  # type: ignore[return-value]


def _centred(image: Image.Image, size: Size) -> Image.Image:
    canvas = Image.new(image.mode, size, "white")
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas
