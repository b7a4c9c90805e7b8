"""Know a request again by a hash of all of it, images included."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

#: UTF-8 bytes above which a text enters a hash by its tag. Part of what a hash is: it never changes.
LONG_BYTES = 4096

_KEY_BYTES = 16
_NONCE = bytes(12)
_SEPARATOR = ":"

# What a request without long texts is, as text: JSON with sorted keys.
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


@dataclass(frozen=True)
class RequestHash:
    """Hash requests as those of one shard are hashed.

    A hash is the SHA-256 of the request's JSON with sorted keys. Absent fields and nulls are the same, because columns
    fill what is absent with nulls; the order of messages and of their parts is a difference. Long texts, which images
    are, stand in it as tags: AES-GMAC under a key that is made for the shard and recorded with each hash. A tag costs
    a tenth of SHA-256 or less, and who makes pictures before the key exists cannot make two of one tag.

    :param key: ``None`` for hashes without tags, as they were recorded once.
    """

    key: bytes | None

    @classmethod
    def new(cls) -> Self:
        """Return a way to hash with a new key."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def like(cls, recorded: str | None) -> Self:
        """Return the way in which a recorded hash was made."""
        key, separator, _ = (recorded or "").partition(_SEPARATOR)
        return cls(bytes.fromhex(key) if separator else None)

    def of(self, request: Sequence[Mapping[str, Any]]) -> str:
        """Return the hash of a request, as text to record.

        :param request: its texts may be views of memory that holds UTF-8; they are not copied for a tag.
        """
        digest = hashlib.sha256(_encode(self._normal(request)).encode()).hexdigest()
        return digest if self.key is None else f"{self.key.hex()}{_SEPARATOR}{digest}"

    def _normal(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(name): self._normal(each) for name, each in value.items() if each is not None}
        if isinstance(value, list | tuple):
            return [self._normal(each) for each in value]
        if isinstance(value, str | memoryview):
            return self._text(value)
        return value

    def _text(self, text: str | memoryview) -> str:
        if self.key is not None and len(text) * 4 > LONG_BYTES:
            encoded = text.encode() if isinstance(text, str) else text.cast("B")
            if len(encoded) > LONG_BYTES:
                return _tag(self.key, encoded)
        return text if isinstance(text, str) else str(text, "utf-8")


def _tag(key: bytes, text: bytes | memoryview) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - heavy

    return AESGCM(key).encrypt(_NONCE, b"", text).hex()
