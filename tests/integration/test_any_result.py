"""Whatever the service makes of a job's result, the table has one row for each image, with its own answer or none."""

import tempfile
from pathlib import Path

import pytest
from enrichment_lab import DAYS, FOLDER, KEY, Enrichment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision_batch.steps.clean import clean
from vision_batch.steps.load import load

#: Each picture has an answer that no other has, so a mix-up is seen: colour by shape.
ANSWERS = [
    (colour, shape)
    for colour in ("red", "green", "blue", "white", "black", "yellow")
    for shape in ("landscape", "portrait")
]
SIZES = {"landscape": (90, 60), "portrait": (60, 90)}
PIXELS = {"green": (0, 128, 0)}
SOME_ROWS = st.lists(st.integers(0, len(ANSWERS) - 1), unique=True, max_size=5)
FAULTS = st.fixed_dictionaries(
    {},
    optional={
        "missing_rows": st.fixed_dictionaries({"rows": SOME_ROWS}),
        "null_response": st.fixed_dictionaries({"rows": SOME_ROWS}),
        "duplicated_rows": st.fixed_dictionaries({"rows": SOME_ROWS}),
        "image_reencoded": st.fixed_dictionaries({"rows": SOME_ROWS}),
        "image_left_out": st.fixed_dictionaries({"rows": SOME_ROWS, "part": st.sampled_from(["null", "removed"])}),
        "line_errors": st.fixed_dictionaries({"rows": SOME_ROWS, "base": st.sampled_from([0, 1]),
                                              "present": st.sampled_from(["absent", "null", "empty"])}),
        "foreign_rows": st.fixed_dictionaries({"count": st.integers(0, 3)}),
        "shuffled_rows": st.fixed_dictionaries({"seed": st.integers(0, 99)}),
        "several_files": st.fixed_dictionaries({"files": st.integers(1, 12)}),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def running(emulators):
    return emulators(
        "--api-key",
        KEY,
        "--folder",
        FOLDER,
        "--quota",
        "jobs_per_hour=1000",
        "--quota",
        "jobs_per_day=1000",
        speed=20_000,
    )


def answers_of(enrichment: Enrichment) -> dict[str, tuple]:
    columns = "item_key, status, dominant_color, orientation, error"
    return {Path(row["item_key"]).stem: tuple(row.values())[1:] for row in enrichment.rows(columns)}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(faults=FAULTS)
def test_each_image_has_its_own_answer_or_none_and_gets_it_in_the_end(running, project, faults):
    with tempfile.TemporaryDirectory() as folder:
        enrichment = Enrichment(Path(folder), project, running)
        for colour, shape in ANSWERS:
            enrichment.picture(DAYS[0], f"{colour}-{shape}.png", PIXELS.get(colour, colour), SIZES[shape])
        for name, params in faults.items():
            if params.get("rows", True):
                running.scenario(name, **params)
        [key] = enrichment.claim(DAYS[:1])
        enrichment.ask(key)
        counts = load(enrichment.resources, key, "one")
        found = answers_of(enrichment)
        assert len(found) == len(ANSWERS) == sum(counts.values())
        silent = {
            row
            for name in ("missing_rows", "null_response", "line_errors")
            for row in faults.get(name, {}).get("rows", ())
        }
        assert counts.get("answered", 0) == len(ANSWERS) - len(silent)
        for name, (status, colour, shape, error) in found.items():
            if status == "answered":
                assert (f"{colour}-{shape}", error) == (name, None)
            else:
                assert (colour, shape, bool(error)) == (None, None, True)
        assert clean(enrichment.resources, key).closed
        enrichment.run(DAYS[:1], "two")
        assert {name: row[:3] for name, row in answers_of(enrichment).items()} == {
            f"{colour}-{shape}": ("answered", colour, shape) for colour, shape in ANSWERS
        }
