"""Paxos with one mistake each in what it writes to its disk, found by the simulation.

A mutant is a target of its own, "harness.tests.paxos_mutants:removed_multi_accepted" or "...:swapped_single_promised": each record
of that kind is not written, or is written behind the messages that should wait for it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from targets.core import Core, Effect, Event, NodeId, Persist, Send
from targets.paxos.multi import records as multi
from targets.paxos.multi.target import MultiPaxosTarget
from targets.paxos.single import records as single
from targets.paxos.single.target import SingleDecreeTarget

RECORDS: dict[tuple[str, str], type] = {
    ("single", "promised"): single.Promised,
    ("single", "accepted"): single.Accepted,
    ("single", "drawn"): single.Drawn,
    ("multi", "promised"): multi.Promised,
    ("multi", "accepted"): multi.Accepted,
    ("multi", "drawn"): multi.Drawn,
}
KINDS = ("removed", "swapped")


class Mutant:
    """A core whose writes of one kind of record are removed or late."""

    def __init__(self, core: Core, kind: str, record: type) -> None:
        self._core = core
        self._kind = kind
        self._record = record

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        """The core's effects, changed."""
        effects = list(self._core.step(now_ns, event))
        late = [effect for effect in effects if isinstance(effect, Persist) and isinstance(effect.record, self._record)]
        if not late:
            return effects
        kept = [effect for effect in effects if effect not in late]
        if self._kind == "removed":
            return kept
        sends = [position for position, effect in enumerate(kept) if isinstance(effect, Send)]
        at = sends[-1] + 1 if sends else len(kept)
        return [*kept[:at], *late, *kept[at:]]

    def status(self) -> dict[str, Any]:
        """The core's own."""
        return self._core.status()


def _target(kind: str, protocol: str, record: str) -> Any:
    base: Any = SingleDecreeTarget if protocol == "single" else MultiPaxosTarget

    class Target(base):  # type: ignore[misc]
        name = f"{kind}-{protocol}-{record}"

        def core(
            self,
            node: NodeId,
            members: Sequence[NodeId],
            options: msgspec.Struct,
            bugs: frozenset[str],
            rng: random.Random,
            interface: str,
        ) -> Mutant:
            return Mutant(super().core(node, members, options, bugs, rng, interface), kind, RECORDS[protocol, record])

    return Target()


def __getattr__(name: str) -> Any:
    """The mutant of this name."""
    kind, _, rest = name.partition("_")
    protocol, _, record = rest.partition("_")
    if kind not in KINDS or (protocol, record) not in RECORDS:
        raise AttributeError(name)
    return _target(kind, protocol, record)
