"""Raft with something of its own that is broken: what the harness says when not the cluster is to blame."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from targets.command import node_argv
from targets.core import NodeId
from targets.machines.kv import KvMachine, Write
from targets.raft.core import Raft
from targets.raft.options import RaftOptions
from targets.raft.target import RaftTarget
from targets.session import Ask, Call, NoReply, Outcome, Session
from targets.target import Place
from targets.topology import Topology

MODULE = "harness.tests.broken_target:TARGET"
POISONED = "harness.tests.broken_target:POISONED_TARGET"
ENDLESS = "harness.tests.broken_target:ENDLESS_TARGET"


class BrokenTarget(RaftTarget):
    """Its node exits at once."""

    name = "broken"

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return [sys.executable, "-c", "import sys; sys.exit('no such luck')"]


class PoisonedMachine(KvMachine):
    """It raises on the third write to a key."""

    def apply(self, command: Any) -> Any:
        if isinstance(command, Write) and command.value == 2:
            raise ZeroDivisionError("poison")
        return super().apply(command)


class PoisonedTarget(RaftTarget):
    """Its machine raises."""

    name = "poisoned"

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Raft:
        assert isinstance(options, RaftOptions)
        return Raft(node, members, options, bugs, rng, PoisonedMachine)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return node_argv(POISONED, place, options, bugs, interface)


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
POISONED_TARGET = PoisonedTarget()
