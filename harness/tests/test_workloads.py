"""Each keyed workload against its machine alone: what it does, that it accepts what is sound, and that it notices what is lost."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from checkers.verdict import Validity, Verdict
from harness import generators as gen
from harness.generators.simulate import Ending, simulate
from harness.workloads import registry
from harness.workloads.base import WorkloadContext
from harness.workloads.claims import choose_checkers
from histories.history import History
from histories.op import Op
from histories.wellformed import problems
from targets import machine_registry
from targets.leader_session import command_of, commands_of
from targets.machines.machine import Refused
from targets.session import Call

NODES = ("n1", "n2", "n3")
WORKLOADS = ("register", "append", "counter", "set", "queue", "stack", "priority-queue", "lock")
WRITES = {"write", "cas", "append", "add", "remove", "enqueue", "dequeue", "push", "pop", "acquire", "release"}


class Replica:
    """The machine as clients see it who are answered at once. lost_every: each so-many-th change is acknowledged and not kept.
    doubted_every: each so-many-th op ends `info`, whether it was done or not."""

    def __init__(self, interface: str, lost_every: int = 0, doubted_every: int = 0) -> None:
        machine = machine_registry.find(interface)
        self.machine, self.commands = machine(), commands_of(machine)
        self.lost_every, self.doubted_every = lost_every, doubted_every
        self.ops = self.changes = 0

    def __call__(self, op: Op) -> Ending:
        self.ops += 1
        is_doubted = bool(self.doubted_every) and self.ops % self.doubted_every == 0
        if is_doubted and self.ops % (2 * self.doubted_every) == 0:
            return Ending("info", value=op.value)
        self.changes += op.f in WRITES
        is_lost = op.f in WRITES and self.lost_every and self.changes % self.lost_every == 0
        before = self.machine.snapshot() if is_lost else None
        result = self.machine.apply(command_of(Call(op.f, op.key, op.value), self.commands))
        if is_lost:
            self.machine.restore(before)
        if is_doubted:
            return Ending("info", value=op.value)
        if isinstance(result, Refused):
            return Ending("fail", value=op.value)
        return Ending(value=op.value if result is None else result)


def context(name: str, **options: Any) -> WorkloadContext:
    return WorkloadContext(msgspec.convert(options, registry.find(name).option_type), NODES, 6)


def history_of(name: str, replica: Replica, ops_count: int = 600, **options: Any) -> History:
    workload, run = registry.find(name), context(name, **options)
    whole = gen.phases(
        gen.clients(gen.limit(ops_count, workload.generator(run, Random("3/generator")))),
        gen.clients(workload.final_generator(run)),
    )
    history = simulate(whole, replica, concurrency=6, nodes=NODES)
    assert not problems(history)
    return History(history)


def judge(name: str, history: History) -> Verdict:
    (checker,) = choose_checkers("linearizable", registry.find(name), claimed_by="the machine claims")
    return checker.check(history, context(name))


def invoked(history: History) -> list[Op]:
    return [op for op in history if op.type == "invoke"]


every_workload = pytest.mark.parametrize("name", WORKLOADS)


@every_workload
@pytest.mark.parametrize("doubted_every", [0, 15])
def test_a_sound_machine_is_valid_and_every_operation_of_it_is_used(name: str, doubted_every: int) -> None:
    workload = registry.find(name)
    history = history_of(name, Replica(workload.interface, doubted_every=doubted_every))
    verdict = judge(name, history)
    assert verdict.validity is Validity.VALID
    used = {op.f for op in history if op.type == "ok"}
    assert (
        used == set(msgspec.structs.asdict(context(name).options)) & (WRITES | {"read", "contains", "peek"})
        or name == "lock"
    )
    assert name != "lock" or used == {"acquire", "release"}


@pytest.mark.parametrize("name", WORKLOADS[1:])
def test_an_acknowledged_change_that_was_not_kept_is_found(name: str) -> None:
    """But for the register's, where the next write hides it: test_workload_register.py."""
    history = history_of(name, Replica(registry.find(name).interface, lost_every=6), 80, ops_per_key=12, final_keys=2)
    assert judge(name, history).validity is Validity.INVALID


