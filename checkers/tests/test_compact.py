"""Compact states step as the model's own do, and are equal exactly where those are."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from checkers.linearizability.search import search
from checkers.linearizability.table import Table
from checkers.models.containers import LifoStack
from checkers.models.model import Model, Operation, State
from checkers.models.registry import find
from checkers.tests.random_histories import ALPHABETS
from histories.op import freeze

NAMES = ("fifo-queue", "lifo-stack", "list-append", "priority-queue", "set")


def operations_of(name: str) -> list[Operation]:
    """Every operation of the model's alphabet: known with each result, unknown, and refused."""
    found: list[Operation] = []
    for f, arguments, results in ALPHABETS[name]:
        for argument in map(freeze, arguments):
            found += [Operation(f, argument, freeze(result)) for result in results]
            found += [Operation(f, argument, None, is_known=False), Operation(f, argument, None, is_refused=True)]
    return found


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}(initial=[2,1])" for name in NAMES)])
def test_they_step_as_the_models_own(name: str) -> None:
    model, rng = find(name), Random(name)
    operations = operations_of(name.partition("(")[0])
    compact = model.compact(operations)
    assert compact is not None
    known: dict[State, Any] = {model.initial(): compact.initial()}
    todo = [model.initial()]
    for state in todo:
        held = known[state]
        assert compact.plain(held) == state
        for number, operation in enumerate(operations):
            after = tuple(model.step(state, operation))
            steps = compact.step(held, number)
            assert tuple(map(compact.plain, steps)) == after, (state, operation)
            assert compact.can_reach(held, number) == model.can_reach(state, operation), (state, operation)
            for own, other in zip(after, steps, strict=True):
                if own in known:
                    assert known[own] == other
                    assert hash(known[own]) == hash(other)
                elif len(todo) < 60 or (len(todo) < 300 and rng.random() < 0.05):
                    known[own] = other
                    todo.append(own)
    assert len(set(known.values())) == len(known)
    assert len(known) > 7


def test_a_nan_is_never_what_was_taken() -> None:
    nan = float("nan")
    operations = [Operation("enqueue", nan), Operation("dequeue", None, nan)]
    model = find("fifo-queue")
    compact = model.compact(operations)
    assert compact is not None
    assert model.step((nan,), operations[1]) == ()
    assert compact.step(compact.step(compact.initial(), 0)[0], 1) == ()


class Dropping(LifoStack):
    """Overrides what `step` calls, and not `step`."""

    def with_value(self, state: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return state


class Plain(Model):
    """A model with nothing but what a model needs."""

    name, fs = "plain", frozenset({"put"})

    def initial(self) -> State:
        return 0

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        assert isinstance(state, int)
        return (state + 1,)


@pytest.mark.parametrize("model", [Dropping(), Plain(), find("lossy-queue"), find("kv")])
def test_a_model_that_says_nothing_keeps_its_own_states(model: Model) -> None:
    assert model.compact([]) is None or model.name == "lossy-queue"
    put = Operation("push" if "push" in model.fs else "enqueue" if "enqueue" in model.fs else "put", "a")
    table = Table(model, [put])
    assert table.states[0] == model.initial()
    assert [table.states[number] for number in table.following(0, 0)] == list(model.step(model.initial(), put))


def test_a_refuted_history_tells_the_models_own_states() -> None:
    from checkers.linearizability.encode import entries
    from histories.builder import h

    part = entries(h("p0 invoke push 1 | p0 ok push 1 | p0 invoke push 2 | p0 ok push 2 | p0 invoke pop | p0 ok pop 1"))
    for core in ("pure", "native"):
        result = search(part, find("lifo-stack"), core="auto" if core == "native" else "pure")
        assert [each.state for each in result.final_configurations] == [(2, 1)]
