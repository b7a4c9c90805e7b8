"""Answer ``IamTokenService/Create``: an IAM token for a JWT that a service account's key has signed.

Rules of the service's page on tokens: PS256 only, ``kid``, ``iss``, ``aud``, ``iat`` and ``exp`` present, one hour at
most between the last two. The signature is checked for the key the emulator was given, if any; else every JWT of the
right form is let in. Times here are real ones, because the caller's clock is.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from google.protobuf.message import Message
from yandex.cloud.iam.v1 import iam_token_service_pb2 as api

from vision_batch.emulator.clock import timestamp
from vision_batch.emulator.rpc import Call, RefusalError
from vision_batch.emulator.studio import Studio

_AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
_LONGEST_LIFE = 3600
_CLOCK_SKEW = 60
_LONGEST_JWT = 8000
#: Documented longest life of an IAM token.
TOKEN_SECONDS = 12 * 3600


class KeyFileError(Exception):
    """Say that a file is not an authorized key."""


class AuthorizedKey:
    """Hold the public half of a service account's authorized key.

    :param path: the key's JSON file, as the service's console gives it.
    :raises KeyFileError: it is something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self.key_id = str(found["id"])
            self.service_account_id = str(found["service_account_id"])
            # The console writes a warning line before the PEM block.
            pem = str(found["private_key"])
            pem = pem[pem.index("-----BEGIN") :]
            self.public_key: Any = serialization.load_pem_private_key(pem.encode(), password=None).public_key()
        except (ValueError, TypeError, KeyError) as error:
            raise KeyFileError(
                f"{path} is not the JSON file of an authorized key (id, service_account_id, private_key): "
                f"{type(error).__name__}"
            ) from None


class IamTokenService:
    """Issue IAM tokens.

    :param key: the only key that is let in; ``None`` lets in every JWT of the right form.
    :param token_seconds: how long a token is good.
    """

    def __init__(
        self, studio: Studio, *, key: AuthorizedKey | None = None, token_seconds: float = TOKEN_SECONDS
    ) -> None:
        self._studio = studio
        self._key = key
        self._token_seconds = token_seconds

    def create(self, request: api.CreateIamTokenRequest, _: Call) -> Message:
        """Check a JWT and issue a token."""
        if not request.jwt:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "only a JWT is accepted here")
        if len(request.jwt) > _LONGEST_JWT:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, f"jwt is longer than {_LONGEST_JWT} characters")
        try:
            self._check(request.jwt)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise RefusalError(grpc.StatusCode.UNAUTHENTICATED, f"The JWT is refused: {error}") from error
        expires_at = time.time() + self._token_seconds
        return api.CreateIamTokenResponse(
            iam_token=self._studio.issue_token(expires_at), expires_at=timestamp(expires_at)
        )

    def _check(self, token: str) -> None:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "PS256":
            raise ValueError(f"the algorithm is {header.get('alg')!r}, only PS256 is accepted")
        if not header.get("kid"):
            raise ValueError("the header has no 'kid'")
        if self._key is not None and header["kid"] != self._key.key_id:
            raise ValueError("the key is not known")
        claims = jwt.decode(
            token,
            key=self._key.public_key if self._key is not None else "",
            algorithms=["PS256"],
            audience=_AUDIENCE,
            leeway=_CLOCK_SKEW,
            options={
                "require": ["iss", "aud", "iat", "exp"],
                "verify_signature": self._key is not None,
                "verify_aud": True,
                "verify_exp": True,
                "verify_iat": True,
            },
        )
        if not 0 < claims["exp"] - claims["iat"] <= _LONGEST_LIFE:
            raise ValueError(f"exp - iat is {claims['exp'] - claims['iat']:g} s, at most {_LONGEST_LIFE} are allowed")
        if self._key is not None and claims["iss"] != self._key.service_account_id:
            raise ValueError("the issuer is not the key's service account")
