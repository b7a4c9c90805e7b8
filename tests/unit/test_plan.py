"""What is asked, for the how-manieth time, in which shards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vision_batch.enrichment.candidates import Candidates, KeySet
from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.plan import (
    SettledItem,
    Tokens,
    Turn,
    listed_content,
    next_attempt,
    request_bytes,
    take_turns,
)
from vision_batch.enrichment.source import Item
from vision_batch.errors import DuplicateItemError

LIMITS = Limits()
DAY, NEXT_DAY = "2026-11-22", "2026-11-23"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def item(key: str, *, etag: str = "e", size: int = 1000, partition: str = DAY, **variables: str) -> Item:
    return Item(key, f"s3://shop/{key}", partition, etag, size, datetime(2026, 11, 22, tzinfo=UTC), variables)


def plan(*items: Item, settled: dict | None = None, claimed: tuple = (), limits: Limits = LIMITS, days=(), **turns):
    with Candidates(days, limits) as found:
        found.add(items, settled=settled or {}, claimed=claimed)
        return list(take_turns(found.shards(), limits=limits, **turns)), (found.settled, found.claimed)


def keys(found: tuple, turn: Turn = Turn.NOW) -> list[list[str]]:
    return [[planned.item.item_key for planned in shard] for each, shard in found[0] if each is turn]


@pytest.mark.parametrize(
    ("status", "attempt", "etag", "expected"),
    [
        ("answered", 1, "e", None),
        ("rejected", 1, "e", None),
        ("failed", 1, "e", 2),
        ("missing", 2, "e", 3),
        ("invalid", 2, "e", 3),
        ("invalid", 3, "e", None),
        ("failed", 7, "e", None),
        ("answered", 1, "overwritten", 1),
        ("rejected", 3, "overwritten", 1),
        ("failed", 3, "overwritten", 1),
        ("some later version's status", 1, "e", 2),
    ],
)
def test_an_item_is_asked_until_it_is_settled(status, attempt, etag, expected):
    known = SettledItem(item("a", etag=etag).input_id, status, attempt)
    assert next_attempt(item("a"), known, LIMITS) == expected


def test_an_item_that_nobody_knows_is_asked_for_the_first_time():
    assert next_attempt(item("a"), None, LIMITS) == 1


def test_settled_and_claimed_items_are_counted_not_asked():
    done = SettledItem(item("a").input_id, "answered", 1)
    failed = SettledItem(item("b").input_id, "failed", 1)
    found = plan(*map(item, "dcba"), settled={"a": done, "b": failed, "zzz": done}, claimed=("c", "zzz"))
    assert [(each.item, each.attempt) for _, shard in found[0] for each in shard] == [(item("b"), 2), (item("d"), 1)]
    assert found[1] == (1, 1)


def test_an_item_that_is_claimed_is_not_asked_a_second_time_whatever_the_destination_says():
    overwritten = SettledItem(item("a", etag="old").input_id, "answered", 1)
    assert plan(item("a"), settled={"a": overwritten}, claimed=("a",)) == ([], (0, 1))


def test_no_items_make_no_shards():
    assert plan() == ([], (0, 0))


def test_one_key_for_two_items_is_refused_before_anything_is_paid():
    with pytest.raises(DuplicateItemError, match="item key 'a' is there twice"):
        plan(item("a"), item("b"), item("a", partition="2026-11-23"), claimed=("a",))


def test_rows_bound_a_shard():
    assert keys(plan(*map(item, "abcde"), limits=Limits(max_rows_per_shard=2))) == [["a", "b"], ["c", "d"], ["e"]]


def test_bytes_bound_a_shard_and_an_item_that_is_too_large_stands_alone():
    limits = Limits(max_bytes_per_shard=1_000_000)
    sizes = {"a": 300_000, "b": 300_000, "c": 300_000, "d": 2_000_000, "e": 1}
    found = plan(*(item(key, size=size) for key, size in sizes.items()), limits=limits)
    assert keys(found) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_a_shard_that_is_exactly_full_is_one_shard():
    size = 1_000_000 * 3 // 8 - 16_384 * 3 // 4
    assert 2 * request_bytes(item("a", size=size)) <= 1_000_000
    assert keys(plan(item("a", size=size), item("b", size=size), limits=Limits(max_bytes_per_shard=1_000_000))) == [
        ["a", "b"]
    ]


def test_what_one_run_may_not_make_is_left_to_the_next():
    limits = Limits(max_rows_per_shard=2, max_shards_per_run=2)
    found = plan(*map(item, "abcdefg"), limits=limits)
    assert (keys(found), keys(found, Turn.LATER)) == ([["a", "b"], ["c", "d"]], [["e", "f"], ["g"]])
    rest = plan(*map(item, "abcdefg"), claimed=("a", "b", "c", "d"), limits=limits)
    assert (keys(rest), rest[1]) == ([["e", "f"], ["g"]], (0, 4))


def test_the_last_shard_waits_if_it_is_small_unless_more_is_left():
    cost = {
        "floor_tokens": 30,
        "tokens": lambda asked: dict.fromkeys([each.item_key for each in asked], Tokens(90, 10)),
    }
    limits = Limits(max_rows_per_shard=3, max_shards_per_run=2)
    assert keys(plan(*map(item, "ab"), limits=limits, **cost), Turn.WAITS) == [["a", "b"]]
    assert keys(plan(*map(item, "abc"), limits=limits, **cost)) == [["a", "b", "c"]]
    found = plan(*map(item, "abcd"), limits=limits, **cost)
    assert (keys(found), keys(found, Turn.WAITS)) == ([["a", "b", "c"]], [["d"]])
    found = plan(*map(item, "abcdefgh"), limits=limits, **cost)
    assert (keys(found, Turn.WAITS), keys(found, Turn.LATER)) == ([], [["g", "h"]])


def test_what_is_left_is_not_counted_in_tokens():
    counted: list[str] = []

    def tokens(asked):
        counted.extend(each.item_key for each in asked)
        return {}

    plan(*map(item, "abcd"), limits=Limits(max_rows_per_shard=1, max_shards_per_run=2), tokens=tokens)
    assert counted == ["a", "b"]


def test_partitions_are_asked_in_the_order_of_the_run():
    items = [item("a", partition=DAY), item("b", partition=NEXT_DAY), item("c", partition="elsewhere")]
    limits = Limits(max_rows_per_shard=1)
    assert keys(plan(*items, days=[DAY, NEXT_DAY], limits=limits)) == [["a"], ["b"], ["c"]]
    assert keys(plan(*items, days=[NEXT_DAY, DAY], limits=limits)) == [["b"], ["a"], ["c"]]


def test_copies_that_the_listing_proves_share_a_shard_and_one_request():
    limits = Limits(max_bytes_per_shard=1_000_000)
    copies = [item(key, etag=MD5, size=500_000) for key in "aef"]
    found = plan(*copies, item("b", size=500_000), item("c", size=1), limits=limits)
    assert keys(found) == [["a", "e", "f"], ["b", "c"]]
    assert [each.tokens for each in found[0][0][1]] == [None, 0, 0]


def test_more_copies_than_a_shard_holds_are_asked_once_in_each():
    found = plan(*(item(key, etag=MD5) for key in "abcde"), limits=Limits(max_rows_per_shard=2))
    assert [[each.tokens for each in shard] for _, shard in found[0]] == [[None, 0], [None, 0], [None]]


@pytest.mark.parametrize(
    "other",
    [
        item("b", etag=MD5, size=1001),
        item("b", etag=MD5.replace("d", "e"), size=1000),
        item("b", etag=MD5, size=1000, colour="red"),
    ],
)
def test_another_size_hash_or_variable_is_another_request(other):
    assert listed_content(item("a", etag=MD5)) != listed_content(other)


@pytest.mark.parametrize("etag", [f"{MD5}-2", "1700000000000000000-1000", "", None, "e", MD5.upper()])
def test_what_is_no_plain_md5_proves_nothing(etag):
    assert listed_content(item("a", etag=etag)) is None


def test_a_set_of_keys_holds_any_text():
    odd = ["", "a'b", 'q"', "цена", "\U0001f4f7", "s3://b/%20{x}", "a" * 5000]
    with KeySet() as found:
        assert found.among(odd) == frozenset()
        found.add(odd[:4])
        found.add(odd[2:])
        assert found.among([*odd, "other"]) == frozenset(odd)


def test_nothing_is_left_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    with Candidates([], LIMITS) as found:
        found.add((item(f"{number:06d}", etag=str(number)) for number in range(100_000)), settled={})
        assert len(next(found.shards())) == LIMITS.max_rows_per_shard
        assert list(tmp_path.iterdir()) == []  # unlinked while it is open
