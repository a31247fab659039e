"""A participant: locks, prepares, votes, and carries out what the coordinator decides for one shard of the keys.

Between its yes and the decision it is in doubt: it may decide nothing alone, and its locks stay (Gray 1978, §5.8.3.3). That is why
two-phase commit blocks. doubt.py says how it learns the decision when the coordinator does not tell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from histories.tracing import Custom
from targets.core import CancelTimer, Effect, NodeId, Persist, Send, SetTimer, Trace
from targets.machines.machine import Key
from targets.twopc import bugs as zoo
from targets.twopc.locks import LockTable, Wanted
from targets.twopc.logical_clock import LogicalClock
from targets.twopc.messages import Abort, Acknowledge, Commit, Prepare, Vote
from targets.twopc.options import CommitOptions
from targets.twopc.outcomes import ABORTED, Outcomes
from targets.twopc.records import Aborted, Committed, PreCommitted, Prepared
from targets.twopc.store import VERSIONS_MAX, Store, TooOld
from targets.twopc.transactions import Step, TxnId, carry_out, name_of, read_keys, written_keys

Effects = list[Effect]

LOCK = "lock "
DOUBT = "doubt "

_MS = 1_000_000


def timer_of(kind: str, txn: TxnId) -> str:
    """The name of the transaction's timer of this kind."""
    return f"{kind}{txn[0]} {txn[1]}"


class InDoubt:
    """A transaction that this participant has voted for. heard: what the others said when asked last. pre_committed: it knows that
    all have voted yes. was_down: the participant has restarted since. doubted: a time-out has passed without the decision."""

    __slots__ = ("doubted", "heard", "pre_committed", "record", "was_down")

    def __init__(self, record: Prepared, *, was_down: bool = False) -> None:
        self.record = record
        self.heard: dict[NodeId, str] = {}
        self.pre_committed: int | None = None
        self.was_down = was_down
        self.doubted = False


