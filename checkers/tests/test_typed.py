"""Bad input: 1, 1.0 and true are three values in every model, and what cannot be handled is never VALID or INVALID."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from checkers.linearizability import linearizable
from checkers.linearizability.check import UnfitHistory
from checkers.linearizability.typed import Typed, told_apart
from checkers.models.model import Model, Operation
from checkers.models.registry import complete, find, names
from checkers.verdict import Validity, guarded
from histories.builder import h
from histories.columns import OpColumns
from histories.history import History
from histories.op import Op, OpType

OPEN_AND_OK: tuple[OpType, ...] = ("invoke", "ok")

VALID, INVALID, UNKNOWN = Validity.VALID, Validity.INVALID, Validity.UNKNOWN

Step = tuple[str, Any, Any]
"""f, argument, result."""

PUT_AND_SEEN: dict[str, tuple[Step, Step]] = {
    "register": (("write", "?", None), ("read", None, "?")),
    "cas-register": (("write", "?", None), ("cas", ["?", 7], None)),
    "kv": (("put", "?", None), ("get", None, "?")),
    "kv-map": (("put", ["a", "?"], None), ("get", "a", "?")),
    "multi-register": (("write", [["x", "?"]], None), ("read", ["x"], [["x", "?"]])),
    "counter": (("add", 1, None), ("read", None, "?")),
    "counter-returning": (("add", 1, 1), ("read", None, "?")),
    "consensus": (("propose", "?", "?"), ("learn", None, "?")),
    "mutex": (("acquire", "?", None), ("release", "?", None)),
    "reentrant-mutex": (("acquire", "?", None), ("release", "?", None)),
    "fenced-lock": (("acquire", "?", 5), ("release", "?", None)),
    "semaphore": (("acquire", "?", None), ("release", "?", None)),
    "set": (("add", "?", None), ("read", None, ["?"])),
    "fifo-queue": (("enqueue", "?", None), ("dequeue", None, "?")),
    "lifo-stack": (("push", "?", None), ("pop", None, "?")),
    "priority-queue": (("enqueue", [3, "?"], None), ("dequeue", None, [3, "?"])),
    "list-append": (("append", "?", None), ("read", None, ["?"])),
    "register-unknown-initial": (("write", "?", None), ("read", None, "?")),
    "lossy-queue": (("enqueue", "?", None), ("dequeue", None, "?")),
}
"""Model -> how a value is put in, and how it is seen."""

ALIKE: list[Any] = [1, 1.0, True]


def filled(template: Any, value: Any) -> Any:
    if isinstance(template, list):
        return [filled(item, value) for item in template]
    return value if template == "?" else template


def test_a_sum_that_no_op_names_is_neither_true_nor_a_decimal() -> None:
    steps = (("add", 2, None), ("add", -1, None))
    assert linearizable(history(*steps, ("read", None, 1)), find("counter")).validity is Validity.VALID
    assert linearizable(history(*steps, ("read", None, True)), find("counter")).validity is Validity.INVALID


def history(*steps: Step) -> History:
    ops: list[Op] = []
    for f, argument, result in steps:
        for op_type in OPEN_AND_OK:
            ops.append(Op(len(ops), len(ops), op_type, 0, f, None, argument if op_type == "invoke" else result))
    return History(ops)


def validity(made: History, model: Model) -> Validity:
    """UNKNOWN for what is refused before the search."""
    try:
        return guarded("linearizable", partial(linearizable, made, model), lets_pass=(UnfitHistory,)).validity
    except UnfitHistory:
        return UNKNOWN


def test_every_model_is_in_the_table() -> None:
    assert PUT_AND_SEEN.keys() == set(names())


@pytest.mark.parametrize("name", sorted(PUT_AND_SEEN))
def test_equal_values_of_different_types_are_different(name: str) -> None:
    put, seen = PUT_AND_SEEN[name]
    is_number = name.startswith("counter")
    for written in [1] if is_number else ALIKE:
        for observed in ALIKE:
            made = history(filled(list(put), written), filled(list(seen), observed))
            same = type(written) is type(observed)
            assert validity(made, find(name)) is (VALID if same else INVALID), (written, observed)


@pytest.mark.parametrize("name", sorted(PUT_AND_SEEN))
def test_side_by_side_they_are_what_they_were(name: str) -> None:
    """Each is put in and seen in turn, as locks, registers and queues allow."""
    if name.startswith("counter") or name in ("set", "list-append", "consensus"):
        return
    put, seen = PUT_AND_SEEN[name]
    steps: list[Step] = []
    for number, value in enumerate(ALIKE):
        f, argument, result = filled(list(put), value)
        steps += [(f, argument, 5 + number if name == "fenced-lock" else result), filled(list(seen), value)]
    assert validity(history(*steps), find(name)) is VALID


def test_a_whole_read_has_each_of_them() -> None:
    adds: list[Step] = [("add", value, None) for value in ALIKE]
    for value in ALIKE:
        assert validity(history(*adds, ("contains", value, True)), find("set")) is VALID
        assert validity(history(*adds, ("contains", value, False)), find("set")) is INVALID
    assert validity(history(*adds, ("read", None, ALIKE)), find("set")) is VALID
    assert validity(history(*adds, ("read", None, [1])), find("set")) is INVALID
    appends: list[Step] = [("append", value, None) for value in ALIKE]
    assert validity(history(*appends, ("read", None, ALIKE)), find("list-append")) is VALID
    assert validity(history(*appends, ("read", None, [True, 1.0, 1])), find("list-append")) is INVALID


@pytest.mark.parametrize("value", ALIKE)
def test_what_the_object_held_at_first_has_its_type(value: Any) -> None:
    for observed in ALIKE:
        expected = VALID if type(value) is type(observed) else INVALID
        assert validity(history(("read", None, observed)), find("register", initial=value)) is expected
        assert validity(history(("dequeue", None, observed)), find("fifo-queue", initial=[value])) is expected


def test_what_the_object_held_at_first_is_told_apart_in_itself() -> None:
    begun = find("fifo-queue", initial=[1, True])
    assert validity(history(("dequeue", None, 1), ("dequeue", None, True)), begun) is VALID
    assert validity(history(("dequeue", None, 1), ("dequeue", None, 1)), begun) is INVALID
    begun = find("kv-map", initial={"flag": True, "x": 1})
    assert validity(history(("get", "x", 1), ("get", "flag", True)), begun) is VALID
    assert validity(history(("get", "x", True)), begun) is INVALID
    assert validity(history(("acquire", 1, None)), find("reentrant-mutex", initial=1.0)) is INVALID
    nan = float("nan")
    assert validity(history(("read", None, nan)), find("register", initial=nan)) is VALID
    with pytest.raises(ValueError, match="differ in their types alone"):
        find("set", initial=[1, True])


@pytest.mark.parametrize(("put", "seen"), [({}, []), ({"a": 1}, [["a", 1]]), ([{}], [[]]), ([["a", 1]], {"a": 1})])
def test_a_map_is_no_list_of_pairs(put: Any, seen: Any) -> None:
    for name in ("register", "consensus", "fifo-queue", "list-append"):
        (f, *_), (look, *_) = PUT_AND_SEEN[name]
        is_list = name == "list-append"
        for value, expected in ((put, VALID), (seen, INVALID)):
            result = [value] if is_list else value
            made = history((f, put, put if name == "consensus" else None), (look, None, result))
            assert validity(made, find(name)) is expected, (name, value)
    ops = [
        Op(0, 0, "invoke", 0, "write", put, 5),
        Op(1, 1, "ok", 0, "write", put, 5),
        Op(2, 2, "invoke", 0, "read", seen, None),
        Op(3, 3, "ok", 0, "read", seen, None),
    ]
    assert validity(History(ops), find("register")) is VALID, "two keys, and nothing was written to the second"


@pytest.mark.parametrize(
    ("name", "steps", "complaint"),
    [
        ("priority-queue", [("enqueue", [3, 2.5], None), ("enqueue", True, None), ("dequeue", None, True)], "not True"),
        ("set", [("add", 1, None), ("contains", 1, True), ("contains", 1, 1.0)], "not 1.0"),
        ("list-append", [("append", 1.5, None), ("read", None, [1.5]), ("read", None, False)], "not False"),
    ],
)
def test_an_odd_operation_does_not_vouch_for_another(name: str, steps: list[Step], complaint: str) -> None:
    for core in ("native", "pure"):
        with pytest.raises(UnfitHistory, match=complaint):
            linearizable(history(*steps), find(name), core=core)


def test_nan_is_itself() -> None:
    made = history(("write", float("nan"), None), ("read", None, float("nan")))
    assert validity(made, find("register")) is VALID
    assert validity(history(("write", float("nan"), None), ("read", None, None)), find("register")) is INVALID


@pytest.mark.parametrize("name", sorted(PUT_AND_SEEN))
@pytest.mark.parametrize("value", [["a", [1]], {"a": 1}, "text", 2**70, bytearray(b"x")])
def test_odd_values_make_no_wrong_verdict(name: str, value: Any) -> None:
    put, seen = PUT_AND_SEEN[name]
    found = validity(history(filled(list(put), value), filled(list(seen), value)), find(name))
    assert found is (UNKNOWN if isinstance(value, bytearray) else VALID) or (name.startswith("counter"), found) == (
        True,
        INVALID,
    )


class Own(Model):
    """A user's model, which may take true for 1."""

    name = "own"
    fs = frozenset({"write", "read"})

    def initial(self) -> int:
        return 0

    def step(self, state: Any, operation: Operation) -> tuple[Any, ...]:
        if operation.f == "write":
            return (operation.argument,)
        return (state,) if operation.result == state else ()


