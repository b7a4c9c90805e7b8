"""A plan of any items: nothing is lost, nothing is asked twice, limits hold, order does not matter, shards are few."""

from collections import Counter
from datetime import UTC, datetime
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_batch.enrichment.candidates import Candidates
from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.plan import SettledItem, Tokens, Turn, is_below, next_attempt, request_bytes, take_turns
from vision_batch.enrichment.source import Item

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
STATUSES = ["answered", "rejected", "failed", "missing", "invalid"]
DAYS = ["2026-11-20", "2026-11-21", "2026-11-22"]
MD5 = ["0" * 32, "1" * 32, "2" * 32]
LIMITS = st.builds(
    Limits,
    max_shards_per_run=st.integers(1, 4),
    max_rows_per_shard=st.integers(1, 5),
    max_bytes_per_shard=st.integers(1_000_000, 3_000_000),
    max_attempts=st.integers(1, 3),
)


@st.composite
def situations(draw):
    """Items of some days; for each, perhaps, what the destination holds of it and whether a shard asks it."""
    items, settled, claimed = [], {}, set()
    for key in draw(st.lists(st.text("abж/", max_size=4), unique=True, max_size=25)):
        day, etag = draw(st.sampled_from(DAYS)), draw(st.sampled_from(["e", "f", None, *MD5]))
        size = len(etag) * 9_000 if etag in MD5 else draw(st.integers(0, 1_500_000))
        variables = {"word": draw(st.sampled_from("xy"))} if draw(st.booleans()) else {}
        items.append(Item(key, f"s3://{key}", day, etag, size, NOON, variables))
        if draw(st.booleans()):
            seen = Item(key, f"s3://{key}", day, draw(st.sampled_from(["e", etag])), size, NOON, variables)
            settled[key] = SettledItem(seen.input_id, draw(st.sampled_from(STATUSES)), draw(st.integers(1, 4)))
        if draw(st.integers(0, 4)) == 0:
            claimed.add(key)
    return items, settled, claimed


def planned(items, limits, *, settled=(), claimed=(), days=DAYS, chunks=1, **turns):
    """Plan as a run does, the items given in some chunks; return each shard with its turn, and the counts."""
    with Candidates(days, limits) as found:
        for start in range(chunks):
            found.add(items[start::chunks], settled=dict(settled), claimed=claimed)
        return list(take_turns(found.shards(), limits=limits, **turns)), (found.settled, found.claimed)


