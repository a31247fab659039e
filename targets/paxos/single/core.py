"""The core of the single decree: it carries events to the three roles, and messages between them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from histories.tracing import Custom
from targets.core import (
    DiskFailed,
    Effect,
    Event,
    Halt,
    NodeId,
    Received,
    Reply,
    Request,
    Send,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.machines.consensus import Learn, Propose
from targets.machines.machine import Answer, Key
from targets.paxos import bugs as zoo
from targets.paxos.quorums import in_force
from targets.paxos.single.acceptor import Acceptor
from targets.paxos.single.learner import Learner
from targets.paxos.single.messages import Accept, AcceptReply, Chosen, Prepare, Promise
from targets.paxos.single.options import SingleOptions
from targets.paxos.single.proposer import Proposer
from targets.paxos.single.records import Accepted, Drawn, Learned, Promised


class SingleDecree:
    """One member of a cluster of fixed membership; it reads no clock."""

    def __init__(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: SingleOptions,
        bugs: frozenset[str],
        rng: random.Random,
    ) -> None:
        """Raises ValueError for quorums that do not fit the cluster."""
        assert node in members, f"{node} is not one of {members}"
        self._node = node
        self._bugs = bugs
        self._others = tuple(sorted(member for member in members if member != node))
        stated, self._quorums = in_force(len(members), options.phase_1_quorum, options.phase_2_quorum, bugs)
        self._stated = {"phase_1": stated.phase_1, "phase_2": stated.phase_2}
        self._is_started = False
        self.acceptor = Acceptor(bugs)
        self.proposer = Proposer(node, self._others, self._quorums, options, bugs, rng)
        self.learner = Learner()

    def step(self, now_ns: int, event: Event) -> list[Effect]:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        assert self._is_started != (type(event) is Started), "Started is the first event, and comes once"
        out: list[Effect] = []
        match event:
            case Received():
                if event.source in self._others:
                    self._on_message(event.source, event.message, out)
            case Request():
                self._on_request(event, out)
            case TimerFired():
                self.proposer.on_timer(event.name, out)
            case Started():
                self._on_started(event, out)
            case DiskFailed():
                out.append(Halt(f"the disk failed: {event.reason}"))
            case SyncDone():
                pass  # No record has a token.
        self._ask_self(out)
        return out

    def status(self) -> dict[str, Any]:
        """For people and `GET /status`. commit_index: how many instances this node knows to be decided."""
        return {
            "role": "proposer" if self.proposer.attempts_count else "acceptor",
            "leader": None,
            "commit_index": len(self.learner),
            "log_length": self.acceptor.accepted_count,
            "chosen": self.learner.value(None),
            "ballot": list(self.acceptor.promised(None)),
            "quorums": [self._quorums.phase_1, self._quorums.phase_2],
            "bugs": sorted(self._bugs),
        }

    # --- events -------------------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, out: list[Effect]) -> None:
        """Begin with what the disk holds. A damaged disk ends the node: it may have forgotten a promise."""
        self._is_started = True
        if event.damage is not None:
            out.append(Halt(f"the disk is damaged: {event.damage}"))
            return
        for record in event.records:
            match record:
                case Promised() | Accepted():
                    self.acceptor.recover(record)
                case Drawn():
                    self.proposer.recover(record)
                case Learned():
                    self.learner.recover(record)
                case _:
                    out.append(Halt(f"the disk is damaged: {type(record).__name__} is no record of Paxos"))
                    return
        out.append(Trace(Custom("quorums", self._stated)))
        self.acceptor.tell_recovered(out)

    def _on_request(self, event: Request, out: list[Effect]) -> None:
        """Answer what is known; else let the proposer find out (PMS §2.2)."""
        command = event.body
        assert isinstance(command, (Propose, Learn)), f"a request carries a command, not {type(command).__name__}"
        if command.key in self.learner:
            out.append(Reply(event.request_id, Answer("ok", self.learner.value(command.key))))
        else:
            self.proposer.ask(event.request_id, command, out)

    def _on_message(self, source: NodeId, message: Any, out: list[Effect]) -> None:
        match message:
            case Prepare():
                out.append(Send(source, self.acceptor.on_prepare(message, out)))
            case Accept():
                reply = self.acceptor.on_accept(message, out)
                out.append(Send(source, reply))
                self._learn_from_one(message, reply, out)
            case Promise():
                self.proposer.on_promise(source, message, out)
            case AcceptReply():
                self._count(source, message, out)
            case Chosen():
                self._learn(message.key, message.value, out)

    def _ask_self(self, out: list[Effect]) -> None:
        """The node's own acceptor answers what its proposer asks, behind the messages to the others.

        Its answer counts at once: whatever this node tells anyone because of it waits for the acceptor's record, which
        stands before it (targets.core, rule 2).
        """
        messages = self.proposer.messages_to_self
        while messages:
            message = messages.pop(0)
            if isinstance(message, Prepare):
                self.proposer.on_promise(self._node, self.acceptor.on_prepare(message, out), out)
            else:
                reply = self.acceptor.on_accept(message, out)
                self._learn_from_one(message, reply, out)
                self._count(self._node, reply, out)

    # --- learning -----------------------------------------------------------------------------------------------------

    def _count(self, source: NodeId, reply: AcceptReply, out: list[Effect]) -> None:
        value = self.proposer.on_accept_reply(source, reply, out)
        if value is not None:
            self._learn(reply.key, value, out)

    def _learn_from_one(self, request: Accept, reply: AcceptReply, out: list[Effect]) -> None:
        if zoo.LEARN_FROM_ONE in self._bugs and reply.granted:
            self._learn(request.key, request.value, out)

    def _learn(self, key: Key, value: Any, out: list[Effect]) -> None:
        self.learner.learn(key, value, out)
        self.proposer.answer_all(key, self.learner.value(key), out)
