"""How far a job is, in words, and where a person looks at it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vision_batch.service.console import DEFAULT_CONSOLE_URL, job_page
from vision_batch.service.progress import Progress
from vision_batch.service.types import Job, JobStatus

STARTED = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW = STARTED + timedelta(minutes=30)
JOB = Job(
    "fbi1", "fbi2", "gpt://b1g/gemma-3-12b-it/latest", "fds1", None, JobStatus.IN_PROGRESS,
    STARTED - timedelta(hours=1), STARTED, None, None, (), (),
)  # fmt: skip
PENDING = replace(JOB, status=JobStatus.PENDING, started_at=None)

WORDS = {
    "nothing known": (Progress(PENDING), "PENDING"),
    "not begun": (Progress(PENDING, rows=1000), "PENDING, 1000 rows"),
    "no batch yet": (Progress(JOB, (0, 10), 1000), "IN_PROGRESS, 0 of 10 batches completed, about 0 of 1000 rows"),
    "a quarter": (
        Progress(JOB, (25, 100), 1000),
        "IN_PROGRESS, 25 of 100 batches completed, about 250 of 1000 rows, about 90 min left",
    ),
    "long": (Progress(JOB, (1, 12)), "IN_PROGRESS, 1 of 12 batches completed, about 5.5 h left"),
    "longer": (Progress(JOB, (1, 1000)), "IN_PROGRESS, 1 of 1000 batches completed, about 20.8 days left"),
    "all": (Progress(JOB, (5, 5), 7), "IN_PROGRESS, 5 of 5 batches completed, about 7 of 7 rows"),
    "almost": (Progress(JOB, (999, 1000)), "IN_PROGRESS, 999 of 1000 batches completed, about 1 min left"),
}


@pytest.mark.parametrize(("progress", "words"), WORDS.values(), ids=WORDS)
def test_progress_is_told_in_words(progress, words):
    assert progress.words(NOW) == words


def test_the_log_gets_a_line_for_each_state_and_each_whole_per_cent():
    lines = {Progress(JOB, (done, 20_000), 20_000).change for done in range(20_000)}
    assert len(lines) == 100
    assert Progress(PENDING).change != Progress(JOB).change


def test_a_page_is_made_of_ids():
    assert job_page(DEFAULT_CONSOLE_URL, folder_id="b1g", job_id="fbi1") == (
        "https://aistudio.yandex.ru/platform/folders/b1g"
    )
    own = "https://console.example/{folder_id}/jobs/{job_id}?tab={x}"
    assert job_page(own, folder_id="b1g", job_id="a/b") == "https://console.example/b1g/jobs/a%2Fb?tab={x}"
