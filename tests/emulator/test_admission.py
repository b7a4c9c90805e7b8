"""Who is let in, to what, and how often: keys, tokens, folders, data logging, quotas."""

import json
import signal
import time
from dataclasses import replace

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub

from vision_batch.errors import AuthenticationError, QuotaExceededError
from vision_batch.service.credentials import AUDIENCE
from vision_batch.service.quota import QuotaLimits, dataset_room, job_room

TYPE = "ImageTextToTextGenerationRequest"
KNOWN = {"authorization": "Api-Key right", "x_data_logging_enabled": "false"}


def new_pem():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture(scope="module")
def authorized_key():
    """In the form of the file that the service's console gives."""
    pem = f"PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <ajekey>\n{new_pem()}"
    return {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": pem, "key_algorithm": "RSA_2048"}


@pytest.fixture(scope="module")
def guarded(emulators, authorized_key, tmp_path_factory):
    """An emulator that lets in one key, one folder, one service account."""
    path = tmp_path_factory.mktemp("key") / "key.json"
    path.write_text(json.dumps(authorized_key))
    options = ("--api-key", "right", "--folder", "b1gright", "--authorized-key", str(path))
    return emulators(*options, speed=2000)


def create(**more):
    fields = {"name": "data", "folder_id": "b1gright", "task_type": TYPE, "upload_format": "jsonlines", **more}
    return (DatasetServiceStub, "Create", api.CreateDatasetRequest(**fields))


class TestCredentials:
    def test_the_right_key_and_folder(self, guarded, session_at):
        assert session_at(guarded, api_key="right", folder_id="b1gright").client.list_jobs() == []

    @pytest.mark.parametrize(
        "authorization", ["Api-Key wrong", "Api-Key ", "Bearer right", "right", "Bearer t1.made-up"]
    )
    def test_everything_else_is_refused(self, guarded, wire, authorization):
        code, details = wire(guarded.grpc).refused(*create(), **{**KNOWN, "authorization": authorization})
        assert (code, "right" in details) == ("UNAUTHENTICATED", False)

    def test_a_wrong_key_is_told_with_the_next_step_and_without_the_key(self, guarded, session_at):
        with pytest.raises(AuthenticationError, match="Check the API key") as caught:
            session_at(guarded, api_key="wrong-secret", folder_id="b1gright").client.list_datasets()
        assert "wrong-secret" not in str(caught.value)

    def test_a_wrong_folder_is_told_with_the_next_step(self, guarded, session_at):
        session = session_at(guarded, api_key="right", folder_id="b1gwrong")
        for call in (session.client.list_datasets, session.client.list_jobs):
            with pytest.raises(AuthenticationError, match=r"Check folder_id 'b1gwrong' .* role ai\.editor"):
                call()

    def test_another_folder_in_the_model_is_refused(self, guarded, session_at):
        session = session_at(guarded, api_key="right", folder_id="b1gright")
        with pytest.raises(AuthenticationError, match="PERMISSION_DENIED"):
            session.client.submit("gpt://b1gwrong/gemma-3-12b-it/latest", "fds1")

    def test_discovery_needs_no_credentials(self, guarded, wire):
        found = wire(guarded.grpc).call(ApiEndpointServiceStub, "List", ListApiEndpointsRequest())
        assert {each.address for each in found.endpoints} == {guarded.grpc}


class TestDataLogging:
    @pytest.mark.parametrize("sent", [{}, {"x_data_logging_enabled": "true"}])
    def test_it_must_be_off_where_data_is_sent(self, guarded, wire, sent):
        code, details = wire(guarded.grpc).refused(*create(), authorization="Api-Key right", **sent)
        assert (code, "x-data-logging-enabled" in details) == ("INVALID_ARGUMENT", True)

    def test_a_dataset_that_allows_it_is_refused(self, guarded, wire):
        code, details = wire(guarded.grpc).refused(*create(allow_data_log=True), **KNOWN)
        assert (code, details) == ("INVALID_ARGUMENT", "allow_data_log is true: data logging must be off")

    def test_it_can_be_allowed(self, emulator, session_at):
        session = session_at(emulator("--allow-data-logging", speed=20_000), data_logging=True)
        asked = session.ask(1)
        assert session.joined(asked, session.finished(session.submit(asked))).responses == asked.answers


class TestTokens:
    def test_a_client_with_an_authorized_key_renews_its_token_before_it_expires(
        self, guarded, session_at, authorized_key
    ):
        session = session_at(guarded, api_key=None, service_account_key=authorized_key, folder_id="b1gright")
        credentials = session.client._running.client._calls._credentials
        before = sum(call["code"] == "UNAUTHENTICATED" for call in guarded.refused())
        tokens = []
        for hours in range(4):
            credentials._clock = lambda hours=hours: time.monotonic() + 3601 * hours
            for _ in range(2):
                assert session.client.list_jobs() == []
                tokens.append(credentials._token.value)
        assert tokens[::2] == tokens[1::2]
        assert len(set(tokens)) == 4
        assert [call for call in guarded.refused() if call["code"] == "UNAUTHENTICATED"][before:] == []

    def test_a_client_whose_token_is_refused_fetches_another(self, guarded, session_at, authorized_key):
        session = session_at(guarded, api_key=None, service_account_key=authorized_key, folder_id="b1gright")
        assert session.client.list_jobs() == []
        credentials = session.client._running.client._calls._credentials
        credentials._token = replace(credentials._token, value="t1.dead")
        with pytest.raises(AuthenticationError):
            session.client.list_jobs()
        assert session.client.list_jobs() == []

    def test_a_token_is_good_until_it_expires(self, emulator, wire, authorized_key):
        """What it is at the very moment nobody can say from outside, so calls around it are not looked at."""
        call = wire(emulator("--api-key", "right", "--token-seconds", "2").grpc)
        issued = call.call(IamTokenServiceStub, "Create", CreateIamTokenRequest(jwt=signed(authorized_key)))
        bearer = {**KNOWN, "authorization": f"Bearer {issued.iam_token}"}
        dies_from, dead_from = issued.expires_at.seconds, issued.expires_at.seconds + 1  # it is told in whole seconds
        code, asked_at = None, 0.0
        while asked_at < dead_from:
            asked_at = time.time()
            try:
                call.call(DatasetServiceStub, "List", api.ListDatasetsRequest(folder_id="b1gright"), **bearer)
            except grpc.RpcError as error:
                code = error.code().name
                assert (code, time.time() >= dies_from) == ("UNAUTHENTICATED", True)
        assert code == "UNAUTHENTICATED"

    def test_a_token_outlives_a_restart(self, emulator, wire, authorized_key):
        started = emulator("--api-key", "right")
        request = CreateIamTokenRequest(jwt=signed(authorized_key))
        token = wire(started.grpc).call(IamTokenServiceStub, "Create", request).iam_token
        started.stop(signal.SIGKILL)
        started.start()
        bearer = {**KNOWN, "authorization": f"Bearer {token}"}
        assert wire(started.grpc).call(*create(), **bearer).dataset_id

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"kid": "another"}, "the key is not known"),
            ({"iss": "another"}, "the issuer is not the key's service account"),
            ({"aud": "https://elsewhere"}, "Audience doesn't match"),
            ({"exp": 3601}, "at most 3600 are allowed"),
            ({"exp": -100}, "Signature has expired"),
            ({"algorithm": "RS256"}, "only PS256 is accepted"),
            ({"pem": new_pem()}, "Signature verification failed"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_a_wrong_jwt_is_refused(self, guarded, wire, authorized_key, wrong, reason):
        request = CreateIamTokenRequest(jwt=signed(authorized_key, **wrong))
        code, details = wire(guarded.grpc).refused(IamTokenServiceStub, "Create", request)
        assert code == "UNAUTHENTICATED"
        assert reason in details

    def test_a_refused_key_is_an_authentication_error(self, guarded, session_at, authorized_key):
        other = {**authorized_key, "private_key": new_pem()}
        session = session_at(guarded, api_key=None, service_account_key=other, folder_id="b1gright")
        with pytest.raises(AuthenticationError, match="exchange the service account key for a token"):
            session.client.list_jobs()


def signed(key, **wrong):
    now = int(time.time())
    lasts = wrong.get("exp", 3600)
    claims = {
        "iss": wrong.get("iss", key["service_account_id"]),
        "aud": wrong.get("aud", AUDIENCE),
        "iat": now + min(0, lasts - 60),
        "exp": now + lasts,
    }
    pem = wrong.get("pem", key["private_key"])
    return jwt.encode(
        claims,
        pem[pem.index("-----BEGIN") :],
        algorithm=wrong.get("algorithm", "PS256"),
        headers={"kid": wrong.get("kid", key["id"])},
    )


class TestQuotas:
    LIMITS = QuotaLimits(jobs_per_hour=2, jobs_per_day=3, datasets=9, dataset_bytes=3000, total_bytes=8000)

    @pytest.fixture
    def session(self, emulator, session_at):
        names = ("jobs_per_hour", "jobs_per_day", "datasets", "dataset_bytes", "total_bytes")
        return session_at(emulator(*[f"--quota={name}={getattr(self.LIMITS, name)}" for name in names], speed=20_000))

    def test_jobs_of_an_hour_and_of_a_day(self, session):
        asked = session.ask(1)
        session.emulator.freeze()
        for _ in range(2):
            session.submit(asked)
        with pytest.raises(QuotaExceededError, match="2 batch runs in the last hour, the quota is 2"):
            session.submit(asked)
        room = job_room(session.client.list_jobs(), session.client.service_time(), self.LIMITS)
        assert room.free == 0
        wait = (room.next_free_at - session.client.service_time()).total_seconds()
        assert 0 < wait <= 3601
        session.emulator.advance(wait)
        session.submit(asked)
        with pytest.raises(QuotaExceededError, match="3 batch runs in the last day, the quota is 3"):
            session.submit(asked)
        assert len(session.bill_of(asked)) == 3

    def test_datasets_are_counted_with_results_and_free_when_deleted(self, session):
        drafts = [session.client.create_dataset(f"{n}", TYPE, labels={}).dataset_id for n in range(9)]
        with pytest.raises(QuotaExceededError, match="9 datasets are stored, the quota is 9"):
            session.client.create_dataset("one more", TYPE, labels={})
        assert dataset_room(session.client.list_datasets(), self.LIMITS).free == 0
        session.client.delete_dataset(drafts[0])
        session.client.create_dataset("one more", TYPE, labels={})

    def test_bytes_of_one_dataset_and_of_all(self, session):
        with pytest.raises(QuotaExceededError, match="would have 3001 bytes, the quota is 3000"):
            session.draft(b"x" * 3001)
        for _ in range(2):
            session.draft(b"x" * 3000)
        with pytest.raises(QuotaExceededError, match="all datasets would have 9000 bytes, the quota is 8000"):
            session.draft(b"x" * 3000)
