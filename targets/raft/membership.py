"""Changes of the membership, one server at a time (thesis §4).

A leader appends the new configuration, which holds at once, on every node that has it in its log. It begins no change before the
last one is committed, and before it has committed an entry of its own term: until then a change of an earlier leader may come to
light that it does not know to be committed, and two changes at once need not have majorities that meet (Ongaro, "bug in
single-server membership changes", raft-dev, July 2015).

Who answered a while ago may have lost its data since. So before a vote is taken away, a majority of those who would vote then must
answer what the leader sends after it was asked.

A new node learns the log without a vote, and gets its vote when it has caught up (§4.2.1). A node that lost its data asks to be
taken in: the leader lets a learner take the place of the member that it was.
"""

from __future__ import annotations

from collections.abc import Collection

from targets.core import NodeId, Reply
from targets.machines.machine import Answer
from targets.raft import bugs as zoo
from targets.raft.configuration import AddLearner, AddNode, Change, Configuration, RemoveNode, lost_quorum
from targets.raft.leadership import AskedChange, Leadership
from targets.raft.member import Effects
from targets.raft.messages import AppendEntriesReply, InstallSnapshotReply, Join
from targets.raft.replication import Replication


class Membership(Replication):
    """The leader's rules of membership."""

    def _change(self, leadership: Leadership, request_id: int, change: Change, out: Effects) -> None:
        """Begin what the client asks, and answer when it is committed; or refuse it, and say why. Nothing has changed then."""
        after = self._checked(leadership, change, leadership.answering())
        if isinstance(after, Configuration):
            if self._config.voters.keys() <= after.voters.keys():
                self._begin_change(leadership, request_id, after, out)
                return
            if not leadership.asked_changes or zoo.MEMBERSHIP_TWO_AT_ONCE in self._bugs:
                beats = max(1, self._options.election_ms_max // self._options.heartbeat_ms)
                leadership.asked_changes.append(AskedChange(change, request_id, leadership.sequence, beats))
                leadership.send_heartbeats(self._commit_index, out)
                self._settle_changes(leadership, out)
                return
            after = "another change of the membership is being considered"
        out.append(Reply(request_id, Answer("refused", reason=after)))

    def _begin_change(self, leadership: Leadership, request_id: int, after: Configuration, out: Effects) -> None:
        self._state.writes.add(self._log.last_index + 1, self._term, request_id)
        self._append_own(leadership, None, out, after)

    def _settle_changes(self, leadership: Leadership, out: Effects, *, is_beat: bool = False) -> None:
        """Begin the changes for which enough nodes have answered; refuse those that cannot be any more, or have waited too long."""
        waiting, leadership.asked_changes = leadership.asked_changes, []
        for asked in waiting:
            asked.beats_left -= is_beat
            answering = leadership.answered_after(asked.after_sequence)
            after = self._after(asked.change)
            if leadership.heir is not None or leadership is not self._leadership:
                out.append(Reply(asked.request_id, Answer("not-leader")))
            elif (
                isinstance(after, Configuration) and lost_quorum(after, answering) is not None and asked.beats_left > 0
            ):
                leadership.asked_changes.append(asked)
            elif isinstance(checked := self._checked(leadership, asked.change, answering), Configuration):
                self._begin_change(leadership, asked.request_id, checked, out)
            else:
                out.append(Reply(asked.request_id, Answer("refused", reason=checked)))

    def _on_follower_reply(
        self, source: NodeId, reply: AppendEntriesReply | InstallSnapshotReply, out: Effects
    ) -> None:
        super()._on_follower_reply(source, reply, out)
        leadership = self._leadership
        if leadership is not None and leadership.asked_changes:
            self._settle_changes(leadership, out)

    def _checked(self, leadership: Leadership, change: Change, answering: Collection[NodeId]) -> Configuration | str:
        """The configuration after this change, or why it may not begin now."""
        after = self._after(change)
        if isinstance(after, str):
            return after
        return self._why_not(after, answering) or after

    def _after(self, change: Change) -> Configuration | str:
        """The configuration after this change, or why there is none."""
        config = self._config
        match change:
            case AddNode(value=node) | AddLearner(value=node) if node not in self._nodes:
                return f"no node is called {node!r:.200}; there are {', '.join(sorted(self._nodes))}"
            case AddNode(value=node):
                if node in config.voters:
                    return f"{node} votes already"
                if node in config.joining:
                    return f"{node} is being added already"
                return config.with_learner(node, config.learners.get(node, 0), joins=True)
            case AddLearner(value=node):
                if node in config.learners and node not in config.joining:
                    return f"{node} is a learner already"
                return config.with_learner(node, config.identity_of(node) or 0, joins=False)
            case RemoveNode(value=node):
                if config.identity_of(node) is None:
                    return f"{node!r:.200} does not belong to the cluster"
                return config.without(node)
        raise AssertionError(change)

    def _why_not(self, after: Configuration, answering: Collection[NodeId]) -> str | None:
        """Why the leader may not begin this change now, when only these nodes answer; None when it may."""
        log, commit_index = self._log, self._commit_index
        if zoo.MEMBERSHIP_TWO_AT_ONCE not in self._bugs and log.config_index > commit_index:
            return f"another change of the membership, entry {log.config_index}, is not committed yet"
        if log.term_at(commit_index) != self._term:
            return "the leader has not committed an entry of its own term yet"
        return lost_quorum(after, answering)

    def _promote(self, leadership: Leadership, out: Effects) -> None:
        """Give the vote to the first learner that has caught up (thesis §4.2.1)."""
        for node in self._config.joining:
            after = self._config.with_voter(node)
            if leadership.has_caught_up(node) and self._why_not(after, leadership.answering()) is None:
                self._append_own(leadership, None, out, after)
                return

    def _on_join(self, source: NodeId, join: Join, out: Effects) -> None:
        """A node that lost its data stands as a learner in the place of the member that it was, which had perhaps a vote."""
        leadership, config = self._leadership, self._config
        identity = config.identity_of(source)
        if leadership is None or identity is None or identity == join.identity:
            return
        joins = source in config.voters or source in config.joining
        after = config.with_learner(source, join.identity, joins=joins)
        if self._why_not(after, leadership.answering()) is None:
            self._append_own(leadership, None, out, after)