def cost_of(item):
    """Say what an item costs: nothing, something that is not certain, something that is; or that it cannot be sent."""
    most = len(item.item_key) * 100
    return None if item.etag == "f" else Tokens(most, most // 3 if item.variables else most)


def bytes_of(shard):
    """Count the bytes of a shard's requests: copies, which stand together, are one."""
    first = {each.content or each.item.item_key: each for each in reversed(shard)}
    return sum(request_bytes(each.item) for each in first.values())


@settings(max_examples=200, deadline=None)
@given(situations(), LIMITS, st.integers(0, 2000), st.data())
def test_every_item_is_accounted_for_within_the_limits(situation, limits, floor_tokens, data):
    items, settled, claimed = situation
    known = {"settled": settled, "claimed": claimed}
    costs = {
        "floor_tokens": floor_tokens,
        "tokens": lambda asked: {item.item_key: cost_of(item) for item in asked},
    }
    turns, counts = planned(items, limits, **known, **costs)

    everything = Counter(each.item.item_key for _, shard in turns for each in shard)
    open_items = {
        item.item_key
        for item in items
        if item.item_key not in claimed and next_attempt(item, settled.get(item.item_key), limits) is not None
    }
    assert everything == Counter(open_items)
    assert counts == (len(items) - len(open_items) - len(claimed), len(claimed))
    order = [turn for turn, _ in turns]
    now = order.count(Turn.NOW)
    assert now <= limits.max_shards_per_run
    assert order == [Turn.NOW] * now + [Turn.WAITS] * order.count(Turn.WAITS) + [Turn.LATER] * order.count(Turn.LATER)
    assert Turn.LATER not in order or now == limits.max_shards_per_run
    for _, shard in turns:
        assert 1 <= len(shard) <= limits.max_rows_per_shard
        assert (
            bytes_of(shard) <= limits.max_bytes_per_shard
            or len({each.content or each.item.item_key for each in shard}) == 1
        )
        for each in shard:
            assert each.attempt == next_attempt(each.item, settled.get(each.item.item_key), limits)
            assert each.item in items

    shuffled = data.draw(st.permutations(items))
    assert planned(shuffled, limits, **known, **costs, chunks=data.draw(st.integers(1, 3))) == (turns, counts)


@settings(max_examples=200, deadline=None)
@given(situations(), LIMITS, st.integers(1, 2000))
def test_what_is_sent_is_certain_to_be_billed_the_floor_unless_nothing_more_can_be_put_in(situation, limits, floor):
    items, settled, claimed = situation
    turns, _ = planned(
        items,
        limits,
        settled=settled,
        claimed=claimed,
        floor_tokens=floor,
        tokens=lambda asked: {item.item_key: cost_of(item) for item in asked},
    )
    for number, (turn, shard) in enumerate(turns):
        most, least = sum(each.tokens or 0 for each in shard), sum(each.least_tokens for each in shard)
        assert 0 <= least <= most
        assert is_below(shard, floor) == (most > 0 and least < floor)
        is_last = number == len(turns) - 1
        if turn is Turn.WAITS:
            assert is_last
            assert least < floor
        elif turn is Turn.NOW and is_last:
            assert least >= floor or not most
        elif turn is Turn.NOW:
            following = turns[number + 1][1][0]
            full = len(shard) == limits.max_rows_per_shard
            assert full or bytes_of([*shard, following]) > limits.max_bytes_per_shard


@settings(max_examples=100, deadline=None)
@given(situations(), LIMITS)
def test_runs_that_answer_what_they_plan_settle_everything(situation, limits):
    items, settled, _ = situation
    for _ in range(len(items) + 1):
        turns, counts = planned(items, limits, settled=settled)
        for turn, shard in turns:
            assert turn is not Turn.WAITS
            for each in shard if turn is Turn.NOW else ():
                settled[each.item.item_key] = SettledItem(each.item.input_id, "answered", each.attempt)
    assert counts == (len(items), 0)


#: Sizes in blocks are the worst order for filling shards: some get full of items, others of bytes.
BLOCKS = st.lists(st.tuples(st.sampled_from([0, 40_000, 100_000]), st.integers(100, 400)), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@example([(0, 300), (100_000, 300)], 100, 9_000_000, 1, Random(0))
@given(BLOCKS, st.integers(150, 400), st.integers(15_000_000, 30_000_000), st.integers(1, 3), st.randoms())
def test_there_is_at_most_one_shard_more_than_the_least_there_can_be(blocks, rows, size, copies, random):
    """That holds for n shards of requests that are smaller than 1/(3n) of one, as all of these are."""
    limits = Limits(max_rows_per_shard=rows, max_bytes_per_shard=size, max_shards_per_run=100)
    sizes = [each for each, count in blocks for _ in range(count)]
    items = [
        Item(f"{number:04d}", "s3://b/n", DAYS[0], f"{number // copies:032x}", each, NOON)
        for number, each in enumerate(sizes)
    ]
    random.shuffle(items)
    turns, _ = planned(items, limits)
    everything = [each for _, shard in turns for each in shard]
    least = max(-(-len(items) // rows), -(-bytes_of(everything) // size))
    largest = max(max(map(request_bytes, items), default=0) / size, copies / rows)
    assert 3 * (least + 1) * largest <= 1
    assert len(turns) <= least + 1


@settings(max_examples=100, deadline=None)
@given(situations(), LIMITS)
def test_copies_stand_together_and_the_first_of_them_costs(situation, limits):
    items, _, _ = situation
    turns, _ = planned(items, limits, tokens=lambda asked: {item.item_key: Tokens(7, 3) for item in asked})
    for turn, shard in turns:
        if turn is Turn.LATER:
            continue
        contents = [each.content for each in shard]
        free = [each for each in shard if each.tokens == 0]
        assert len(free) == len(shard) - len({content or number for number, content in enumerate(contents)})
        for each in free:
            assert each.item.etag in MD5
            assert each.least_tokens == 0
            assert any(
                (other.item.etag, other.item.variables, other.tokens) == (each.item.etag, each.item.variables, 7)
                for other in shard
            )
