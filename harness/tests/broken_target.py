"""Raft with something of its own that is broken: what the harness says when not the cluster is to blame."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from targets.raft.target import RaftTarget
from targets.session import Ask, Call, NoReply, Outcome, Session
from targets.target import Place
from targets.topology import Topology

MODULE = "harness.tests.broken_target:TARGET"
ENDLESS = "harness.tests.broken_target:ENDLESS_TARGET"


class BrokenTarget(RaftTarget):
    """Its node exits at once."""

    name = "broken"

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return [sys.executable, "-c", "import sys; sys.exit('no such luck')"]


class EndlessSession:
    """Asks again whatever it is answered."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def begin(self, call: Call) -> Ask | Outcome:
        self._ask = self._inner.begin(call)
        return self._ask

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        return self._ask


class EndlessTarget(RaftTarget):
    """Its sessions never come to an end."""

    name = "endless"

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        return EndlessSession(super().session(interface, process, topology))


TARGET = BrokenTarget()
ENDLESS_TARGET = EndlessTarget()
