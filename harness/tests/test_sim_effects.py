"""The simulated node performs effects as the one queue of rules says (targets/effect_queue.py): random effect lists, syncs, crashes
between steps and within them, restarts."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.environments.sim.delays import quantiles_ns
from harness.environments.sim.disk import Disk
from harness.environments.sim.node import Node
from harness.environments.sim.world import World
from harness.tests.simulated import Word
from histories.tracing import Custom
from targets.core import (
    CancelTimer,
    Effect,
    Event,
    Halt,
    Persist,
    Reply,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.effect_queue import EffectQueue

FAR_NS = 10**15
"""Timers of the test never fire."""


class Script(msgspec.Struct):
    """A core that answers with the next list of effects, whatever it is asked; `seen`: what it was asked, and answered."""

    lists: deque[list[Effect]]
    seen: list[tuple[Event, list[Effect]]]

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        effects = self.lists.popleft() if self.lists else []
        self.seen.append((event, effects))
        return effects

    def status(self) -> dict[str, Any]:
        return {}


class Bench:
    """One simulated node and, beside it, the queue that says what must be visible."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, None, None)
        self.disk = Disk(random.Random(seed), quantiles_ns("exponential", 1000, 5000))
        self.visible: list[Effect] = []
        self.scripts: list[Script] = []
        self.lists: deque[list[Effect]] = deque()
        links = {name: _Link(self, name) for name in ("n2", "n3")}
        self.node = Node(self.world, "n1", self._build, self.disk, links, self._ignored, self._ignored)
        self.node._reply = self.visible.append  # type: ignore[method-assign, assignment]
        self.world.trace = self._traced  # type: ignore[method-assign]
        self.expected: list[Effect] = []
        self.queue: EffectQueue[Effect] = EffectQueue()
        self.records_before = 0
        self.steps_done = 0

    def _build(self, incarnation: int) -> Script:
        self.scripts.append(Script(self.lists, []))
        return self.scripts[-1]

    def _traced(self, node: str, event: Any) -> None:
        if isinstance(event, Custom):
            self.visible.append(Trace(event))

    def _ignored(self, flight: Any, body: Any) -> None:
        """No client is there."""

    def expect(self, effects: Sequence[Effect]) -> None:
        self.expected += [effect for effect in effects if isinstance(effect, Send | Reply | Trace)]

    def follow(self) -> None:
        """Let the queue take what the node has done since: every step of the core, and what the disk has synced."""
        if self.node.incarnation != len(self.scripts):
            raise AssertionError("one core for each incarnation")
        seen = self.scripts[-1].seen if self.scripts else []
        synced_count = max(0, self.disk.synced_position - self.records_before)
        tokens: deque[int] = deque()
        if self.steps_done < len(seen) and not isinstance(seen[self.steps_done][0], SyncDone):
            self.expect(self.queue.put(seen[self.steps_done][1]))
            self.steps_done += 1
        if synced_count > self.queue.durable_count:
            effects, told = self.queue.synced(synced_count)
            self.expect(effects)
            tokens.extend(told)
        for event, effects in seen[self.steps_done :]:
            assert isinstance(event, SyncDone), "one event at a time"
            assert tokens, f"token {event.token} is of no record of this process that is durable now"
            assert event.token == tokens.popleft()
            self.expect(self.queue.put(effects))
            self.steps_done += 1
        if self.node.state == "running":
            assert not tokens, "a durable record was not announced"

    def restarted(self) -> None:
        """A new process: nothing of the old one is visible any more, and what it will be told is its own."""
        self.queue = EffectQueue()
        self.steps_done = 0
        self.node.start()
        # What was on disk when it started stands before its own records.
        self.records_before = self.disk.position - sum(
            isinstance(effect, Persist) for _, effects in self.scripts[-1].seen for effect in _until_halt(effects)
        )


class _Link:
    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name

    def send(self, message: Any) -> None:
        self._bench.visible.append(Send(self._name, message))


def _until_halt(effects: Sequence[Effect]) -> list[Effect]:
    end = next((number for number, effect in enumerate(effects) if isinstance(effect, Halt)), len(effects))
    return list(effects[:end])


words = st.integers(0, 99).map(lambda number: Word(str(number)))
tokens = st.none() | st.integers(1, 10**6)
effect_lists = st.lists(
    st.one_of(
        st.builds(Send, st.sampled_from(("n2", "n3")), words),
        st.builds(Persist, words, tokens),
        st.builds(Persist, words, tokens),
        words.map(lambda word: Trace(Custom(word.text))),
        words.map(lambda word: Reply(0, word)),
        st.builds(SetTimer, st.sampled_from(("a", "b")), st.just(FAR_NS)),
        st.just(CancelTimer("a")),
    ),
    min_size=1,
    max_size=7,
)
acts = st.lists(
    st.sampled_from(("step", "step", "step", "step", "event", "event", "kill", "doom", "halt")), min_size=8, max_size=30
)


@settings(deadline=None)
@given(st.integers(0, 10**6), acts, st.lists(effect_lists, min_size=8, max_size=60), st.data())
@pytest.mark.long
def test_the_node_and_the_queue_agree(
    seed: int, acts: list[str], lists: list[list[Effect]], data: st.DataObject
) -> None:
    bench = Bench(seed)
    bench.lists.extend(lists)
    bench.restarted()
    bench.follow()
    for act in acts:
        node, is_doomed = bench.node, False
        match act:
            case "step":
                node.step(TimerFired("step"))
            case "halt":
                bench.lists.appendleft([*data.draw(effect_lists), Halt("enough"), Send("n2", Word("x"))])
                node.step(TimerFired("halt"))
            case "event" if bench.world.heap:
                bench.world.advance(bench.world.heap[0][0], lambda: True)
            case "doom":
                node.doom(data.draw(st.integers(0, 6)))
                is_doomed = True
                node.step(TimerFired("step"))
            case "kill":
                node.kill()
        bench.follow()
        if node.state == "dead":
            # What a crash cut off may be any end of the list, and no more.
            assert bench.visible == bench.expected[: len(bench.visible)]
            assert is_doomed or act != "kill" or bench.visible == bench.expected
            bench.expected = list(bench.visible)
            kept = list(bench.disk.records)
            possible = kept + list(bench.disk.unsynced)
            bench.restarted()
            started = bench.scripts[-1].seen[0][0]
            assert isinstance(started, Started)
            assert list(started.records[: len(kept)]) == kept
            assert list(started.records) == possible[: len(started.records)]
            bench.follow()
        elif node._doom is not None:
            node._doom = None
        assert bench.visible == bench.expected


def test_the_token_of_a_record_that_a_crash_left_undecided_is_never_announced() -> None:
    """Its promise was given to a core that is gone; the next one has tokens of its own."""
    bench = Bench(1)
    bench.lists.extend([[Persist(Word("a"), token=7), Send("n2", Word("b"))]])
    bench.restarted()
    bench.node.kill()
    bench.lists.extend([[], [Persist(Word("c"), token=8)]])
    bench.node.start()
    bench.node.step(TimerFired("step"))
    bench.world.advance(10**9, lambda: False)
    told = [event.token for event, _ in bench.scripts[-1].seen if isinstance(event, SyncDone)]
    assert told == [8]
    assert bench.visible == []
