"""Give the value of the ``authorization`` header: an API key, or an IAM token from an authorized key.

IAM tokens: Yandex Cloud, "Getting an IAM token for a service account": a JWT signed with PS256, of at most an hour,
exchanged at ``IamTokenService/Create``; tokens live up to 12 hours and should be renewed every hour.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import jwt

from vision_batch.errors import ConnectionInputError, RetryableError
from vision_batch.service.types import ServiceConfig

#: Audience of the JWT; fixed by the service whatever endpoint is called.
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"

#: Seconds a JWT is valid; the service accepts no more than an hour.
JWT_SECONDS = 3600

#: Seconds after which a token is renewed, even if it would be valid for longer.
RENEW_SECONDS = 3600.0

#: A token is renewed when this part of its life is over.
RENEW_FRACTION = 0.5

_PEM_BEGIN = "-----BEGIN"


@dataclass(frozen=True)
class IamToken:
    """Hold a token; its repr does not show it.

    :param expires_at: by the service's clock.
    """

    value: str = field(repr=False)
    expires_at: datetime


#: Exchange a JWT for a token at the service.
Exchange = Callable[[str], Awaitable[IamToken]]


class Credentials(Protocol):
    """Give and forget authorizations."""

    async def authorization(self) -> str:
        """Return the value of the ``authorization`` header."""

    def forget(self) -> None:
        """Drop what is cached, because the service refused it."""


class ApiKey:
    """Authorize by an API key."""

    def __init__(self, key: str) -> None:
        self._value = f"Api-Key {_header_safe(key, 'API key')}"

    def __repr__(self) -> str:
        return "ApiKey(...)"

    async def authorization(self) -> str:
        """Return the value of the ``authorization`` header."""
        return self._value

    def forget(self) -> None:
        """Do nothing: a key does not change."""


class AuthorizedKey:
    """Authorize by IAM tokens that an authorized key of a service account is exchanged for.

    :param key: the key file's ``id``, ``service_account_id`` and ``private_key``.
    :param exchange: gives a token for a JWT.
    :param clock: seconds that only go forward.
    """

    def __init__(
        self, key: Mapping[str, str], exchange: Exchange, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = _Key.read(key)
        self._exchange = exchange
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: IamToken | None = None
        self._renew_at = self._dead_at = 0.0

    def __repr__(self) -> str:
        return f"AuthorizedKey(id={self._key.key_id!r}, service_account_id={self._key.service_account_id!r})"

    async def authorization(self) -> str:
        """Return the value of the ``authorization`` header; of many callers one fetches, the others wait for it.

        :raises AuthenticationError: if the key is refused.
        :raises RetryableError: if there is no token and the service does not give one now.
        """
        if (ready := self._fresh()) is not None:
            return ready
        async with self._lock:
            if (ready := self._fresh()) is not None:
                return ready
            try:
                await self._fetch()
            except RetryableError:
                if self._token is None or self._clock() >= self._dead_at:
                    raise
            return f"Bearer {self._token.value}" if self._token else ""

    def forget(self) -> None:
        """Drop the token: the next call fetches another one."""
        self._token = None

    def _fresh(self) -> str | None:
        if self._token is None or self._clock() >= self._renew_at:
            return None
        return f"Bearer {self._token.value}"

    async def _fetch(self) -> None:
        now = self._clock()
        signed = await asyncio.to_thread(self._key.sign, int(time.time()))
        token = await self._exchange(signed)
        lifetime = max(0.0, (token.expires_at - datetime.now(UTC)).total_seconds())
        self._token = token
        self._renew_at = now + min(RENEW_SECONDS, lifetime * RENEW_FRACTION)
        self._dead_at = now + lifetime


@dataclass(frozen=True)
class _Key:
    key_id: str
    service_account_id: str
    private_key: str = field(repr=False)

    @classmethod
    def read(cls, key: Mapping[str, str]) -> _Key:
        missing = [name for name in ("id", "service_account_id", "private_key") if not key.get(name)]
        if missing:
            raise ConnectionInputError(
                f"the authorized key has no {', '.join(missing)}: paste the whole JSON of the key file"
            )
        pem = key["private_key"]
        if _PEM_BEGIN not in pem:
            raise ConnectionInputError("private_key of the authorized key is not in PEM form: paste the whole JSON")
        # The key file puts a warning line above the PEM block.
        return cls(key["id"], key["service_account_id"], pem[pem.index(_PEM_BEGIN) :])

    def sign(self, issued_at: int) -> str:
        claims = {
            "iss": self.service_account_id,
            "aud": AUDIENCE,
            "iat": issued_at,
            "exp": issued_at + JWT_SECONDS,
        }
        try:
            return jwt.encode(claims, self.private_key, algorithm="PS256", headers={"kid": self.key_id})
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ConnectionInputError(
                f"private_key of the authorized key {self.key_id!r} cannot sign ({type(error).__name__}): "
                "it must be the RSA key of the key file, unchanged"
            ) from None


def make_credentials(config: ServiceConfig, exchange: Exchange) -> Credentials:
    """Return the credentials that a configuration names; an authorized key goes before an API key.

    :raises ConnectionInputError: if it names none, or one that cannot be used.
    """
    if config.service_account_key is not None:
        return AuthorizedKey(config.service_account_key, exchange)
    if config.api_key:
        return ApiKey(config.api_key)
    raise ConnectionInputError("the connection has neither an API key nor a service account key: give one of them")


def _header_safe(value: str, name: str) -> str:
    stripped = value.strip()
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise ConnectionInputError(
            f"the {name} has a character that no header can carry: copy it again, without spaces"
        )
    return stripped
