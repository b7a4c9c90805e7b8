import json

import pytest
from airflow.sdk import Connection

from vision_batch.errors import ConnectionInputError
from vision_batch.hooks.ai_studio import DEFAULT_ENDPOINT, AIStudioHook, read_connection

KEY = {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": "PEM", "created_at": "2026"}


def connection(*, conn_type="ai_studio", password="secret-key", host=None, port=None, **extra):
    return Connection(
        conn_id="vl", conn_type=conn_type, password=password, host=host, port=port, extra=json.dumps(extra)
    )


@pytest.mark.parametrize("conn_type", ["ai_studio", "generic"])
def test_a_connection_becomes_a_configuration(conn_type):
    config = read_connection(connection(conn_type=conn_type, folder_id="b1gfolder"))
    assert (config.folder_id, config.api_key, config.endpoint) == ("b1gfolder", "secret-key", DEFAULT_ENDPOINT)
    assert config.tls
    assert not config.data_logging
    assert "secret-key" not in repr(config)


@pytest.mark.parametrize(
    ("host", "port", "endpoint"),
    [("127.0.0.1", 4711, "127.0.0.1:4711"), ("127.0.0.1:99", None, "127.0.0.1:99"), ("host", None, "host:443")],
)
def test_the_endpoint_can_be_another(host, port, endpoint):
    assert read_connection(connection(host=host, port=port, folder_id="f")).endpoint == endpoint


@pytest.mark.parametrize(("found", "tls"), [(True, True), (False, False), ("false", False), ("0", False), ("", True)])
def test_tls_is_on_unless_switched_off(found, tls):
    assert read_connection(connection(folder_id="f", tls=found)).tls is tls


def test_an_authorized_key_is_read_by_name_as_text_or_object():
    for key in (KEY, json.dumps(KEY)):
        config = read_connection(connection(password=None, folder_id="f", service_account_key=key, other="ignored"))
        assert config.service_account_key == {name: KEY[name] for name in ("id", "service_account_id", "private_key")}
        assert "PEM" not in repr(config)


def test_quotas_that_were_raised_are_read_as_text_or_object():
    for quotas in ({"jobs_per_hour": 20}, '{"jobs_per_hour": 20}'):
        assert read_connection(connection(folder_id="f", quotas=quotas)).quotas == {"jobs_per_hour": 20}
    assert read_connection(connection(folder_id="f", quotas="")).quotas == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"folder_id": "f", "quotas": {"jobs": 1}}, "allowed: the names jobs_per_hour, jobs_per_day, datasets"),
        ({"folder_id": "f", "quotas": {"datasets": 1}}, "allowed: datasets of 2 or more"),
        ({"folder_id": "f", "quotas": {"jobs_per_day": "many"}}, "allowed: jobs_per_day of 1 or more"),
        ({"folder_id": "f", "quotas": "20"}, 'allowed: numbers by name, such as {"jobs_per_hour": 20}'),
        ({}, "'vl', field 'folder_id': found nothing; allowed: the id of the cloud folder"),
        ({"folder_id": "f", "password": None}, "field 'password': found nothing; allowed: an API key"),
        ({"folder_id": "f", "tls": "maybe"}, "field 'tls': found 'maybe'; allowed: true or false"),
        ({"folder_id": "f", "console_url": "javascript:x"}, "field 'console_url': found 'javascript:x'; allowed: an"),
        ({"folder_id": "f", "service_account_key": "{"}, "field 'service_account_key'"),
        ({"folder_id": "f", "service_account_key": {"id": "x"}}, "field 'service_account_key'"),
    ],
)
def test_a_wrong_connection_is_told_by_field_and_never_by_secret(fields, words):
    with pytest.raises(ConnectionInputError) as raised:
        read_connection(connection(**fields))
    assert words in str(raised.value)
    assert "secret-key" not in str(raised.value)


def test_the_connections_test_says_what_is_wrong(emulator, monkeypatch):
    running = emulator("--api-key", "right", "--folder", "b1gright")

    def tested(**fields):
        record = {"conn_type": "ai_studio", "host": running.grpc, "extra": {"folder_id": "b1gright", "tls": False}}
        monkeypatch.setenv("AIRFLOW_CONN_VL", json.dumps({**record, **fields}))
        return AIStudioHook("vl").test_connection()

    assert tested(password="right") == (True, "AI Studio answers: 0 datasets in the folder.")
    good, message = tested(password="wrong")
    assert not good
    assert "API key" in message
    good, message = tested(password="right", extra={"folder_id": "b1gother", "tls": False})
    assert not good
    assert "b1gother" in message
