"""What is chosen: one value for each slot, for ever, and nobody learns anything else (PMS §2.1, the safety requirements)."""

from __future__ import annotations

from typing import Any

import msgspec

from checkers.invariants.ledger import Ledger, in_words
from checkers.invariants.violation import Handler, Violation
from histories.tracing import Accepted, Ballot, Chosen, Slot


class OneValuePerSlot:
    """Only a single value is chosen: no two nodes ever learn different ones for a slot (PMS §2.1). Watches `Chosen`."""

    name = "one-value-per-slot"

    def __init__(self, _ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Chosen: self._on_chosen}
        self._first: dict[Slot, tuple[Any, str, int]] = {}

    def _on_chosen(self, time_ns: int, node: str, event: Chosen) -> Violation | None:
        known = self._first
        for slot, command in event.slots():
            first = known.get(slot)
            if first is None:
                known[slot] = (command, node, time_ns)
            elif first[0] is not command and first[0] != command:
                theirs, by, since_ns = first
                return Violation(
                    self.name,
                    f"{node} learns that {in_words(command)} is chosen for slot {slot}, where {by} had learned {in_words(theirs)}",
                    time_ns,
                    (by, node),
                    {"slot": slot, "values": msgspec.to_builtins([theirs, command]), "first_ns": since_ns},
                )
        return None


class OneValuePerBallot:
    """Each proposal has a number of its own: nobody accepts two values for one slot under one ballot (PMS §2.2). Watches
    `Accepted`."""

    name = "one-value-per-ballot"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Accepted: self._on_accepted}
        self._acceptances = ledger.acceptances

    def _on_accepted(self, time_ns: int, node: str, event: Accepted) -> Violation | None:
        clash = self._acceptances.clash
        if clash is None:
            return None
        slot, command, theirs, by = clash
        return Violation(
            self.name,
            f"{node} accepts {in_words(command)} for slot {slot} under ballot {event.ballot[0]} of {event.ballot[1]}, "
            f"under which {by} accepted {in_words(theirs)}",
            time_ns,
            (by, node),
            {"slot": slot, "ballot": list(event.ballot), "values": msgspec.to_builtins([theirs, command])},
        )


class ChosenStaysChosen:
    """Once a value is chosen, no higher ballot has another (PMS §2.2, P2). Watches `Chosen` and `Accepted`.

    The ballot under which a value was chosen is at most the highest that anyone had accepted it under when it was first learned:
    another value above that is a violation, whichever ballot it was.
    """

    name = "chosen-stays-chosen"

    def __init__(self, ledger: Ledger, _node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Chosen: self._on_chosen, Accepted: self._on_accepted}
        self._acceptances = ledger.acceptances
        self._decided: dict[Slot, tuple[Any, Ballot]] = {}

    def _on_chosen(self, time_ns: int, _node: str, event: Chosen) -> Violation | None:
        if not self._acceptances.is_complete:
            return None
        decided = self._decided
        for slot, command in event.slots():
            if slot not in decided and (violation := self._decide(time_ns, slot, command)) is not None:
                return violation
        return None

    def _decide(self, time_ns: int, slot: Slot, chosen: Any) -> Violation | None:
        """`chosen` is what was chosen for `slot`, if anyone accepted it at all."""
        ballots = self._acceptances.ballots_of(slot, chosen)
        if ballots:
            highest = max(ballots)
            self._decided[slot] = (chosen, highest)
            held = self._acceptances.by_slot[slot]
            for ballot in sorted(held):
                command, nodes = held[ballot]
                if ballot > highest and command != chosen:
                    return self._violation(time_ns, sorted(nodes)[0], slot, ballot, command)
        return None

    def _on_accepted(self, time_ns: int, node: str, event: Accepted) -> Violation | None:
        known, ballot = self._decided, event.ballot
        for slot, command in event.slots():
            decided = known.get(slot)
            if decided is None or decided[0] is command or ballot <= decided[1] or decided[0] == command:
                continue
            return self._violation(time_ns, node, slot, ballot, command)
        return None

    def _violation(self, time_ns: int, node: str, slot: Slot, ballot: Ballot, command: Any) -> Violation:
        chosen, highest = self._decided[slot]
        return Violation(
            self.name,
            f"{node} accepts {in_words(command)} for slot {slot} under ballot {ballot[0]} of {ballot[1]}; "
            f"{in_words(chosen)} was chosen there under {highest[0]} of {highest[1]} or before",
            time_ns,
            (node,),
            {"slot": slot, "chosen": msgspec.to_builtins(chosen), "accepted": msgspec.to_builtins(command)},
        )


class LearnedWasChosen:
    """A node never learns that a value has been chosen unless it has been (PMS §2.1). Watches `Chosen`, with what was accepted."""

    name = "learned-was-chosen"

    def __init__(self, ledger: Ledger, node_count: int) -> None:
        self.handlers: dict[type, Handler] = {Chosen: self._on_chosen}
        self._acceptances = ledger.acceptances
        self._majority = node_count // 2 + 1
        self._sound: dict[Slot, Any] = {}
        """What is known to have been chosen."""

    def _on_chosen(self, time_ns: int, node: str, event: Chosen) -> Violation | None:
        if not self._acceptances.is_complete:
            return None
        sound = self._sound
        for slot, command in event.slots():
            if slot not in sound or (sound[slot] is not command and sound[slot] != command):
                violation = self._judge(time_ns, node, slot, command)
                if violation is not None:
                    return violation
        return None

    def _judge(self, time_ns: int, node: str, slot: Slot, command: Any) -> Violation | None:
        """Whether a quorum has accepted what `node` learns."""
        least = self._acceptances.phase_2 or self._majority
        ballots = self._acceptances.ballots_of(slot, command)
        if any(len(nodes) >= least for nodes in ballots.values()):
            self._sound[slot] = command
            return None
        most = max((sorted(nodes) for nodes in ballots.values()), key=len, default=[])
        return Violation(
            self.name,
            f"{node} learns that {in_words(command)} is chosen for slot {slot}; under one ballot "
            f"{', '.join(most) or 'nobody'} accepted it, and a quorum is {least}",
            time_ns,
            (node,),
            {"slot": slot, "value": msgspec.to_builtins(command), "accepted_by": most, "quorum": least},
        )
