"""Items that may only ride along: they never make a shard, never burst one, and each rides once."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.plan import PlannedItem, SettledItem, request_bytes
from vision_batch.enrichment.repair import Riders
from vision_batch.enrichment.source import Item

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = st.builds(Limits, max_rows_per_shard=st.integers(1, 6), max_bytes_per_shard=st.just(1_000_000))


def item(key, size=1000, partition="old", etag="e"):
    return Item(key, f"s3://{key}", partition, etag, size, NOON)


def riders(sizes, limits, due_since=None):
    found = [PlannedItem(item(f"r{number:02d}", size), 2) for number, size in enumerate(sizes)]
    return Riders(found, partitions=("own",), limits=limits, due_since=due_since)


SIZES = st.lists(st.integers(0, 800_000), max_size=12)
SHARDS = st.lists(st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from([None, 0, 5])), max_size=6), max_size=4)


@settings(max_examples=200, deadline=None)
@given(SIZES, SHARDS, LIMITS)
def test_each_rides_at_most_once_and_no_shard_grows_beyond_its_limits(sizes, shards, limits):
    found = riders(sizes, limits)
    everybody = found.keys
    aboard = []
    for number, shape in enumerate(shards):
        shard = [PlannedItem(item(f"s{number}-{at}", size), 1, tokens) for at, (size, tokens) in enumerate(shape)]
        boarded = found.board(shard)
        full = [*shard, *boarded]
        if boarded:
            assert any(planned.tokens for planned in shard)
            assert len(full) <= limits.max_rows_per_shard
            assert sum(request_bytes(each.item) for each in full) <= limits.max_bytes_per_shard
        aboard += [planned.item.item_key for planned in boarded]
    assert len(aboard) == len(set(aboard))
    assert found.keys == everybody - set(aboard)
    assert not found.make_a_job


@given(st.data())
def test_of_what_is_listed_only_unsettled_items_of_other_days_are_passed_over(data):
    statuses = st.sampled_from([None, "answered", "rejected", "failed", "invalid", "missing"])
    listed, settled = [], {}
    for number in range(data.draw(st.integers(0, 12))):
        partition, status = data.draw(st.sampled_from(["own", "other"])), data.draw(statuses)
        listed.append(item(f"r{number:02d}", partition=partition))
        if status is not None:
            version = item("", etag=data.draw(st.sampled_from(["e", "overwritten"]))).input_id
            settled[listed[-1].item_key] = SettledItem(version, status, data.draw(st.integers(1, 4)))
    found = riders([0] * 12, Limits(), due_since=NOON)
    others = list(found.others(listed, settled))
    for each in listed:
        known = settled.get(each.item_key)
        again = known is not None and known.input_id == each.input_id and not known.is_final and known.attempt < 3
        assert (each in others) == (each.partition == "own" or not again)
    # What a run's own day lists is the run's own, wherever it was asked before.
    own = {each.item_key for each in listed if each.partition == "own"}
    assert found.keys == {f"r{number:02d}" for number in range(12)} - own
    assert found.due_since == (NOON if len(own) < 12 else None)
    assert found.make_a_job == (len(own) < 12)
    assert {each.item_key for each in found.leave()} == {f"r{number:02d}" for number in range(12)} - own
    assert not found.make_a_job
