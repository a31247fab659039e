"""The Raft core: `step` routes, each `_on_x` is one rule of Raft figure 2.

It reads its clock only to tell how long a leader has been silent; no answer depends on a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from targets.core import (
    CancelTimer,
    DiskFailed,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
)
from targets.machines.machine import Answer, Command, Machine, answer_with
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.leadership import Leadership
from targets.raft.log import Entry, Log
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from targets.raft.options import RaftOptions
from targets.raft.quorum import majority
from targets.raft.records import Append, Checkpoint, HardState, RaftRecord, RecordsError, Truncate, replay
from targets.raft.silence import Silence
from targets.raft.snapshots import Incoming, Snapshot
from targets.raft.state_machine import StateMachine

Role = Literal["follower", "pre-candidate", "candidate", "leader"]
Effects = list[Effect]

ELECTION = "election"
HEARTBEAT = "heartbeat"

_MS = 1_000_000


class Raft:
    """One member of a cluster of fixed membership.

    Invariants: commit_index <= log.last_index; the term never falls; the leader of a term never changes.
    """

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
        assert node in members, f"{node} is not one of {members}"
        self._node = node
        self._options = options
        self._bugs = bugs
        self._others = tuple(sorted(member for member in members if member != node))
        self._majority = majority(len(self._others) + 1)
        self._is_started = False

        # Raft figure 2: persistent state, then volatile state.
        self._term = 0
        self._voted_for: NodeId | None = None
        self._log = Log()
        self._role: Role = "follower"
        self._leader: NodeId | None = None
        self._commit_index = 0
        self._state = StateMachine(new_machine, options.snapshot_entries)
        self._incoming = Incoming()

        self._now_ns = 0
        self._silence = Silence(options.election_ms_min * _MS, options.election_ms_max * _MS, rng)
        self._votes: set[NodeId] = set()
        self._leadership: Leadership | None = None
        """Not None exactly while the role is leader."""
        self._token = 0

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
        }

    def step(self, now_ns: int, event: Event) -> Effects:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        assert self._is_started != (type(event) is Started), "Started is the first event, and comes once"
        self._now_ns = now_ns
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
            "reads": self._options.reads,
            "bugs": sorted(self._bugs),
        }

    def _on_received(self, event: Received, out: Effects) -> None:
        """Route a member's message; a stranger's is dropped."""
        if event.source in self._others:
            self._on_message[type(event.message)](event.source, event.message, out)

    # --- start and stop -----------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, out: Effects) -> None:
        """Begin as a follower with what the disk holds (Raft §5.2).

        A damaged disk ends the node: a voter that has forgotten a vote or an entry is outside Raft's fault model, and
        must not vote again.
        """
        self._is_started = True
        if event.damage is not None:
            out.append(Halt(f"the disk is damaged: {event.damage}"))
            return
        try:
            state, snapshot, self._log = replay(event.records)
        except RecordsError as error:
            out.append(Halt(f"the disk is damaged: {error}"))
            return
        self._term, self._voted_for = state.term, state.voted_for
        if snapshot is not None:
            self._state.restore(snapshot)
            self._commit_index = snapshot.last_index
        out.append(traces.role("follower", self._term))
        # A crash may have come between a trace and its record: say what the log really holds.
        out.append(traces.recovered(self._log))
        self._await_leader(out)

    def _on_disk_failed(self, event: DiskFailed, out: Effects) -> None:
        """Stop: the disk does not hold what this node would promise from now on."""
        out.append(Halt(f"the disk failed: {event.reason}"))

    # --- timers -------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerFired, out: Effects) -> None:
        leadership = self._leadership
        if event.name == HEARTBEAT:
            if leadership is not None:
                leadership.send_heartbeats(self._commit_index, out)
                out.append(SetTimer(HEARTBEAT, self._options.heartbeat_ms * _MS))
        elif leadership is not None:
            self._check_quorum(leadership, out)
        else:
            self._on_election_timeout(out)

    def _await_leader(self, out: Effects) -> None:
        """From now on, wait a new random time-out for word from a leader (Raft §5.2)."""
        out.append(SetTimer(ELECTION, self._silence.begin(self._now_ns)))

    def _on_election_timeout(self, out: Effects) -> None:
        """The node heard no leader and gave no vote for a whole time-out: stand for election (Raft §5.2)."""
        remaining_ns = self._silence.remaining_ns(self._now_ns)
        if remaining_ns > 0:
            out.append(SetTimer(ELECTION, remaining_ns))
            return
        self._leader = None
        self._state.give_up_writes(out)  # No leader is in reach to tell how they end.
        if self._options.pre_vote and self._others:
            self._begin_pre_vote(out)
        else:
            self._begin_election(out)

    def _check_quorum(self, leadership: Leadership, out: Effects) -> None:
        """A leader that a majority left unanswered for an election time-out steps down (thesis §6.2)."""
        if leadership.count_active() < self._majority and self._options.check_quorum:
            self._become_follower(self._term, None, out)
        else:
            out.append(SetTimer(ELECTION, self._options.election_ms_max * _MS))

    # --- elections ----------------------------------------------------------------------------------------------------

    def _begin_pre_vote(self, out: Effects) -> None:
        """Ask whether a majority would vote for this node, before disturbing anyone with a new term (thesis §9.6)."""
        if self._role != "pre-candidate":
            self._set_role("pre-candidate", out)
        self._votes = {self._node}
        message = PreVote(self._term + 1, self._node, self._log.last_index, self._log.last_term)
        out.extend([Send(other, message) for other in self._others])
        self._await_leader(out)

    def _begin_election(self, out: Effects) -> None:
        """Increment the term, vote for self, reset the election timer, ask all others (Raft figure 2, candidates)."""
        self._term += 1
        self._set_role("candidate", out)
        self._votes = {self._node}
        self._vote(self._node, out)
        message = RequestVote(self._term, self._node, self._log.last_index, self._log.last_term)
        out.extend([Send(other, message) for other in self._others])
        self._await_leader(out)
        if self._majority == 1:
            self._become_leader(out)

    def _vote(self, candidate: NodeId, out: Effects) -> None:
        """Give the vote of this term to `candidate`, and wait a time-out for the result."""
        self._voted_for = candidate
        self._silence.since_ns = self._now_ns
        out.append(traces.vote(self._term, candidate))
        if zoo.VOTE_TWICE not in self._bugs:
            self._persist_state(out)  # Before the Send behind it: a restarted node must not vote twice.

    def _on_request_vote(self, source: NodeId, request: RequestVote, out: Effects) -> None:
        """Grant at most one vote per term, and only to an up-to-date log (Raft §5.2, §5.4.1)."""
        is_new_term = request.term > self._term
        if is_new_term:
            self._become_follower(request.term, None, out)
        is_up_to_date = (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)
        granted = request.term == self._term and is_up_to_date and self._voted_for in (None, source)
        if granted and self._voted_for is None:
            self._vote(source, out)
        elif is_new_term:
            self._persist_state(out)
        out.append(Send(source, RequestVoteReply(self._term, granted)))

    def _on_request_vote_reply(self, source: NodeId, reply: RequestVoteReply, out: Effects) -> None:
        """Lead with the votes of a majority for one term (Raft §5.2)."""
        if reply.term > self._term:
            self._adopt_term(reply.term, out)
        elif reply.term == self._term and reply.vote_granted and self._role == "candidate":
            self._votes.add(source)
            if len(self._votes) >= self._majority:
                self._become_leader(out)

    def _on_pre_vote(self, source: NodeId, request: PreVote, out: Effects) -> None:
        """Say yes to a request that would get this node's vote, unless it heard from a leader lately (thesis §9.6, §4.2.3)."""
        has_leader = self._leader == self._node or (self._leader is not None and self._silence.is_short(self._now_ns))
        may_vote = request.term > self._term or (request.term == self._term and self._voted_for in (None, source))
        is_up_to_date = (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)
        granted = may_vote and is_up_to_date and not has_leader
        out.append(Send(source, PreVoteReply(request.term if granted else self._term, granted)))

    def _on_pre_vote_reply(self, source: NodeId, reply: PreVoteReply, out: Effects) -> None:
        """Begin the term when a majority would vote for this node."""
        if not reply.vote_granted:
            if reply.term > self._term:
                self._adopt_term(reply.term, out)
        elif reply.term == self._term + 1 and self._role == "pre-candidate":
            self._votes.add(source)
            if len(self._votes) >= self._majority:
                self._begin_election(out)

    # --- roles and terms ----------------------------------------------------------------------------------------------

    def _set_role(self, role: Role, out: Effects) -> None:
        self._role = role
        out.append(traces.role(role, self._term))

    def _adopt_term(self, term: int, out: Effects) -> None:
        """Take a higher term from any message and be a follower (Raft §5.1)."""
        self._become_follower(term, None, out)
        self._persist_state(out)

    def _become_follower(self, term: int, leader: NodeId | None, out: Effects) -> None:
        """Follow in `term`, which is not below this node's. A new term is in memory only: the caller persists it.

        Reads that wait fail at once; writes go on waiting for news of their entries.
        """
        leadership, self._leadership = self._leadership, None
        is_new_term = term > self._term
        self._leader = leader
        if is_new_term:
            self._term, self._voted_for = term, None
        if is_new_term or self._role != "follower":
            self._set_role("follower", out)
        if leadership is not None:
            for request_id in leadership.reads.drain():
                out.append(Reply(request_id, Answer("not-leader", leader=leader)))
            out.append(CancelTimer(HEARTBEAT))
            self._await_leader(out)

    def _become_leader(self, out: Effects) -> None:
        """Open the term with a no-op, and send it to all (Raft figure 2, leaders; §8).

        Only an entry of its own term tells a leader what is committed (Raft §5.4.2), so it makes one at once. It comes after every
        entry that was committed before, so reads wait for it (thesis §6.4).
        """
        self._leader = self._node
        self._set_role("leader", out)
        leadership = Leadership(self._node, self._term, self._log, self._state, self._others, self._options)
        self._leadership = leadership
        out.append(SetTimer(ELECTION, self._options.election_ms_max * _MS))
        out.append(SetTimer(HEARTBEAT, self._options.heartbeat_ms * _MS))
        if zoo.COMMIT_BY_COUNT in self._bugs:  # Who trusts the count needs no no-op.
            leadership.read_index_min = self._log.last_index
            leadership.send_heartbeats(self._commit_index, out)
        else:
            leadership.read_index_min = self._log.last_index + 1
            self._append_own(leadership, None, out)

    def _persist_state(self, out: Effects) -> None:
        self._persist(HardState(self._term, self._voted_for), out)

    def _persist(
        self, record: RaftRecord, out: Effects, token: int | None = None, *, is_checkpoint: bool = False
    ) -> None:
        """Persist `record`: whatever this step and later ones send after it is sent when it is on disk."""
        if zoo.VOLATILE_LOG not in self._bugs:
            out.append(Persist(record, token, is_checkpoint))
        elif token is not None:
            self._on_sync_done(SyncDone(token), out)

    # --- replication: the leader --------------------------------------------------------------------------------------

    def _append_own(self, leadership: Leadership, command: Command | None, out: Effects) -> None:
        """Append to the leader's own log, send the entry, and write it to disk while it travels (thesis §10.2.1).

        The leader's own copy counts when SyncDone tells that it is durable.
        """
        entries = (Entry(self._term, command),)
        self._log.append(entries)
        index = self._log.last_index
        out.extend(traces.appends(index, entries))
        leadership.replicate(self._commit_index, out)
        self._token += 1
        leadership.writing(index, self._token)
        self._persist(Append(index, entries), out, self._token)

    def _on_follower_reply(
        self, source: NodeId, reply: AppendEntriesReply | InstallSnapshotReply, out: Effects
    ) -> None:
        """Count the answer for commitment and for reads, and send what the follower still lacks (Raft §5.3, figure 13).

        It counts only for the leadership that asked: a refusal of an old term answers none that still lasts.
        """
        leadership = self._leadership
        if reply.term != self._term or leadership is None or not reply.sequence:
            if reply.term > self._term:
                self._adopt_term(reply.term, out)
            return
        if reply.__class__ is AppendEntriesReply:
            has_more = leadership.answered(source, reply)
        else:
            has_more = leadership.snapshot_answered(source, reply)  # type: ignore[arg-type]
        if has_more:
            self._advance_commit(leadership, out)
        if leadership.reads:
            self._answer_reads(leadership, out)
        leadership.follow_up(source, self._commit_index, out)

    def _on_sync_done(self, event: SyncDone, out: Effects) -> None:
        """The leader's own copy of an entry is durable, and counts."""
        leadership = self._leadership
        if leadership is not None and leadership.written(event.token):
            self._advance_commit(leadership, out)

    def _advance_commit(self, leadership: Leadership, out: Effects) -> None:
        """Commit the last entry that a majority holds, if it is of this term, and with it all entries before it (Raft §5.4.2)."""
        index = leadership.held_by_majority()
        if index <= self._commit_index:
            return
        if self._log.term_at(index) == self._term or zoo.COMMIT_BY_COUNT in self._bugs:
            self._commit(index, out)
            if leadership.reads:
                self._answer_reads(leadership, out)

    # --- replication: the follower ------------------------------------------------------------------------------------

    def _on_append_entries(self, source: NodeId, request: AppendEntries[Any], out: Effects) -> None:
        """Follow a leader whose term is not old; refuse what does not fit its log; store the rest (Raft figure 2)."""
        term, sequence = request.term, request.sequence
        if term < self._term:
            number = sequence if zoo.STALE_APPEND_REPLY_COUNTED in self._bugs else 0
            out.append(Send(source, AppendEntriesReply(self._term, False, number)))
            return
        if not self._follow(source, term, out):
            return
        log, prev, entries = self._log, request.prev_log_index, request.entries
        if prev > log.last_index:
            out.append(Send(source, AppendEntriesReply(term, False, sequence, 0, log.last_index + 1)))
            return
        match_index = prev + len(entries)
        if prev < log.base_index:
            # What this node's snapshot stands for is committed, and so the same in the log of every leader (Raft §5.4).
            entries = entries[log.base_index - prev :]
            prev = log.base_index
            if not entries:
                out.append(Send(source, AppendEntriesReply(term, True, sequence, match_index)))
                return
        prev_term = log.term_at(prev)
        if prev_term != request.prev_log_term and prev == request.prev_log_index:
            conflict_index = log.first_index_of_term(prev_term)
            out.append(Send(source, AppendEntriesReply(term, False, sequence, 0, conflict_index, prev_term)))
            return
        if entries:
            self._store(prev + 1, entries, out)
        out.append(Send(source, AppendEntriesReply(term, True, sequence, match_index)))
        commit_index = min(request.leader_commit, match_index)
        if commit_index > self._commit_index:
            self._commit(commit_index, out)

    def _follow(self, source: NodeId, term: int, out: Effects) -> bool:
        """Follow the leader of `term`, which is not old. Returns whether that can be."""
        if term > self._term:
            self._become_follower(term, source, out)
            self._persist_state(out)
        elif self._role != "follower":
            if self._role == "leader":
                return (
                    False  # Two leaders in one term: only a planted bug, or a member that lost its vote, brings this.
                )
            self._become_follower(term, source, out)
        self._leader = source
        self._silence.since_ns = self._now_ns
        return True

    def _store(self, index: int, entries: tuple[Entry[Any], ...], out: Effects) -> None:
        """Make the log agree with `entries` from `index` on (Raft figure 2, AppendEntries 3 and 4).

        Entries that are there already stay, with all behind them: a late message must not shorten a log.
        """
        log = self._log
        present_count = log.count_present(index, entries)
        if present_count == len(entries):
            return
        index += present_count
        news = entries[present_count:]
        if index <= log.last_index:
            log.truncate(index)
            # Never lowered, but by a planted bug or a member that lost what it had promised to keep.
            self._commit_index = min(self._commit_index, log.last_index)
            out.append(traces.truncate(index))
            self._persist(Truncate(index), out)
        log.append(news)
        out.extend(traces.appends(index, news))
        self._persist(Append(index, news), out)

    def _commit(self, commit_index: int, out: Effects) -> None:
        """Entries up to `commit_index` are committed; apply them in order (Raft §5.3) and answer the clients that wait for them."""
        self._commit_index = commit_index
        out.append(traces.commit(commit_index))
        self._state.advance(self._log, commit_index, out)

    # --- snapshots ----------------------------------------------------------------------------------------------------

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
        self._persist(Checkpoint(self._term, self._voted_for, snapshot, entries), out, is_checkpoint=True)

    def _on_install_snapshot(self, source: NodeId, request: InstallSnapshot, out: Effects) -> None:
        """Take a chunk of the leader's snapshot; with the last one, the snapshot takes the place of log and state (Raft figure 13).

        A log that holds the snapshot's last entry holds all of it, and keeps what follows (figure 13, rule 6).
        """
        term, sequence, index, log = request.term, request.sequence, request.last_index, self._log
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
        self._log = Log(index, snapshot.last_term)
        self._commit_index = index
        out.append(traces.installed(snapshot))
        self._persist_snapshot(snapshot, out)
        out.append(Send(source, InstallSnapshotReply(term, sequence, index, received, index)))

    # --- clients ------------------------------------------------------------------------------------------------------

    def _on_request(self, event: Request, out: Effects) -> None:
        """The leader serves; others name the leader they know (Raft §8)."""
        command, request_id, leadership = event.body, event.request_id, self._leadership
        assert isinstance(command, Command), f"a request carries a Command, not {type(command).__name__}"
        is_read = command.is_read
        if is_read and self._is_read_local:
            out.append(Reply(request_id, self._state.query(command), self._state.applied_index))
        elif leadership is None:
            out.append(Reply(request_id, Answer("not-leader", leader=self._leader)))
        elif is_read and not self._is_read_logged:
            leadership.begin_read(request_id, command, self._commit_index)
            leadership.replicate(self._commit_index, out)
            self._answer_reads(leadership, out)
        elif not is_read and zoo.REPLY_BEFORE_COMMIT in self._bugs:
            self._append_own(leadership, command, out)
            out.append(
                Reply(request_id, answer_with(self._state.guessed_result(self._term, self._log)), self._log.last_index)
            )
        else:
            # It waits before it is appended: a cluster of one may commit it within the append.
            self._state.writes.add(self._log.last_index + 1, self._term, request_id)
            self._append_own(leadership, command, out)

    def _answer_reads(self, leadership: Leadership, out: Effects) -> None:
        applied_index = self._state.applied_index
        for request_id, command in leadership.ready_reads(applied_index):
            out.append(Reply(request_id, self._state.query(command), applied_index))
