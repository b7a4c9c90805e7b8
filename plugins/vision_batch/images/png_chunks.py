"""Prove that a PNG is complete by its chunks, their checksums and its number of bytes; take its metadata out.

The rules are those of the W3C PNG specification. Doubt means "not proven": the caller then decodes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from vision_batch.errors import ImageRejected

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PIXELS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
#: Say nothing about a person or a place, and something about colour or scale.
_HARMLESS: Final = frozenset({b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"sBIT"})
_PROFILE: Final = b"iCCP"
#: Transparency, and frames of an animation: such pictures are decoded.
_NOT_PLAIN: Final = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
#: Bits per channel, and gray or RGB without alpha.
_PLAIN_DEPTH: Final = 8
_PLAIN_CHANNELS: Final = {0: 1, 2: 3}
_HEADER: Final = struct.Struct(">IIBBBBB")
_LOWER_CASE: Final = 0x20
_STEP_BYTES: Final = 1 << 20


def complete_png(data: bytes, *, keep_profile: bool) -> bytes | None:
    """Return the file without metadata, or ``None`` if it is not surely complete, 8 bits deep and opaque.

    Texts, times, EXIF and unknown chunks go; the pixels are the same. The very same object is returned when there is
    nothing to take out.

    :param keep_profile: whether the ICC profile stays.
    """
    kept: list[bytes | memoryview] = [_SIGNATURE]
    names: list[bytes] = []
    header, pixels = b"", list[memoryview]()
    wanted = _PIXELS | _HARMLESS | ({_PROFILE} if keep_profile else set())
    try:
        for name, chunk, sound in _chunks(data):
            unknown = name not in _PIXELS and not name[0] & _LOWER_CASE
            if not sound or unknown or name in _NOT_PLAIN:
                return None
            names.append(name)
            if name == b"IHDR":
                header = bytes(chunk[8:-4])
            if name == b"IDAT":
                pixels.append(chunk[8:-4])
            if name in wanted:
                kept.append(chunk)
    except struct.error:
        return None
    if names[:1] != [b"IHDR"] or names[-1:] != [b"IEND"] or names.count(b"IHDR") != 1 or not _one_run(names):
        return None
    if _inflated_bytes(pixels) != _plain_bytes(header):
        return None
    whole = b"".join(kept)
    return data if whole == data else whole


def require_sound_pixels(data: bytes) -> None:
    """Refuse a file with a damaged chunk of pixels: the decoder does not look and would show something else.

    :raises ImageRejected: with the chunk's name.
    """
    try:
        for name, _, sound in _chunks(data):
            if name in _PIXELS and not sound:
                raise ImageRejected("corrupt", f"the PNG file is damaged: the checksum of its {name.decode()} is wrong")
    except struct.error:
        return  # It ends early: the decoder says whether pixels are missing.


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """Yield names, whole chunks and whether their checksums are right, up to the end chunk."""
    view = memoryview(data)
    at, name = len(_SIGNATURE), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        yield name, view[at:end], zlib.crc32(view[at + 4 : end - 4]) == checksum
        at = end


def _plain_bytes(header: bytes) -> int:
    """Return how many bytes the rows of an opaque picture of 8 bits take, a filter's byte for each; -1 for others."""
    try:
        width, height, depth, colours, *methods = _HEADER.unpack(header)
    except struct.error:
        return -1
    if not (width and height and depth == _PLAIN_DEPTH and colours in _PLAIN_CHANNELS and methods == [0, 0, 0]):
        return -1
    size: int = height * (1 + width * _PLAIN_CHANNELS[colours])
    return size


def _inflated_bytes(pixels: list[memoryview]) -> int:
    """Return how many bytes come out of the pixel chunks; 0 if they do not end as they should."""
    inflater, total = zlib.decompressobj(), 0
    try:
        for chunk in pixels:
            rest: bytes | memoryview = chunk
            while rest:
                total += len(inflater.decompress(rest, _STEP_BYTES))
                rest = inflater.unconsumed_tail
    except zlib.error:
        return 0
    return total if inflater.eof else 0


def _one_run(names: list[bytes]) -> bool:
    """Say whether there are pixel chunks and nothing stands between them."""
    number = names.count(b"IDAT")
    return number > 0 and names[names.index(b"IDAT") :][:number] == [b"IDAT"] * number
