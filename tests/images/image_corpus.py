"""Make a picture file of every kind that people and attackers store; the tests state the outcome of each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from random import Random

import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageColor

pillow_heif.register_heif_opener()

SIZE = (160, 120)
#: Pillow's names; every format with every mode that it can hold.
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "HEIF": ("L", "RGB", "RGBA"),
}
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")
ORIENTABLE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")
#: How a picture has to be turned so that its EXIF orientation turns it back.
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
RED, LIME, BLUE, YELLOW = map(ImageColor.getrgb, ("red", "lime", "blue", "yellow"))


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def quarters(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture whose four quarters differ, so that every turn and every wrong colour shows."""
    image = Image.new("RGB", (2, 2))
    image.putdata([RED, LIME, BLUE, YELLOW])
    return image.resize(size, Image.Resampling.NEAREST)


@cache
def photograph(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture that no lossless format makes small."""
    return Image.frombytes("RGB", size, Random(1).randbytes(3 * size[0] * size[1]))


@cache
def huge(mode: str, name: str) -> bytes:
    """A picture of 50 megapixels, in red or its gray."""
    return saved(Image.new(mode, (8192, 6144), RED if mode == "RGB" else 76), name)


def in_mode(mode: str, name: str) -> bytes:
    """The quarters in a mode; deep gray holds 0 to 65535 (``I;16``, ``I``) or 0 to 1 (``F``)."""
    image = quarters()
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return saved(ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"), name)
    if mode in {"I;16", "I"}:
        deep = image.convert("L").convert("I").point(lambda value: value * 257)
        return saved(deep.convert(mode), name)
    if mode == "F":
        return saved(image.convert("L").convert("F").point(lambda value: value * (1 / 255) + 0), name)
    return saved(image.convert(mode), name)


def oriented(orientation: int, name: str) -> bytes:
    """The quarters, stored turned, with the orientation that turns them back."""
    stored = quarters()
    if (turn := TURNED[orientation]) is not None:
        stored = stored.transpose(turn)
    if name == "TIFF":
        return saved(stored, name, tiffinfo={ExifTags.Base.Orientation: orientation})
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(stored, name, exif=exif.tobytes())


def animated(name: str) -> bytes:
    others = [Image.new("RGB", SIZE, colour) for colour in ("black", "white")]
    return saved(quarters(), name, save_all=True, append_images=others)


def with_gps(name: str = "JPEG") -> bytes:
    """A photograph with the place where it was made; the words PRIVATE must never leave."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "PRIVATE"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitude] = (55.0, 45.0, 7.0)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSMapDatum] = "PRIVATE"
    return saved(quarters(), name, exif=exif.tobytes())


def transparent_palette(name: str) -> bytes:
    """The quarters as a palette whose red is transparent."""
    image = quarters().convert("P")
    return saved(image, name, transparency=image.getpixel((0, 0)))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))


def png(header: tuple[int, int, int, int], rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand: width, height, bits and colour type, then each row with its filter byte."""
    width, height, bits, colour = header
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", first, *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")))


def sixteen_bit_colour() -> bytes:
    """A PNG of 16 bits per channel in orange, which Pillow cannot write."""
    return png((160, 120, 16, 2), (b"\0" + struct.pack(">HHH", 65_535, 32_768, 0) * 160) * 120)


def transparent_deep_gray() -> bytes:
    """A PNG of 16-bit gray whose left half is of the value that its header declares to be transparent."""
    row = b"\0" + struct.pack(">H", 4_660) * 80 + struct.pack(">H", 32_896) * 80
    return png((160, 120, 16, 0), row * 120, chunk(b"tRNS", struct.pack(">H", 4_660)))


def flipped(data: bytes, where: float = 0.5) -> bytes:
    """The file with one wrong bit."""
    at = int(len(data) * where)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def cmyk_profile() -> bytes:
    """An ICC profile for CMYK by hand, whose cyan ink is red: it shows whether it was used.

    The form is ICC.1's: a header, a table of tags, and a ``lut8Type`` from the sixteen corners of CMYK to Lab.
    """
    white, red, black = (255, 128, 128), (138, 208, 195), (0, 128, 128)
    corners = bytes(
        level
        for inks in range(16)
        for level in (black if inks & 1 else red if inks & 8 else white)  # cyan is the first of four inks
    )
    straight = bytes(range(256))
    matrix = struct.pack(">9i", *(65_536 * (number % 4 == 0) for number in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + straight * 4 + corners + straight * 3
    text = b"text\0\0\0\0made by a test\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 9) + b"RedCyan1\0" + bytes(11 + 67)
    point = b"XYZ \0\0\0\0" + struct.pack(">3i", 63_190, 65_536, 54_061)
    tags = ((b"desc", name), (b"cprt", text), (b"wtpt", point), (b"A2B0", lut))
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for signature, value in tags:
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", signature, at + len(body), len(value))
        body += padded
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp"
    illuminant = struct.pack(">3i", 63_190, 65_536, 54_061)
    return head + bytes(28) + illuminant + bytes(128 - len(head) - 28 - 12) + table + body


def cmyk(profile: bytes | None, name: str = "JPEG") -> bytes:
    """Pure cyan ink."""
    image = Image.new("CMYK", SIZE, (255, 0, 0, 0))
    return saved(image, name, **({"icc_profile": profile} if profile else {}))


def seeds() -> dict[str, Callable[[], bytes]]:
    """Small files of every kind, for the fuzzer to mutate."""
    found: dict[str, Callable[[], bytes]] = {}
    for name, modes in MODES.items():
        for mode in modes:
            found[f"{name} {mode}"] = lambda mode=mode, name=name: in_mode(mode, name)
    found |= {f"{name} photograph": lambda name=name: saved(photograph((48, 40)), name) for name in MODES}
    found |= {f"{name} turned": lambda name=name: oriented(6, name) for name in ORIENTABLE}
    found |= {f"{name} animated": lambda name=name: animated(name) for name in ANIMATED}
    found |= {f"{name} transparent palette": lambda name=name: transparent_palette(name) for name in ("PNG", "GIF")}
    # Much memory in few bytes.
    found |= {
        f"{name} large": lambda name=name: saved(quarters((2000, 1500)), name)
        for name in MODES
        if name not in {"BMP", "TIFF"}
    }
    found["TIFF large"] = lambda: saved(quarters((2000, 1500)).convert("CMYK"), "TIFF", compression="tiff_lzw")
    found |= {
        "progressive": lambda: saved(photograph((48, 40)), "JPEG", progressive=True),
        "restarts": lambda: saved(photograph((48, 40)), "JPEG", restart_marker_blocks=2),
        "CMYK with a profile": lambda: cmyk(cmyk_profile()),
        "TIFF compressed": lambda: saved(quarters(), "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": lambda: saved(quarters(), "TIFF", compression="jpeg"),
        "16-bit colour": sixteen_bit_colour,
        "16-bit gray, a transparent value": transparent_deep_gray,
        "GPS": with_gps,
    }
    return found
