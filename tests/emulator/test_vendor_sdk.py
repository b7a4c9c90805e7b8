"""The vendor's own SDK, unchanged, against the emulator. It is the independent client of these tests, nothing else."""

import base64
import io
import json
import random
import re
import uuid

import pytest
from PIL import Image
from yandex_ai_studio_sdk import AIStudio
from yandex_ai_studio_sdk.exceptions import AioRpcError, DatasetValidationError

TEXT, VL = "TextToTextGenerationRequest", "ImageTextToTextGenerationRequest"
QUICK = {"poll_interval": 0.05, "poll_timeout": 120}
CHUNK = 5 * 1024**2


@pytest.fixture(scope="module")
def running(emulators):
    many = [f"--quota={name}=1000" for name in ("jobs_per_hour", "jobs_per_day", "datasets")]
    return emulators(*many, speed=2000)


@pytest.fixture
def sdk(running):
    """As the SDK's documentation says for an endpoint without TLS; everything else is its default."""
    return AIStudio(folder_id=f"b1g{uuid.uuid4().hex[:17]}", endpoint=running.grpc, auth="any-key", verify=False)


def noise(size):
    """A PNG of about three bytes for each pixel."""
    target = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(7).randbytes(3 * size[0] * size[1])).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def text_row(text):
    return {"request": [{"role": "system", "text": "Answer shortly."}, {"role": "user", "text": text}]}


