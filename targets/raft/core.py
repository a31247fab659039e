"""The Raft core: `step` routes, each `_on_x` is one rule of Raft figure 2.

It reads its clock only to tell how long a leader has been silent; no answer depends on a clock, but for reads=lease.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from targets.core import (
    DiskFailed,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Reply,
    Request,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
)
from targets.machines.machine import Answer, Command, Machine, TakeBackup, answer_with
from targets.machines.sessions import InSession, OpenSession
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.configuration import Change, TransferLeadership
from targets.raft.installation import Installation
from targets.raft.member import ELECTION, HEARTBEAT, MS, Effects
from targets.raft.membership import Membership
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Join,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from targets.raft.options import RaftOptions
from targets.raft.records import Identity, RecordsError, Truncate, replay
from targets.raft.transfer import Transfer

__all__ = ["ELECTION", "HEARTBEAT", "Raft"]


class Raft(Transfer, Installation, Membership):
    """A member that can be driven: what is common to all rules is in Member."""

    def __init__(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: RaftOptions,
        bugs: frozenset[str],
        rng: random.Random,
        new_machine: Callable[[], Machine],
    ) -> None:
        """new_machine: makes the machine that is replicated, in its initial state."""
        super().__init__(node, members, options, bugs, rng, new_machine)
        self._is_started = False
        self._is_read_local = options.reads == "local" or zoo.STALE_READ in bugs
        self._is_read_logged = options.reads == "log"

        self._on_event: dict[type, Callable[[Any, Effects], None]] = {
            Started: self._on_started,
            Received: self._on_received,
            Request: self._on_request,
            TimerFired: self._on_timer,
            SyncDone: self._on_sync_done,
            DiskFailed: self._on_disk_failed,
        }
        self._on_message: dict[type, Callable[[NodeId, Any, Effects], None]] = {
            AppendEntries: self._on_append_entries,
            AppendEntriesReply: self._on_follower_reply,
            InstallSnapshot: self._on_install_snapshot,
            InstallSnapshotReply: self._on_follower_reply,
            RequestVote: self._on_request_vote,
            RequestVoteReply: self._on_request_vote_reply,
            PreVote: self._on_pre_vote,
            PreVoteReply: self._on_pre_vote_reply,
            Join: self._on_join,
            TimeoutNow: self._on_timeout_now,
        }

    def step(self, now_ns: int, event: Event) -> Effects:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        assert self._is_started != (type(event) is Started), "Started is the first event, and comes once"
        self._now_ns = now_ns
        if self._is_read_leased and self._leadership is not None and self._leadership.lease is not None:
            self._leadership.lease.now_ns = now_ns
        out: Effects = []
        self._on_event[type(event)](event, out)
        if self._state.is_unsaved:
            self._save_snapshot(out)
        return out

    def status(self) -> dict[str, Any]:
        """For people, `GET /status` and the choice of a primary."""
        return {
            "role": self._role,
            "term": self._term,
            "leader": self._leader,
            "voted_for": self._voted_for,
            "commit_index": self._commit_index,
            "applied_index": self._state.applied_index,
            "snapshot_index": 0 if self._state.snapshot is None else self._state.snapshot.last_index,
            "log_length": self._log.last_index,
            "last_log_term": self._log.last_term,
            "voters": sorted(self._config.voters),
            "learners": sorted(self._config.learners),
            "joining": list(self._config.joining),
            "identity": self._identity,
            "identities": {**self._config.voters, **self._config.learners},
            "config_index": self._log.config_index,
            "reads": self._options.reads,
            "bugs": sorted(self._bugs),
        }

    def _on_received(self, event: Received, out: Effects) -> None:
        """Route a member's message; a stranger's is dropped."""
        if event.source in self._nodes:
            self._on_message[type(event.message)](event.source, event.message, out)

    # --- start and stop -----------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, out: Effects) -> None:
        """Begin as a follower with what the disk holds (Raft §5.2).

        A damaged disk ends the node: a voter that has forgotten a vote or an entry is outside Raft's fault model, and
        must not vote again.
        """
        self._is_started = True
        self._silence.heard_ns = self._now_ns
        if event.damage is not None:
            out.append(Halt(f"the disk is damaged: {event.damage}"))
            return
        try:
            state, snapshot, self._log, self._identity = replay(event.records)
        except RecordsError as error:
            out.append(Halt(f"the disk is damaged: {error}"))
            return
        if event.is_rejoining and not event.records and zoo.WIPED_VOTER_VOTES not in self._bugs:
            self._identity = self._rng.getrandbits(52) + 1
            out.append(traces.rejoining(self._identity))
            self._persist(Identity(self._identity), out)
        self._term, self._voted_for = state.term, state.voted_for
        if snapshot is not None:
            self._state.restore(snapshot)
            self._commit_index = snapshot.last_index
        if zoo.REUSE_INDEX_AFTER_RESTART in self._bugs and self._log.last_index > self._log.base_index:
            out.append(Persist(Truncate(self._log.last_index)))
            self._log.truncate(self._log.last_index)
        if self._identity or self._log.config is not None or len(self._config.voters) < len(self._nodes):
            self._take_config(out)
        out.append(traces.role("follower", self._term))
        # A crash may have come between a trace and its record: say what the log really holds.
        out.append(traces.recovered(self._log, (self._term, self._voted_for)))
        self._await_leader(out)

    def _on_disk_failed(self, event: DiskFailed, out: Effects) -> None:
        """Stop: the disk does not hold what this node would promise from now on."""
        out.append(Halt(f"the disk failed: {event.reason}"))

    # --- timers -------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerFired, out: Effects) -> None:
        if self._held_back:
            out += self._held_back
            self._held_back.clear()
        leadership = self._leadership
        if event.name == HEARTBEAT:
            if leadership is not None:
                leadership.send_heartbeats(self._commit_index, out)
                out.append(SetTimer(HEARTBEAT, self._options.heartbeat_ms * MS))
                if leadership.heir is not None:
                    self._wait_for(leadership, leadership.heir, out)
                if leadership.asked_changes:
                    self._settle_changes(leadership, out, is_beat=True)
                if self._config.joining:
                    self._promote(leadership, out)
        elif leadership is not None:
            self._check_quorum(leadership, out)
        else:
            self._on_election_timeout(out)

    # --- clients ------------------------------------------------------------------------------------------------------

    def _on_request(self, event: Request, out: Effects) -> None:
        """The leader serves; others name the leader they know (Raft §8)."""
        command, request_id, leadership = event.body, event.request_id, self._leadership
        assert isinstance(command, Command), f"a request carries a Command, not {type(command).__name__}"
        is_read, is_backup = command.is_read, command.__class__ is TakeBackup
        if is_read and self._is_read_local and not is_backup:
            out.append(Reply(request_id, self._state.query(command), self._state.applied_index))
        elif leadership is None:
            out.append(Reply(request_id, Answer("not-leader", leader=self._leader)))
        elif is_read and (not self._is_read_logged or is_backup):
            if leadership.begin_read(request_id, command, self._commit_index):
                leadership.replicate(self._commit_index, out)
            self._answer_reads(leadership, out)
        elif isinstance(command, TransferLeadership):
            self._transfer(leadership, event.request_id, command, out)
        elif leadership.heir is not None:  # It would only have to catch up with more.
            out.append(Reply(request_id, Answer("not-leader")))
        elif not self._options.sessions and isinstance(command, (OpenSession, InSession)):
            out.append(
                Reply(request_id, Answer("refused", reason="the node has no sessions: start it with sessions=true"))
            )
        elif isinstance(command, Change):
            self._change(leadership, request_id, command, out)
        elif not is_read and zoo.REPLY_BEFORE_COMMIT in self._bugs:
            self._append_own(leadership, command, out)
            out.append(
                Reply(request_id, answer_with(self._state.guessed_result(self._term, self._log)), self._log.last_index)
            )
        else:
            # It waits before it is appended: a cluster of one may commit it within the append.
            self._state.writes.add(self._log.last_index + 1, self._term, request_id)
            self._append_own(leadership, command, out)
