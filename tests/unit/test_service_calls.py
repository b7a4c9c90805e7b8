"""Calls that change nothing: where they go, how often they are repeated, what is told when they fail."""

import asyncio
import logging
import os
from dataclasses import replace

import grpc
import pytest
from yandex.cloud.ai.batch_inference.v1.batch_inference_service_pb2 import (
    DescribeBatchInferenceResponse,
    ListBatchInferencesRequest,
    ListBatchInferencesResponse,
)
from yandex.cloud.ai.batch_inference.v1.batch_inference_task_pb2 import BatchInferenceTask
from yandex.cloud.ai.dataset.v1.dataset_pb2 import DatasetInfo
from yandex.cloud.ai.dataset.v1.dataset_service_pb2 import (
    CreateDatasetResponse,
    DescribeDatasetResponse,
    GetDownloadUrlsResponse,
    ListDatasetsRequest,
    ListDatasetsResponse,
)
from yandex.cloud.endpoint.api_endpoint_pb2 import ApiEndpoint
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsResponse

from vision_batch.errors import (
    AuthenticationError,
    ConnectionInputError,
    FinalError,
    InputError,
    NotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServiceUnavailableError,
)
from vision_batch.service.client import AIStudioClient
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import DatasetStatus, JobStatus, ServiceConfig

LIST, DESCRIBE = "BatchInferenceService/List", "BatchInferenceService/Describe"
OF_STATUS = {
    grpc.StatusCode.UNAVAILABLE: (ServiceUnavailableError, 3),
    grpc.StatusCode.DEADLINE_EXCEEDED: (ServiceUnavailableError, 3),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (QuotaExceededError, 3),
    grpc.StatusCode.CANCELLED: (ServiceUnavailableError, 1),
    grpc.StatusCode.UNKNOWN: (ServiceUnavailableError, 1),
    grpc.StatusCode.INTERNAL: (ServiceUnavailableError, 1),
    grpc.StatusCode.DATA_LOSS: (ServiceUnavailableError, 1),
    grpc.StatusCode.INVALID_ARGUMENT: (RequestRefusedError, 1),
    grpc.StatusCode.FAILED_PRECONDITION: (RequestRefusedError, 1),
    grpc.StatusCode.OUT_OF_RANGE: (RequestRefusedError, 1),
    grpc.StatusCode.UNIMPLEMENTED: (RequestRefusedError, 1),
    grpc.StatusCode.ALREADY_EXISTS: (RequestRefusedError, 1),
    grpc.StatusCode.ABORTED: (RequestRefusedError, 1),
    grpc.StatusCode.NOT_FOUND: (NotFoundError, 1),
    grpc.StatusCode.UNAUTHENTICATED: (AuthenticationError, 1),
    grpc.StatusCode.PERMISSION_DENIED: (AuthenticationError, 1),
}

pytestmark = pytest.mark.usefixtures("no_blocking")


@pytest.fixture
async def client(config, retries):
    async with AIStudioClient(config, retries=retries) as opened:
        yield opened


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_of_a_read(grpc_service, client, code):
    error, attempts = OF_STATUS[code]
    grpc_service.answer(LIST, code)
    with pytest.raises(error, match=f"list jobs: AI Studio at {grpc_service.address} answered {code.name}") as raised:
        await client.list_jobs()
    assert type(raised.value) is error
    assert raised.value.__suppress_context__
    assert grpc_service.count(LIST) == attempts
    ids = {call.metadata["x-client-request-id"] for call in grpc_service.calls if call.method == LIST}
    assert len(ids) == 1
    assert ids.pop() in str(raised.value)


async def test_a_change_is_made_once_whatever_comes(grpc_service, client):
    for method, call in (
        ("DatasetService/Create", client.create_dataset("name", "type", labels={})),
        ("DatasetService/Validate", client.validate("fds1")),
        ("BatchInferenceService/Cancel", client.cancel_job("fbi1")),
    ):
        grpc_service.answer(method, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(ServiceUnavailableError):
            await call
        assert grpc_service.count(method) == 1


async def test_a_reply_that_cannot_be_read(grpc_service, client):
    grpc_service.answer(LIST, b"\xff\xff\xff")
    with pytest.raises(ServiceUnavailableError, match=r"list jobs: .* something that cannot be read"):
        await client.list_jobs()
    grpc_service.answer("DatasetService/Create", b"\xff\xff\xff")
    with pytest.raises(ServiceUnavailableError, match="create dataset name"):
        await client.create_dataset("name", "type", labels={})


async def test_no_secret_is_told_or_logged(grpc_service, client, config, caplog, capfd):
    def echo(_body, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, f"{config.api_key} at https://storage/x?X-Amz-Signature=SIGNED")

    grpc_service.answer(LIST, echo)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ServiceUnavailableError, match=r"\*\*\* at https://storage/x\?\*\*\*"),
    ):
        await client.list_jobs()
    written = caplog.text + "".join(capfd.readouterr()) + repr(config) + repr(client)
    assert config.api_key not in written
    assert "SIGNED" not in written


