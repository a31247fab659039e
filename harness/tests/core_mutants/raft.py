"""Mistakes in Raft: its core, its log, its snapshots, its membership and its leases. None of them removes or moves a Persist."""

from __future__ import annotations

from harness.tests.core_mutants.mutant import CoreMutant

ELECTIONS = "targets/raft/elections.py"
REPLICATION = "targets/raft/replication.py"
LEADERSHIP = "targets/raft/leadership.py"
PROGRESS = "targets/raft/progress.py"
MEMBER = "targets/raft/member.py"
CORE = "targets/raft/core.py"
LOG = "targets/raft/log.py"
QUORUM = "targets/raft/quorum.py"
WAITING = "targets/raft/waiting.py"
STATE = "targets/raft/state_machine.py"
INSTALLATION = "targets/raft/installation.py"
MEMBERSHIP = "targets/raft/membership.py"
LEASE = "targets/raft/lease.py"


def _mutant(name: str, file: str, text: str, instead: str, why: str, harmless: str = "") -> CoreMutant:
    return CoreMutant("raft", name, file, text, instead, why, harmless)


MUTANTS = (
    # Elections.
    _mutant(
        "votes-of-old-terms-counted",
        ELECTIONS,
        'elif reply.term == self._term and reply.vote_granted and self._role == "candidate":',
        'elif reply.vote_granted and self._role == "candidate":',
        "a vote counts in the term in which it was given (§5.2)",
    ),
    _mutant(
        "refusals-counted-as-votes",
        ELECTIONS,
        'elif reply.term == self._term and reply.vote_granted and self._role == "candidate":',
        'elif reply.term == self._term and self._role == "candidate":',
        "only votes that were given count (§5.2)",
    ),
    _mutant(
        "leads-one-vote-short",
        ELECTIONS,
        """            self._votes.add(source)
            if len(self._votes) >= self._majority:
                self._become_leader(out)""",
        """            self._votes.add(source)
            if len(self._votes) >= self._majority - 1:
                self._become_leader(out)""",
        "a leader has a majority (§5.2)",
    ),
    _mutant(
        "votes-of-the-last-election-kept",
        ELECTIONS,
        """        self._set_role("candidate", out)
        self._votes = self._own_vote()""",
        """        self._set_role("candidate", out)
        self._votes = self._votes | self._own_vote()""",
        "every election begins with one's own vote alone (figure 2, candidates)",
    ),
    _mutant(
        "up-to-date-by-length",
        ELECTIONS,
        "return (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)",
        "return request.last_log_index >= self._log.last_index",
        "a later last term beats a longer log (§5.4.1)",
    ),
    _mutant(
        "up-to-date-by-term",
        ELECTIONS,
        "return (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)",
        "return request.last_log_term >= self._log.last_term",
        "of two logs with the same last term the longer one is more up-to-date (§5.4.1)",
    ),
    _mutant(
        "up-to-date-by-length-first",
        ELECTIONS,
        "return (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)",
        "return (request.last_log_index, request.last_log_term) >= (self._log.last_index, self._log.last_term)",
        "terms are compared before lengths (§5.4.1)",
    ),
    _mutant(
        "votes-for-everyone",
        ELECTIONS,
        "granted = request.term == self._term and self._is_up_to_date(request) and self._voted_for in (None, source)",
        "granted = request.term == self._term and self._is_up_to_date(request)",
        "one vote in a term (§5.2)",
    ),
    _mutant(
        "vote-kept-in-a-new-term",
        MEMBER,
        "self._term, self._voted_for = term, None",
        "self._term = term",
        "a new term begins without a vote (§5.1)",
    ),
    _mutant(
        "restart-forgets-the-vote",
        CORE,
        "self._term, self._voted_for = state.term, state.voted_for",
        "self._term, self._voted_for = state.term, None",
        "votedFor is persistent state (figure 2)",
    ),
    _mutant(
        "leader-is-not-heard",
        MEMBER,
        "self._silence.since_ns = self._silence.heard_ns = self._now_ns",
        "self._silence.heard_ns = self._now_ns",
        "AppendEntries of the leader put off the election (§5.2)",
    ),
    _mutant(
        "majority-of-an-even-cluster",
        QUORUM,
        "return members_count // 2 + 1",
        "return (members_count + 1) // 2",
        "half of an even cluster is no majority",
    ),
    # Replication, on the leader's side.
    _mutant(
        "commit-at-the-higher-middle",
        QUORUM,
        "return ascending[(len(ascending) - 1) // 2]",
        "return ascending[len(ascending) // 2]",
        "in an even cluster more than half must hold an entry (§5.3)",
    ),
    _mutant(
        "own-copy-counted-before-its-sync",
        LEADERSHIP,
        """        if self._counts_itself:
            marks.append(self.durable_index)""",
        """        if self._counts_itself:
            marks.append(self._log.last_index)""",
        "the leader's own copy counts when it is durable (thesis §10.2.1)",
        "whatever the leader tells because of it stands behind the record, and waits for it (targets/core.py, rule 2)",
    ),
    _mutant(
        "last-index-sent-as-commit-index",
        LEADERSHIP,
        "self._term, self._node, prev, log.term_at(prev), entries, commit_index, sequence, peer.identity",
        "self._term, self._node, prev, log.term_at(prev), entries, log.last_index, sequence, peer.identity",
        "followers commit what the leader has committed (§5.3)",
    ),
    _mutant(
        "lost-message-stalls",
        PROGRESS,
        "if sequence >= self.inflight:",
        "if sequence == self.inflight:",
        "AppendEntries are sent again until they arrive (§5.3)",
    ),
    _mutant(
        "learners-counted",
        LEADERSHIP,
        "self._voters = [peer for other, peer in self._peers.items() if other in config.voters]",
        "self._voters = list(self._peers.values())",
        "learners do not count for commitment (thesis §4.2.1)",
    ),
    _mutant(
        "removed-leader-counts-itself",
        LEADERSHIP,
        "self._counts_itself = self._node in config.voters",
        "self._counts_itself = True",
        "a leader that is no member does not count itself (thesis §4.2.2)",
    ),
    # Replication, on the follower's side.
    _mutant(
        "previous-term-not-compared",
        REPLICATION,
        "if prev_term != request.prev_log_term and prev == request.prev_log_index:",
        "if prev_term != request.prev_log_term and prev != request.prev_log_index:",
        "entries are refused where the entry before them has another term (figure 2, AppendEntries 2)",
    ),
    _mutant(
        "gap-of-one-accepted",
        REPLICATION,
        "if prev > log.last_index:",
        "if prev > log.last_index + 1:",
        "entries are refused where the entry before them is missing (figure 2, AppendEntries 2)",
    ),
    _mutant(
        "match-index-of-the-whole-log",
        REPLICATION,
        "match_index = prev + len(entries)",
        "match_index = max(prev + len(entries), log.last_index)",
        "a follower answers for what the message speaks of, not for what stands behind it",
    ),
    _mutant(
        "conflict-stays",
        REPLICATION,
        """        if index <= log.last_index:
            self._truncate(index, out)
        log.append(news)""",
        """        if index < log.last_index:
            self._truncate(index, out)
        log.append(news)""",
        "an entry that conflicts is removed, with all behind it (figure 2, AppendEntries 3)",
    ),
    _mutant(
        "conflict-unnoticed",
        LOG,
        "if at > last or own[at - offset].term != entry.term:",
        "if at > last:",
        "an entry conflicts when its term is another (figure 2, AppendEntries 3)",
    ),
    _mutant(
        "last-term-kept-by-truncation",
        LOG,
        """        self.last_term = self.term_at(self.last_index)
        while""",
        """        while""",
        "the last term is that of the last entry",
        "the entries that made the log give way are appended in the same step, and set the last term",
    ),
    _mutant(
        "last-term-of-the-first-entry",
        LOG,
        "self.last_term = entries[-1].term",
        "self.last_term = entries[0].term",
        "the last term is that of the last entry",
    ),
    # Clients.
    _mutant(
        "answer-by-index-alone",
        WAITING,
        "        if term == self._term:\n            return",
        "        if term >= 0:\n            return",
        "a client is answered when its own entry is committed, not another at its index (§8)",
    ),
    _mutant(
        "unknown-told-as-failed",
        STATE,
        '_UNKNOWN: Answer[Any] = Answer("unknown")',
        '_UNKNOWN: Answer[Any] = Answer("superseded")',
        "who does not know how a command ends does not say that it failed",
    ),
    _mutant(
        "read-counts-the-round-before",
        LEADERSHIP,
        "after = self.sequence if needs_round else -1",
        "after = self.sequence - 1 if needs_round else -1",
        "the heartbeats that confirm a read are sent after it came (§8, thesis §6.4)",
    ),
    _mutant(
        "last-entry-of-a-batch-not-applied",
        STATE,
        "entries = log.entries_from(first, last + 1 - first)",
        "entries = log.entries_from(first, max(1, last - first))",
        "every committed entry is applied (§5.3)",
    ),
    # Snapshots and restarts.
    _mutant(
        "snapshot-claims-one-entry-more",
        STATE,
        "self.snapshot = snapshots.take(self.machine, index, log.term_at(index), log.config_at(index))",
        "self.snapshot = snapshots.take(self.machine, index + 1, log.term_at(index), log.config_at(index))",
        "a snapshot says the last entry that is in it (§7)",
    ),
    _mutant(
        "old-snapshot-takes-the-state-back",
        INSTALLATION,
        "is_held = index <= self._commit_index or (index <= log.last_index and log.term_at(index) == request.last_term)",
        "is_held = self._commit_index == index",
        "a snapshot of what the log has is not installed (figure 13, rule 6)",
    ),
    _mutant(
        "installed-configuration-forgotten",
        INSTALLATION,
        "self._log = Log(index, snapshot.last_term, snapshot.config)",
        "self._log = Log(index, snapshot.last_term)",
        "a snapshot holds the configuration (thesis §5.1)",
    ),
    _mutant(
        "checkpoint-drops-the-suffix",
        INSTALLATION,
        "first = snapshot.last_index + 1\n",
        "first = log.last_index + 1\n",
        "the log behind the snapshot stays (§7)",
    ),
    _mutant(
        "checkpoint-drops-the-vote",
        INSTALLATION,
        "checkpoint = Checkpoint(self._term, self._voted_for, snapshot, entries, self._identity)",
        "checkpoint = Checkpoint(self._term, None, snapshot, entries, self._identity)",
        "votedFor is persistent state (figure 2)",
    ),
    _mutant(
        "restart-takes-the-log-for-committed",
        CORE,
        """            self._state.restore(snapshot)
            self._commit_index = snapshot.last_index""",
        """            self._state.restore(snapshot)
            self._commit_index = snapshot.last_index
        self._commit(self._log.last_index, out)""",
        "commitIndex is volatile: what a log holds need not be committed (figure 2)",
    ),
    _mutant(
        "base-term-kept-by-compaction",
        LOG,
        "self.base_index, self.base_term = index, base_term",
        "self.base_index = index",
        "the consistency check needs the term of the last entry in the snapshot (§7)",
        "no entry there has the wrong term, so that messages are only refused; what stands before them is not compared",
    ),
    # Membership.
    _mutant(
        "change-before-an-entry-of-its-own-term",
        MEMBERSHIP,
        "if log.term_at(commit_index) != self._term:",
        "if log.term_at(commit_index) > self._term:",
        "a leader changes the membership only behind an entry of its own term (raft-dev, July 2015)",
    ),
    _mutant(
        "wiped-node-answers-for-what-it-was",
        REPLICATION,
        """        term, sequence = request.term, request.sequence
        if request.receiver != self._identity:
            return""",
        """        term, sequence = request.term, request.sequence""",
        "a node that lost its disk is another member (docs/decisions/raft-membership.md)",
    ),
    # Leases.
    _mutant(
        "lease-from-the-answer",
        LEASE,
        "self._since_ns = sent.popleft()[1]",
        "self._since_ns = sent.popleft()[1] and self.now_ns",
        "a lease counts from when the heartbeat was sent (thesis §6.4.1)",
    ),
    _mutant(
        "voter-breaks-its-oath",
        ELECTIONS,
        "is_sworn = self._is_read_leased and self._silence.is_sworn(self._now_ns)",
        "is_sworn = False",
        "who heard a leader votes for nobody for a while (thesis §6.4.1, §4.2.3)",
    ),
    _mutant(
        "oath-forgotten-by-a-restart",
        CORE,
        "        self._silence.heard_ns = self._now_ns\n",
        "        self._silence.heard_ns = -(10**18)\n",
        "who has just started may have heard a leader before (thesis §6.4.1)",
    ),
)
