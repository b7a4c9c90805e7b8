"""Plans, claims and ends of shards in any order, late, repeated, without a reply: no item is ever forgotten."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_batch.shards.waiting import Left, Waiting, after_claim, after_close

#: All at one time: nothing rests on clocks.
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
DAYS = ("monday", "tuesday")
Item = tuple[str, int]


@dataclass
class Plan:
    """What a plan knows; it reads what is open first, and lists later."""

    name: str
    looked_at: frozenset[str]
    seen: dict[str, Waiting]
    taken: set[Item]
    listed: frozenset[Item] = frozenset()
    send: frozenset[Item] = frozenset()
    wait: frozenset[Item] = frozenset()
    left: frozenset[Item] = frozenset()


@dataclass
class World:
    """What source, destination and ``open.json`` hold, and the plans that people have yet to approve."""

    random: Random
    numbers: count[int] = field(default_factory=count)
    source: set[Item] = field(default_factory=set)
    rows: set[Item] = field(default_factory=set)
    shards: dict[str, frozenset[Item]] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    begun: list[Plan] = field(default_factory=list)
    made: list[Plan] = field(default_factory=list)
    known: set[Item] = field(default_factory=set)

    def arrive(self) -> None:
        """Put a new image into the source."""
        self.source.add((self.random.choice(DAYS), next(self.numbers)))

    def begin_plan(self, *days: str) -> None:
        """Read what is open: what waits is looked at, whatever the days of the run."""
        asked = days or (self.random.choice(DAYS),)
        taken = {item for items in self.shards.values() for item in items}
        plan = Plan(f"plan {next(self.numbers)}", frozenset({*asked, *self.waiting}), dict(self.waiting), taken)
        self.begun.append(plan)

    def finish_plan(self, *, all_is_sent: bool = False) -> None:
        """List, and look up what is settled."""
        if not self.begun:
            return
        plan = self.begun.pop(self.random.randrange(len(self.begun)))
        plan.listed = frozenset(item for item in self.source if item[0] in plan.looked_at)
        parts = ("send",) if all_is_sent else ("send", "wait", "left")
        to_ask = {item: self.random.choice(parts) for item in sorted(plan.listed - self.rows - plan.taken)}
        plan.send, plan.wait, plan.left = (
            frozenset(item for item, part in to_ask.items() if part == name) for name in ("send", "wait", "left")
        )
        self.made.append(plan)

    def claim(self) -> None:
        """Swap a plan's shard in; perhaps the reply is lost and it is done again. It may be claimed once more later."""
        if not self.made:
            return
        plan = self.random.choice(self.made)
        if self.random.random() < 0.5:  # else it has looked at the open shards a while before it swaps
            plan.taken = set()
        for _ in range(self.random.choice((1, 1, 2))):
            self._swap_claim(plan)

    def _swap_claim(self, plan: Plan) -> None:
        plan.taken.update(*self.shards.values())
        send, wait = (items - self.rows - plan.taken for items in (plan.send, plan.wait))
        if self.random.random() < 0.2:  # others have taken so much that it is below the floor
            send, wait = frozenset(), send | wait
        left = {
            day: Waiting(NOW, number, number, number, plan.name)
            for day, number in Counter(day for day, _ in (*wait, *plan.left)).items()
        }
        self.waiting = after_claim(self.waiting, left, seen=plan.seen, looked_at=plan.looked_at)
        if send:
            self.shards[f"shard {next(self.numbers)}"] = send
        self.known |= plan.listed

    def close(self, *, all_is_asked: bool = False) -> None:
        """Close a shard, some of whose items changed since they were planned; perhaps the reply is lost."""
        if not self.shards:
            return
        key = self.random.choice(sorted(self.shards))
        released = set() if all_is_asked else {item for item in sorted(self.shards[key]) if self.random.random() < 0.4}
        self.rows |= self.shards[key] - released
        left = {day: Left(number, number, number) for day, number in Counter(day for day, _ in released).items()}
        for _ in range(self.random.choice((1, 2))):
            if self.shards.pop(key, None) is not None:
                self.waiting = after_close(self.waiting, left, noted_by=key, now=NOW)

    def forgotten(self) -> set[Item]:
        """Return items that a claimed plan has listed and that nobody will ask."""
        asked = {item for items in self.shards.values() for item in items}
        return {item for item in self.known - self.rows - asked if item[0] not in self.waiting}


STEPS = ("arrive", "arrive", "begin_plan", "finish_plan", "claim", "claim", "close")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40), st.randoms(use_true_random=False))
def test_what_a_claimed_plan_has_listed_is_asked_or_waits_whatever_comes_between(steps, random):
    world = World(random)
    for step in steps:
        getattr(world, step)()
        assert world.forgotten() == set()

    # And what waits does so until a run comes that has no reason to leave anything.
    while world.shards:
        world.close(all_is_asked=True)
    world.begun.clear()
    world.made.clear()
    world.begin_plan(*DAYS)
    world.finish_plan(all_is_sent=True)
    while not world.shards and world.source - world.rows:
        world.claim()
    while world.shards:
        world.close(all_is_asked=True)
    assert world.source == world.rows
    # One that finds nothing to ask takes the last entries out.
    world.made.clear()
    world.begin_plan(*DAYS)
    world.finish_plan(all_is_sent=True)
    world.claim()
    assert world.waiting == {}


def test_an_entry_that_was_written_again_is_another_one_even_if_it_counts_the_same():
    seen = {"monday": Waiting(NOW, 2, 10, 5, "one")}
    found = {"monday": Waiting(NOW, 2, 10, 5, "two")}
    assert after_claim(found, {}, seen=seen, looked_at=["monday"]) == found
    assert after_claim(seen, {}, seen=seen, looked_at=["monday"]) == {}
    assert after_claim(seen, {}, seen=seen, looked_at=["tuesday"]) == seen


def test_days_wait_from_the_beginning_and_a_claim_that_is_done_again_changes_nothing():
    earlier = datetime(2026, 11, 20, tzinfo=UTC)
    found = {"monday": Waiting(earlier, 9, 90, 45, "before"), "tuesday": Waiting(earlier, 4, 8, 9, "since")}
    left = {day: Waiting(NOW, 5, 50, 5, "plan") for day in ("monday", "tuesday", "wednesday")}
    given = {"seen": {"monday": found["monday"]}, "looked_at": list(left)}
    waiting = after_claim(found, left, **given)
    assert waiting == {
        "monday": Waiting(earlier, 5, 50, 5, "plan"),
        "tuesday": Waiting(earlier, 5, 50, 9, "plan"),
        "wednesday": Waiting(NOW, 5, 50, 5, "plan"),
    }
    assert after_claim(waiting, left, **given) == waiting
