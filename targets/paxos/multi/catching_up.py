"""How a learner that is behind learns what is chosen: entry by entry, or, where the others have forgotten them, by a snapshot."""

from __future__ import annotations

from typing import Any

from targets.core import Effect, NodeId, Send
from targets.paxos.multi.learner import Learner
from targets.paxos.multi.messages import Learn, Learned
from targets.paxos.multi.options import MultiOptions
from targets.paxos.multi.snapshots import Incoming, Snapshot


class CatchingUp:
    """Both sides: the questions of `node`, and its answers to others."""

    __slots__ = ("_chunk_chars", "_entries_max", "_incoming", "_node")

    def __init__(self, node: NodeId, options: MultiOptions) -> None:
        self._node = node
        self._entries_max = options.commands_per_message_max
        self._chunk_chars = options.snapshot_chunk_chars
        self._incoming = Incoming()

    def ask(self, source: NodeId, learner: Learner, out: list[Effect]) -> None:
        """Ask `source` for what is chosen behind what this node knows. Questions and answers may get lost: the next heartbeat finds
        it behind again."""
        out.append(Send(source, Learn(self._node, learner.chosen_index + 1, *self._incoming.had_from(source))))

    def answer(self, request: Learn, learner: Learner) -> Learned[Any]:
        """What this node knows to be chosen from there on."""
        from_slot, snapshot = request.from_slot, learner.snapshot
        if from_slot > learner.base_index:
            return Learned(from_slot, learner.chosen_index, learner.entries_from(from_slot, self._entries_max))
        assert snapshot is not None, "a log without its beginning has a snapshot"
        offset = (
            request.offset if request.snapshot_index == snapshot.index and request.offset < len(snapshot.text) else 0
        )
        end = offset + self._chunk_chars
        return Learned(
            from_slot,
            learner.chosen_index,
            (),
            snapshot.index,
            snapshot.digest,
            offset,
            snapshot.text[offset:end],
            end >= len(snapshot.text),
        )

    def take(self, source: NodeId, reply: Learned[Any], learner: Learner, out: list[Effect]) -> Snapshot | None:
        """Learn the entries; the snapshot, when it is whole and of more than this node knows."""
        if not reply.snapshot_index:
            learner.learn(reply.from_slot, reply.entries, out)
            return None
        if reply.snapshot_index <= learner.chosen_index:
            return None
        snapshot = self._incoming.take(source, reply.snapshot_index, reply.digest, reply.offset, reply.data, reply.done)
        return snapshot if snapshot is not None and snapshot.index > learner.chosen_index else None

    def known(self, source: NodeId, learner: Learner) -> tuple[int, int, int]:
        """How far this node is: up to which slot, and how much of which snapshot of `source` it has."""
        return (learner.chosen_index, *self._incoming.had_from(source))

    def go_on(
        self, source: NodeId, reply: Learned[Any], before: tuple[int, int, int], learner: Learner, out: list[Effect]
    ) -> None:
        """Ask for the next part at once, where this one was of use and there is more. before: what `known` was.

        An answer that tells nothing new, such as one that arrives twice, is followed by no question: else every duplicate would
        double all that follow, without end.
        """
        if self.known(source, learner) != before and learner.chosen_index < reply.chosen_index:
            self.ask(source, learner, out)
