"""Any mix of the faults of a result in one job of a running emulator; the join must tell exactly what came."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = 5
SOME_ROWS = st.lists(st.integers(0, ROWS - 1), unique=True, max_size=ROWS)


@dataclass(frozen=True)
class Mix:
    """What a job shows; ``None`` leaves a fault away."""

    missing: list[int]
    empty: list[int]
    twice: list[int]
    foreign: int
    seed: int | None
    files: int | None

    def scenarios(self):
        rows = {"missing_rows": self.missing, "null_response": self.empty, "duplicated_rows": self.twice}
        yield from ((name, {"rows": numbers}) for name, numbers in rows.items() if numbers)
        numbers = (
            ("foreign_rows", "count", self.foreign or None),
            ("shuffled_rows", "seed", self.seed),
            ("several_files", "files", self.files),
        )
        yield from ((name, {param: value}) for name, param, value in numbers if value is not None)


MIXES = st.builds(
    Mix,
    missing=SOME_ROWS,
    empty=SOME_ROWS,
    twice=SOME_ROWS,
    foreign=st.integers(0, 3),
    seed=st.none() | st.integers(0, 99),
    files=st.none() | st.integers(1, 12),
)


@pytest.fixture(scope="module")
def studio(fast_emulator, session_at):
    return session_at(fast_emulator)


@pytest.fixture(scope="module", params=["marker", "text", "whole request"])
def asked(request, studio):
    """The same question in the three ways by which answers can be joined."""
    return studio.ask(ROWS, marker=request.param == "marker", same_text=request.param == "whole request")


@settings(max_examples=20, deadline=None)
@given(mix=MIXES)
def test_the_join_tells_exactly_what_came(studio, asked, mix):
    for name, params in mix.scenarios():
        studio.emulator.scenario(name, **params)
    job = studio.finished(studio.submit(asked))
    with_images = len({request.text_sha256 for request in asked.requests}) == 1
    joined = studio.joined(asked, job, with_images=with_images)

    came = set(range(ROWS)) - set(mix.missing)
    assert joined.missing == set(mix.missing)
    assert joined.responses == {row: None if row in mix.empty else asked.answers[row] for row in came}
    assert joined.duplicates == len(came & set(mix.twice))
    assert joined.foreign == mix.foreign
    assert len(studio.client.result_files(job.result_dataset_id)) == (mix.files or 1)
    [billed] = [each for each in studio.bill_of(asked) if each["task_id"] == job.job_id]
    assert (billed["rows"], billed["billed_tokens"]) == (ROWS, 200_000)
