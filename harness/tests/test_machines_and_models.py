"""What a machine answers, one command after another, is what the checkers' sequential model of it allows, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.models import registry as models
from checkers.models.model import Model, Operation
from harness.workloads.claims import SEQUENTIAL_MODELS
from targets import machine_registry
from targets.leader_session import command_of, commands_of
from targets.machines.machine import Refused
from targets.session import Call

VALUES = (0, 1, 2, "b")
Draw = Callable[[random.Random], Call]


def one_of(*calls: Draw) -> Draw:
    return lambda rng: rng.choice(calls)(rng)


def with_value(f: str, values: Any = VALUES) -> Draw:
    return lambda rng: Call(f, None, rng.choice(values))


def bare(f: str) -> Draw:
    return lambda rng: Call(f)


def swap(rng: random.Random) -> Call:
    return Call("cas", None, [rng.choice((*VALUES, None)), rng.choice(VALUES)])


def transaction(rng: random.Random) -> Call:
    steps = rng.choices(("r", "w"), k=rng.randint(1, 4))
    return Call("txn", None, [[f, rng.choice("xyz"), None if f == "r" else rng.choice(VALUES)] for f in steps])


PAIRS: dict[str, tuple[str, str, Draw]] = {
    "register": ("kv", "cas-register", one_of(bare("read"), with_value("write"), swap)),
    "append": ("kv", "list-append", one_of(bare("read"), with_value("append"))),
    "transactions": ("kv", "multi-register", transaction),
    "counter": ("counter", "counter", one_of(bare("read"), with_value("add", (-1, 1, 5)))),
    "set": (
        "set",
        "set",
        one_of(bare("read"), with_value("add"), with_value("remove"), with_value("contains")),
    ),
    "queue": ("queue", "fifo-queue", one_of(with_value("enqueue"), bare("dequeue"))),
    "stack": ("stack", "lifo-stack", one_of(with_value("push"), bare("pop"), bare("peek"))),
    "priority-queue": (
        "priority-queue",
        "priority-queue",
        one_of(with_value("enqueue", [[2, 1], [1, 2], [2, 3]]), bare("dequeue"), bare("peek")),
    ),
    "lock": ("lock", "fenced-lock", one_of(with_value("acquire"), with_value("release"))),
    "consensus": ("consensus", "consensus", one_of(with_value("propose"), bare("learn"))),
}
"""What is done -> (machine, model, calls)."""


def hashable(value: Any) -> Any:
    return tuple(hashable(item) for item in value) if isinstance(value, list) else value


def operation(call: Call, result: Any) -> Operation:
    is_refused = isinstance(result, Refused)
    value = call.value if result is None else result
    return Operation(call.f, hashable(call.value), None if is_refused else hashable(value), not is_refused, is_refused)


def step(model: Model, state: Any, call: Call, result: Any) -> list[Any]:
    return list(model.step(state, operation(call, result)))


def test_each_data_type_of_the_claims_is_compared_with_its_model() -> None:
    assert {name: model for name, (_, model, _) in PAIRS.items() if name != "transactions"} == SEQUENTIAL_MODELS


@pytest.mark.parametrize("pair", PAIRS)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 40))
@pytest.mark.long
def test_the_model_allows_every_answer(pair: str, seed: int, count: int) -> None:
    interface, name, draw = PAIRS[pair]
    machine, model = machine_registry.find(interface)(), models.find(name)
    commands, rng, state = commands_of(machine_registry.find(interface)), random.Random(seed), model.initial()
    for _ in range(count):
        call = draw(rng)
        result = machine.apply(command_of(call, commands))
        shape = operation(call, result)
        assert model.check(shape) is None
        states = list(model.step(state, shape))
        assert len(states) == 1, f"{call} gave {result!r} where {model.describe(state)}"
        (state,) = states


@pytest.mark.parametrize(
    ("pair", "calls", "wrong"),
    [
        ("register", [Call("write", None, 1), Call("read")], 0),
        ("append", [Call("append", None, 1), Call("append", None, 2), Call("read")], [2, 1]),
        ("transactions", [Call("txn", None, [["w", "x", 1]]), Call("txn", None, [["r", "x", None]])], [["r", "x", 2]]),
        ("counter", [Call("add", None, 1), Call("read")], 2),
        ("set", [Call("add", None, 1), Call("read")], []),
        ("queue", [Call("enqueue", None, 1), Call("enqueue", None, 2), Call("dequeue")], 2),
        ("lock", [Call("acquire", None, 1), Call("acquire", None, 2)], 2),
    ],
)
def test_the_model_forbids_an_answer_that_the_machine_does_not_give(pair: str, calls: list[Call], wrong: Any) -> None:
    interface, name, _ = PAIRS[pair]
    machine, model = machine_registry.find(interface)(), models.find(name)
    commands, state = commands_of(machine_registry.find(interface)), model.initial()
    for call in calls[:-1]:
        (state,) = step(model, state, call, machine.apply(command_of(call, commands)))
    assert machine.apply(command_of(calls[-1], commands)) != wrong
    assert step(model, state, calls[-1], wrong) == []
