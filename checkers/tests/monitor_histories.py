"""Random histories for the monitors: distinct values, everything that real histories hold, and now and then a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from checkers.models.model import Model, Operation, State
from histories.history import History
from histories.op import Op, OpType, freeze


class Mix(msgspec.Struct, frozen=True):
    """What a history holds. Weights of the kinds of operations, and probabilities for each operation.

    put, take, peek: weights. crashed, refused: of an operation. wrong: that an answer is made up. twice: that a value is
    put in again. eager: that at an event one of the open operations takes effect; else each does at its return.
    """

    put: float = 4.0
    take: float = 4.0
    peek: float = 1.0
    crashed: float = 0.1
    refused: float = 0.05
    wrong: float = 0.1
    twice: float = 0.02
    eager: float = 0.3


class SetMix(Mix, frozen=True):
    """Weights of a set's operations. value_count: values that adds and removes choose from; 0: each add has its own."""

    add: float = 4.0
    remove: float = 2.0
    contains: float = 4.0
    read: float = 0.0
    value_count: int = 0


Invent = Callable[[Random, int], tuple[str, Any]]
"""The next operation, f and argument, given how many were invoked before."""


def collection(
    put: str, take: str, mix: Mix, value_of: Callable[[Random, int], Any] = lambda _, number: number
) -> Invent:
    """Operations of a queue or a stack whose n-th operation, if it is a put, puts in value_of(n)."""

    def invent(rng: Random, number: int) -> tuple[str, Any]:
        f = rng.choices((put, take, "peek"), (mix.put, mix.take, mix.peek))[0]
        if f != put:
            return f, None
        return f, value_of(rng, rng.randrange(number + 1) if rng.random() < mix.twice else number + 1)

    return invent


def history(
    model: Model, invent: Invent, mix: Mix, rng: Random, *, operations: int, processes: int, answers: Callable[..., Any]
) -> History:
    """A well-formed history. answers(rng, state, f, argument): what the object answers in the state.

    Each operation takes effect at a random moment between its call and its return, in one run of the model; a crashed one
    may do so later, or never.
    """
    ops: list[Op] = []
    state: State = model.initial()
    names = list(range(processes))
    open_: dict[int, list[Any]] = {}  # Thread -> invocation, answer, whether it took effect, how it will end.
    lost: list[list[Any]] = []
    asked = 0

    def take_effect(slot: list[Any]) -> None:
        nonlocal state
        slot[2] = True
        invocation, argument = slot[0], freeze(slot[0].value)
        if slot[3] == "fail":
            return
        answer = answers(rng, state, invocation.f, argument)
        slot[1] = answer
        following = model.step(state, Operation(invocation.f, argument, freeze(answer)))
        state = next(iter(following), state)

    while asked < operations or open_:
        waiting = [slot for slot in (*open_.values(), *lost) if not slot[2]]
        if waiting and rng.random() < mix.eager:
            take_effect(rng.choice(waiting))
            continue
        thread = rng.choice([t for t in range(processes) if t in open_ or asked < operations])
        if thread not in open_:
            f, argument = invent(rng, asked)
            asked += 1
            dice = rng.random()
            ending = "info" if dice < mix.crashed else "fail" if dice < mix.crashed + mix.refused else "ok"
            ops.append(Op(len(ops), len(ops), "invoke", names[thread], f, None, argument))
            open_[thread] = [ops[-1], None, False, ending]
            continue
        slot = open_.pop(thread)
        ending_type: OpType = slot[3]
        if ending_type == "info":
            if not slot[2]:
                lost.append(slot)
            if rng.random() < 0.7:
                ops.append(Op(len(ops), len(ops), "info", names[thread], slot[0].f))
            names[thread] += processes
            continue
        if not slot[2]:
            take_effect(slot)
        answer = slot[1]
        if ending_type == "ok" and rng.random() < mix.wrong:
            answer = _made_up(rng, ops, slot[0].f, answer)
        if ending_type == "fail" and answers(rng, state, slot[0].f, None) not in (None, slot[0].value):
            ending_type = "ok" if rng.random() < 0.7 else "fail"
            if ending_type == "ok":
                slot[3] = "ok"
                take_effect(slot)
                answer = slot[1]
        ops.append(Op(len(ops), len(ops), ending_type, names[thread], slot[0].f, None, answer))
    return History(ops)


def _made_up(rng: Random, ops: list[Op], f: str, answer: Any) -> Any:
    """Another answer of an operation that was given, or None."""
    if isinstance(answer, bool):
        return not answer
    if isinstance(answer, list):
        others = [op.value for op in ops if op.type == "ok" and op.f == f]
        spoiled = [each for each in answer if rng.random() < 0.7]
        return rng.choice([*others, spoiled, spoiled, [*spoiled, *answer[:1]], [*answer, len(ops)]])
    seen = [op.value for op in ops[-16:] if op.value is not None and (op.type == "invoke" or op.f == f)]
    return rng.choice([None, *seen]) if seen else answer


def set_of(mix: SetMix) -> Invent:
    """Operations of a set."""

    def invent(rng: Random, number: int) -> tuple[str, Any]:
        f = rng.choices(("add", "remove", "contains", "read"), (mix.add, mix.remove, mix.contains, mix.read))[0]
        if f == "read":
            return f, None
        if mix.value_count:
            return f, rng.randrange(mix.value_count)
        return f, number + 1 if f == "add" else rng.randrange(number + 1) + 1

    return invent


def members(rng: Random, state: Any, f: str, argument: Any) -> Any:
    """The answers of a set."""
    if f == "contains":
        return argument in state
    return sorted(state, reverse=rng.random() < 0.5) if f == "read" else argument


def front(put: str) -> Callable[..., Any]:
    """The answers of a queue or a stack: the value in front, None where there is none; what was asked, for a put."""

    def answers(rng: Random, state: Any, f: str, argument: Any) -> Any:
        if f == put:
            return argument
        return state[0] if state else None

    return answers
