"""A client that asks again: the session of a target whose machine carries each command out once (targets/machines/sessions.py).

What was not answered, or answered with "unknown", is asked again at another node, under the number that it had, until the op's
time is over. So an op ends `info` only where no node told in all that time how it ended, or where the cluster ended the session
while the fate of a command was open. Reads change nothing and need no session to be asked again.

How long it waits for one node doubles with each Ask that is not answered, from well above a commit to the time of any op; pauses
grow too. The number of Asks for one op stays far below what the harness allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from targets.core import NodeId
from targets.leader_session import REDIRECTS_MAX, command_of, commands_of
from targets.machines.machine import Answer, Command, Machine
from targets.machines.sessions import SESSION_ENDED, InSession, OpenSession
from targets.session import Ask, Call, NoReply, Outcome

PATIENCE_S = 0.3
"""For the first Ask: several round trips and syncs, and about an election."""
PAUSE_S = 0.02
"""Before the second try."""
PAUSE_S_MAX = 1.0
TRIES_MAX = 12
"""Of one op, each at another node and with up to REDIRECTS_MAX redirects. By then it has lasted some 20 minutes if no node answers,
and 7 seconds if each says at once that nobody leads."""

OPEN = OpenSession()


class RetryingSession:
    """Implements targets.session.Session for the commands of one machine.

    nodes: all of the cluster, the home node first.
    """

    __slots__ = (
        "_asked",
        "_body",
        "_call",
        "_command",
        "_commands",
        "_is_in_doubt",
        "_nodes",
        "_number",
        "_patience_s",
        "_redirects_count",
        "_session",
        "_tries_count",
    )

    def __init__(self, machine: type[Machine], nodes: Sequence[NodeId]) -> None:
        self._commands = commands_of(machine)
        self._nodes = nodes
        self._session: int | None = None
        self._number = 0

    def begin(self, call: Call) -> Ask:
        """Ask the home node, for a session first where the process has none. Raises ValueError, which names the field, for a call
        that is no command of the machine."""
        self._call = call
        self._command = command_of(call, self._commands)
        self._is_in_doubt = False
        self._tries_count = self._redirects_count = 0
        self._patience_s = PATIENCE_S
        self._number += 1
        self._body = self._next_body()
        return self._ask(self._nodes[0])

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """How the op ended, or what to ask next."""
        body = self._body
        changes = body is not OPEN and not self._command.is_read
        if isinstance(reply, NoReply):
            if reply.why != "not-sent" and changes:
                self._is_in_doubt = True
            if reply.why == "timeout":
                return self._given_up(reply.error)
            if reply.why == "late":
                self._patience_s *= 2
            return self._again(reply.error)
        assert isinstance(reply, Answer)
        match reply.status:
            case "ok" if body is OPEN:
                self._session = reply.result
                self._body = self._next_body()
                return self._ask(self._asked)
            case "ok":
                return Outcome("ok", self._call.value if reply.result is None else reply.result)
            case "refused" if reply.reason == SESSION_ENDED and body is not self._command:
                self._session = None
                if self._is_in_doubt:
                    return self._given_up(SESSION_ENDED)
                self._body = OPEN
                return self._again(SESSION_ENDED)
            case "refused":
                return Outcome("fail", self._call.value, reply.reason, is_refused=True)
            case "not-leader" if reply.leader is not None and self._redirects_count < REDIRECTS_MAX:
                self._redirects_count += 1
                return self._ask(reply.leader)
            case "unknown" if changes:
                self._is_in_doubt = True
        return self._again(reply.status)

    def _ask(self, node: NodeId) -> Ask:
        self._asked = node
        return Ask(self._body, node, self._patience_s)

    def _again(self, error: Any) -> Ask | Outcome:
        """The same to the next node, after a pause; or the op is over, because it was tried often enough."""
        self._tries_count += 1
        if self._tries_count >= TRIES_MAX:
            return self._given_up("no-leader" if error == "not-leader" else error)
        self._redirects_count = 0
        nodes = self._nodes
        self._asked = nodes[(nodes.index(self._asked) + 1) % len(nodes)]
        pause_s = min(PAUSE_S * 2 ** (self._tries_count - 1), PAUSE_S_MAX)
        return Ask(self._body, self._asked, self._patience_s, pause_s)

    def _given_up(self, error: Any) -> Outcome:
        return Outcome("info" if self._is_in_doubt else "fail", self._call.value, error)

    def _next_body(self) -> Command:
        if self._command.is_read:
            return self._command
        if self._session is None:
            return OPEN
        return InSession(session=self._session, number=self._number, command=self._command)
