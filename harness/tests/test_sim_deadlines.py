"""Simulated calls time out when their time has passed, in the order in which they began, and those that are over cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from harness.environments.sim.environment import SimEnvironment
from harness.tests.simulated import Scripted, Word, world_of
from histories.op import Op
from targets.core import Effect, Event, Reply, Request
from targets.session import Outcome

TIMEOUT_NS = 2_000_000_000
MS = 1_000_000


def serving(_core: Scripted, event: Event) -> Sequence[Effect]:
    return [Reply(event.request_id, Word("done"))] if isinstance(event, Request) else ()


class Caller:
    """Calls n1, and notes when each call began and how and when it ended."""

    def __init__(self) -> None:
        self.environment: SimEnvironment = world_of(serving, nodes=["n1"], kill_inside_step=0)[0]
        self.world = self.environment.world
        self.began_ns: dict[int, int] = {}
        self.ended: dict[int, tuple[str, int]] = {}

    def call(self, number: int) -> None:
        self.began_ns[number] = self.world.now_ns
        op = Op(number, self.world.now_ns, "invoke", number, "say", None, "hello")
        self.environment.clients.start(op, number, self._finished)

    def _finished(self, op: Op, outcome: Outcome, _node: str) -> None:
        assert op.index not in self.ended, "a call ends once"
        self.ended[op.index] = (outcome.type, self.world.now_ns - self.began_ns[op.index])

    def wait(self, ns: int) -> None:
        self.world.advance(self.world.now_ns + ns, lambda: False)


def test_each_call_times_out_on_its_own_time_whatever_the_others_did() -> None:
    """Node n1 is paused again and again: some calls are answered, late or at once, and some are not."""
    rng = Random(5)
    caller = Caller()
    processes = caller.environment.cluster.processes
    for number in range(300):
        if number % 10 == 0:
            rng.choice((processes.pause, processes.resume))(["n1"])
        caller.call(number)
        if rng.random() < 0.2:
            caller.environment.clients.queue_next_deadline()
        caller.wait(rng.randrange(200 * MS))
    caller.wait(2 * TIMEOUT_NS)
    assert len(caller.ended) == 300
    late = [took_ns for type, took_ns in caller.ended.values() if type == "info"]
    assert set(late) == {TIMEOUT_NS}
    assert 30 < len(late) < 270
    assert max(took_ns for type, took_ns in caller.ended.values() if type == "ok") < TIMEOUT_NS


def test_calls_that_are_over_do_not_fill_the_queue() -> None:
    caller = Caller()
    for number in range(100):
        caller.call(number)
        caller.wait(10 * MS)
    assert {type for type, _ in caller.ended.values()} == {"ok"}
    assert len(caller.world.heap) == 1
    caller.wait(2 * TIMEOUT_NS)
    assert not caller.world.heap


def test_the_next_deadline_can_be_had_in_the_queue_also_that_of_a_call_that_is_over() -> None:
    caller = Caller()
    for number in range(3):
        caller.call(number)
        caller.wait(300 * MS)
    first_ns = caller.began_ns[0] + TIMEOUT_NS
    caller.wait(first_ns - caller.world.now_ns)
    assert not caller.world.heap  # No call is under way, and so no deadline matters.
    for _ in range(2):
        caller.environment.clients.queue_next_deadline()
        assert [entry[0] for entry in caller.world.heap] == [first_ns + 300 * MS]
