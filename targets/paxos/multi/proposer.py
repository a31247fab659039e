"""Phase 1: one question for all slots, and the values that its answers allow (PMS §2.2, §3). Pure but for its own state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targets.core import NodeId
from targets.paxos import bugs as zoo
from targets.paxos.ballots import Ballot
from targets.paxos.multi.entries import Entry, Held
from targets.paxos.multi.messages import Promise


class Candidacy:
    """The node asks for promises of `ballot`, from `from_slot` on. promises: in order of arrival."""

    __slots__ = ("ballot", "from_slot", "promises")

    def __init__(self, ballot: Ballot, from_slot: int) -> None:
        self.ballot = ballot
        self.from_slot = from_slot
        self.promises: dict[NodeId, Promise[Any]] = {}

    def begin_behind(self, base_index: int) -> None:
        """Propose nothing up to this slot: a snapshot that came while the promises did stands for what is chosen there, and which
        entries those were nobody needs to know."""
        self.from_slot = max(self.from_slot, base_index + 1)

    def values(self, known: Mapping[int, Entry[Any]], bugs: frozenset[str]) -> list[Entry[Any]]:
        """What the leader has to propose in each slot from `from_slot` on, as far as any promise reports one.

        For a slot that a promise reports: what is known to be chosen there, else the entry of the highest ballot (P2c). For a gap
        between two such slots: a no-op, for no quorum can have chosen anything there. known: what the node knows to be chosen.
        """
        reported: dict[int, list[Held[Any]]] = {}
        for promise in self.promises.values():
            for held in promise.held:
                if held.slot >= self.from_slot:
                    reported.setdefault(held.slot, []).append(held)
        if zoo.OWN_VALUE_WINS in bugs:
            reported = {}
        last = max([*reported, *known], default=self.from_slot - 1)
        no_op: Entry[Any] = Entry(self.ballot)
        return [
            known[slot] if slot in known else self._value(reported.get(slot, []), no_op, bugs)
            for slot in range(self.from_slot, last + 1)
        ]

    def _value(self, reported: list[Held[Any]], no_op: Entry[Any], bugs: frozenset[str]) -> Entry[Any]:
        for held in reported:
            if held.is_chosen:
                return held.entry
        if not reported or zoo.NO_OP_OVERWRITES in bugs:
            return no_op
        if zoo.HIGHEST_BY_ARRIVAL in bugs:
            return reported[-1].entry
        return max(reported, key=lambda held: held.ballot).entry
