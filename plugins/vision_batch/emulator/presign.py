"""Sign and check presigned URLs in the shape of the recorded ones.

The query has the parameters of AWS Signature Version 4; the signature itself is a plain HMAC-SHA256 over method, path,
query and signed headers, because only the emulator checks it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode

#: Recorded life of a URL: 86400 virtual seconds; a fast clock must leave this many real ones.
URL_SECONDS = 86_400
LEAST_REAL_SECONDS = 60

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


class BadUrlError(Exception):
    """Say why a URL is refused.

    :param code: the S3 error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Signer:
    """Make and check presigned URLs.

    :param secret: kept in the state, so that URLs survive a restart.
    :param life_seconds: virtual seconds a URL is valid.
    """

    secret: bytes
    life_seconds: int = URL_SECONDS

    def path_and_query(
        self,
        method: str,
        path: str,
        now: float,
        *,
        content_length: int | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Return the signed path with its query.

        :param content_length: signed when given; the body must then have exactly so many bytes.
        """
        date = datetime.fromtimestamp(int(now), UTC).strftime(_DATE_FORMAT)
        parameters = {
            **(query or {}),
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": date,
            "X-Amz-SignedHeaders": "host" if content_length is None else "content-length;host",
            "X-Amz-Expires": str(self.life_seconds),
            # Two URLs of one second must differ, or one would expire with the other.
            "X-Amz-Credential": f"emulator-{secrets.token_hex(6)}/{date[:8]}/us-east-1/s3/aws4_request",
        }
        parameters["X-Amz-Signature"] = self._signature(method, path, parameters, content_length)
        return f"{quote(path)}?{urlencode(parameters)}"

    def check(self, method: str, path: str, query: str, now: float, *, content_length: int | None) -> dict[str, str]:
        """Return the parameters of a URL that is good.

        :param path: without percent-encoding.
        :raises BadUrlError: it is unsigned, changed, used otherwise, or expired.
        """
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        signature = parameters.pop("X-Amz-Signature", "")
        if not signature:
            raise BadUrlError("AccessDenied", "Access Denied")
        signed = content_length if "content-length" in parameters.get("X-Amz-SignedHeaders", "") else None
        if not hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(method, path, parameters, signed).encode()
        ):
            raise BadUrlError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        made = datetime.strptime(parameters["X-Amz-Date"], _DATE_FORMAT).replace(tzinfo=UTC).timestamp()
        if now >= made + int(parameters["X-Amz-Expires"]):
            raise BadUrlError("AccessDenied", "Request has expired")
        return {**parameters, "X-Amz-Signature": signature}

    def _signature(self, method: str, path: str, parameters: Mapping[str, str], content_length: int | None) -> str:
        length = "" if content_length is None else str(content_length)
        text = "\n".join([method, path, urlencode(sorted(parameters.items())), length])
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()
