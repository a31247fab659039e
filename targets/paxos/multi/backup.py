"""A backup of a Multi-Paxos cluster: the machine's state after one slot, as the leader knew it when a quorum confirmed that it led.
So it holds every write that was acknowledged before it was asked for.

A restored cluster is a new one: all its members begin with that state, and none has promised or accepted anything behind it. Its
ballots begin far above the old ones, so that no message of the old cluster that is still under way counts.
"""

from __future__ import annotations

import msgspec

from targets.machines.backup import AHEAD, Natural, decoded
from targets.machines.machine import Machine
from targets.paxos.ballots import Ballot
from targets.paxos.multi import snapshots
from targets.paxos.multi.records import Checkpoint
from targets.paxos.multi.snapshots import Snapshot


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """round: the highest of any ballot that the leader knew of. index, text: as in Snapshot."""

    round: Natural
    index: Natural
    text: str


def take(highest: Ballot, machine: Machine, index: int) -> str:
    """The backup of this state, as JSON."""
    return msgspec.json.encode(Saved(highest[0], index, snapshots.take(machine, index).text)).decode()


def restored(text: str, number: int, machine_type: type[Machine]) -> Checkpoint[object]:
    """What each member's disk holds after the restore of this number. Raises ValueError for what is no backup of this machine."""
    saved = decoded(text, Saved)
    snapshot = Snapshot(saved.index, saved.text)
    try:
        snapshots.restored(snapshot, machine_type)
    except Exception as error:
        raise ValueError(f"it holds no state of {machine_type.name}: {type(error).__name__}: {error}") from error
    ballot: Ballot = (saved.round + number * AHEAD, "")
    return Checkpoint(ballot, ballot, snapshot, ())