async def test_who_calls_and_that_nothing_may_be_kept(grpc_service, client):
    grpc_service.answer(LIST, ListBatchInferencesResponse())
    await client.list_jobs()
    sent = grpc_service.last(LIST).metadata
    assert (sent["authorization"], sent["x-data-logging-enabled"]) == ("Api-Key AQVN-secret-key", "false")
    assert sent["user-agent"].startswith("vision-batch")
    assert "authorization" not in grpc_service.last("ApiEndpointService/List").metadata


class TestEndpoints:
    async def test_they_are_discovered_once_also_by_many_at_once(self, grpc_service, client):
        grpc_service.answer(LIST, ListBatchInferencesResponse())
        await asyncio.gather(*[client.list_jobs() for _ in range(5)])
        assert grpc_service.count("ApiEndpointService/List") == 1

    async def test_an_override_needs_no_discovery(self, grpc_service, free_address):
        grpc_service.answer(LIST, ListBatchInferencesResponse())
        there = {"ai-foundation-models": grpc_service.address}
        async with AIStudioClient(
            ServiceConfig("f", api_key="k", endpoint=free_address, tls=False, endpoints=there)
        ) as client:
            assert await client.list_jobs() == []
        assert grpc_service.count("ApiEndpointService/List") == 0

    async def test_an_endpoint_that_is_not_that_of_the_cloud(self, grpc_service, client):
        listed = [ApiEndpoint(id="mdb", address="elsewhere:443")]
        grpc_service.answer("ApiEndpointService/List", ListApiEndpointsResponse(endpoints=listed))
        with pytest.raises(ConnectionInputError, match=r"lists no 'ai-foundation-models'.*It lists \['mdb'\]"):
            await client.list_jobs()

    async def test_an_unreachable_one_is_told_soon_and_clearly(self, free_address, retries):
        """No attempt waits for its deadline, which comes after the test's own time."""
        config = ServiceConfig("f", api_key="key", endpoint=free_address, tls=False)
        async with AIStudioClient(config, retries=replace(retries, call_seconds=3600)) as client:
            with pytest.raises(ServiceUnavailableError) as raised:
                await client.list_jobs()
        for words in (free_address, "UNAVAILABLE", "refused", "whether it speaks plaintext", "try again later"):
            assert words in str(raised.value)

    async def test_tls_where_there_is_none(self, grpc_service, retries):
        config = ServiceConfig("f", api_key="key", endpoint=grpc_service.address)
        async with AIStudioClient(config, retries=retries) as client:
            with pytest.raises(ServiceUnavailableError, match="whether it speaks TLS"):
                await client.list_jobs()


class TestLists:
    async def test_every_page_is_read(self, grpc_service, client):
        def page(body, _context):
            token = ListBatchInferencesRequest.FromString(body).page_token
            number = int(token or 0)
            tasks = [BatchInferenceTask(task_id=f"fbi{number}")]
            return ListBatchInferencesResponse(tasks=tasks, next_page_token=str(number + 1) if number < 4 else "")

        grpc_service.answer(LIST, page)
        assert [job.job_id for job in await client.list_jobs()] == [f"fbi{number}" for number in range(5)]
        assert ListBatchInferencesRequest.FromString(grpc_service.last(LIST).body).page_size == 100

    async def test_what_moves_to_the_next_page_meanwhile_is_there_once_as_it_was_seen_last(self, grpc_service, client):
        states = [BatchInferenceTask.PENDING, BatchInferenceTask.IN_PROGRESS]

        def page(body, _context):
            number = int(ListBatchInferencesRequest.FromString(body).page_token or 0)
            tasks = [BatchInferenceTask(task_id=each, status=states[number]) for each in ("ab", "bc")[number]]
            return ListBatchInferencesResponse(tasks=tasks, next_page_token="" if number else "1")

        def datasets(body, _context):
            number = int(ListDatasetsRequest.FromString(body).page_token or 0)
            found = [DatasetInfo(dataset_id=each) for each in ("ab", "bc")[number]]
            return ListDatasetsResponse(datasets=found, next_page_token="" if number else "1")

        grpc_service.answer(LIST, page)
        grpc_service.answer("DatasetService/List", datasets)
        assert [(job.job_id, job.status) for job in await client.list_jobs()] == [
            ("a", JobStatus.PENDING),
            ("b", JobStatus.IN_PROGRESS),
            ("c", JobStatus.IN_PROGRESS),
        ]
        assert [dataset.dataset_id for dataset in await client.list_datasets()] == ["a", "b", "c"]

    async def test_a_page_token_that_comes_twice_ends_the_reading(self, grpc_service, client):
        grpc_service.answer(LIST, ListBatchInferencesResponse(next_page_token="again"))
        with pytest.raises(ServiceUnavailableError, match="one page token twice after 2 pages"):
            await client.list_jobs()

    async def test_a_list_may_be_larger_than_grpcs_usual_limit(self, grpc_service, client):
        task = BatchInferenceTask(task_id="fbi1")
        task.errors.line_errors.add(line_number=1, message="x" * 5_000_000)
        grpc_service.answer(LIST, ListBatchInferencesResponse(tasks=[task]))
        assert len((await client.list_jobs())[0].line_errors[0].message) == 5_000_000