@every_workload
def test_a_key_makes_place_for_the_next_once_it_is_used_up(name: str) -> None:
    interface = registry.find(name).interface
    history = history_of(name, Replica(interface), 300, ops_per_key=20, threads_per_key=3, final_keys=0)
    ops = Counter(op.key for op in invoked(history))
    assert sum(ops.values()) == 300
    assert [count for count in ops.values() if count != 20] in ([], [10, 10]), "the last keys of the two groups"
    history = history_of(name, Replica(interface, doubted_every=4), 300, indeterminate_per_key=2, final_keys=0)
    doubts = Counter(op.key for op in history if op.type == "info")
    assert len(doubts) > 10
    assert max(doubts.values()) <= 2 + 5, "those under way when the second one ended may be indeterminate as well"


@pytest.mark.parametrize("name", ["append", "counter", "set"])
def test_every_thread_reads_the_latest_keys_in_the_end(name: str) -> None:
    history = history_of(name, Replica(registry.find(name).interface), 120, ops_per_key=20, final_keys=2)
    final = invoked(history)[120:]
    latest = sorted({op.key for op in invoked(history)[:120]})[-2:]
    assert Counter((op.process, op.key, op.f) for op in final) == {
        (p, key, "read"): 1 for p in range(6) for key in latest
    }


def test_the_latest_queues_are_emptied_in_the_end() -> None:
    replica = Replica("queue")
    history = history_of("queue", replica, 120, ops_per_key=20, final_keys=3, enqueue=9, dequeue=1)
    latest = sorted({op.key for op in invoked(history)[:120]})[-3:]
    held = dict(replica.machine.snapshot())
    assert [list(held[key]) for key in latest] == [[], [], []]
    assert any(held[key] for key in held if key not in latest)


def test_every_thread_has_the_latest_locks_once_more_in_the_end() -> None:
    history = history_of("lock", Replica("lock"), 120, ops_per_key=20, final_keys=2)
    latest = sorted({op.key for op in invoked(history)[:120]})[-2:]
    began = invoked(history)[120].index
    acquired = [(op.process, op.key) for op in history if op.index > began and op.type == "ok" and op.f == "acquire"]
    assert Counter(acquired) == {(process, key): 1 for process in range(6) for key in latest}
    assert [history.clients()[-1].f, history.clients()[-1].type] == ["release", "ok"]


def test_a_lock_is_released_by_the_thread_that_holds_it_or_may() -> None:
    holders: dict[Any, set[int]] = {}
    history = history_of("lock", Replica("lock", doubted_every=7), 400)
    for op in history:
        assert isinstance(op.process, int)
        assert op.process % 6 == op.value or op.type == "ok", "the owner is the thread"
        held = holders.setdefault(op.key, set())
        if op.f == "acquire" and op.type == "invoke":
            assert op.value not in held
        elif op.f == "acquire" and op.type in ("ok", "info"):
            held.add(op.process % 6)
        elif op.f == "release" and op.type in ("ok", "fail"):
            held.discard(op.process % 6)
    assert Counter(op.type for op in history if op.f == "release")["ok"] > 50


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("counter", {"add": 0}, "add is 0: without it the workload proves nothing"),
        ("set", {"read": 0}, "read is 0"),
        ("queue", {"dequeue": 0}, "dequeue is 0"),
        ("append", {"ops_per_kay": 5}, "ops_per_kay"),
        ("lock", {"indeterminate_per_key": 0}, "indeterminate_per_key"),
    ],
)
def test_options_that_are_misspelt_or_nonsense_are_refused(name: str, raw: dict[str, object], message: str) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError), match=message):
        msgspec.convert(raw, registry.find(name).option_type)
