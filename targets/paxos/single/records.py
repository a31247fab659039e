"""What a node keeps on disk (PMS §2.2 and §2.3: an acceptor's promise and its highest proposal, a proposer's highest ballot)."""

from __future__ import annotations

from typing import Any

import msgspec

from targets.machines.machine import Key
from targets.paxos.ballots import Ballot


class Drawn(msgspec.Struct, frozen=True, tag="drawn", forbid_unknown_fields=True, gc=False):
    """This node's proposer has used this ballot, and never draws it again."""

    key: Key
    ballot: Ballot


class Promised(msgspec.Struct, frozen=True, tag="promised", forbid_unknown_fields=True, gc=False):
    """The acceptor accepts nothing below this ballot."""

    key: Key
    ballot: Ballot


class Accepted(msgspec.Struct, frozen=True, tag="accepted", forbid_unknown_fields=True, gc=False):
    """The acceptor has accepted this proposal, and accepts nothing below it."""

    key: Key
    ballot: Ballot
    value: Any


class Learned(msgspec.Struct, frozen=True, tag="learned", forbid_unknown_fields=True, gc=False):
    """The learner knows that this value is chosen. Nothing waits for it: who forgets it learns it again."""

    key: Key
    value: Any


SingleRecord = Drawn | Promised | Accepted | Learned