class TestMessages:
    async def test_states_of_tomorrow_are_unknown_and_no_success(self, grpc_service, client):
        task, info = BatchInferenceTask(task_id="fbi1"), DatasetInfo(dataset_id="fds1")
        task.ParseFromString(task.SerializeToString() + b"\x38\x63")
        info.ParseFromString(info.SerializeToString())
        assert task.status == 99
        grpc_service.answer(DESCRIBE, DescribeBatchInferenceResponse(task=task))
        grpc_service.answer("DatasetService/Describe", DescribeDatasetResponse(dataset=info))
        job, dataset = await client.describe_job("fbi1"), await client.describe_dataset("fds1")
        assert (job.status, job.status.is_terminal, job.status.is_alive) == (JobStatus.UNKNOWN, False, False)
        assert dataset.status is DatasetStatus.UNKNOWN

    async def test_files_are_sorted_by_number_whatever_their_names(self, grpc_service, client):
        keys = ["main", "10.parquet", "9.parquet", "../1", "b/2.parquet", "²"]
        reply = GetDownloadUrlsResponse(download_urls=[{"key": key, "url": f"http://{key}"} for key in keys])
        grpc_service.answer("DatasetService/GetDownloadUrls", reply)
        files = await client.result_files("fds1")
        assert [file.key for file in files] == ["../1", "b/2.parquet", "9.parquet", "10.parquet", "main", "²"]
        assert "http" not in repr(files)

    @pytest.mark.parametrize("name", ["", "x" * 64])
    async def test_a_name_that_the_service_would_refuse_is_not_sent(self, grpc_service, client, name):
        with pytest.raises(InputError, match=f"has {len(name)}"):
            await client.create_dataset(name, "type", labels={})
        assert grpc_service.calls == []

    async def test_a_created_dataset_carries_its_labels(self, grpc_service, client):
        info = DatasetInfo(dataset_id="fds1", name="n", labels={"a": "b"})
        grpc_service.answer("DatasetService/Create", CreateDatasetResponse(dataset=info))
        assert (await client.create_dataset("n", "type", labels={"a": "b"})).labels == {"a": "b"}

    async def test_the_services_own_clock(self, grpc_service, client):
        grpc_service.answer(LIST, ListBatchInferencesResponse())
        grpc_service.date = "Mon, 23 Nov 2026 10:00:00 GMT"
        await client.list_jobs()
        assert client.service_time().isoformat() == "2026-11-23T10:00:00+00:00"
        grpc_service.date = "not a date"
        await client.list_jobs()
        assert client.service_time().isoformat() == "2026-11-23T10:00:00+00:00"


class TestLife:
    async def test_a_closed_client_says_so(self, grpc_service, config):
        grpc_service.answer(LIST, ListBatchInferencesResponse())
        client = AIStudioClient(config)
        await client.list_jobs()
        await client.close()
        with pytest.raises(FinalError, match="used after it was closed"):
            await client.list_jobs()

    def test_the_sync_client_belongs_to_its_with_block(self, config):
        client = SyncAIStudioClient(config)
        with pytest.raises(FinalError, match="outside of its `with` block"):
            client.list_jobs()

    def test_the_sync_client_belongs_to_its_process(self, grpc_service, config, monkeypatch):
        grpc_service.answer(LIST, ListBatchInferencesResponse())
        with SyncAIStudioClient(config) as client:
            assert client.list_jobs() == []
            with monkeypatch.context() as forked:
                forked.setattr(os, "getpid", lambda: -1)
                with pytest.raises(FinalError, match="opened in another process"):
                    client.list_jobs()
            assert client.list_jobs() == []

    @pytest.mark.parametrize("key", ["two words", "ключ", "line\nbreak"])
    def test_a_key_that_no_header_carries_is_refused_before_any_call(self, key):
        with (
            pytest.raises(ConnectionInputError, match="copy it again"),
            SyncAIStudioClient(ServiceConfig("f", api_key=key)),
        ):
            pass

    def test_no_credentials_at_all(self):
        with (
            pytest.raises(ConnectionInputError, match="neither an API key nor"),
            SyncAIStudioClient(ServiceConfig("f")),
        ):
            pass
