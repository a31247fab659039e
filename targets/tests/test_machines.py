"""What machines answer, command by command; what none may take; and the laws that hold for all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets import machine_registry
from targets.machines import machine as machines
from targets.machines.fifo_queue import QueueMachine
from targets.machines.kv import KvMachine, Write
from targets.machines.lock import LockMachine
from targets.machines.machine import Answer, Command, Machine, MachineFailed, Refused, answer_type, answer_with

# --- what they answer -------------------------------------------------------------------------------------------------

SCRIPTS: dict[str, list[tuple[str, Any]]] = {
    "kv": [
        ("read x", None),
        ("write x 1", None),
        ("read x", 1),
        ("read y", None),
        ("cas x [1,2]", None),
        ("read x", 2),
        ("cas x [1,3]", "cas-mismatch!"),
        ("cas y [1,2]", "cas-mismatch!"),
        ("cas y [null,1]", None),
        ("read y", 1),
        ("append y 2", "not-a-list!"),
        ("append z 1", None),
        ("append z 2", None),
        ("read z", [1, 2]),
        ("cas z [[1,2],[7]]", None),
        ("append z 8", None),
        ("read z", [7, 8]),
        (
            'txn - [["r","x",null],["w","x",5],["r","x",null],["append","z",9],["r","z",null]]',
            [
                ["r", "x", 2],
                ["w", "x", 5],
                ["r", "x", 5],
                ["append", "z", 9],
                ["r", "z", [7, 8, 9]],
            ],
        ),
        ('txn - [["w","x",6],["append","y",1]]', "not-a-list!"),
        ('txn - [["r","x",null],["r","nothing",null]]', [["r", "x", 5], ["r", "nothing", None]]),
    ],
    "counter": [
        ("read x", 0),
        ("add x 2", None),
        ("add x -5", None),
        ("add y 1", None),
        ("read x", -3),
        ("read y", 1),
    ],
    "set": [
        ("read x", []),
        ("add x 2", None),
        ('add x "a"', None),
        ("add x 2", None),
        ("read x", [2, "a"]),
        ("contains x 2", True),
        ("contains y 2", False),
        ("remove x 2", None),
        ("remove x 2", None),
        ("remove y 2", None),
        ("read x", ["a"]),
    ],
    "queue": [
        ("dequeue x", None),
        ("enqueue x 1", None),
        ("enqueue x 2", None),
        ("enqueue y 3", None),
        ("dequeue x", 1),
        ("dequeue x", 2),
        ("dequeue x", None),
        ("dequeue y", 3),
    ],
    "stack": [
        ("pop x", None),
        ("peek x", None),
        ("push x 1", None),
        ("push x 2", None),
        ("push y 3", None),
        ("peek x", 2),
        ("pop x", 2),
        ("peek x", 1),
        ("pop x", 1),
        ("pop x", None),
        ("pop y", 3),
    ],
    "priority-queue": [
        ("dequeue x", None),
        ("peek x", None),
        ('enqueue x [2,"a"]', None),
        ('enqueue x [1,"b"]', None),
        ('enqueue x [2,"c"]', None),
        ('enqueue x [1,"d"]', None),
        ("enqueue y [5,5]", None),
        ("peek x", [1, "b"]),
        ("dequeue x", [1, "b"]),
        ("dequeue x", [1, "d"]),
        ("dequeue x", [2, "a"]),
        ("peek x", [2, "c"]),
        ("dequeue x", [2, "c"]),
        ("dequeue x", None),
        ("dequeue y", [5, 5]),
    ],
    "lock": [
        ("release x 1", "not-held!"),
        ("acquire x 1", 1),
        ("acquire x 2", "held!"),
        ("acquire x 1", "held!"),
        ("acquire y 2", 1),
        ("release x 2", "not-held!"),
        ("release x 1", None),
        ("acquire x 2", 2),
    ],
    "bank": [
        ("read -", {}),
        ('transfer - {"from":0,"to":1,"amount":3}', "no-account!"),
        ('open - {"0":5,"1":1}', None),
        ('open - {"1":9,"b":2}', None),
        ('transfer - {"from":0,"to":"b","amount":3}', None),
        ('transfer - {"from":0,"to":1,"amount":3}', "insufficient-funds!"),
        ('transfer - {"from":0,"to":2,"amount":1}', "no-account!"),
        ('transfer - {"from":"0","to":1,"amount":2}', None),
        ("read -", {"0": 0, "1": 3, "b": 5}),
    ],
    "consensus": [
        ("learn x", None),
        ('propose x "a"', "a"),
        ('propose x "b"', "a"),
        ("learn x", "a"),
        ("propose y 2", 2),
    ],
}
"""Machine -> (command, result); a result that ends in "!" is a refusal."""


def command(interface: str, text: str) -> Any:
    """`f key value`; the key - is None, the value JSON."""
    f, key, *value = text.split(" ", 2)
    fields: dict[str, Any] = {"f": f, "key": None if key == "-" else key}
    if value:
        fields["value"] = msgspec.json.decode(value[0])
    return msgspec.convert(fields, machine_registry.find(interface).command_type)


@pytest.mark.parametrize("interface", SCRIPTS)
def test_commands_in_order(interface: str) -> None:
    machine = machine_registry.find(interface)()
    told = [machine.apply(command(interface, text)) for text, _ in SCRIPTS[interface]]
    assert [f"{result.reason}!" if isinstance(result, Refused) else result for result in told] == [
        result for _, result in SCRIPTS[interface]
    ]


def test_every_built_in_machine_has_a_script() -> None:
    assert SCRIPTS.keys() == machine_registry.BUILT_IN.keys()


@pytest.mark.parametrize("interface", SCRIPTS)
def test_a_machine_is_called_as_the_interface_it_is(interface: str) -> None:
    assert machine_registry.find(interface).name == interface


def test_keys_keep_their_type() -> None:
    machine = KvMachine()
    for key in (1, "1", None):
        machine.apply(Write(key, value=repr(key)))
    restored = KvMachine()
    restored.restore(msgspec.json.decode(msgspec.json.encode(machine.snapshot())))
    for found in (machine, restored):
        assert [found.query(command_of) for command_of in map(reading, (1, "1", None))] == ["1", "'1'", "None"]


def reading(key: Any) -> Any:
    return msgspec.convert({"f": "read", "key": key}, KvMachine.command_type)


def test_what_was_read_or_snapshotted_does_not_change_any_more() -> None:
    machine = KvMachine()
    machine.apply(command("kv", "append x 1"))
    read, snapshot = machine.query(command("kv", "read x")), machine.snapshot()
    machine.apply(command("kv", "append x 2"))
    assert (read, snapshot) == ([1], [["x", [1]]])


# --- what none may take -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interface", "body", "named"),
    [
        ("kv", '{"f": "increment", "key": "x"}', r"\$\.f"),
        ("kv", '{"key": "x"}', "`f`"),
        ("kv", '{"f": "read", "key": [1]}', r"\$\.key"),
        ("kv", '{"f": "read", "key": "x", "colour": 1}', "colour"),
        ("kv", '{"f": "cas", "key": "x", "value": 3}', r"\$\.value"),
        ("kv", '{"f": "cas", "key": "x", "value": [1, 2, 3]}', r"\$\.value"),
        ("kv", '{"f": "txn", "value": []}', r"\$\.value"),
        ("kv", '{"f": "txn", "value": [["x", 1, 2]]}', r"\$\.value\[0\]\[0\]"),
        ("counter", '{"f": "add", "key": "x"}', "`value`"),
        ("counter", '{"f": "add", "key": "x", "value": 1.5}', r"\$\.value"),
        ("counter", '{"f": "add", "key": "x", "value": 4611686018427387904}', r"\$\.value"),
        ("set", '{"f": "add", "key": "x", "value": null}', r"\$\.value"),
        ("set", '{"f": "add", "key": "x", "value": true}', r"\$\.value"),
        ("set", '{"f": "read", "key": "x", "value": 1}', "value"),
        ("queue", '{"f": "enqueue", "key": "x", "value": null}', r"\$\.value"),
        ("queue", '{"f": "enqueue", "key": "x", "value": [1]}', r"\$\.value"),
        ("queue", '{"f": "dequeue", "key": "x", "value": 1}', "value"),
        ("stack", '{"f": "push", "key": "x", "value": null}', r"\$\.value"),
        ("bank", '{"f": "transfer", "value": {"from": 0, "to": "0", "amount": 1}}', "between two accounts"),
        ("bank", '{"f": "transfer", "value": {"from": 0, "to": 1, "amount": 0}}', r"\$\.value\.amount"),
        ("bank", '{"f": "open", "value": {"0": -1}}', r"\$\.value"),
        ("stack", '{"f": "pop", "key": "x", "value": 1}', "value"),
        ("priority-queue", '{"f": "enqueue", "key": "x", "value": 1}', r"\$\.value"),
        ("priority-queue", '{"f": "enqueue", "key": "x", "value": ["a", 1]}', r"\$\.value\[0\]"),
        ("lock", '{"f": "acquire", "key": "x"}', "`value`"),
        ("lock", '{"f": "release", "key": "x", "value": 0.5}', r"\$\.value"),
    ],
)
def test_an_illegal_command_is_refused_and_the_field_named(interface: str, body: str, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=machine_registry.find(interface).command_type)


@pytest.mark.parametrize(
    ("interface", "body"),
    [("counter", '{"status": "ok", "result": "3"}'), ("lock", '{"status": "ok", "result": null, "token": 1}')],
)
def test_an_answer_that_the_machine_cannot_give_is_refused(interface: str, body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=answer_type(machine_registry.find(interface)))


def test_there_is_no_machine_of_another_name() -> None:
    with pytest.raises(
        ValueError,
        match="no machine has the interface 'bag'; there are bank, consensus, counter, kv, lock, priority-queue, queue, set, stack",
    ):
        machine_registry.find("bag")


# --- laws -------------------------------------------------------------------------------------------------------------

KEYS, VALUES = (None, 0, "a"), (0, 1, 2, "b")


def random_command(interface: str, rng: random.Random) -> Command:
    """Any command of the machine, on few keys with few values, so that they meet."""
    drawn: dict[str, Callable[[], Any]] = {
        "cas": lambda: [rng.choice((*VALUES, None)), rng.choice(VALUES)],
        "txn": lambda: [
            [f, rng.choice(KEYS), None if f == "r" else rng.choice(VALUES)]
            for f in rng.choices(("r", "w", "append"), k=rng.randint(1, 4))
        ],
    }
    if interface == "bank":
        drawn["open"] = lambda: {rng.choice("abc"): rng.choice((0, 5))}
        drawn["transfer"] = lambda: (
            dict(zip(("from", "to"), rng.sample("abc", 2), strict=True)) | {"amount": rng.randint(1, 3)}
        )
    if interface == "priority-queue":
        drawn["enqueue"] = lambda: [rng.choice((0, 1, 2)), rng.choice(VALUES)]
    types: Sequence[Any] = machine_registry.find(interface).command_type.__args__
    type = rng.choice(types)
    f = type.__struct_config__.tag
    fields = {"key": rng.choice(KEYS)}
    if "value" in type.__struct_fields__:
        fields["value"] = drawn.get(f, lambda: rng.choice(VALUES if interface != "counter" else (-1, 2, 3)))()
    found: Command = msgspec.convert(fields, type)
    return found


def state(machine: Machine) -> bytes:
    return msgspec.json.encode(machine.snapshot())


every_machine = pytest.mark.parametrize("interface", sorted(machine_registry.BUILT_IN))


@every_machine
@given(seed=st.integers(0, 2**32), count=st.integers(0, 40), more=st.integers(0, 20))
def test_a_restored_machine_goes_on_as_the_one_that_was_snapshotted(
    interface: str, seed: int, count: int, more: int
) -> None:
    rng = random.Random(seed)
    machine = machine_registry.find(interface)()
    for _ in range(count):
        machine.apply(random_command(interface, rng))
    restored = machine_registry.find(interface)()
    restored.apply(random_command(interface, rng))  # Whatever it held before is gone.
    restored.restore(msgspec.json.decode(state(machine)))
    assert state(restored) == state(machine)
    for _ in range(more):
        command = random_command(interface, rng)
        assert restored.apply(command) == machine.apply(command)
    assert state(restored) == state(machine)


@every_machine
@given(seed=st.integers(0, 2**32), count=st.integers(0, 40))
def test_reads_and_refusals_change_nothing_and_results_survive_json(interface: str, seed: int, count: int) -> None:
    rng = random.Random(seed)
    machine = machine_registry.find(interface)()
    answers = msgspec.json.Decoder(answer_type(machine_registry.find(interface)))
    for _ in range(count):
        command = random_command(interface, rng)
        before = state(machine)
        seen = machine.query(command) if command.is_read else None
        assert state(machine) == before
        result = machine.apply(command)
        if command.is_read:
            assert result == seen
        if command.is_read or isinstance(result, Refused):
            assert state(machine) == before
        answer = answer_with(result)
        assert answers.decode(msgspec.json.encode(answer)) == answer


@every_machine
@given(seed=st.integers(0, 2**32))
def test_a_command_survives_json(interface: str, seed: int) -> None:
    command = random_command(interface, random.Random(seed))
    decode = msgspec.json.Decoder(machine_registry.find(interface).command_type).decode
    assert decode(msgspec.json.encode(command)) == command


# --- failure ----------------------------------------------------------------------------------------------------------


def test_a_machine_that_raises_is_named_with_the_command_and_the_error() -> None:
    class Broken(LockMachine):
        def apply(self, command: Any) -> Any:
            raise KeyError("lost")

    asked = command("lock", "acquire x 1")
    with pytest.raises(MachineFailed, match=r"machine 'lock' raised on Acquire\(.*'x'.*\): KeyError: 'lost'"):
        machines.apply(Broken(), asked)
    with pytest.raises(MachineFailed, match=r"machine 'queue' raised on .*: AssertionError"):
        machines.query(QueueMachine(), command("queue", "dequeue x"))


def test_a_refusal_and_an_empty_result_are_told_apart() -> None:
    assert answer_with(None) == Answer("ok")
    assert answer_with(Refused("held")) == Answer("refused", reason="held")
    assert answer_with(0) == Answer("ok", 0)
