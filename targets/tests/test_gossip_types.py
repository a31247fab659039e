"""The data types of gossip: whatever order and however often states are joined, the result is the same."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from targets.gossip.contexts import Context, Dot, Seen
from targets.gossip.crdts import (
    AnyState,
    Counter,
    LastWriter,
    ObservedRemove,
    Tombstone,
    joined,
    value_of,
)
from targets.gossip.hybrid_clock import HybridClock
from targets.gossip.messages import CounterRequest, SetRequest, StoreRequest
from targets.gossip.options import GossipOptions
from targets.gossip.tombstones import collectable
from targets.gossip.updates import Refusal, delta_of, result_of

NOTHING = Seen()
NODES = ("n1", "n2", "n3")


def request(kind: str, rng: Random) -> tuple[Any, GossipOptions]:
    match kind:
        case "register" | "multi-value":
            options = GossipOptions(register="lww" if kind == "register" else "multi-value")
            f = rng.choice(("write", "write", "delete"))
            return StoreRequest(f=f, key=0, value=rng.randrange(5)), options  # type: ignore[arg-type]
        case "list":
            return StoreRequest(f="append", key=0, value=rng.randrange(5)), GossipOptions()
        case "counter":
            return CounterRequest(f="add", key=0, value=rng.randint(-5, 5)), GossipOptions()
        case "grow-only-set":
            return SetRequest(f="add", key=0, value=rng.randrange(5)), GossipOptions(sets="grow-only")
        case _:
            f = rng.choice(("add", "add", "remove"))
            return SetRequest(f=f, key=0, value=rng.randrange(3)), GossipOptions()  # type: ignore[arg-type]


def deltas(kind: str, rng: Random) -> list[AnyState]:
    """Updates of three nodes that hear of each other now and then."""
    states: dict[str, AnyState | None] = dict.fromkeys(NODES)
    numbers = dict.fromkeys(NODES, 0)
    found: list[AnyState] = []
    for stamp in range(rng.randint(1, 8)):
        node = rng.choice(NODES)
        if found and rng.random() < 0.5:
            states[node] = joined(states[node], rng.choice(found), NOTHING)
        numbers[node] += 1
        body, options = request(kind, rng)
        delta = delta_of(body, states[node], (stamp, node), (node, numbers[node]), options)
        assert not isinstance(delta, Refusal)
        states[node] = joined(states[node], delta, NOTHING)
        found.append(delta)
    return found


@pytest.mark.parametrize("kind", ["register", "multi-value", "list", "counter", "grow-only-set", "observed-remove-set"])
def test_joins_agree_in_any_order_and_however_often(kind: str) -> None:
    for seed in range(150):
        rng = Random(f"{kind}/{seed}")
        given = deltas(kind, rng)
        results = set()
        for _ in range(4):
            order = [*given, *rng.sample(given, rng.randint(0, len(given)))]
            rng.shuffle(order)
            state: AnyState | None = None
            for delta in order:
                state = joined(state, delta, NOTHING)
            assert state is not None
            results.add(msgspec.json.encode(state))
            half = len(order) // 2
            left: AnyState | None = None
            right: AnyState | None = None
            for delta in order[:half]:
                left = joined(left, delta, NOTHING)
            for delta in order[half:]:
                right = joined(right, delta, NOTHING)
            assert right is not None
            results.add(msgspec.json.encode(joined(left, right, NOTHING)))
        assert len(results) == 1, (kind, seed, results)


def test_two_types_under_one_key_join_to_one_of_them_everywhere() -> None:
    register = LastWriter(1, (1, "n1"), ("n1", 1))
    counter = Counter((("n2", 3),))
    assert joined(register, counter, NOTHING) == joined(counter, register, NOTHING) == register


def test_what_was_removed_and_forgotten_does_not_come_back() -> None:
    seen = Seen(Context({"n1": 5}))
    assert joined(None, LastWriter(1, (1, "n1"), ("n1", 5)), seen) is None
    assert joined(None, LastWriter(1, (1, "n1"), ("n1", 6)), seen) is not None
    again = joined(ObservedRemove(), ObservedRemove(((("n1", 5), "a"), (("n1", 6), "b"))), seen)
    assert value_of(again) == ["b"]


def test_a_tombstone_beats_the_additions_that_it_saw_and_no_others() -> None:
    held = ObservedRemove(((("n1", 1), "a"), (("n2", 1), "a")))
    stone = ObservedRemove((), (Tombstone(("n1", 1), ("n3", 1)),))
    assert value_of(joined(held, stone, NOTHING)) == ["a"], "the addition of n2 was not seen by the removal"
    both = ObservedRemove((), (Tombstone(("n1", 1), ("n3", 1)), Tombstone(("n2", 1), ("n3", 1))))
    assert value_of(joined(held, both, NOTHING)) == []


def test_concurrent_values_of_a_multi_value_register_stand_side_by_side() -> None:
    options = GossipOptions(register="multi-value")
    one = delta_of(StoreRequest(f="write", value=1), None, (1, "n1"), ("n1", 1), options)
    two = delta_of(StoreRequest(f="write", value=2), None, (1, "n2"), ("n2", 1), options)
    assert not isinstance(one, Refusal)
    assert not isinstance(two, Refusal)
    both = joined(one, two, NOTHING)
    assert value_of(both) == [1, 2]
    context = Context({"n1": 1})
    replacing = delta_of(
        StoreRequest(f="write", value=3, context=context, via="n1"), both, (2, "n1"), ("n1", 2), options
    )
    assert not isinstance(replacing, Refusal)
    assert value_of(joined(both, replacing, NOTHING)) == [3, 2], "the client had not seen 2"


def test_grow_only_types_refuse_to_shrink() -> None:
    options = GossipOptions(counter="g", sets="grow-only")
    place: tuple[Any, Any] = ((1, "n1"), ("n1", 1))
    assert isinstance(delta_of(CounterRequest(f="add", value=-1), None, *place, options), Refusal)
    assert isinstance(delta_of(SetRequest(f="remove", value=1), None, *place, options), Refusal)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (StoreRequest(f="read"), None),
        (CounterRequest(f="read"), 0),
        (SetRequest(f="read"), []),
        (SetRequest(f="contains", value=1), False),
    ],
)
def test_reads_of_what_is_not_there(body: Any, result: Any) -> None:
    assert result_of(body, None) == result


def test_a_context_keeps_gaps_apart() -> None:
    seen = Seen(Context({"a": 2}))
    seen.add(("a", 4))
    assert ("a", 4) in seen
    assert ("a", 3) not in seen
    assert seen.context() == Context({"a": 2}, (("a", 4),))
    assert not seen.covers(Context({"a": 3}))
    seen.add(("a", 3))
    assert seen.context() == Context({"a": 4})
    assert seen.covers(Context({"a": 3}, (("a", 4),)))


def test_stamps_follow_causes_whatever_the_clock_says() -> None:
    clock = HybridClock()
    late = clock.stamp(5_000_000_000)
    assert clock.stamp(1_000_000_000) > late
    clock.observe(late + 1000)
    assert clock.stamp(0) > late + 1000


def test_a_registers_tombstone_waits_for_every_update_that_was_made_before_it_was_known() -> None:
    stone = LastWriter(None, (9, "n1"), ("n1", 1), is_deleted=True)
    seen = Seen(Context({"n1": 1}))
    everywhere = {"n2": Context({"n1": 1, "n2": 1}), "n3": Context({"n1": 1})}
    states: list[tuple[Any, AnyState]] = [(7, stone)]
    assert collectable(states, seen, {"n2": everywhere["n2"]}, ("n2", "n3")) == (), "nobody knows whether n3 has it"
    assert collectable(states, seen, everywhere, ("n2", "n3")) == (), "an update of n2 is still under way"
    seen.add(("n2", 1))
    assert collectable(states, seen, everywhere, ("n2", "n3")) == ((7, None),)


def test_a_sets_tombstones_are_collected_one_by_one() -> None:
    dots: list[Dot] = [("n1", 1), ("n1", 2)]
    state = ObservedRemove((), tuple(Tombstone(dot, ("n2", number)) for number, dot in enumerate(dots, 1)))
    known = {"n2": Context({"n2": 1})}
    ((key, left),) = collectable([(0, state)], Seen(), known, ("n2",))
    assert key == 0
    assert left == ObservedRemove((), state.tombstones[1:])
