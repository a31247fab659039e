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

    __slots__ = ("_call", "_command", "_commands", "_coordinators", "_untried")

    def __init__(self, machine: type[Machine], coordinators: Sequence[NodeId]) -> None:
        self._commands = commands_of(machine)
        self._coordinators = tuple(coordinators)

    def begin(self, call: Call) -> Ask:
        """Ask the first coordinator. Raises ValueError, which names the field, for a call that is no command of the store."""
        self._call = call
        self._command = command_of(call, self._commands)
        self._untried = [*self._coordinators]
        return Ask(self._command, self._untried.pop(0))

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
            case "unknown":
                return Outcome("fail" if self._command.is_read else "info", call.value, "unknown")
            case "not-leader":
                return self._elsewhere("no coordinator", reply.leader)

    def _elsewhere(self, error: str | list[str], leader: NodeId | None = None) -> Ask | Outcome:
        """The leader that a node names, or the next coordinator; the op has certainly not happened when none is left."""
        untried = self._untried
        if not untried:
            return Outcome("fail", self._call.value, error)
        return Ask(self._command, untried.pop(untried.index(leader) if leader in untried else 0))