def vl_row(text, image):
    return {
        "request": [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image", "image": image}]}]
    }


def drawn(task_type, rows):
    if task_type == TEXT:
        return [text_row(f"What is {number}?") for number in range(rows)]
    return [vl_row(f"What is in picture {number}?", noise((10 + number, 20))) for number in range(rows)]


def large(task_type):
    """Rows of more than two chunks together."""
    if task_type == TEXT:
        return [text_row("long " * 600_000) for _ in range(4)]
    return [vl_row("What is it?", noise((1200, 850))) for _ in range(3)]


@pytest.fixture
def draft(sdk, tmp_path):
    def make(task_type, rows, **more):
        path = tmp_path / f"{uuid.uuid4().hex}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return sdk.datasets.draft_from_path(path, task_type=task_type, upload_format="jsonlines", **more)

    return make


@pytest.mark.parametrize("task_type", [TEXT, VL])
@pytest.mark.parametrize("way", ["single", "multipart"])
def test_upload_of_a_dataset(sdk, draft, task_type, way):
    rows = drawn(task_type, 3) if way == "single" else large(task_type)
    dataset = draft(task_type, rows, name="sdk", labels={"made-by": "sdk"}).upload(
        chunk_size=CHUNK, parallelism=2, **QUICK
    )
    assert (dataset.status.name, dataset.rows, dataset.task_type) == ("READY", len(rows), task_type)
    assert dataset.labels == {"made-by": "sdk"}
    assert [found.id for found in sdk.datasets.list(name_pattern="sdk", status="READY")] == [dataset.id]
    assert [row["request"] for row in dataset.read()] == [
        [with_absent(message) for message in row["request"]] for row in rows
    ]
    dataset.delete()
    assert list(sdk.datasets.list()) == []


def with_absent(message):
    """Columns fill what a part of content does not have."""
    if "content" not in message:
        return message
    parts = [
        {"type": part["type"], "text": part.get("text"), "image": part.get("image")} for part in message["content"]
    ]
    return {"role": message["role"], "content": parts}


@pytest.mark.parametrize("task_type", [TEXT, VL])
def test_a_job_from_submit_to_delete(sdk, running, draft, task_type):
    rows = drawn(task_type, 3)
    source = draft(task_type, rows).upload(**QUICK)
    with running.holding():
        operation = sdk.models.completions("gemma-3-12b-it").batch.run_deferred(source)
        assert re.fullmatch(r"fbi[0-9a-v]{17}", operation.id)
        assert operation.get_status().is_running
    result = operation.wait(**QUICK)
    assert (operation.get_status().name, result.status.name) == ("COMPLETED", "READY")
    assert result.task_type == task_type.removesuffix("Request")
    assert result.size_bytes > 1024
    assert result.labels == {
        "foundation_models_batch_task_id": operation.id,
        "foundation_models_source_dataset": source.id,
    }
    answers = list(result.read())
    assert [row["request"] for row in answers] == [row["request"] for row in source.read()]
    assert all("emulator of AI Studio" in row["response"] for row in answers)

    assert [each.id for each in sdk.batch.list_operations(page_size=1)] == [operation.id]
    info = next(iter(sdk.batch.list_info(status="COMPLETED")))
    assert (info.task_id, info.source_dataset_id, info.result_dataset_id) == (operation.id, source.id, result.id)
    assert info.model_uri == f"gpt://{sdk._folder_id}/gemma-3-12b-it/latest"
    assert sdk.batch.get(operation.id).get_task_info() == info

    operation.delete()
    assert list(sdk.batch.list_operations()) == []
    assert [row["response"] for row in result.read()] == [row["response"] for row in answers]
    assert [job["task_id"] for job in running.bill() if job["source_dataset_id"] == source.id] == [operation.id]


def test_cancel(sdk, running, draft):
    source = draft(TEXT, drawn(TEXT, 1)).upload(**QUICK)
    with running.holding():
        operation = sdk.models.completions("gemma-3-12b-it").batch.run_deferred(source)
        operation.cancel()
    with pytest.raises(RuntimeError, match="unset result_dataset_id"):
        operation.wait(**QUICK)
    assert operation.get_status().name == "CANCELED"
    assert running.bill()[-1]["status"] == "CANCELED"


def test_the_sdk_repeats_a_submit_whose_reply_was_lost_and_two_jobs_are_on_the_bill(sdk, running, draft):
    source = draft(TEXT, drawn(TEXT, 1)).upload(**QUICK)
    running.scenario("reply_lost")
    operation = sdk.models.completions("gemma-3-12b-it").batch.run_deferred(source)
    twins = [job["task_id"] for job in running.bill() if job["source_dataset_id"] == source.id]
    assert len(twins) == 2
    assert twins[1] == operation.id
    assert [each.id for each in sdk.batch.list_operations()] == twins


def test_a_dataset_that_is_refused(draft, sdk):
    rows = [text_row("right"), {"request": [{"role": "nobody", "text": "wrong"}]}]
    with pytest.raises(DatasetValidationError) as caught:
        draft(TEXT, rows).upload(**QUICK)
    assert [(error.error, list(error.rows)) for error in caught.value.errors] == [("InvalidRole", [2])]
    assert [found.status.name for found in sdk.datasets.list()] == ["INVALID"]


def test_an_unsupported_model_fails_and_the_sdk_finds_no_result(sdk, draft):
    operation = sdk.models.completions("yandexgpt").batch.run_deferred(draft(TEXT, drawn(TEXT, 1)).upload(**QUICK))
    with pytest.raises(RuntimeError, match="unset result_dataset_id"):
        operation.wait(**QUICK)
    assert operation.get_status().name == "FAILED"


def test_the_schema_of_rows_can_be_read(sdk):
    schema = sdk.datasets.list_upload_schemas(VL)[0]
    assert (schema.task_type, schema.upload_format) == (VL, "jsonlines")
    assert schema.json["properties"]["request"]["minItems"] == 1


@pytest.mark.parametrize(("logging", "outcome"), [(False, "accepted"), (True, "refused")])
def test_data_logging_of_the_sdk(running, tmp_path, logging, outcome):
    sdk = AIStudio(folder_id="b1g", endpoint=running.grpc, auth="key", verify=False, enable_server_data_logging=logging)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(text_row("Q")))
    draft = sdk.datasets.draft_from_path(path, task_type=TEXT, upload_format="jsonlines")
    if outcome == "accepted":
        draft.upload(**QUICK).delete()
        return
    with pytest.raises(AioRpcError, match="data logging must be off"):
        draft.upload(**QUICK)
