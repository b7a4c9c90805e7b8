"""An authorized key becomes tokens: signed as documented, fetched once for all, renewed in time, never shown."""

import asyncio
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from vision_batch.errors import AuthenticationError, ConnectionInputError, ServiceUnavailableError
from vision_batch.service.credentials import AUDIENCE, AuthorizedKey, IamToken, make_credentials
from vision_batch.service.types import ServiceConfig

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)

pytestmark = pytest.mark.usefixtures("no_blocking")


def pem(key):
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


KEY = {
    "id": "ajekey",
    "service_account_id": "ajeaccount",
    "private_key": f"PLEASE DO NOT REMOVE THIS LINE!\n{pem(RSA)}",
}


class Service:
    """Exchanges JWTs for tokens of a given life; fails if told to."""

    def __init__(self, life=timedelta(hours=12)):
        self.life = life
        self.jwts = []
        self.failure = None

    async def exchange(self, signed):
        await asyncio.sleep(0.01)
        self.jwts.append(signed)
        if self.failure is not None:
            raise self.failure
        return IamToken(f"t1.{len(self.jwts)}", datetime.now(UTC) + self.life)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def key(service, clock):
    return AuthorizedKey(KEY, service.exchange, clock=clock)


async def test_the_jwt_is_as_documented(key, service):
    assert await key.authorization() == "Bearer t1.1"
    header = jwt.get_unverified_header(service.jwts[0])
    assert header == {"typ": "JWT", "alg": "PS256", "kid": "ajekey"}
    claims = jwt.decode(service.jwts[0], RSA.public_key(), algorithms=["PS256"], audience=AUDIENCE)
    assert claims.keys() == {"iss", "aud", "iat", "exp"}
    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("ajeaccount", 3600)


async def test_many_callers_fetch_one_token(key, service):
    assert set(await asyncio.gather(*[key.authorization() for _ in range(20)])) == {"Bearer t1.1"}
    assert len(service.jwts) == 1


@pytest.mark.parametrize(("hours", "after"), [(12, 3600), (1, 1800)])
async def test_a_token_is_renewed_hourly_or_after_half_its_life(key, service, clock, hours, after):
    service.life = timedelta(hours=hours)
    await key.authorization()
    clock.now += after - 5
    assert await key.authorization() == "Bearer t1.1"
    clock.now += 6
    assert await key.authorization() == "Bearer t1.2"


async def test_a_renewal_that_fails_leaves_the_old_token_until_it_is_dead(key, service, clock):
    await key.authorization()
    service.failure = ServiceUnavailableError("down")
    clock.now += 11 * 3600
    assert await key.authorization() == "Bearer t1.1"
    clock.now += 3600
    with pytest.raises(ServiceUnavailableError):
        await key.authorization()
    service.failure = None
    assert (await key.authorization()).startswith("Bearer t1.")


async def test_a_refusal_is_told_at_once(key, service):
    service.failure = AuthenticationError("no such key")
    with pytest.raises(AuthenticationError):
        await key.authorization()


async def test_a_token_that_was_refused_is_forgotten(key):
    await key.authorization()
    key.forget()
    assert await key.authorization() == "Bearer t1.2"


async def test_nothing_secret_is_shown(key, service):
    assert repr(key) == "AuthorizedKey(id='ajekey', service_account_id='ajeaccount')"
    shown = repr(key._key) + repr(await service.exchange("")) + repr(ServiceConfig("f", service_account_key=KEY))
    assert "PRIVATE" not in shown
    assert "t1." not in shown


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": ""}, "has no id: paste the whole JSON"),
        ({"service_account_id": None, "private_key": None}, "has no service_account_id, private_key"),
        ({"private_key": "MIIE..."}, "is not in PEM form"),
    ],
)
def test_a_key_that_is_not_whole_is_refused_before_any_call(service, wrong, message):
    with pytest.raises(ConnectionInputError, match=message):
        AuthorizedKey({**KEY, **wrong}, service.exchange)


@pytest.mark.parametrize("kind", ["elliptic", "rubbish"])
async def test_a_key_that_cannot_sign_is_told_without_it(service, kind):
    rubbish = "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----"
    text = rubbish if kind == "rubbish" else pem(ec.generate_private_key(ec.SECP256R1()))
    key = AuthorizedKey({**KEY, "private_key": text}, service.exchange)
    with pytest.raises(ConnectionInputError, match="must be the RSA key of the key file, unchanged") as raised:
        await key.authorization()
    assert "BEGIN" not in str(raised.value)


async def test_an_authorized_key_goes_before_an_api_key(service):
    assert isinstance(make_credentials(ServiceConfig("f", "key", KEY), service.exchange), AuthorizedKey)
    assert await make_credentials(ServiceConfig("f", " key\n"), service.exchange).authorization() == "Api-Key key"
