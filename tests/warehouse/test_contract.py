"""What every destination does with answers: the same cases on each database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from places import NOON, SPEC, Place, answers, batch

from vision_batch.errors import ReconcileError
from vision_batch.warehouse.protocol import LoadCounts


def test_loading_three_times_is_loading_once(place: Place):
    warehouse = place.open()
    assert warehouse.ensure_table(SPEC) == ["created enrichment.photos"]
    assert warehouse.ensure_table(SPEC) == []
    shard = batch(1, range(1000))
    assert warehouse.load(SPEC, shard) == LoadCounts(inserted=1000, updated=0, kept=0)
    before = place.rows(what="*")
    for _ in range(2):
        assert warehouse.load(SPEC, shard) == LoadCounts(inserted=0, updated=1000, kept=0)
        assert place.rows(what="*") == before


def test_late_answers_to_a_tenth_of_the_items_replace_theirs_only(place: Place):
    warehouse = place.open()
    warehouse.load(SPEC, batch(1, range(1000)))
    assert warehouse.load(SPEC, batch(2, range(0, 1000, 10))) == LoadCounts(inserted=0, updated=100, kept=0)
    assert place.rows() == [(f"item-{key:06d}", "1" if key % 10 else "2") for key in range(1000)]


def test_an_older_answer_never_replaces_a_newer_one(place: Place):
    warehouse = place.open()
    warehouse.load(SPEC, batch(2, range(3)))
    assert warehouse.load(SPEC, batch(1, range(5))) == LoadCounts(inserted=2, updated=0, kept=3)
    assert [kind for _, kind in place.rows()] == ["2", "2", "2", "1", "1"]
    later = answers(SPEC, [{"item_key": "item-000000", "asked_at": NOON + timedelta(minutes=2, microseconds=1)}])
    assert warehouse.load(SPEC, later) == LoadCounts(inserted=0, updated=1, kept=0)
    assert place.rows()[0] == ("item-000000", None)


def test_nothing_to_load_is_fine(place: Place):
    assert place.open().load(SPEC, answers(SPEC, [])) == LoadCounts(0, 0, 0)


def test_two_answers_with_one_key_are_refused_and_nothing_is_touched(place: Place):
    warehouse = place.open()
    with pytest.raises(ReconcileError, match="1 keys have more than one answer each"):
        warehouse.load(SPEC, answers(SPEC, [{"item_key": "a"}, {"item_key": "b"}, {"item_key": "a", "kind": "x"}]))
    warehouse.ensure_table(SPEC)
    assert place.rows() == []
