"""A client of a gossip store: it carries what it has seen, and asks another node when its own is gone or behind."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from targets.core import NodeId
from targets.gossip.contexts import EMPTY, Context
from targets.gossip.messages import REQUESTS, Answer
from targets.session import Ask, Call, NoReply, Outcome

READS = frozenset({"read", "contains"})
ANSWERED = READS | {"generate"}
"""Operations that return something."""


class GossipSession:
    """Implements targets.session.Session. nodes: in the order in which it tries them, its home first."""

    __slots__ = ("_asked", "_call", "_context", "_latest", "_next", "_nodes", "_tries_left", "_type", "_via")

    def __init__(self, interface: str, nodes: Sequence[NodeId]) -> None:
        self._type = REQUESTS[interface]
        self._nodes = tuple(nodes)
        self._context: Context = EMPTY
        self._latest = 0
        self._via = ""
        self._next = ""

    def begin(self, call: Call) -> Ask:
        """Ask the home node or, where the last answer named another one, that. Raises ValueError, which names the field."""
        self._call = call
        self._asked = self._next or self._nodes[0]
        self._tries_left = len(self._nodes) - 1
        return self._ask()

    def _ask(self) -> Ask:
        call = self._call
        fields = {"f": call.f, "key": call.key, "context": self._context, "via": self._via, "latest": self._latest}
        if call.value is not None and call.f not in ("read", "delete", "generate"):
            fields["value"] = call.value
        return Ask(msgspec.convert(fields, self._type), self._asked)

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        """How the op ended, or the question to the next node."""
        call = self._call
        if isinstance(reply, NoReply):
            if reply.why == "not-sent":
                return self._elsewhere(reply.error)
            return Outcome("fail" if call.f in READS else "info", call.value, reply.error)
        assert isinstance(reply, Answer)
        self._next = reply.ask_next
        if reply.status == "behind":
            return self._elsewhere("behind")
        if reply.status == "unavailable":
            return Outcome("fail" if call.f in READS else "info", call.value, reply.reason)
        if reply.status == "refused":
            return Outcome("fail", call.value, reply.reason, is_refused=True)
        self._context, self._latest, self._via = reply.context, max(self._latest, reply.latest), reply.node
        return Outcome("ok", reply.result if call.f in ANSWERED else call.value)

    def _elsewhere(self, error: str | list[str]) -> Ask | Outcome:
        """The next node; the op has certainly not happened when none is left."""
        if self._tries_left <= 0:
            return Outcome("fail", self._call.value, error)
        self._tries_left -= 1
        at = self._nodes.index(self._asked) if self._asked in self._nodes else -1
        self._asked = self._nodes[(at + 1) % len(self._nodes)]
        return self._ask()
