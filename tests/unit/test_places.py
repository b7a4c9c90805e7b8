"""A run that is done again never has fewer places for shards than it had, in Airflow's own eyes."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import given
from hypothesis import strategies as st

from vision_batch.enrichment.reader import load_declaration
from vision_batch.operators.places import UNCLAIMED, fill_places, keep_places
from vision_batch.operators.shard import ShardOperator


class Store(dict):
    """Keep a task's state over its runs, as Airflow does."""

    def set(self, key, value, *, retention):
        assert retention is not None
        self[key] = value


class TaskInstance:
    def __init__(self):
        self.pushed = None

    def xcom_push(self, key, value):
        assert key == "return_value"
        self.pushed = value


@given(st.lists(st.integers(0, 5), max_size=6))
def test_the_list_that_is_mapped_over_never_shrinks(counts):
    store, longest = Store(), 0
    for count in counts:
        context = {"task_state_store": store, "ti": TaskInstance()}
        shards = [f"shard-{number}" for number in range(count)]
        places = keep_places(context)
        assert context["ti"].pushed == ([UNCLAIMED] * longest or None)
        longest = max(longest, count)
        assert fill_places(context, shards, places) == shards + [None] * (longest - count)


def test_without_a_state_store_the_list_is_as_it_is():
    assert keep_places({}) == 0
    assert fill_places({}, ["a"], 0) == ["a"]


@pytest.mark.parametrize("place", [None, UNCLAIMED])
@pytest.mark.parametrize("operator", ShardOperator.__subclasses__())
def test_a_place_without_a_shard_is_skipped(project, operator, place):
    include = project / "include"
    declaration = load_declaration(include / "enrichments" / "photo_quality.yaml", include_folder=include, environ={})
    with pytest.raises(AirflowSkipException):
        operator(task_id="step", declaration=declaration, shard=place).pre_execute({})
    operator(task_id="step", declaration=declaration, shard="a" * 20).pre_execute({})
