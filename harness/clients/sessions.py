"""Runs the sessions of a target's clients: which session serves which process, which node an Ask goes to, when an op is over.

Sans-IO: the simulation and HTTP carry Asks for it and bring the answers. For each op they hold a `PendingCall`; while its outcome
is None, they carry its `body` to its `node`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.errors import HarnessError
from targets.core import NodeId
from targets.session import Ask, Call, NoReply, Outcome, Session
from targets.wire import classes_of

ASKS_MAX = 64
"""Asks for one op. A redirect takes two or three, a transaction over a few shards a dozen: who needs more asks for ever."""

TIMED_OUT = NoReply("timeout")


class SessionFailed(HarnessError):
    """A session broke its contract (targets/session.py): the target's client is wrong, and the cluster is not to blame."""


class PendingCall:
    """One op of one process under way.

    node: the node to ask now, or the one asked last. asks_count: the number of the Ask that is under way; an answer to another Ask
    is late. patience_s, pause_s: of that Ask. outcome: how the op ended; None while it is under way.
    """

    __slots__ = ("asks_count", "body", "call", "home", "node", "outcome", "patience_s", "pause_s", "process", "session")

    def __init__(self, process: int, call: Call, home: NodeId) -> None:
        self.process = process
        self.call = call
        self.home = home
        self.node = home
        self.body: msgspec.Struct | None = None
        self.asks_count = 0
        self.patience_s: float | None = None
        self.pause_s = 0.0
        self.outcome: Outcome | None = None
        self.session: Session | None = None


class SessionRunner:
    """The sessions of one run. open_session: makes the session of a process. request_type: the type of an Ask's body. nodes: those
    that may be asked."""

    def __init__(
        self,
        open_session: Callable[[int], Session],
        request_type: Any,
        nodes: Sequence[NodeId],
        *,
        asks_max: int = ASKS_MAX,
    ) -> None:
        self._open = open_session
        self._body_types = classes_of(request_type)
        self._nodes = frozenset(nodes)
        self._asks_max = asks_max
        self._sessions: dict[int, Session] = {}
        self._processes_end = 0

    def begin(self, pending: PendingCall) -> None:
        """Begin an op: its first Ask is to be carried, or it is over already. Raises SessionFailed; the op is then over as
        `info`."""
        process = pending.process
        session = self._sessions.get(process)
        if session is None:
            session = self._sessions[process] = self._open(process)
            self._processes_end = max(self._processes_end, process + 1)
        pending.session = session
        try:
            answer = session.begin(pending.call)
        except Exception as error:
            raise self._failed(pending, f"begin raised {type(error).__name__}: {error}") from error
        self._follow(pending, answer)

    def answered(self, pending: PendingCall, ask_number: int, reply: msgspec.Struct | NoReply) -> bool:
        """Take the answer to the Ask with this number: the next Ask is to be carried, or the op is over.

        False when the answer came too late to count, and nothing changed. Raises SessionFailed; the op is then over as `info`.
        """
        if pending.outcome is not None or ask_number != pending.asks_count:
            return False
        self._follow(pending, self._told(pending, reply))
        return True

    def timed_out(self, pending: PendingCall, reply: NoReply = TIMED_OUT) -> None:
        """End the op because its time has passed. reply: what is known of the Ask that is under way.

        Raises SessionFailed; the op is then over as `info`.
        """
        if pending.outcome is not None:
            return
        answer = self._told(pending, reply)
        # An Ask for which there is no time left: what the ones before it did, nobody knows.
        self._end(pending, answer if isinstance(answer, Outcome) else Outcome("info", pending.call.value, "timeout"))

    def new_process(self) -> int:
        """A process number that has no session yet."""
        return self._processes_end

    def _told(self, pending: PendingCall, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        assert pending.session is not None, "begin comes first"
        try:
            return pending.session.on_reply(reply)
        except Exception as error:
            raise self._failed(pending, f"on_reply({reply!r:.200}) raised {type(error).__name__}: {error}") from error

    def _follow(self, pending: PendingCall, answer: Ask | Outcome) -> None:
        while answer.__class__ is Ask:
            pending.asks_count += 1
            if pending.asks_count > self._asks_max:
                raise self._failed(pending, f"it asked more than {self._asks_max} times for one op")
            node: NodeId | None = answer.node
            if node is None:
                node = pending.home
            elif node not in self._nodes:
                answer = self._told(pending, NoReply("not-sent", f"no node is called {node!r}"))
                continue
            if not isinstance(answer.body, self._body_types):
                raise self._failed(pending, f"it asked {answer.body!r:.200}, which is no request of the interface")
            pending.node = node
            pending.body = answer.body
            pending.patience_s = answer.patience_s
            pending.pause_s = answer.pause_s
            return
        if not isinstance(answer, Outcome):
            raise self._failed(pending, f"it answered {answer!r:.200}, which is neither an Ask nor an Outcome")
        self._end(pending, answer)

    def _end(self, pending: PendingCall, outcome: Outcome) -> None:
        pending.outcome = outcome
        if outcome.type == "info":
            self._sessions.pop(pending.process, None)

    def _failed(self, pending: PendingCall, what: str) -> SessionFailed:
        """The op is over as `info`; the error says that the session is wrong."""
        session, call = pending.session, pending.call
        self._end(pending, Outcome("info", call.value, ["session", what]))
        name = f"{type(session).__module__}.{type(session).__qualname__}"
        op = f"{call.f} of key {call.key!r}, value {call.value!r:.200}, by process {pending.process}"
        return SessionFailed(f"the session {name} is wrong: {what}; the op was {op}")
