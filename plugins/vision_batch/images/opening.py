"""Open one untrusted file: guards before decoding, and no error but the project's own.

Nothing global in Pillow is changed, and every size is checked from the header, before memory is taken for pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from PIL import ExifTags, Image, ImageFile, features

from vision_batch.errors import ImageRejected
from vision_batch.images.png_chunks import require_sound_pixels
from vision_batch.images.signature import Format, format_of
from vision_batch.images.webp_header import declared_size

#: Pillow's plugin module and class for each format. They are called directly, because ``Image.open`` compares
#: sizes with a limit of the whole process and tries formats that nobody asked for.
_PLUGINS: Final[dict[str, tuple[str, str]]] = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}
_CODECS: Final = {"WebP": "webp", "AVIF": "avif"}

_UPRIGHT: Final = 1
#: EXIF orientations that swap width and height.
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
_ORIENTATIONS: Final = range(1, 9)
#: Where Pillow's ``info`` has an orientation, and how a PNG names the same.
_METADATA: Final = frozenset({"exif", "xmp", "Raw profile type exif"})
_PNG_METADATA: Final = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif")


@dataclass(frozen=True)
class ImageLimits:
    """Bound what one file may take.

    :param max_bytes: of the file as stored.
    :param max_pixels: that are decoded at once. Each takes 4 bytes of memory, with transparency 8, and up to 17 in
        formats whose decoders hold copies of their own, such as WebP. A baseline JPEG counts after its decoder's own
        reduction, so that a 108-megapixel photograph passes.
    """

    max_bytes: int = 100_000_000
    max_pixels: int = 64_000_000


DEFAULT_LIMITS: Final = ImageLimits()


@dataclass(frozen=True)
class OpenedImage:
    """Hold a file whose header was read and whose pixels were not.

    :param width: in pixels, after orientation; so is the height.
    :param orientation: EXIF's, 1 to 8, still to be applied.
    """

    image: ImageFile.ImageFile
    format: Format
    width: int
    height: int
    orientation: int
    is_animated: bool

    @property
    def is_sideways(self) -> bool:
        """Say whether orientation swaps width and height."""
        return self.orientation in _SIDEWAYS


def open_image(data: bytes, limits: ImageLimits) -> OpenedImage:
    """Read a file's header.

    :raises ImageRejected: for too many bytes, a format that is not read, or a header that makes no sense.
    """
    require_bytes(len(data), limits)
    name = format_of(data)
    if name == "WebP":
        _require(*declared_size(data), limits)
    with rejecting(name):
        image = _plugin(name)(BytesIO(data))
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageRejected("corrupt", f"the {name} header gives a size of {width}x{height}")
        if name != "JPEG":
            require_pixels(image, limits)
        if name == "PNG":
            require_sound_pixels(data)
            _read_late_metadata(image, data)
        animated = name != "JPEG" and bool(getattr(image, "is_animated", False))
        orientation = _orientation(image, name)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return OpenedImage(image, name, width, height, orientation, animated)


def require_bytes(size_bytes: int, limits: ImageLimits = DEFAULT_LIMITS) -> None:
    """Refuse a file that is larger than the limit.

    :raises ImageRejected: with the size that was found.
    """
    if size_bytes > limits.max_bytes:
        raise ImageRejected("too_many_bytes", f"the file has {size_bytes} bytes; the limit is {limits.max_bytes}")


def require_pixels(image: Image.Image, limits: ImageLimits) -> None:
    """Refuse to decode more pixels than the limit.

    :raises ImageRejected: with the size that was found.
    """
    _require(*image.size, limits)


def _require(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ImageRejected(
            "too_many_pixels", f"{width}x{height} are {width * height} pixels; the limit is {limits.max_pixels}"
        )


@contextmanager
def rejecting(name: str) -> Iterator[None]:
    """Turn whatever a decoder throws at hostile bytes into :class:`ImageRejected`."""
    try:
        yield
    except ImageRejected:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageRejected("too_many_pixels", f"the {name} file wants too much memory: {error}") from error
    except Exception as error:
        # Plugins raise struct.error, SyntaxError, IndexError and many more; none of them may fail a task.
        reason = "truncated" if _is_truncation(error) else "corrupt"
        what = "ends too early" if reason == "truncated" else "cannot be decoded"
        raise ImageRejected(reason, f"the {name} file {what}: {_first_line(error)}") from error


def _is_truncation(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("truncat", "end of file", "unexpected eof", "too few", "not enough data"))


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _plugin(name: Format) -> Any:
    codec = _CODECS.get(name)
    if codec is not None and not features.check(codec):
        raise ImageRejected("unsupported_format", f"this machine's Pillow was built without {name}: use a PyPI wheel")
    module, plugin = _PLUGINS[name]
    try:
        return getattr(importlib.import_module(module), plugin)
    except ImportError as error:
        raise ImageRejected(
            "heic_support_missing",
            "the file is HEIC and pillow-heif is not installed on this worker: install 'vision-batch[heic]', "
            "or convert the picture to JPEG",
        ) from error


def _read_late_metadata(image: ImageFile.ImageFile, data: bytes) -> None:
    """Decode a PNG if metadata may stand behind its pixels: Pillow finds them only then."""
    if "exif" not in image.info and any(name in data for name in _PNG_METADATA):
        image.load()


def _orientation(image: ImageFile.ImageFile, name: Format) -> int:
    # TIFF and HEIC plugins turn the picture themselves, and their sizes are already the turned ones.
    if name in {"TIFF", "HEIC", "GIF", "BMP"}:
        return _UPRIGHT
    if name in {"JPEG", "PNG"} and not _METADATA & image.info.keys():
        return _UPRIGHT
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:  # noqa: BLE001 - damaged metadata do not make the pixels unreadable
        return _UPRIGHT
    return found if isinstance(found, int) and found in _ORIENTATIONS else _UPRIGHT
