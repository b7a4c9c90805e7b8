"""Prove that a JPEG is complete by its segments, and take its metadata out without decoding a pixel.

The rules are those of ITU-T T.81 and of what libjpeg refuses. Doubt means "not proven": the caller then decodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_SOI: Final = b"\xff\xd8"
_EOI: Final = 0xD9
_SOS: Final = 0xDA
_DHT: Final = 0xC4
_DQT: Final = 0xDB
_DRI: Final = 0xDD
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_METADATA: Final = frozenset({*range(0xE0, 0xF0), 0xFE})

#: The next marker inside entropy-coded data: neither a stuffed byte, nor a restart marker, nor a fill byte.
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_TABLES: Final = 4
_LAST_COEFFICIENT: Final = 63
_LAST_DC_CATEGORY: Final = 11
_JFIF_WITHOUT_THUMBNAIL_BYTES: Final = 14
_ADOBE_BYTES: Final = 12
#: A block takes at least one bit for its DC and one for its end.
_LEAST_BITS_PER_BLOCK: Final = 2


class _NotProvenError(Exception):
    """Say that the file is unusual or damaged."""


def complete_jpeg(data: bytes, *, keep_profile: bool) -> bytes | None:
    """Return the file without metadata and without what follows its end, or ``None`` if it is not surely complete.

    EXIF, XMP, IPTC, comments, embedded previews and unknown application segments go; the pixels are the same. The
    very same object is returned when there is nothing to take out.

    :param keep_profile: whether the ICC profile stays.
    """
    try:
        pieces, end = _Walk(data, keep_profile).run()
    except (_NotProvenError, IndexError):
        return None
    return data if pieces == [(0, end)] and end == len(data) else b"".join(data[start:stop] for start, stop in pieces)


@dataclass
class _Component:
    blocks: int
    quantisation: int
    scanned: bool = False


@dataclass
class _Walk:
    """Go through the segments once, remembering the tables that a scan needs."""

    data: bytes
    keep_profile: bool
    at: int = 2
    pieces: list[tuple[int, int]] = field(default_factory=lambda: [(0, 2)])
    quantisation: set[int] = field(default_factory=set)
    huffman: set[int] = field(default_factory=set)
    components: dict[int, _Component] = field(default_factory=dict)
    pixels: tuple[int, int] = (0, 0)
    progressive: bool = False

    def run(self) -> tuple[list[tuple[int, int]], int]:
        _require(self.data.startswith(_SOI))
        while (marker := self._marker()) != _EOI:
            start, length = self.at, int.from_bytes(self.data[self.at : self.at + 2], "big")
            end = start + length
            _require(length >= 2 and end <= len(self.data))  # noqa: PLR2004 - the length counts itself
            body = self.data[start + 2 : end]
            self.at = end
            if marker in _METADATA:
                self._metadata(marker, body, start, end)
                continue
            self._table_or_scan(marker, body)
            self._keep(start - 2, self.at)
        _require(bool(self.components) and all(part.scanned for part in self.components.values()))
        self._keep(self.at - 2, self.at)
        return self.pieces, self.at

    def _marker(self) -> int:
        _require(self.data[self.at] == 0xFF)  # noqa: PLR2004 - every marker begins so
        # Fill bytes are allowed by the standard and written by nobody: leave them to the decoder.
        marker = self.data[self.at + 1]
        self.at += 2
        return marker

    def _keep(self, start: int, end: int) -> None:
        if self.pieces[-1][1] == start:
            self.pieces[-1] = (self.pieces[-1][0], end)
        else:
            self.pieces.append((start, end))

    def _metadata(self, marker: int, body: bytes, start: int, end: int) -> None:
        jfif = marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) == _JFIF_WITHOUT_THUMBNAIL_BYTES  # noqa: PLR2004
        adobe = marker == 0xEE and body.startswith(b"Adobe") and len(body) == _ADOBE_BYTES  # noqa: PLR2004
        profile = marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and self.keep_profile  # noqa: PLR2004
        if jfif or adobe or profile:
            self._keep(start - 2, end)

    def _table_or_scan(self, marker: int, body: bytes) -> None:
        if marker in _FRAMES:
            self._frame(marker, body)
        elif marker == _DQT:
            self._quantisation(body)
        elif marker == _DHT:
            self._huffman(body)
        elif marker == _SOS:
            self._scan(body)
        else:
            _require(marker == _DRI and len(body) == 2)  # noqa: PLR2004 - one 16-bit interval

    def _frame(self, marker: int, body: bytes) -> None:
        _require(not self.components and body[0] == 8)  # noqa: PLR2004 - bits per sample
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        count = body[5]
        _require(height > 0 and width > 0 and count in {1, 3} and len(body) == 6 + 3 * count)
        parts = [body[6 + 3 * n : 9 + 3 * n] for n in range(count)]
        sampling = [(part[1] >> 4, part[1] & 15) for part in parts]
        _require(all(h in {1, 2, 4} and v in {1, 2, 4} for h, v in sampling))
        widest, highest = max(h for h, _ in sampling), max(v for _, v in sampling)
        for part, (h, v) in zip(parts, sampling, strict=True):
            columns, rows = -(-width * h // (8 * widest)), -(-height * v // (8 * highest))
            self.components[part[0]] = _Component(columns * rows, part[2])
        _require(len(self.components) == count)
        self.progressive = marker == _PROGRESSIVE

    def _quantisation(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            wide, table = body[at] >> 4, body[at] & 15
            _require(wide in {0, 1} and table < _TABLES)
            at += 1 + 64 * (wide + 1)
            self.quantisation.add(table)
        _require(at == len(body))

    def _huffman(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            name, counts = body[at], body[at + 1 : at + 17]
            symbols = sum(counts)
            values = body[at + 17 : at + 17 + symbols]
            _require(len(counts) == 16 and len(values) == symbols and name >> 4 in {0, 1} and name & 15 < _TABLES)  # noqa: PLR2004
            # The codes must fit their lengths, and no code may be all ones.
            _require(sum(count << (16 - length) for length, count in enumerate(counts, 1)) < 1 << 16)
            _require(name >> 4 == 1 or max(values, default=0) <= _LAST_DC_CATEGORY)
            self.huffman.add(name)
            at += 17 + symbols

    def _scan(self, body: bytes) -> None:
        count = body[0]
        _require(1 <= count <= len(self.components) and len(body) == 4 + 2 * count)
        first, last, approximation = body[1 + 2 * count :]
        chosen = [(body[1 + 2 * n], body[2 + 2 * n]) for n in range(count)]
        _require(len({name for name, _ in chosen}) == count)
        for name, tables in chosen:
            _require(name in self.components and self.components[name].quantisation in self.quantisation)
            self._entropy_tables(tables, first, last, approximation)
            _require(self.progressive or not self.components[name].scanned)
            _require(first == 0 or (self.components[name].scanned and count == 1))
            self.components[name].scanned = True
        found = _NEXT_MARKER.search(self.data, self.at)
        _require(found is not None)
        end = found.start() if found is not None else 0
        if not self.progressive:
            bits = sum(self.components[name].blocks for name, _ in chosen) * _LEAST_BITS_PER_BLOCK
            _require((end - self.at) * 8 >= bits)
        self.at = end

    def _entropy_tables(self, tables: int, first: int, last: int, approximation: int) -> None:
        direct, alternating = tables >> 4, 16 | tables & 15
        if not self.progressive:
            _require((first, last, approximation) == (0, _LAST_COEFFICIENT, 0))
            _require({direct, alternating} <= self.huffman)
            return
        before, now = approximation >> 4, approximation & 15
        _require(now <= 13 and (before in {0, now + 1}))  # noqa: PLR2004 - more would overflow a coefficient
        if first == 0:
            _require(last == 0 and (before != 0 or direct in self.huffman))
        else:
            _require(first <= last <= _LAST_COEFFICIENT and alternating in self.huffman)


def _require(proven: bool) -> None:
    if not proven:
        raise _NotProvenError
