"""An acceptor keeps its promises, also across crashes (PMS §2.2, P1a; §2.3, "must remember this information").

The simulation tells `Shown` when a node sends its first message after a `Promised` or `Accepted`. A crash before that may undo
both. Traces of real nodes have no `Shown`: there the rule judges each life of a node by itself.
"""

from __future__ import annotations

from checkers.invariants.ledger import Ledger
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Accepted, Ballot, Promised, Shown, Slot, Started

_NONE: Ballot = (0, "")


class _Promises:
    """By slot, None for all: held: as last traced; shown: as others may know them. changed: where the two may differ."""

    __slots__ = ("changed", "held", "shown")

    def __init__(self) -> None:
        self.held: dict[Slot | None, Ballot] = {}
        self.shown: dict[Slot | None, Ballot] = {}
        self.changed: set[Slot | None] = set()


class PromisesKept:
    """Watches `Promised`, `Accepted`, and what the driver tells: `Shown`, `Started`."""

    name = "promises-kept"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {
            Promised: self._on_promised,
            Accepted: self._on_accepted,
            Shown: self._on_shown,
            Started: self._on_started,
        }
        self._nodes: dict[str, _Promises] = {}

    def _of(self, node: str) -> _Promises:
        promises = self._nodes.get(node)
        if promises is None:
            promises = self._nodes[node] = _Promises()
        return promises

    def _on_promised(self, time_ns: int, node: str, event: Promised) -> Violation | None:
        return self._raise(time_ns, node, event.slot, event.ballot, "promises")

    def _on_accepted(self, time_ns: int, node: str, event: Accepted) -> Violation | None:
        held = self._of(node).held
        ballot = event.ballot
        if None in held:  # A promise for all slots covers these; who promises by slot never has one for all.
            return None if held[None] == ballot else self._raise(time_ns, node, None, ballot, "accepts")
        for slot, _ in event.slots():
            if (
                held.get(slot) != ballot
                and (violation := self._raise(time_ns, node, slot, ballot, "accepts")) is not None
            ):
                return violation
        return None

    def _raise(self, time_ns: int, node: str, slot: Slot | None, ballot: Ballot, does: str) -> Violation | None:
        promises = self._of(node)
        held = promises.held.get(slot, _NONE)
        if ballot > held:
            promises.held[slot] = ballot
            promises.changed.add(slot)
        if ballot >= held:
            return None
        where = "" if slot is None else f" for slot {slot}"
        return Violation(
            self.name,
            f"{node} {does} under ballot {ballot[0]} of {ballot[1]}{where}, and had promised {held[0]} of {held[1]}",
            time_ns,
            (node,),
            {"slot": slot, "ballot": list(ballot), "promised": list(held)},
        )

    def _on_shown(self, _time_ns: int, node: str, _event: Shown) -> None:
        promises = self._of(node)
        if not promises.changed:  # As nearly always.
            return
        for slot in promises.changed:
            promises.shown[slot] = promises.held[slot]
        promises.changed.clear()

    def _on_started(self, _time_ns: int, node: str, _event: Started) -> None:
        promises = self._of(node)
        promises.held = dict(promises.shown)
        promises.changed.clear()
