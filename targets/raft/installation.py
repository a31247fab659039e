"""How snapshots take the place of the log: a member's own, and one that its leader sends (thesis §5, Raft §7)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from targets.core import NodeId, Send
from targets.machines.machine import Machine
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.log import Log
from targets.raft.member import Effects, Member
from targets.raft.messages import InstallSnapshot, InstallSnapshotReply
from targets.raft.options import RaftOptions
from targets.raft.records import Checkpoint
from targets.raft.snapshots import Incoming, Snapshot


class Installation(Member):
    """The rules of snapshots. incoming: what came of the one that the leader is sending."""

    def __init__(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: RaftOptions,
        bugs: frozenset[str],
        rng: random.Random,
        new_machine: Callable[[], Machine],
    ) -> None:
        super().__init__(node, members, options, bugs, rng, new_machine)
        self._incoming = Incoming()

    def _save_snapshot(self, out: Effects) -> None:
        """The state's last snapshot, with the log behind it, takes the place of all records (thesis §5.1)."""
        snapshot, log = self._state.snapshot, self._log
        assert snapshot is not None
        self._state.is_unsaved = False
        out.append(traces.snapshotted(snapshot))
        self._persist_snapshot(snapshot, out)
        log.compact(self._state.kept_index)

    def _persist_snapshot(self, snapshot: Snapshot, out: Effects) -> None:
        log = self._log
        first = snapshot.last_index + 1
        entries = log.entries_from(first, log.last_index + 1 - first)
        checkpoint = Checkpoint(self._term, self._voted_for, snapshot, entries, self._identity)
        self._persist(checkpoint, out, is_checkpoint=True)

    def _on_install_snapshot(self, source: NodeId, request: InstallSnapshot, out: Effects) -> None:
        """Take a chunk of the leader's snapshot; with the last one, the snapshot takes the place of log and state (Raft figure 13).

        A log that holds the snapshot's last entry holds all of it, and keeps what follows (figure 13, rule 6).
        """
        term, sequence, index, log = request.term, request.sequence, request.last_index, self._log
        if request.receiver != self._identity:
            return
        if term < self._term:
            out.append(Send(source, InstallSnapshotReply(self._term, 0)))
            return
        if not self._follow(source, term, out):
            return
        is_held = index <= self._commit_index or (index <= log.last_index and log.term_at(index) == request.last_term)
        if is_held and zoo.SNAPSHOT_LOSES_SUFFIX not in self._bugs:
            out.append(Send(source, InstallSnapshotReply(term, sequence, index, 0, index)))
            if index > self._commit_index:
                self._commit(index, out)
            return
        received, snapshot = self._incoming.take(request)
        if snapshot is None:
            out.append(Send(source, InstallSnapshotReply(term, sequence, index, received)))
            return
        self._state.restore(snapshot)
        self._state.give_up_writes(out)  # Their entries are in the snapshot, or nowhere.
        self._log = Log(index, snapshot.last_term, snapshot.config)
        self._commit_index = index
        out.append(traces.installed(snapshot))
        if self._log.config is not self._seen_config:
            self._take_config(out)
        self._persist_snapshot(snapshot, out)
        out.append(Send(source, InstallSnapshotReply(term, sequence, index, received, index)))
