"""Read the size that a WebP declares, before libwebp takes memory for a canvas of it.

Source: the WebP container specification, "Simple" and "Extended File Format", and RFC 6386 section 9.1 for ``VP8``.
"""

from __future__ import annotations

from typing import Final

_CHUNK: Final = slice(12, 16)
#: Where a ``VP8X``, a ``VP8L`` and a ``VP8`` header hold width and height.
_CANVAS, _LOSSLESS, _LOSSY = slice(24, 30), slice(21, 25), slice(26, 30)
_FOURTEEN_BITS: Final = (1 << 14) - 1


def declared_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the canvas; 0 where the header has none, which libwebp then refuses."""
    kind = data[_CHUNK]
    if kind == b"VP8X":
        canvas = int.from_bytes(data[_CANVAS], "little")
        return 1 + (canvas & 0xFFFFFF), 1 + (canvas >> 24)
    if kind == b"VP8L":
        bits = int.from_bytes(data[_LOSSLESS], "little")
        return 1 + (bits & _FOURTEEN_BITS), 1 + (bits >> 14 & _FOURTEEN_BITS)
    if kind == b"VP8 ":
        sides = int.from_bytes(data[_LOSSY], "little")
        return sides & _FOURTEEN_BITS, sides >> 16 & _FOURTEEN_BITS
    return 0, 0