class Participant:
    """The role's state. clock: the node's.

    Invariants: what is in doubt holds its locks; a transaction that ended is never prepared again.
    """

    def __init__(self, node: NodeId, options: CommitOptions, bugs: frozenset[str], clock: LogicalClock) -> None:
        self._node = node
        self._options = options
        self._bugs = bugs
        self._clock = clock
        self.locks = LockTable()
        self.store = Store(VERSIONS_MAX if options.isolation == "snapshot" else 1)
        self.outcomes = Outcomes(forgets_by_low=options.protocol == "2pc")
        self.in_doubt: dict[TxnId, InDoubt] = {}
        self._waiting: dict[TxnId, Prepare] = {}
        self._replayable: dict[TxnId, Prepared] = {}
        """Filled only by bugs: what a commit that comes once more is carried out from."""
        self.committed_count = 0

    # --- from the disk --------------------------------------------------------------------------------------------------

    def recover(self, record: Prepared | PreCommitted | Committed | Aborted) -> None:
        """Take a record from the disk."""
        self._clock.witness(getattr(record, "timestamp", 0))
        match record:
            case Prepared():
                self.in_doubt[record.txn] = InDoubt(record, was_down=True)
            case PreCommitted():
                if record.txn in self.in_doubt:
                    self.in_doubt[record.txn].pre_committed = record.timestamp
            case Committed():
                doubt = self.in_doubt.pop(record.txn, None)
                if doubt is not None:
                    self._apply(doubt.record, record.timestamp)
                self.outcomes.add(record.txn, record.timestamp)
            case Aborted():
                self.in_doubt.pop(record.txn, None)
                self.outcomes.add(record.txn, ABORTED)

    def resume(self, out: Effects) -> dict[str, Any]:
        """What is in doubt has its locks again, and is asked about at once. The result is for the trace."""
        for txn, doubt in self.in_doubt.items():
            if zoo.LOCKS_LOST not in self._bugs:
                keys = tuple(key for key, _ in doubt.record.writes)
                self.locks.hold(Wanted(txn, doubt.record.reads, keys))
            out.append(SetTimer(timer_of(DOUBT, txn), 1))
        return {
            "in_doubt": [name_of(txn) for txn in self.in_doubt],
            "committed": self.outcomes.names(committed=True),
            "aborted": self.outcomes.names(committed=False),
            "low": dict(self.outcomes.low),
        }

    # --- the vote -------------------------------------------------------------------------------------------------------

    def on_prepare(self, source: NodeId, message: Prepare, out: Effects) -> None:
        """Get the locks, now or later; or vote no where waiting could be a deadlock."""
        txn = message.txn
        self._clock.witness(message.timestamp)
        if self.outcomes.is_finished(txn):
            return
        self.outcomes.raise_low(source, message.low)
        if (ended := self.outcomes.of(txn)) is not None:
            # The answer to the decision was lost, or this came late.
            out.append(Send(source, self._acknowledgement(txn) if ended else self._no(txn, "aborted already")))
            return
        if txn in self.in_doubt:
            record = self.in_doubt[txn].record
            out.append(Send(source, Vote(txn, True, record.timestamp, record.results)))
            return
        if txn in self._waiting:
            return
        wanted = self._wanted(message)
        conflicts = self._conflicts(message, wanted)
        if not conflicts:
            self._vote(message, wanted, out)
        elif self._options.locks == "wait-die" and conflicts[0] < txn:
            out.append(Send(source, self._no(txn, "locked by an older transaction")))
        else:
            self._waiting[txn] = message
            self.locks.wait(wanted)
            out.append(SetTimer(timer_of(LOCK, txn), self._options.lock_wait_ms * _MS))

    def _wanted(self, message: Prepare) -> Wanted:
        """Strict two-phase locking locks what it reads; the other levels lock what they write."""
        shared = read_keys(message.steps, self.store.keys) if self._options.isolation == "serializable" else ()
        if zoo.PREPARED_READ in self._bugs:
            shared = ()
        return Wanted(message.txn, shared, written_keys(message.steps))

    def _conflicts(self, message: Prepare, wanted: Wanted) -> tuple[TxnId, ...]:
        """Whom the transaction has to wait for; sorted. A snapshot has to know how those ended that may belong to it."""
        found = self.locks.conflicts(wanted)
        if self._options.isolation != "snapshot":
            return found
        reads = {*(key for _, key, _ in message.steps), *read_keys(message.steps, self.store.keys)}
        unsettled = [
            txn
            for txn, doubt in self.in_doubt.items()
            if doubt.record.timestamp <= message.timestamp and any(key in reads for key, _ in doubt.record.writes)
        ]
        return tuple(sorted({*found, *unsettled}))

    def _vote(self, message: Prepare, wanted: Wanted, out: Effects) -> None:
        """Carry out the steps and vote. A yes, with what it promises to write, is on disk before it is told."""
        txn, coordinator = message.txn, message.txn[1]
        done = self._carried_out(message)
        if isinstance(done, str):
            self.locks.release(txn)
            out.append(Trace(Custom("voted", {"txn": name_of(txn), "vote": "no"})))
            out.append(Send(coordinator, self._no(txn, done)))
            self._wake(out)
            return
        results, writes = done
        self.locks.hold(wanted)
        record = Prepared(txn, message.participants, tuple(writes.items()), wanted.shared, results, self._clock.tick())
        self.in_doubt[txn] = InDoubt(record)
        if zoo.VOTE_NOT_DURABLE not in self._bugs:
            out.append(Persist(record))
        if zoo.DIRTY_READ in self._bugs:
            for key, value in record.writes:
                self.store.put(key, value, record.timestamp)
        fields = {"txn": name_of(txn), "vote": "yes", "participants": sorted(message.participants)}
        out.append(Trace(Custom("voted", fields)))
        out.append(Send(coordinator, Vote(txn, True, record.timestamp, results)))
        out.append(SetTimer(timer_of(DOUBT, txn), self._options.doubt_ms * _MS))
        if zoo.LOCKS_RELEASED_AT_VOTE in self._bugs:
            self.locks.release(txn)
            self._wake(out)
        elif zoo.READ_LOCKS_RELEASED_AT_VOTE in self._bugs:
            self.locks.release(txn, shared_only=True)
            self._wake(out)

    def _carried_out(self, message: Prepare) -> tuple[tuple[Any, ...], Mapping[Key, Any]] | str:
        """(what each step saw, what is to be written), or the reason of a no."""
        if self._options.isolation != "snapshot":
            read = self._read_prepared if zoo.PREPARED_READ in self._bugs else self.store.newest
            return carry_out(message.steps, read, self.store.keys)
        snapshot = message.timestamp
        if zoo.SNAPSHOT_TAKEN_LATE in self._bugs:
            snapshot = self._clock.now
        if zoo.FIRST_COMMITTER_IGNORED not in self._bugs and self._is_overwritten(message.steps, snapshot):
            return "another wrote first"
        try:
            return carry_out(message.steps, lambda key: self.store.at(key, snapshot), self.store.keys)
        except TooOld:
            return "snapshot too old"

    def _is_overwritten(self, steps: tuple[Step, ...], snapshot: int) -> bool:
        """Whether somebody wrote, after the snapshot, what the transaction writes (Berenson and others 1995, §4.2)."""
        return any(self.store.written_at(key) > snapshot for key in written_keys(steps))

    def _read_prepared(self, key: Key) -> Any:
        """What the bug reads: what somebody has prepared, who may yet abort."""
        for doubt in self.in_doubt.values():
            for written, value in doubt.record.writes:
                if written == key:
                    return value
        return self.store.newest(key)

    def _no(self, txn: TxnId, reason: str) -> Vote:
        return Vote(txn, False, self._clock.now, reason=reason)

    def on_lock_timer(self, txn: TxnId, out: Effects) -> None:
        """Whoever waits too long may wait for one that waits for it."""
        if self._waiting.pop(txn, None) is None:
            return
        self.locks.release(txn)
        out.append(Trace(Custom("voted", {"txn": name_of(txn), "vote": "no"})))
        out.append(Send(txn[1], self._no(txn, "waited too long for a lock")))
        self._wake(out)

    def _wake(self, out: Effects) -> None:
        """Whoever stands in line and has nobody before it goes on."""
        while (txn := self._first_ready()) is not None:
            message = self._waiting.pop(txn)
            self.locks.release(txn)
            out.append(CancelTimer(timer_of(LOCK, txn)))
            self._vote(message, self._wanted(message), out)

    def _first_ready(self) -> TxnId | None:
        for txn, message in self._waiting.items():
            if not self._conflicts(message, self._wanted(message)):
                return txn
        return None

    # --- the decision ---------------------------------------------------------------------------------------------------

    def on_commit(self, message: Commit, out: Effects) -> None:
        """Carry it out, and let the coordinator forget. What is not known here was acknowledged before."""
        txn = message.txn
        self._clock.witness(message.timestamp)
        if txn in self.in_doubt:
            self.commit(txn, message.timestamp, out)
            return
        if txn in self._replayable:  # Only with a bug.
            self._apply(self._replayable[txn], message.timestamp)
            out.append(Trace(Custom("decided", {"txn": name_of(txn), "decision": "commit", "as": "participant"})))
        out.append(Send(txn[1], self._acknowledgement(txn)))

    def commit(self, txn: TxnId, timestamp: int, out: Effects) -> None:
        """The transaction has committed: its writes and the end of its locks are one."""
        doubt = self.in_doubt.pop(txn)
        out.append(Persist(Committed(txn, timestamp)))
        self._apply(doubt.record, timestamp)
        self.outcomes.add(txn, timestamp)
        self.committed_count += 1
        if zoo.COMMIT_APPLIED_TWICE in self._bugs:
            self._replayable[txn] = doubt.record
        self._decided(txn, "commit", out)
        out.append(Send(txn[1], self._acknowledgement(txn)))
        self._wake(out)

    def remember_for_late_commit(self, record: Prepared) -> None:
        """Only bugs call this."""
        self._replayable[record.txn] = record

    def on_abort(self, message: Abort, out: Effects) -> None:
        """Drop it."""
        self.abort(message.txn, out)

    def abort(self, txn: TxnId, out: Effects) -> None:
        """The transaction has aborted, and will not be prepared again."""
        doubt = self.in_doubt.pop(txn, None)
        was_waiting = self._waiting.pop(txn, None) is not None
        if self.outcomes.of(txn) is None and not self.outcomes.is_finished(txn):
            self.outcomes.add(txn, ABORTED)
        if doubt is not None:
            out.append(Persist(Aborted(txn)))
            self._decided(txn, "abort", out)
        elif was_waiting:
            out.append(CancelTimer(timer_of(LOCK, txn)))
            self.locks.release(txn)
        self._wake(out)

    def refuse(self, txn: TxnId, out: Effects) -> None:
        """Promise for ever not to vote for it: then it has aborted."""
        out.append(Persist(Aborted(txn)))
        self.abort(txn, out)

    def _decided(self, txn: TxnId, decision: str, out: Effects) -> None:
        fields = {"txn": name_of(txn), "decision": decision, "as": "participant"}
        out.append(Trace(Custom("decided", fields)))
        out.append(CancelTimer(timer_of(DOUBT, txn)))
        if decision == "abort" and zoo.LOCKS_KEPT_AFTER_ABORT in self._bugs:
            return
        self.locks.release(txn)

    def _apply(self, record: Prepared, timestamp: int) -> None:
        """The shard holds what the transaction wrote."""
        self._clock.witness(timestamp)
        for key, value in record.writes:
            self.store.put(key, value, timestamp)

    def _acknowledgement(self, txn: TxnId) -> Acknowledge:
        return Acknowledge(txn, self._clock.now)
