"""The rules for effects, on effects that say what must come out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from targets.core import CancelTimer, Effect, Halt, Persist, Send, SetTimer
from targets.effect_queue import EffectQueue
from targets.tests.echo import Note, Put

EFFECTS = st.one_of(
    st.integers(0, 9).map(lambda number: Send("n2", Note(str(number)))),
    st.integers(0, 9).map(lambda number: Persist(Put(str(number), 1))),
    st.integers(0, 9).map(lambda number: Persist(Put(str(number), 1), token=number)),
    st.just(SetTimer("t", 1)),
)


def send(text: str) -> Send:
    return Send("n2", Note(text))


def put(key: str, token: int | None = None) -> Persist:
    return Persist(Put(key, 1), token)


def test_what_stands_before_a_record_is_visible_and_what_stands_behind_it_is_not() -> None:
    queue: EffectQueue[Effect] = EffectQueue()
    assert queue.put([send("a"), put("k"), send("b")]) == [send("a"), put("k")]
    assert queue.put([send("c")]) == [], "also in later steps"
    assert queue.synced(1) == ([send("b"), send("c")], [])
    assert queue.is_idle


def test_each_record_lets_go_of_what_waits_for_it_and_no_more() -> None:
    queue: EffectQueue[Effect] = EffectQueue()
    queue.put([put("j", 1), send("a"), put("k", 2), send("b")])
    assert queue.synced(1) == ([send("a")], [1])
    assert queue.put([send("c")]) == []
    assert queue.synced(2) == ([send("b"), send("c")], [2])


def test_timers_and_records_wait_for_nothing() -> None:
    queue: EffectQueue[Effect] = EffectQueue()
    effects: list[Effect] = [put("j"), SetTimer("t", 5), CancelTimer("u"), put("k")]
    assert queue.put(effects) == effects


def test_a_halt_ends_the_step_at_once() -> None:
    queue: EffectQueue[Effect] = EffectQueue()
    assert queue.put([put("j"), send("a"), Halt("h"), send("b")]) == [put("j"), Halt("h")]


def test_what_was_dropped_never_comes_and_what_comes_then_waits_for_nothing() -> None:
    queue: EffectQueue[Effect] = EffectQueue()
    queue.put([put("j", 1), send("a")])
    queue.drop()
    assert queue.put([send("b")]) == [send("b")]
    queue.put([put("k", 2)])
    assert queue.synced(2) == ([], [2])


@settings(deadline=None)
@given(st.lists(st.lists(EFFECTS, max_size=6), max_size=8), st.data())
def test_nothing_is_visible_before_the_records_in_front_of_it(steps: list[list[Effect]], data: st.DataObject) -> None:
    """Whatever the disk does: sends come out once, in order, and each when all records put before it are durable."""
    queue: EffectQueue[Effect] = EffectQueue()
    records_before: list[int] = []
    sent: list[Effect] = []
    visible: list[Effect] = []
    tokens_put: list[int] = []
    tokens: list[int] = []
    records = 0

    def seen(effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert records_before[len(visible)] <= queue.durable_count
                visible.append(effect)

    for step in steps:
        for effect in step:
            if isinstance(effect, Persist):
                records += 1
                tokens_put += [] if effect.token is None else [effect.token]
            elif isinstance(effect, Send):
                records_before.append(records)
                sent.append(effect)
        seen(queue.put(step))
        if data.draw(st.booleans()):
            effects, done = queue.synced(data.draw(st.integers(queue.durable_count, queue.persisted_count)))
            seen(effects)
            tokens += done
    effects, done = queue.synced(queue.persisted_count)
    seen(effects)
    assert visible == sent
    assert tokens + done == tokens_put
