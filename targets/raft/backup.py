"""A backup of a Raft cluster: the machine's state at one index of the log, as the leader had applied it when a majority confirmed
that it led. So it holds every write that was acknowledged before it was asked for.

A restored cluster is a new one. All its members begin with that state in the place of the log, vote as the options say, and owe
nothing to what the old members had voted or promised. Its terms begin far above the old ones, so that no message of the old cluster
that is still under way counts.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from targets.machines.backup import AHEAD, Natural, decoded
from targets.machines.machine import Machine
from targets.machines.sessions import SessionMachine
from targets.raft import snapshots
from targets.raft.records import Checkpoint
from targets.raft.snapshots import Snapshot


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """term: the leader's. last_index, last_term, text: as in Snapshot. has_sessions: the state is one of client sessions too."""

    term: Natural
    last_index: Natural
    last_term: Natural
    text: str
    has_sessions: bool = False


def take(term: int, machine: Machine, applied_index: int, applied_term: int) -> str:
    """The backup of this state, as JSON."""
    snapshot = snapshots.take(machine, applied_index, applied_term, None)
    saved = Saved(term, applied_index, applied_term, snapshot.text, isinstance(machine, SessionMachine))
    return msgspec.json.encode(saved).decode()


def restored(text: str, number: int, new_machine: Callable[[], Machine]) -> Checkpoint[object]:
    """What each member's disk holds after the restore of this number. Raises ValueError for what is no backup of this machine."""
    saved = decoded(text, Saved)
    machine = new_machine()
    if saved.has_sessions != isinstance(machine, SessionMachine):
        raise ValueError(
            f"its data has {'' if saved.has_sessions else 'no '}client sessions, unlike this cluster (sessions=true)"
        )
    try:
        machine.restore(Snapshot(saved.last_index, saved.last_term, saved.text).state())
        if isinstance(machine, SessionMachine):
            machine.skip_sessions(number * AHEAD)
        snapshot = snapshots.take(machine, saved.last_index, saved.last_term, None)
    except Exception as error:
        raise ValueError(f"it holds no state of {machine.name}: {type(error).__name__}: {error}") from error
    term = max(saved.term, saved.last_term) + number * AHEAD
    return Checkpoint(term, None, snapshot, ())
