"""What a job costs: tokens of images and texts, at least 200 000; which requests were in it; jobs that come to nothing."""

import base64
import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vision_batch.emulator.tokens import Size, UnfitImageError, cut, image_tokens, text_tokens
from vision_batch.errors import AuthenticationError, ImageRejected, NotFoundError, RequestRefusedError
from vision_batch.images.budget import prompt_tokens, text_tokens_upper_bound
from vision_batch.models import MODELS
from vision_batch.service.rows import request_line
from vision_batch.service.types import JobStatus

SAMPLE = json.loads((Path(__file__).parents[1] / "unit" / "data" / "vision_tokens_sample.json").read_text())
#: Without the rows of servers with pan-and-scan: none is assumed in batch mode.
PROCESSED = [row for row in SAMPLE["rows"] if row["mode"] != "pan-and-scan on"]
ONE_OF = {"qwen": "qwen2.5-vl-7b-instruct", "deepseek": "deepseek-vl2", "gemma": "gemma-3-12b-it"}


def png(size):
    target = io.BytesIO()
    Image.new("1", size).save(target, "PNG")
    return target.getvalue()


class TestTokens:
    @pytest.mark.parametrize("row", PROCESSED, ids=lambda row: f"{row['family']}-{row['width']}x{row['height']}")
    def test_images_cost_what_the_real_processors_say(self, row):
        sizes = [Size(row["width"], row["height"])] * (3 if "3+" in row["mode"] else 1)
        family = {"qwen-vl": "qwen", "deepseek-vl2": "deepseek", "gemma-3": "gemma"}[row["family"]]
        if row["status"] == "rejected":
            with pytest.raises(UnfitImageError):
                image_tokens(family, sizes)
            return
        assert image_tokens(family, sizes) == row["prompt_tokens"] * len(sizes)

    @given(st.sampled_from(list(ONE_OF)), st.integers(1, 6000), st.integers(1, 6000))
    def test_two_independent_formulas_agree(self, family, width, height):
        try:
            expected = prompt_tokens(MODELS[ONE_OF[family]], width, height)
        except ImageRejected:
            with pytest.raises(UnfitImageError):
                image_tokens(family, [Size(width, height)])
        else:
            assert image_tokens(family, [Size(width, height)]) == expected

    @given(st.text())
    def test_the_estimate_of_a_text_is_below_the_bound_by_which_a_plan_is_priced(self, text):
        assert text_tokens(text) <= text_tokens_upper_bound(text) + 1

    @given(st.text(), st.integers(0, 50))
    def test_an_answer_stops_at_max_tokens(self, text, tokens):
        begun = cut(text, tokens)
        assert text.startswith(begun)
        assert text_tokens(begun) <= tokens


