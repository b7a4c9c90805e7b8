"""Tell a file's format by its first bytes, never by its name."""

from __future__ import annotations

from typing import Final, Literal

from vision_batch.errors import ImageRejected

Format = Literal["JPEG", "PNG", "WebP", "AVIF", "TIFF", "GIF", "BMP", "HEIC"]

READABLE: Final = "JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP and HEIC"

_PREFIXES: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)

#: What people store beside pictures; named so that the message says what the file is.
_OTHERS: Final = (
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL", "JPEG XL"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
)

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
)


def format_of(data: bytes) -> Format:
    """Return the format that the bytes claim by their signature.

    :raises ImageRejected: for no bytes, and for bytes that are no picture of a readable format; says what they are.
    """
    if not data:
        raise ImageRejected("empty", "the file has no bytes")
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIC_BRANDS:
        return "HEIC"
    raise ImageRejected(*_what_else(data, brands))


def _brands(data: bytes) -> frozenset[bytes]:
    """Return the brands of an ISO media file: the major one and the compatible ones."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return frozenset(data[at : at + 4] for at in (8, *range(16, end, 4)))


def _what_else(data: bytes, brands: frozenset[bytes]) -> tuple[str, str]:
    for prefix, name in _OTHERS:
        if data.startswith(prefix):
            return "unsupported_format", f"the bytes are {name}: {READABLE} are read"
    if brands:
        return "unsupported_format", f"the bytes are a video or an unknown media file: {READABLE} are read"
    if _looks_like_text(data[:512]):
        return "not_an_image", f"the bytes are text: {READABLE} are read"
    return "not_an_image", f"the first bytes, {data[:8].hex(' ')}, belong to no picture: {READABLE} are read"


def _looks_like_text(start: bytes) -> bool:
    # The cut can fall inside a letter, hence up to three bytes are left out.
    for cut in range(4):
        try:
            text = start[: len(start) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return all(character.isprintable() or character in "\r\n\t\f\ufeff" for character in text)
    return False
