"""Leadership is handed over to a voter that the leader names (thesis §3.10).

The leader takes no more writes, lets the heir catch up, and asks it to stand at once: with the whole log, it gets the votes, also
of those who have just heard the leader. If it does not lead within an election time-out, the leader goes on.

A request to stand may be late, and the votes that follow it break the oaths on which a lease rests. So a leader that has sent one
reads by rounds of messages until its term ends.
"""

from __future__ import annotations

from targets.core import NodeId, Reply, Send
from targets.machines.machine import Answer
from targets.raft import bugs as zoo
from targets.raft import traces
from targets.raft.configuration import TransferLeadership
from targets.raft.elections import Elections
from targets.raft.leadership import Heir, Leadership
from targets.raft.member import Effects
from targets.raft.messages import TimeoutNow


class Transfer(Elections):
    """The rules of both sides."""

    def _transfer(self, leadership: Leadership, request_id: int, request: TransferLeadership, out: Effects) -> None:
        """Begin to hand over, and answer when this node leads no more; or refuse it, and say why."""
        node, reason = request.value, None
        if node == self._node:
            reason = f"{node} leads already"
        elif node not in self._config.voters:
            reason = f"{node!r:.200} has no vote"
        elif leadership.heir is not None:
            reason = f"leadership is being transferred to {leadership.heir.node}"
        if reason is not None:
            out.append(Reply(request_id, Answer("refused", reason=reason)))
            return
        beats = max(1, self._options.election_ms_max // self._options.heartbeat_ms)
        leadership.heir = Heir(node, request_id, beats)
        self._hand_over(leadership, leadership.heir, out)

    def _hand_over(self, leadership: Leadership, heir: Heir, out: Effects) -> None:
        """Ask the heir to stand as soon as it holds the whole log."""
        match_index, last_index = leadership.match_index_of(heir.node), self._log.last_index
        has_all = match_index >= last_index or zoo.TRANSFER_WITHOUT_CATCH_UP in self._bugs
        if not heir.is_asked and has_all:
            heir.is_asked = True
            leadership.lease = None
            out.append(traces.handing_over(heir.node, match_index, last_index))
            out.append(Send(heir.node, TimeoutNow(self._term, self._node, leadership.identity_of(heir.node))))

    def _wait_for(self, leadership: Leadership, heir: Heir, out: Effects) -> None:
        """A heartbeat has passed: look whether the heir has caught up, and give it up after an election time-out."""
        heir.beats_left -= 1
        if heir.beats_left > 0 and heir.node in self._config.voters:
            self._hand_over(leadership, heir, out)
        else:
            leadership.heir = None
            reason = f"{heir.node} did not take over in time"
            out.append(Reply(heir.request_id, Answer("refused", reason=reason)))

    def _on_timeout_now(self, _source: NodeId, request: TimeoutNow, out: Effects) -> None:
        """Stand for election at once, without asking whether anyone would vote; unless the request is of another term."""
        is_meant = request.receiver == self._identity and request.term == self._term
        if is_meant and self._is_voter and self._role == "follower":
            self._begin_election(out, is_transfer=True)
