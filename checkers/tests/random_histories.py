"""Random small histories of any built-in model, for properties.

The choices come from outside: a seeded Random, or Hypothesis.

A history is made by running the model: each operation takes effect when it is invoked or when it completes, and mostly
returns what the model allows there; now and then it returns something else, so that both verdicts are common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from checkers.models.model import Model, Operation, State
from checkers.models.registry import find
from histories.history import History
from histories.op import Op, OpType, freeze

Choose = Callable[[Sequence[Any]], Any]

_NOTHING = (None,)
_VALUES = (1, 2, 3)
_OWNERS = ("a", "b")
_QUEUED = (None, 1, 2, 3)

ALPHABETS: dict[str, tuple[tuple[str, Sequence[Any], Sequence[Any]], ...]] = {
    "register": (("read", _NOTHING, (None, 1, 2, 3)), ("write", _VALUES, _NOTHING)),
    "cas-register": (
        ("read", _NOTHING, (None, 1, 2)),
        ("write", (1, 2), _NOTHING),
        ("cas", ([1, 2], [2, 1], [1, 1]), _NOTHING),
    ),
    "kv": (
        ("get", _NOTHING, (None, "", "x", "xy", "y")),
        ("put", ("x", "y"), _NOTHING),
        ("append", ("x", "y"), _NOTHING),
        ("delete", _NOTHING, _NOTHING),
        ("cas", (["x", "y"], [None, "x"]), _NOTHING),
    ),
    "kv-map": (
        ("get", ("a", "b"), (None, "x", "y")),
        ("put", (["a", "x"], ["b", "y"]), _NOTHING),
        ("cas", (["a", "x", "y"], ["b", "y", "x"]), _NOTHING),
    ),
    "multi-register": (
        ("read", (["a", "b"],), ([["a", None], ["b", None]], [["a", 1]], [["a", 1], ["b", 2]])),
        ("write", ([["a", 1]], [["a", 1], ["b", 2]], [["b", 2]]), _NOTHING),
        (
            "txn",
            ([["r", "a", None], ["w", "a", 1]],),
            ([["r", "a", None], ["w", "a", 1]], [["r", "a", 1], ["w", "a", 1]]),
        ),
    ),
    "counter": (("add", (1, 2, -1), _NOTHING), ("increment", _NOTHING, _NOTHING), ("read", _NOTHING, (0, 1, 2, 3))),
    "counter-returning": (("add", (1, 2, 0), (0, 1, 2, 3, 4)), ("read", _NOTHING, (0, 1, 2, 3))),
    "consensus": (("propose", (1, 2), (1, 2)), ("learn", _NOTHING, (None, 1, 2))),
    "mutex": (("acquire", _OWNERS, _NOTHING), ("release", _OWNERS, _NOTHING)),
    "reentrant-mutex": (("acquire", _OWNERS, _NOTHING), ("release", _OWNERS, _NOTHING)),
    "fenced-lock": (("acquire", _OWNERS, (1, 2, 3, 4)), ("release", _OWNERS, _NOTHING)),
    "semaphore": (("acquire", _OWNERS, _NOTHING), ("release", _OWNERS, _NOTHING)),
    "set": (
        ("add", _VALUES, _NOTHING),
        ("remove", _VALUES, _NOTHING),
        ("contains", _VALUES, (True, False)),
        ("read", _NOTHING, ([], [1], [2, 1], [3], [3, 1])),
    ),
    "fifo-queue": (("enqueue", _VALUES, _NOTHING), ("dequeue", _NOTHING, _QUEUED), ("peek", _NOTHING, _QUEUED)),
    "lifo-stack": (("push", _VALUES, _NOTHING), ("pop", _NOTHING, _QUEUED), ("peek", _NOTHING, _QUEUED)),
    "priority-queue": (
        ("enqueue", (1, [1, "x"], 2), _NOTHING),
        ("dequeue", _NOTHING, (None, 1, [1, "x"], 2)),
        ("peek", _NOTHING, (None, 1, [1, "x"])),
    ),
    "list-append": (("append", (1, 2), _NOTHING), ("read", _NOTHING, ([], [1], [1, 2], [2], [2, 1]))),
    "register-unknown-initial": (("read", _NOTHING, (None, 1, 2, 3)), ("write", _VALUES, _NOTHING)),
    "lossy-queue": (("enqueue", _VALUES, _NOTHING), ("dequeue", _NOTHING, _QUEUED)),
}
"""Model -> its operations: f, arguments, results."""


def random_history(name: str, choose: Choose, *, ops_max: int = 7, processes: int = 3) -> History:
    """A well-formed history with at most ops_max operations, at most `processes` of them open at a time."""
    model, alphabet = find(name), ALPHABETS[name]
    states: tuple[State, ...] = (model.initial(),)
    ops: list[Op] = []
    names = list(range(processes))  # Each thread's process; it changes after an info.
    open_: dict[int, tuple[Op, Any, bool]] = {}

    def record(type: OpType, process: int, f: str, value: Any) -> Op:
        ops.append(Op(len(ops), len(ops) * 1_000_000, type, process, f, None, value))
        return ops[-1]

    def take_effect(f: str, argument: Any, results: Sequence[Any]) -> Any:
        """What the operation returns if it takes effect now; mostly something that the model allows."""
        nonlocal states
        result = choose(results)
        if choose(range(5)):
            result = next((r for r in results if _after(model, states, f, argument, r)), result)
        states = _after(model, states, f, argument, result) or states
        return result

    count = choose(range(1, ops_max + 1))
    while count or open_:
        thread = choose([thread for thread in range(processes) if count or thread in open_])
        if thread not in open_:
            count -= 1
            f, arguments, results = choose(alphabet)
            argument = choose(arguments)
            invocation = record("invoke", names[thread], f, argument)
            is_early = choose((True, False))
            open_[thread] = (invocation, take_effect(f, argument, results) if is_early else None, is_early)
            continue
        invocation, result, is_early = open_.pop(thread)
        type_: OpType = choose(("ok", "ok", "ok", "ok", "info", "fail"))
        if type_ == "ok" and not is_early:
            results = next(each[2] for each in alphabet if each[0] == invocation.f)
            result = take_effect(invocation.f, invocation.value, results)
        record(
            type_,
            invocation.process if isinstance(invocation.process, int) else 0,
            invocation.f,
            result if type_ == "ok" else None,
        )
        if type_ == "info":
            names[thread] += processes
        if not count and choose((True, False, False)):
            break  # What is still open never completes.
    return History(ops)


def seeded(seed: int) -> Choose:
    """Choices from a seed."""
    return Random(seed).choice


@st.composite
def histories(draw: st.DrawFn, name: str, *, ops_max: int = 7, processes: int = 3) -> History:
    """As random_history; Hypothesis shrinks it."""
    return random_history(name, lambda options: draw(st.sampled_from(options)), ops_max=ops_max, processes=processes)


def _after(model: Model, states: tuple[State, ...], f: str, argument: Any, result: Any) -> tuple[State, ...]:
    operation = Operation(f, freeze(argument), freeze(result))
    return tuple(dict.fromkeys(after for state in states for after in model.step(state, operation)))