@pytest.mark.parametrize("family", list(ONE_OF))
def test_the_bill_is_the_sum_of_its_rows(session, family):
    template = {"qwen": 19, "deepseek": 10, "gemma": 9}[family]
    sizes = [(640, 480), (500, 1000), (900, 900)]
    lines = [request_line("What is it?", png(size)) for size in sizes]
    dataset = session.draft(lines)
    assert session.validated(dataset.dataset_id).is_valid
    job_id = session.submit(dataset.dataset_id, ONE_OF[family], max_tokens=30)
    [billed] = [job for job in session.emulator.bill(rows=True) if job["task_id"] == job_id]
    job = session.finished(job_id)
    assert job.line_errors == ()
    answers = sum(text_tokens(row.response) for row in session.rows(job.result_dataset_id))
    images = sum(prompt_tokens(MODELS[ONE_OF[family]], *size) for size in sizes)
    [billed] = [each for each in session.emulator.bill(rows=True) if each["task_id"] == job_id]
    assert billed["tokens"] == images + answers + 3 * (text_tokens("What is it?") + template)
    assert billed["billed_tokens"] == 200_000
    assert billed["requests"] == [
        hashlib.sha256(
            json.dumps(json.loads(line)["request"], ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        for line in lines
    ]
    assert (billed["model_uri"], billed["rows"], billed["source_dataset_id"]) == (job.model_uri, 3, dataset.dataset_id)


def test_a_large_job_is_billed_as_it_is(session):
    text = "ж" * 10_000
    dataset = session.draft([request_line(text, png((28, 28)))] * 60)
    session.validated(dataset.dataset_id)
    job = session.finished(session.submit(dataset.dataset_id, ONE_OF["qwen"], max_tokens=5))
    [billed] = [each for each in session.emulator.bill() if each["task_id"] == job.job_id]
    assert billed["billed_tokens"] == billed["tokens"] > 60 * text_tokens(text) > 200_000
    assert "requests" not in billed


def test_what_does_not_fit_the_window_or_is_no_image_is_a_line_error(session):
    bad = base64.b64encode(b"no image").decode()
    rows = [
        ("fits", png((100, 100))),
        ("x" * 20_000, png((10, 10))),
        ("no image", base64.b64decode(bad)),
        ("fits", png((99, 9))),
    ]
    dataset = session.draft([request_line(*row) for row in rows])
    assert session.validated(dataset.dataset_id).is_valid
    job = session.finished(session.submit(dataset.dataset_id))
    assert job.status is JobStatus.COMPLETED
    assert [error.line_number for error in job.line_errors] == [2, 3]
    assert "is longer than the maximum model length of 4096" in job.line_errors[0].message
    assert "8 bytes are not an image that can be decoded" in job.line_errors[1].message
    assert [row.text for row in session.rows(job.result_dataset_id)] == ["fits", "fits"]


def test_a_window_can_be_widened(emulator, session_at):
    session = session_at(emulator("--window", "gemma-3-12b-it=16384", speed=20_000))
    dataset = session.draft([request_line("x" * 20_000, png((10, 10)))])
    session.validated(dataset.dataset_id)
    assert session.finished(session.submit(dataset.dataset_id)).line_errors == ()


@pytest.mark.parametrize("model", ["yandexgpt/latest", "gemma-3-12b-it/new", "gemma-3-12b-it/latest@tuned"])
def test_an_unsupported_model_fails_seconds_after_the_submit_and_is_billed(session, model):
    asked = session.ask(1)
    job_id = session.client.submit(f"gpt://{session.config.folder_id}/{model}", asked.dataset_id).job_id
    job = session.finished(job_id)
    assert (job.status, job.error, job.result_dataset_id, job.started_at) == (JobStatus.FAILED, None, None, None)
    assert 2 <= (job.finished_at - job.created_at).total_seconds() <= 6
    assert [(each["task_id"], each["status"]) for each in session.bill_of(asked)] == [(job_id, "FAILED")]


def test_what_is_refused_is_not_billed(session):
    asked = session.ask(1)
    draft = session.client.create_dataset("draft", "ImageTextToTextGenerationRequest", labels={})
    uri = f"gpt://{session.config.folder_id}/gemma-3-12b-it/latest"
    refusals = [
        (RequestRefusedError, "is DRAFT, not READY", (uri, draft.dataset_id), {}),
        (NotFoundError, "is not found", (uri, "fds00000000000000000"), {}),
        (RequestRefusedError, "is malformed", ("gemma-3-12b-it", asked.dataset_id), {}),
        (AuthenticationError, "is not in the folder of the model", (uri.replace("b1g", "b1x"), asked.dataset_id), {}),
        (RequestRefusedError, "temperature must be from 0 to 1", (uri, asked.dataset_id), {"temperature": 1.5}),
        (RequestRefusedError, "max_tokens must be greater than 0", (uri, asked.dataset_id), {"max_tokens": 0}),
    ]
    for error, message, arguments, options in refusals:
        with pytest.raises(error, match=message):
            session.client.submit(*arguments, **options)
    assert (session.bill_of(asked), session.client.list_jobs()) == ([], [])


def test_a_job_stays_on_the_bill_and_its_result_readable_when_everything_else_is_deleted(session):
    asked = session.ask(2)
    job_id = session.submit(asked)
    session.client.delete_dataset(asked.dataset_id)
    job = session.finished(job_id)
    session.client.delete_job(job_id)
    with pytest.raises(NotFoundError):
        session.client.describe_job(job_id)
    assert session.joined(asked, job).responses == asked.answers
    assert [each["task_id"] for each in session.bill_of(asked)] == [job_id]
    session.client.delete_dataset(job.result_dataset_id)
    with pytest.raises(NotFoundError):
        session.rows(job.result_dataset_id)
    assert session.client.list_datasets() == []
