"""A server that speaks S3's listing of a bucket with any number of keys, made while they are asked for."""

from __future__ import annotations

import io
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from PIL import Image

PAGE = 1_000
_TARGET = io.BytesIO()
Image.new("RGB", (320, 240), "red").save(_TARGET, "PNG")
PICTURE = _TARGET.getvalue()
_ENTRY = (
    "<Contents><Key>{prefix}photo-{number:08d}.jpg</Key><LastModified>2026-11-22T10:00:00.000Z</LastModified>"
    "<ETag>&quot;{number:032x}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


class ManyKeys(BaseHTTPRequestHandler):
    """Answer ``ListObjectsV2``, and every object with the same picture; whatever else is asked is kept in ``others``."""

    protocol_version = "HTTP/1.1"
    count: ClassVar[int] = 0
    pages: ClassVar[int] = 0
    read: ClassVar[int] = 0
    others: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path.count("/") > 1:
            type(self).read += 1
            self._send("image/png", PICTURE)
            return
        prefix = query.get("prefix", [""])[0]
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + PAGE, type(self).count)
        entries = "".join(
            _ENTRY.format(prefix=prefix, number=number, size=10_000 + number % 1_000) for number in range(first, last)
        )
        more = last < type(self).count
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>many</Name><Prefix>{prefix}</Prefix>'
            f"<KeyCount>{last - first}</KeyCount><MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}</ListBucketResult>"
        ).encode()
        type(self).pages += 1
        self._send("application/xml", body)

    def do_HEAD(self) -> None:
        self._refuse()

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self) -> None:
        type(self).others.append(f"{self.command} {self.path}")
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def serve(count: int) -> ThreadingHTTPServer:
    """Return a server of so many keys, still to be started."""
    ManyKeys.count, ManyKeys.pages, ManyKeys.read, ManyKeys.others = count, 0, 0, []
    return ThreadingHTTPServer(("127.0.0.1", 0), ManyKeys)
