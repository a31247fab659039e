"""What the rules of Raft share: a member's state, its disk, its roles and terms, and what it knows to be committed.

The rules themselves are parted by idea: elections.py, replication.py, installation.py. core.py puts them together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from targets.core import CancelTimer, Effect, NodeId, Persist, Reply, SetTimer, SyncDone
from targets.machines.machine import Answer, Machine, TakeBackup
from targets.raft import backup, configuration, traces
from targets.raft import bugs as zoo
from targets.raft.configuration import Configuration
from targets.raft.leadership import Leadership
from targets.raft.log import Log
from targets.raft.options import RaftOptions
from targets.raft.quorum import majority
from targets.raft.records import HardState, RaftRecord
from targets.raft.silence import Silence
from targets.raft.state_machine import StateMachine

Role = Literal["follower", "pre-candidate", "candidate", "leader"]
Effects = list[Effect]

ELECTION = "election"
HEARTBEAT = "heartbeat"

MS = 1_000_000
"""ns in a millisecond."""


class Member:
    """One node of a cluster. It may be a voter, a learner, or none of either: the last configuration in its log says which, also
    before that is committed (thesis §4.1).

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
        self._nodes = frozenset(members)
        self._rng = rng
        self._identity = 0
        self._initial_config = configuration.initial(members, options.voters)
        self._seen_config: Configuration | None = None
        self._settle_config(self._initial_config)

        # Raft figure 2: persistent state, then volatile state.
        self._term = 0
        self._voted_for: NodeId | None = None
        self._log = Log()
        self._role: Role = "follower"
        self._leader: NodeId | None = None
        self._commit_index = 0
        self._state = StateMachine(new_machine, options.snapshot_entries)

        self._now_ns = 0
        self._silence = Silence(options.election_ms_min * MS, options.election_ms_max * MS, rng)
        self._votes: set[NodeId] = set()
        self._leadership: Leadership | None = None
        """Not None exactly while the role is leader."""
        self._is_read_leased = options.reads == "lease"
        self._token = 0
        self._held_back: list[Persist] = []
        """For the bug no-fsync: what the disk does not know yet."""
        self._is_disk_broken = zoo.VOLATILE_LOG in bugs or zoo.NO_FSYNC in bugs

    @property
    def term_led(self) -> int | None:
        """The term in which this node leads; None where it does not."""
        return None if self._leadership is None else self._term

    @property
    def leader(self) -> NodeId | None:
        """Whom this node takes for the leader; None where it knows none."""
        return self._leader

    # --- the membership -----------------------------------------------------------------------------------------------

    def _settle_config(self, config: Configuration) -> None:
        self._config = config
        voters = config.voters
        self._other_voters = tuple(sorted((node, identity) for node, identity in voters.items() if node != self._node))
        self._majority = majority(len(voters))
        self._is_voter = voters.get(self._node) == self._identity

    def _may_stand(self) -> bool:
        """This node is a voter, or was one until the last configuration in its log, of which it does not know that it is committed.
        Such a node may be the only one that can bring it to the others, and must stand for election (thesis §4.2.2); it does not
        count itself."""
        if self._is_voter:
            return True
        if self._log.config_index <= self._commit_index:
            return False
        before = self._log.config_before() or self._initial_config
        return before.voters.get(self._node) == self._identity

    def _own_vote(self) -> set[NodeId]:
        """The votes that this node has without asking."""
        return {self._node} if self._is_voter else set()

    def _take_config(self, out: Effects) -> None:
        """The log has another configuration than before: it holds from now on. Called after each change of the log."""
        log_config = self._seen_config = self._log.config
        config = self._initial_config if log_config is None else log_config
        self._settle_config(config)
        out.append(traces.configured(self._log.config_index, self._log.term_at_config(), config))
        if self._leadership is not None:
            self._leadership.configure(config)

    # --- the disk -----------------------------------------------------------------------------------------------------

    def _persist_state(self, out: Effects) -> None:
        self._persist(HardState(self._term, self._voted_for), out)

    def _persist(
        self, record: RaftRecord, out: Effects, token: int | None = None, *, is_checkpoint: bool = False
    ) -> None:
        """Persist `record`: whatever this step and later ones send after it is sent when it is on disk."""
        if self._is_disk_broken:
            if zoo.NO_FSYNC in self._bugs:
                self._held_back.append(Persist(record, None, is_checkpoint))
            if token is not None:
                self._on_sync_done(SyncDone(token), out)
        else:
            out.append(Persist(record, token, is_checkpoint))

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

        Reads that wait fail at once, and so do changes of the membership that have no entry yet; writes go on waiting for news of
        their entries.
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
            for asked in leadership.asked_changes:
                out.append(Reply(asked.request_id, Answer("not-leader", leader=leader)))
            if (heir := leadership.heir) is not None:
                has_followed = heir.is_asked and is_new_term
                out.append(Reply(heir.request_id, Answer("ok" if has_followed else "unknown")))
            out.append(CancelTimer(HEARTBEAT))
            self._await_leader(out)

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
        self._silence.since_ns = self._silence.heard_ns = self._now_ns
        return True

    def _await_leader(self, out: Effects) -> None:
        """From now on, wait a new random time-out for word from a leader (Raft §5.2)."""
        out.append(SetTimer(ELECTION, self._silence.begin(self._now_ns)))

    # --- commitment ---------------------------------------------------------------------------------------------------

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
            if not self._is_voter and index >= self._log.config_index:
                self._become_follower(self._term, None, out)  # Its own removal is committed (thesis §4.2.2).

    def _commit(self, commit_index: int, out: Effects) -> None:
        """Entries up to `commit_index` are committed; apply them in order (Raft §5.3) and answer the clients that wait for them."""
        self._commit_index = commit_index
        out.append(traces.commit(commit_index))
        self._state.advance(self._log, commit_index, out)

    def _answer_reads(self, leadership: Leadership, out: Effects) -> None:
        applied_index = self._state.applied_index
        for request_id, command in leadership.ready_reads(applied_index):
            if command.__class__ is TakeBackup:
                last_term = self._log.term_at(applied_index)
                text = backup.take(self._term, self._state.machine, applied_index, last_term)
                out.append(Reply(request_id, Answer("ok", backup=text), applied_index))
            else:
                out.append(Reply(request_id, self._state.query(command), applied_index))