def test_a_model_of_ones_own_sees_its_values_as_they_are() -> None:
    assert validity(history(("write", 1, None), ("read", None, True)), Own()) is VALID


class Alone:
    """The same, without the base class, and with a sum of what is equal."""

    name = "alone"
    fs = frozenset({"add", "read"})

    def initial(self) -> int:
        return 0

    def step(self, state: Any, operation: Operation) -> tuple[Any, ...]:
        if operation.f == "add":
            return (state + operation.argument,)
        return (state,) if operation.result == state else ()


def test_a_model_without_the_base_class_sees_its_values_as_they_are() -> None:
    made = history(("add", 1, None), ("add", 1.0, None), ("read", None, 2.0))
    assert validity(made, complete(Alone())) is VALID


def test_plain_values_cost_nothing() -> None:
    operations = [Operation("write", 1), Operation("read", None, "1"), Operation("read", None, (1, 2))]
    model = find("register")
    same, begun = told_apart(operations, model)
    assert same is operations
    assert begun is model
    apart, _ = told_apart([*operations, Operation("read", None, (True, 2))], model)
    assert apart[:3] == operations
    assert apart[3].result == (Typed(True), 2)
    assert Typed(True) != Typed(1.0) != True  # noqa: E712 - what is compared is the wrapper


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (["a", 0], ["a", False]), (float("nan"), 2)])
@pytest.mark.parametrize("as_columns", [False, True])
def test_keys_that_python_takes_for_equal_are_not_taken_for_one_object(one: Any, other: Any, as_columns: bool) -> None:
    ops = [
        Op(0, 0, "invoke", 0, "write", one, 5),
        Op(1, 1, "ok", 0, "write", one, 5),
        Op(2, 2, "invoke", 0, "read", other),
        Op(3, 3, "ok", 0, "read", other),
    ]
    verdict = linearizable(History(OpColumns(ops) if as_columns else ops), find("register"))
    assert verdict.validity is UNKNOWN
    assert "not told apart" in verdict.reason


def test_keys_of_many_types_are_many_objects() -> None:
    ops: list[Op] = []
    for key in (1, "1", 2.5, False, ["a", 1], ["a", 2], None):
        for op_type in OPEN_AND_OK:
            ops.append(Op(len(ops), len(ops), op_type, 0, "write", key, 5))
    verdict = linearizable(History(ops), find("register"))
    assert (verdict.validity, verdict.stats["keys"]) == (VALID, 7)


@pytest.mark.parametrize("core", ["pure", "native"])
@pytest.mark.parametrize("taken", ['"a"', "1.0", "true", "[1,2,3]", '{"a":1}'])
def test_a_priority_queue_that_gave_what_has_no_priority_gave_what_nobody_put_in(core: Any, taken: str) -> None:
    ops = h(f"p0 invoke enqueue 1 | p0 ok enqueue | p0 invoke dequeue | p0 ok dequeue {taken}")
    assert linearizable(ops, find("priority-queue"), core=core).validity is Validity.INVALID
