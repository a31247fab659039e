"""The key-value state machine: read, write and cas by key."""

from __future__ import annotations

import msgspec
import pytest

from targets.machines.kv import KvCommand, KvMachine, KvReply


@pytest.mark.parametrize(
    ("commands", "answers"),
    [
        (["read x"], ["ok None"]),
        (["write x 1", "read x", "read y"], ["ok None", "ok 1", "ok None"]),
        (["write x 1", "write x 2", "read x"], ["ok None", "ok None", "ok 2"]),
        (["write x 1", "cas x 1 2", "read x"], ["ok None", "ok None", "ok 2"]),
        (["write x 1", "cas x 3 2", "read x"], ["ok None", "mismatch None", "ok 1"]),
        (["cas x 1 2", "read x"], ["mismatch None", "ok None"]),
        (["write x 1", "cas y 1 2", "read x"], ["ok None", "mismatch None", "ok 1"]),
    ],
)
def test_commands_in_order(commands: list[str], answers: list[str]) -> None:
    machine = KvMachine()
    told = []
    for command in commands:
        f, key, *values = command.split()
        numbers = [int(value) for value in values]
        argument = numbers if f == "cas" else numbers[0] if numbers else None
        reply = machine.apply(KvCommand(f, key, argument))  # type: ignore[arg-type]
        told.append(f"{reply.status} {reply.value}")
    assert told == answers


def test_a_cas_from_nothing_expects_none() -> None:
    machine = KvMachine()
    assert machine.apply(KvCommand("cas", "x", [None, 1])) == KvReply("ok")
    assert machine.values == {"x": 1}


def test_keys_keep_their_type() -> None:
    machine = KvMachine()
    machine.apply(KvCommand("write", 1, "number"))
    machine.apply(KvCommand("write", "1", "text"))
    machine.apply(KvCommand("write", None, "only"))
    assert (machine.read(1), machine.read("1"), machine.read(None)) == ("number", "text", "only")


def test_the_same_commands_give_the_same_state_and_answers() -> None:
    commands = [KvCommand("write", key, key * 2) for key in range(5)] + [KvCommand("cas", 3, [6, 7])]
    machines = KvMachine(), KvMachine()
    first, second = ([machine.apply(command) for command in commands] for machine in machines)
    assert first == second
    assert machines[0].values == machines[1].values


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"f": "increment", "key": "x"}', "f"),
        ('{"key": "x"}', "f"),
        ('{"f": "read", "key": [1]}', "key"),
        ('{"f": "read", "key": "x", "colour": 1}', "colour"),
        ('{"f": "cas", "key": "x", "value": 3}', "cas"),
        ('{"f": "cas", "key": "x", "value": [1, 2, 3]}', "cas"),
    ],
)
def test_a_malformed_command_is_refused_and_the_field_named(body: str, named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.json.decode(body, type=KvCommand)


@pytest.mark.parametrize("command", [KvCommand("read", "x"), KvCommand("write", 3, [1, {"a": None}])])
def test_a_command_survives_json(command: KvCommand) -> None:
    assert msgspec.json.decode(msgspec.json.encode(command), type=KvCommand) == command
