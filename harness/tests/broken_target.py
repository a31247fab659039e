"""Raft whose process cannot start: what the harness says when it, not the system under test, has failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from targets.raft.target import RaftTarget
from targets.target import Place

MODULE = "harness.tests.broken_target:TARGET"


class BrokenTarget(RaftTarget):
    """Its node exits at once."""

    name = "broken"

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return [sys.executable, "-c", "import sys; sys.exit('no such luck')"]


TARGET = BrokenTarget()
