"""The S3 server that other tests rest on: it refuses what S3 refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
import stand_in
from botocore.exceptions import ClientError


def code(call, **given) -> str:
    with pytest.raises(ClientError) as raised:
        call(**given)
    return raised.value.response["Error"]["Code"]


@pytest.fixture
def client(s3):
    client = s3.client("all")
    client.create_bucket(Bucket="here")
    return client


def get(url: str, **headers: str) -> int:
    return httpx.get(url, headers=headers, trust_env=False).status_code


def test_it_lets_only_signed_requests_in(s3, client):
    client.put_object(Bucket="here", Key="a b+%ж", Body=b"1")
    assert client.get_object(Bucket="here", Key="a b+%ж")["Body"].read() == b"1"
    assert get(f"{s3.url}/here/a%20b%2B%25%D0%B6") == 403
    s3.keys["liar"] = stand_in.Key("right")
    liar = s3.client("liar")
    s3.keys["liar"] = stand_in.Key("other")
    assert code(liar.get_object, Bucket="here", Key="a b+%ж") == "SignatureDoesNotMatch"
    del s3.keys["liar"]
    assert code(liar.get_object, Bucket="here", Key="a b+%ж") == "InvalidAccessKeyId"


def test_a_presigned_url_is_good_as_it_is_and_until_it_expires(client, monkeypatch):
    client.put_object(Bucket="here", Key="a", Body=b"1")
    url = client.generate_presigned_url("get_object", {"Bucket": "here", "Key": "a"}, ExpiresIn=60)
    assert get(url) == 200
    assert get(url.replace("/here/a?", "/here/b?")) == 403
    assert get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")) == 403
    assert httpx.put(url, content=b"2", trust_env=False).status_code == 403

    class Later(datetime):
        @classmethod
        def now(cls, tz=UTC):
            return datetime.now(tz) + timedelta(seconds=61)

    monkeypatch.setattr(stand_in, "datetime", Later)
    assert get(url) == 403


def test_writes_and_reads_keep_their_conditions(client):
    first = client.put_object(Bucket="here", Key="x", Body=b"1", IfNoneMatch="*")["ETag"]
    assert code(client.put_object, Bucket="here", Key="x", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    second = client.put_object(Bucket="here", Key="x", Body=b"2", IfMatch=first)["ETag"]
    assert code(client.put_object, Bucket="here", Key="x", Body=b"3", IfMatch=first) == "PreconditionFailed"
    assert code(client.get_object, Bucket="here", Key="x", IfMatch=first) == "PreconditionFailed"
    assert client.get_object(Bucket="here", Key="x", IfMatch=second)["Body"].read() == b"2"


def test_a_key_does_what_it_may(s3, client):
    client.put_object(Bucket="here", Key="x", Body=b"1")
    s3.keys["reader"] = stand_in.Key("r", {"here": frozenset({"read"})})
    reader = s3.client("reader")
    assert reader.get_object(Bucket="here", Key="x")["Body"].read() == b"1"
    assert code(reader.put_object, Bucket="here", Key="x", Body=b"2") == "AccessDenied"
    assert code(reader.list_objects_v2, Bucket="here") == "AccessDenied"
    assert code(reader.delete_object, Bucket="here", Key="x") == "AccessDenied"
    assert code(reader.get_object, Bucket="there", Key="x") == "AccessDenied"
