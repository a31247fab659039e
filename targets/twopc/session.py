"""A client of the commit protocols: it asks a coordinator, and another one where the first is gone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from targets.core import NodeId
from targets.leader_session import command_of, commands_of
from targets.machines.machine import Machine
from targets.session import Ask, Call, NoReply, Outcome
from targets.twopc.messages import TxnAnswer
from targets.twopc.transactions import NO_VOTE


class CommitSession:
    """Implements targets.session.Session. coordinators: in the order in which it tries them."""

    __slots__ = ("_call", "_command", "_commands", "_coordinators", "_tried_count")

    def __init__(self, machine: type[Machine], coordinators: Sequence[NodeId]) -> None:
        self._commands = commands_of(machine)
        self._coordinators = tuple(coordinators)

    def begin(self, call: Call) -> Ask:
        """Ask the first coordinator. Raises ValueError, which names the field, for a call that is no command of the store."""
        self._call = call
        self._command = command_of(call, self._commands)
        self._tried_count = 1
        return Ask(self._command, self._coordinators[0])

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """How the op ended, or the question to the next coordinator. A read that was not answered has failed; anything else may
        have happened."""
        call = self._call
        if isinstance(reply, NoReply):
            if reply.why == "not-sent":
                return self._elsewhere(reply.error)
            return Outcome("fail" if self._command.is_read else "info", call.value, reply.error)
        assert isinstance(reply, TxnAnswer)
        match reply.status:
            case "ok":
                return Outcome("ok", call.value if reply.result is None and not self._command.is_read else reply.result)
            case "refused":
                return Outcome("fail", call.value, reply.reason, is_refused=True)
            case "aborted":
                # Who loses a lock to another was served; where a participant is out of reach, nobody is.
                return Outcome("fail", call.value, ["aborted", reply.reason], is_refused=reply.reason != NO_VOTE)
            case "not-leader":
                return self._elsewhere("no coordinator")

    def _elsewhere(self, error: str | list[str]) -> Ask | Outcome:
        """The next coordinator; the op has certainly not happened when none is left."""
        if self._tried_count == len(self._coordinators):
            return Outcome("fail", self._call.value, error)
        self._tried_count += 1
        return Ask(self._command, self._coordinators[self._tried_count - 1])
