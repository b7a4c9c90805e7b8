"""Whatever mix of result rows comes, the table has a row for each request, with its own answer or with none."""

import json
from dataclasses import dataclass, replace

import pytest
from enrichment_lab import DAYS, FOLDER, KEY, Enrichment
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vision_batch.emulator.answerer import answer
from vision_batch.enrichment.answer import AnswerSchema
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load

ROWS = 6
SOME_ROWS = st.lists(st.integers(0, ROWS - 1), unique=True, max_size=ROWS)
ANSWER = {
    "fields": {
        "width": {"type": "integer", "description": "ширина изображения"},
        "height": {"type": "integer", "description": "высота изображения"},
        "dominant_color": {"type": "enum", "values": ["red", "green", "blue"], "description": "преобладающий цвет"},
    }
}
REFUSED = "The model refused this line"


@dataclass(frozen=True)
class Mix:
    """What a job shows; ``None`` leaves a fault away."""

    missing: list[int]
    empty: list[int]
    twice: list[int]
    refused: list[int]
    base: int
    foreign: int
    seed: int | None
    files: int | None

    def scenarios(self):
        rows = {"missing_rows": self.missing, "null_response": self.empty, "duplicated_rows": self.twice}
        yield from ((name, {"rows": numbers}) for name, numbers in rows.items() if numbers)
        if self.refused:
            yield "line_errors", {"rows": self.refused, "message": REFUSED, "base": self.base}
        numbers = (
            ("foreign_rows", "count", self.foreign or None),
            ("shuffled_rows", "seed", self.seed),
            ("several_files", "files", self.files),
        )
        yield from ((name, {param: value}) for name, param, value in numbers if value is not None)

    def expected(self, row):
        """Return the statuses that a row may have; whose line an error names is not always certain."""
        if row in self.refused:
            return {"failed", "missing"}
        if row in self.missing:
            return {"missing"}
        return {"failed"} if row in self.empty else {"answered"}


MIXES = st.builds(
    Mix,
    missing=SOME_ROWS,
    empty=SOME_ROWS,
    twice=SOME_ROWS,
    refused=SOME_ROWS,
    base=st.integers(0, 1),
    foreign=st.integers(0, 3),
    seed=st.integers(0, 99),
    files=st.none() | st.integers(1, 12),
)


@pytest.fixture(scope="module")
def fast(emulators):
    many = [f"--quota={name}=100000" for name in ("jobs_per_hour", "jobs_per_day", "datasets")]
    return emulators("--api-key", KEY, "--folder", FOLDER, *many, speed=20_000)


def asking(folder, project, emulator, *, marker):
    """Give an enrichment with pictures whose answers all differ, and the true answer to each."""
    made = Enrichment(folder, project, emulator)
    changes = {"marker": marker, "answer": AnswerSchema.model_validate(ANSWER)}
    made.resources = replace(made.resources, declaration=made.resources.declaration.model_copy(update=changes))
    prompt = made.resources.declaration.question().render({}, None)
    truth = {}
    for number in range(ROWS):
        colour = ("red", "green", "blue")[number % 3]
        path = made.picture(DAYS[0], f"{number}.png", colour, (100 + 7 * number, 90 + number % 2))
        truth[path.name] = json.loads(answer(path.read_bytes(), prompt))
    assert len({json.dumps(each) for each in truth.values()}) == ROWS
    return made, truth


def table(made):
    found = {row["image_uri"].rsplit("/", 1)[1]: row for row in made.rows()}
    assert len(found) == len(made.rows())
    return found


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "whole request"])
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # to shrink takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mix=MIXES)
def test_each_request_has_one_row_and_its_own_answer(tmp_path_factory, project, fast, marker, mix):
    made, truth = asking(tmp_path_factory.mktemp("mix"), project, fast, marker=marker)
    [key] = made.claim()
    for name, params in mix.scenarios():
        fast.scenario(name, **params)
    made.ask(key)
    load(made.resources, key, "one")

    shard = made.resources.shard(key)
    numbers = {record.item_key: record.row for record in shard.rows(shard.dataset().rows_name)}
    assert sorted(numbers.values()) == list(range(ROWS))
    rows = table(made)
    assert rows.keys() == truth.keys()
    for name, row in rows.items():
        number = numbers[row["item_key"]]
        assert row["status"] in mix.expected(number)
        if row["status"] == "answered":
            assert {field: row[field] for field in truth[name]} == json.loads(row["raw_text"]) == truth[name]
        assert row["error"] != REFUSED or number in mix.refused

    assert clean(made.resources, key).closed
    if any(row["status"] != "answered" for row in rows.values()):
        made.run(run_id="two")
        rows = table(made)
    assert {name: (row["status"], {field: row[field] for field in truth[name]}) for name, row in rows.items()} == {
        name: ("answered", true) for name, true in truth.items()
    }
