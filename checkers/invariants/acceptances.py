"""Which nodes accepted what under which ballot, by slot: what the rules about chosen values read.

A value is chosen once a quorum of phase 2 has accepted it under one ballot (PMS §2.2). How many nodes that are is a majority,
unless the nodes tell otherwise by Custom("quorums", {"phase_1": ..., "phase_2": ...}).
"""

from __future__ import annotations

from typing import Any

from histories.tracing import Accepted, Ballot, Custom, Slot


class Acceptances:
    """is_complete: every acceptance is traced before anyone can know of it, as in the simulation. Real nodes lose the end of their
    trace when they are killed, and then nothing can be said about who had accepted a value.

    phase_2: size of a quorum that chooses; 0: nobody told. clash: what the last acceptance contradicts, in the first slot where it
    does: (slot, its value, another value under its ballot, who accepted that); None: nothing.
    """

    __slots__ = ("by_slot", "clash", "is_complete", "phase_2")

    def __init__(self) -> None:
        self.by_slot: dict[Slot, dict[Ballot, tuple[Any, set[str]]]] = {}
        self.is_complete = False
        self.phase_2 = 0
        self.clash: tuple[Slot, Any, Any, str] | None = None

    def on_accepted(self, _time_ns: int, node: str, event: Accepted) -> None:
        """The node holds this."""
        self.clash = None
        by_slot, ballot = self.by_slot, event.ballot
        for slot, command in event.slots():
            ballots = by_slot.get(slot)
            if ballots is None:
                ballots = by_slot[slot] = {}
            held = ballots.get(ballot)
            if held is None:
                ballots[ballot] = (command, {node})
            elif held[0] is command or held[0] == command:
                held[1].add(node)
            else:
                if self.clash is None:
                    self.clash = slot, command, held[0], min(held[1])
                ballots[ballot] = (command, {node})

    def on_custom(self, _time_ns: int, _node: str, event: Custom) -> None:
        """How large quorums are."""
        if event.name == "quorums":
            self.phase_2 = int(event.fields["phase_2"])

    def on_shown(self, _time_ns: int, _node: str, _event: object) -> None:
        """Only the simulation tells this."""
        self.is_complete = True

    def ballots_of(self, slot: Slot, command: Any) -> dict[Ballot, set[str]]:
        """Ballot -> who accepted `command` under it."""
        held = self.by_slot.get(slot, {})
        return {ballot: nodes for ballot, (value, nodes) in held.items() if value == command}
