"""Each model: tiny histories that are and are not linearizable, and the laws that models promise to keep."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from pathlib import Path

import msgspec
import pytest

from checkers import brute
from checkers.linearizability import linearizable
from checkers.linearizability.encode import entries
from checkers.linearizability.locality import split
from checkers.linearizability.reduce import weakened
from checkers.models.maps import KeyValueMap
from checkers.models.model import Model, Operation, State, speaks_for
from checkers.models.registry import find, names
from checkers.tests.random_histories import ALPHABETS, random_history, seeded
from checkers.verdict import Validity
from histories.builder import h
from histories.history import History
from histories.op import Op, OpType, freeze

LINE = re.compile(r"(?P<model>\S+)(?P<refused> refused)? (?P<verdict>valid|invalid): (?P<text>.*)")


def table() -> Iterator[tuple[str, bool, bool, str]]:
    """Model, whether a fail is an observation, whether it is linearizable, and the history."""
    for line in (Path(__file__).parent / "testdata" / "models.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            yield match["model"], bool(match["refused"]), match["verdict"] == "valid", match["text"]


@pytest.mark.parametrize(("name", "refused", "is_linearizable", "text"), list(table()))
def test_tiny_histories(name: str, refused: bool, is_linearizable: bool, text: str) -> None:
    model = find(name)
    part = entries(h(text), refused=refused)
    assert [model.check(entry.operation) for entry in part] == [None] * len(part)
    assert (brute.linearization(part, model) is not None) == is_linearizable


def test_every_model_has_tiny_histories_of_both_verdicts() -> None:
    seen = {(name.partition("(")[0], is_linearizable) for name, _, is_linearizable, _ in table()}
    assert seen == {(name, verdict) for name in names() for verdict in (True, False)}


SHAPES = [
    ("consensus", Operation("propose", None), "propose takes a value"),
    ("cas-register", Operation("cas", 1), "cas takes [old, new]"),
    ("cas-register", Operation("cas", (1, 2, 3)), "cas takes [old, new]"),
    ("kv", Operation("get", "k"), "kv-map"),
    ("kv", Operation("append", 1), "append takes a string"),
    ("kv-map", Operation("get", None), "get takes a key"),
    ("kv-map", Operation("put", 1), "put takes [key, value]"),
    ("kv-map", Operation("cas", (1, 2)), "cas takes [key, old, new]"),
    ("kv-map", Operation("append", ("k", 1)), "append takes a string"),
    ("multi-register", Operation("write", 3), "write takes pairs"),
    ("multi-register", Operation("read", ("a",), 3), "read returns pairs"),
    ("multi-register", Operation("txn", (("x", "a", 1),)), "txn takes a list"),
    ("multi-register", Operation("txn", (("w", "a", 1),), ()), "which are not the steps"),
    ("multi-register", Operation("txn", (("w", "a", 1),), (("w", "a", 2),)), "which are not the steps"),
    ("multi-register", Operation("read", ("a",), (("b", None),)), "read of 'a' returned 'b', which it did not ask for"),
    ("counter", Operation("add", "1"), "add takes a whole number"),
    ("counter", Operation("add", True), "add takes a whole number"),
    ("fifo-queue", Operation("dequeue", 1), "dequeue takes no argument"),
    ("counter", Operation("increment", 1), "increment takes no argument"),
    ("counter-returning", Operation("add", 1, None), "add returns the new value"),
    ("fenced-lock", Operation("acquire", "a", None), "acquire returns a fencing token"),
    ("set", Operation("read", None, 3), "read returns a list"),
    ("set", Operation("contains", 3, 1), "contains returns true or false"),
    ("fifo-queue", Operation("enqueue", None), "enqueue takes a value"),
    ("lifo-stack", Operation("pop", 1), "pop takes no argument"),
    ("priority-queue", Operation("enqueue", "x"), "enqueue takes a whole number or [priority, item]"),
    ("list-append", Operation("read", None, 3), "read returns a list"),
]


@pytest.mark.parametrize(("name", "operation", "complaint"), SHAPES)
def test_a_wrong_shape_is_named(name: str, operation: Operation, complaint: str) -> None:
    found = find(name).check(operation)
    assert found is not None
    assert complaint in found


def operations(name: str) -> Iterator[Operation]:
    for f, arguments, results in ALPHABETS[name]:
        for argument in arguments:
            for result in results:
                yield Operation(f, freeze(argument), freeze(result))
            yield Operation(f, freeze(argument), is_known=False)
            yield Operation(f, freeze(argument), is_refused=True)


def reachable(model: Model, name: str) -> list[State]:
    """States that up to four operations lead to."""
    states = {model.initial(): None}
    for _ in range(4):
        for state in list(states)[:80]:
            for operation in operations(name):
                states.update(dict.fromkeys(model.step(state, operation)))
    return list(states)


@pytest.mark.parametrize("name", names())
def test_what_is_called_pure_or_refused_changes_nothing(name: str) -> None:
    model = find(name)
    for operation in operations(name):
        if model.is_pure(operation) or operation.is_refused:
            assert model.is_pure(operation), f"{operation} is refused"
            for state in reachable(model, name):
                assert tuple(model.step(state, operation)) in ((), (state,))


@pytest.mark.parametrize("name", names())
def test_what_is_called_a_reset_forgets_everything(name: str) -> None:
    model = find(name)
    for operation in operations(name):
        if model.is_reset(operation):
            assert len({tuple(model.step(state, operation)) for state in reachable(model, name)}) == 1
            assert len(list(model.step(model.initial(), operation))) == 1


@pytest.mark.parametrize("name", names())
def test_a_legal_history_stays_legal_when_results_are_forgotten(name: str) -> None:
    """The first law: reduce.py leans on it, and so does every verdict on a history with time-outs."""
    model, legal = find(name), 0
    for seed in range(60):
        part = entries(random_history(name, seeded(seed), ops_max=5))
        if brute.linearization(part, model) is None:
            continue
        legal += 1
        for i, entry in enumerate(part):
            operation = Operation(entry.operation.f, entry.operation.argument, is_known=False)
            forgotten = weakened(entry)
            changed = [*part[:i], msgspec.structs.replace(forgotten, operation=operation), *part[i + 1 :]]
            assert brute.linearization(changed, model) is not None, (seed, i)
            assert brute.linearization([*part[:i], forgotten, *part[i + 1 :]], model) is not None, (seed, i)
    assert legal > 10


@pytest.mark.parametrize("name", ["kv-map", "fifo-queue", "lifo-stack", "priority-queue", "lossy-queue"])
def test_a_legal_history_stays_legal_without_a_component(name: str) -> None:
    """The fourth law."""
    model, legal = find(name), 0
    for seed in range(150):
        part = entries(random_history(name, seeded(seed), ops_max=6), refused=True)
        if brute.linearization(part, model) is None:
            continue
        for component in {model.component(entry.operation) for entry in part} - {None}:
            legal += 1
            left = [entry for entry in part if model.component(entry.operation) != component]
            assert brute.linearization(left, model) is not None, (seed, component)
    assert legal > 50


@pytest.mark.parametrize("name", names())
def test_what_leads_to_one_state_leads_nowhere_else(name: str) -> None:
    """The fifth law, first half."""
    model = find(name)
    for operation in operations(name):
        if (named := model.leads_to(operation)) is not None:
            for state in reachable(model, name):
                assert tuple(model.step(state, operation)) in ((), named), (operation, state)


@pytest.mark.parametrize("name", ["register", "cas-register", "kv", "list-append"])
def test_a_dead_end_is_one(name: str) -> None:
    """The fifth law, second half: whatever follows, but for what leads to a state of its own."""
    model = find(name)
    others = [operation for operation in operations(name) if model.leads_to(operation) is None]
    dead_ends = 0
    for state in reachable(model, name):
        after = {state: None}
        for _ in range(3):
            for each in list(after):
                for operation in others:
                    after.update(dict.fromkeys(model.step(each, operation)))
        for observation in filter(model.is_pure, operations(name)):
            is_possible = any(tuple(model.step(each, observation)) for each in after)
            if not model.can_reach(state, observation):
                assert not is_possible, (state, observation)
                dead_ends += 1
    assert dead_ends > 3


@pytest.mark.parametrize(
    "name", [name for name in names() if name not in ("register", "cas-register", "kv", "list-append")]
)
def test_the_other_models_know_no_dead_end(name: str) -> None:
    model = find(name)
    pure = [operation for operation in operations(name) if model.is_pure(operation)]
    assert all(model.can_reach(state, operation) for state in reachable(model, name)[:20] for operation in pure)


@pytest.mark.parametrize("name", ["kv-map", "multi-register"])
def test_parts_that_no_operation_connects_are_independent(name: str) -> None:
    """The sixth law, by the definition of both sides."""
    model, verdicts, splits = find(name), set(), 0
    for seed in range(200):
        part = entries(random_history(name, seeded(seed), ops_max=6), refused=True)
        pieces = split({None: part}, model)
        splits += len(pieces) > 1
        is_linearizable = brute.linearization(part, model) is not None
        assert is_linearizable == all(brute.linearization(piece, own) is not None for piece, own in pieces.values()), (
            seed
        )
        verdicts.add((is_linearizable, len(pieces) > 1))
    assert (True, True) in verdicts, verdicts
    assert splits > 10


BEGINNINGS = [
    ("register", 5, "read", None, 5),
    ("kv", "x", "get", None, "x"),
    ("kv-map", {"a": "x"}, "get", "a", "x"),
    ("multi-register", {"x": 0, "y": 0}, "read", ["x", "y"], [["x", 0], ["y", 0]]),
    ("counter", 3, "read", None, 3),
    ("counter-returning", 3, "add", 2, 5),
    ("consensus", 7, "propose", 8, 7),
    ("mutex", "a", "release", "a", None),
    ("reentrant-mutex", "a", "release", "a", None),
    ("fenced-lock", "a", "release", "a", None),
    ("semaphore", ["a"], "release", "a", None),
    ("set", [2, 1], "read", None, [1, 2]),
    ("fifo-queue", [1, 2], "dequeue", None, 1),
    ("lifo-stack", [1, 2], "pop", None, 1),
    ("priority-queue", [2, 1], "dequeue", None, 1),
    ("lossy-queue", [1, 2], "dequeue", None, 1),
    ("list-append", [1, 2], "read", None, [1, 2]),
]


@pytest.mark.parametrize(("name", "initial", "f", "argument", "result"), BEGINNINGS)
def test_an_object_begins_as_it_is_told_to(
    name: str, initial: object, f: str, argument: object, result: object
) -> None:
    operation = Operation(f, freeze(argument), freeze(result))
    plain, begun = find(name), find(name, initial=initial)
    assert list(begun.step(begun.initial(), operation))
    assert not list(plain.step(plain.initial(), operation))


@pytest.mark.parametrize(
    ("name", "initial", "message"),
    [
        ("set", 3, "the set begins as a list, not 3"),
        ("fifo-queue", [1, None], "enqueue takes a value"),
        ("priority-queue", ["x"], "enqueue takes a whole number"),
        ("multi-register", 3, "begins as a map or a list of pairs, not 3"),
        ("kv-map", [["a", 1], ["a", 2]], "has a name twice"),
        ("semaphore", ["a", "b"], "2 owners cannot hold 1 permits"),
        ("counter", "x", "initial: Expected `int`"),
        ("register-unknown-initial", 3, "no parameter 'initial'; it has: none"),
    ],
)
def test_an_object_cannot_begin_as_what_it_is_not(name: str, initial: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(name, initial=initial)


@pytest.mark.parametrize("name", ["fifo-queue", "lifo-stack", "priority-queue"])
def test_what_was_in_it_at_first_is_no_component(name: str) -> None:
    """Left out with its takes, it would stay in the way of the others."""
    model = find(name, initial=[1])
    take = Operation({"lifo-stack": "pop"}.get(name, "dequeue"), None, 1)
    assert model.component(take) is None
    assert find(name).component(take) == 1


def test_a_read_that_was_invoked_with_a_value_is_what_it_returned() -> None:
    """knossos.history/complete replaces the invocation's value by the completion's."""
    for f, name in (("read", "register"), ("read", "cas-register"), ("read", "counter"), ("peek", "fifo-queue")):
        model = find(name, initial=[3] if f == "peek" else 3)
        for expected in (3, 4, None):
            assert model.check(Operation(f, expected, 3)) is None
            assert list(model.step(model.initial(), Operation(f, expected, 3)))
            assert not list(model.step(model.initial(), Operation(f, expected, 4)))


def test_no_part_hides_another_whose_name_is_a_key() -> None:
    """Registers x and y of the object without a key, and the object with the key x: three parts."""
    micro = [["w", "x", 1]], [["r", "x", 2]], [["w", "y", 1]], [["w", "a", 1], ["w", "b", 1]]
    ops: list[Op] = []
    types: tuple[OpType, ...] = ("invoke", "ok")
    for key, value in ((None, micro[0]), (None, micro[1]), (None, micro[2]), ("x", micro[3])):
        for op_type in types:
            ops.append(Op(len(ops), len(ops), op_type, 0, "txn", key, value))
    verdict = linearizable(History(ops), find("multi-register"))
    assert verdict.validity is Validity.INVALID, "x was never 2"
    assert verdict.stats["keys"] == 3


@pytest.mark.parametrize("asked", [["x", "y"], [["x", None], ["y", None]], {"x": None, "y": None}])
def test_a_register_that_a_read_leaves_out_is_absent(asked: object) -> None:
    model = find("multi-register", initial={"x": 1})
    for told, is_possible in (({"x": 1}, True), ({"x": 1, "y": None}, True), ({}, False), ({"y": None}, False)):
        operation = Operation("read", freeze(asked), freeze(told))
        assert model.check(operation) is None
        assert bool(model.step(model.initial(), operation)) is is_possible, told


class Begun(KeyValueMap):
    """It begins with something of its own."""

    name = "begun"

    def initial(self) -> State:
        return frozenset({("x", 5)})


def test_the_parts_of_a_derived_map_begin_as_it_does() -> None:
    for told, validity in ((5, Validity.VALID), (None, Validity.INVALID)):
        ops = [Op(0, 0, "invoke", 0, "get", None, "x"), Op(1, 1, "ok", 0, "get", None, told)]
        assert linearizable(History(ops), Begun()).validity is validity


class Doubled(KeyValueMap):
    """It has a `step` of its own, which its base's hooks know nothing of."""

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        return super().step(state, operation)


class Told(Doubled):
    def touches(self, operation: Operation) -> frozenset[Hashable]:
        return super().touches(operation)


def test_a_derived_model_with_a_step_of_its_own_inherits_no_hook_that_verdicts_hang_on() -> None:
    assert speaks_for(KeyValueMap(), "touches")
    assert not speaks_for(Doubled(), "touches")
    assert speaks_for(Told(), "touches")
    assert speaks_for(find("kv"), "can_reach")
    assert not speaks_for(find("fifo-queue"), "can_reach")


@pytest.mark.parametrize("name", names())
def test_states_are_told_in_words_and_hashable(name: str) -> None:
    model = find(name)
    for state in reachable(model, name):
        assert hash(state) is not None
        words = model.describe(state)
        assert words
        assert "frozenset" not in words


def test_a_long_state_is_told_briefly() -> None:
    assert len(find("list-append").describe(tuple(range(10_000)))) < 300
