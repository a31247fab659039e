"""What a slot is decided for: a command, and the ballot under which it was first proposed.

A leader proposes one entry for a slot. So slot and origin name the proposal, also when another leader proposes it again: a client's
command was chosen exactly where the chosen entry has the origin of its own, however equal another client's may be.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from targets.paxos.ballots import Ballot, Natural

C = TypeVar("C")
"""The commands of the machine that is replicated: a Command or a union of them."""


class Entry(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """command: None for the no-op that fills a gap (PMS §3)."""

    origin: Ballot
    command: C | None = None


class Held(msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What an acceptor has accepted in a slot. is_chosen: its learner knows that this is chosen, whatever the ballot."""

    slot: Natural
    ballot: Ballot
    entry: Entry[C]
    is_chosen: bool = False
