"""The session of a target that replicates a machine behind a leader: it asks the home node, and then the leader that this node
names.

The rule, by command: a read changes nothing, so one that was not answered has failed. Any other command that may have reached a
leader is indeterminate unless the answer says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import get_args

import msgspec

from targets.machines.machine import Answer, Command, Machine
from targets.session import Ask, Call, NoReply, Outcome

REDIRECTS_MAX = 3
"""Redirects of one op: while a leader is elected, nodes may send a client round in a circle."""


class LeaderSession:
    """Implements targets.session.Session for the commands of one machine."""

    __slots__ = ("_call", "_command", "_commands", "_redirects_count")

    def __init__(self, machine: type[Machine]) -> None:
        self._commands = commands_of(machine)

    def begin(self, call: Call) -> Ask:
        """Ask the home node. Raises ValueError, which names the field, for a call that is no command of the machine."""
        self._call = call
        self._command = command_of(call, self._commands)
        self._redirects_count = 0
        return Ask(self._command)

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """How the op ended, or the question to the leader. The value of an ok op is the result, or the call's value where there is
        no result."""
        call, command = self._call, self._command
        if isinstance(reply, NoReply):
            has_failed = command.is_read or reply.why == "not-sent"
            return Outcome("fail" if has_failed else "info", call.value, reply.error)
        assert isinstance(reply, Answer)
        match reply.status:
            case "ok":
                return Outcome("ok", call.value if reply.result is None else reply.result)
            case "refused":
                return Outcome("fail", call.value, reply.reason, is_refused=True)
            case "superseded":
                return Outcome("fail", call.value, "superseded")
            case "unknown":
                return Outcome("fail" if command.is_read else "info", call.value, "unknown")
            case "not-leader":
                if reply.leader is None or self._redirects_count == REDIRECTS_MAX:
                    return Outcome("fail", call.value, "not-leader" if reply.leader else "no-leader")
                self._redirects_count += 1
                return Ask(command, reply.leader)


@cache
def commands_of(machine: type[Machine]) -> Mapping[str, type[Command]]:
    """The machine's commands by the f of their operation."""
    types: tuple[type[Command], ...] = get_args(machine.command_type) or (machine.command_type,)
    return {str(type.__struct_config__.tag): type for type in types}


def command_of(call: Call, commands: Mapping[str, type[Command]]) -> Command:
    """The command that `call` names: its f, key and value.

    Raises ValueError, which names the field, when there is none.
    """
    type = commands.get(call.f)
    if type is None:
        raise ValueError(f"f: {call.f!r} is none of {', '.join(sorted(commands))}")
    # Not by the union, whose convert takes ten times as long as one command's.
    if call.value is None:
        return msgspec.convert({"key": call.key}, type)
    return msgspec.convert({"key": call.key, "value": call.value}, type)
