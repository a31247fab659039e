"""How a leader is made and unmade: time-outs, pre-votes, votes, and the check that a majority still answers (Raft §5.2, §5.4.1)."""

from __future__ import annotations

from targets.core import NodeId, Send, SetTimer
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.leadership import Leadership
from targets.raft.lease import Lease
from targets.raft.member import ELECTION, HEARTBEAT, MS, Effects
from targets.raft.messages import Join, PreVote, PreVoteReply, RequestVote, RequestVoteReply
from targets.raft.replication import Replication


class Elections(Replication):
    """The rules of votes. A new leader appends at once, and so they stand on the rules of replication."""

    # --- time-outs ----------------------------------------------------------------------------------------------------

    def _on_election_timeout(self, out: Effects) -> None:
        """The node heard no leader and gave no vote for a whole time-out: stand for election (Raft §5.2)."""
        remaining_ns = self._silence.remaining_ns(self._now_ns)
        if remaining_ns > 0:
            out.append(SetTimer(ELECTION, remaining_ns))
            return
        self._leader = None
        self._state.give_up_writes(out)  # No leader is in reach to tell how they end.
        if self._identity:  # It lost its data once: perhaps nobody counts on it any more.
            out.extend([Send(other, Join(self._node, self._identity)) for other in sorted(self._nodes - {self._node})])
        if not self._may_stand():
            self._await_leader(out)
        elif self._options.pre_vote and len(self._own_vote()) < self._majority:
            self._begin_pre_vote(out)
        else:
            self._begin_election(out)

    def _check_quorum(self, leadership: Leadership, out: Effects) -> None:
        """A leader that a majority left unanswered for an election time-out steps down (thesis §6.2)."""
        if leadership.count_active() < self._majority and self._options.check_quorum:
            self._become_follower(self._term, None, out)
        else:
            out.append(SetTimer(ELECTION, self._options.election_ms_max * MS))

    # --- candidates ---------------------------------------------------------------------------------------------------

    def _begin_pre_vote(self, out: Effects) -> None:
        """Ask whether a majority would vote for this node, before disturbing anyone with a new term (thesis §9.6)."""
        if self._role != "pre-candidate":
            self._set_role("pre-candidate", out)
        self._votes = self._own_vote()
        last_index, last_term = self._log.last_index, self._log.last_term
        for other, identity in self._other_voters:
            out.append(Send(other, PreVote(self._term + 1, self._node, last_index, last_term, identity)))
        self._await_leader(out)

    def _on_pre_vote_reply(self, source: NodeId, reply: PreVoteReply, out: Effects) -> None:
        """Begin the term when a majority would vote for this node."""
        if not reply.vote_granted:
            if reply.term > self._term:
                self._adopt_term(reply.term, out)
        elif reply.term == self._term + 1 and self._role == "pre-candidate":
            self._votes.add(source)
            if len(self._votes) >= self._majority:
                self._begin_election(out)

    def _begin_election(self, out: Effects, *, is_transfer: bool = False) -> None:
        """Increment the term, vote for self, reset the election timer, ask all others (Raft figure 2, candidates)."""
        self._term += 1
        self._set_role("candidate", out)
        self._votes = self._own_vote()
        self._vote(self._node, out)
        last_index, last_term = self._log.last_index, self._log.last_term
        for other, identity in self._other_voters:
            out.append(Send(other, RequestVote(self._term, self._node, last_index, last_term, identity, is_transfer)))
        self._await_leader(out)
        if len(self._votes) >= self._majority:
            self._become_leader(out)

    def _on_request_vote_reply(self, source: NodeId, reply: RequestVoteReply, out: Effects) -> None:
        """Lead with the votes of a majority for one term (Raft §5.2)."""
        if reply.term > self._term:
            self._adopt_term(reply.term, out)
        elif reply.term == self._term and reply.vote_granted and self._role == "candidate":
            self._votes.add(source)
            if len(self._votes) >= self._majority:
                self._become_leader(out)

    def _become_leader(self, out: Effects) -> None:
        """Open the term with a no-op, and send it to all (Raft figure 2, leaders; §8).

        Only an entry of its own term tells a leader what is committed (Raft §5.4.2), so it makes one at once. It comes after every
        entry that was committed before, so reads wait for it (thesis §6.4).
        """
        self._leader = self._node
        self._set_role("leader", out)
        leadership = Leadership(self._node, self._term, self._log, self._state, self._config, self._options)
        if self._is_read_leased:
            drift = 1.0 if zoo.LEASE_WITHOUT_DRIFT_BOUND in self._bugs else self._options.lease_drift
            leadership.lease = Lease(int(self._options.election_ms_min * MS / drift))
            leadership.lease.now_ns = self._now_ns
        leadership.asks_before_reading = zoo.READ_INDEX_WITHOUT_QUORUM not in self._bugs
        self._leadership = leadership
        out.append(SetTimer(ELECTION, self._options.election_ms_max * MS))
        out.append(SetTimer(HEARTBEAT, self._options.heartbeat_ms * MS))
        if zoo.COMMIT_BY_COUNT in self._bugs:  # Who trusts the count needs no no-op.
            leadership.read_index_min = self._log.last_index
            leadership.send_heartbeats(self._commit_index, out)
        else:
            if zoo.READ_BEFORE_OWN_TERM_COMMIT not in self._bugs:
                leadership.read_index_min = self._log.last_index + 1
            self._append_own(leadership, None, out)

    # --- voters -------------------------------------------------------------------------------------------------------

    def _on_pre_vote(self, source: NodeId, request: PreVote, out: Effects) -> None:
        """Say yes to a request that would get this node's vote, unless it heard from a leader lately (thesis §9.6, §4.2.3)."""
        if request.receiver != self._identity:
            return
        has_leader = self._has_leader()
        if self._is_read_leased:
            has_leader = has_leader or self._silence.is_sworn(self._now_ns)
        may_vote = request.term > self._term or (request.term == self._term and self._voted_for in (None, source))
        granted = may_vote and self._is_up_to_date(request) and not has_leader
        out.append(Send(source, PreVoteReply(request.term if granted else self._term, granted)))

    def _on_request_vote(self, source: NodeId, request: RequestVote, out: Effects) -> None:
        """Grant at most one vote per term, and only to an up-to-date log (Raft §5.2, §5.4.1).

        While a leader may hold a lease, it is as if nobody had asked (thesis §6.4.1, §4.2.3). So it is while a leader is heard,
        when the candidate is no voter that this node knows of: a node that was removed, and does not know it, must not disturb the
        others.
        """
        if request.receiver != self._identity:
            return
        is_stranger = source not in self._config.voters and self._has_leader()
        is_sworn = self._is_read_leased and self._silence.is_sworn(self._now_ns)
        if (is_stranger or is_sworn) and not request.is_transfer:
            out.append(Send(source, RequestVoteReply(self._term, False)))
            return
        is_new_term = request.term > self._term
        if is_new_term:
            self._become_follower(request.term, None, out)
        granted = request.term == self._term and self._is_up_to_date(request) and self._voted_for in (None, source)
        if granted and self._voted_for is None:
            self._vote(source, out)
        elif is_new_term:
            self._persist_state(out)
        out.append(Send(source, RequestVoteReply(self._term, granted)))

    def _has_leader(self) -> bool:
        """This node leads, or has heard a leader within the least time-out."""
        return self._leader == self._node or (self._leader is not None and self._silence.is_short(self._now_ns))

    def _is_up_to_date(self, request: PreVote | RequestVote) -> bool:
        """The candidate's log ends with a later term than this node's, or in the same term and is no shorter (Raft §5.4.1)."""
        if zoo.VOTE_FOR_STALE_LOG in self._bugs:
            return True
        return (request.last_log_term, request.last_log_index) >= (self._log.last_term, self._log.last_index)

    def _vote(self, candidate: NodeId, out: Effects) -> None:
        """Give the vote of this term to `candidate`, and wait a time-out for the result."""
        self._voted_for = candidate
        self._silence.since_ns = self._now_ns
        out.append(traces.vote(self._term, candidate))
        if zoo.VOTE_TWICE not in self._bugs:
            self._persist_state(out)  # Before the Send behind it: a restarted node must not vote twice.
