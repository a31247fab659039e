"""One replica of a shard that is a Raft group. The group takes part in transactions as one node: its leader is the process, and its
log is the disk (as in Spanner: Corbett and others, OSDI 2012, §2.1 and §4.2.1).

The leader runs the core of a lone node, CommitNode. A record that this persists is an entry of the group's log; what it says after
that waits until a majority holds the entry. Another leader begins as a lone node does after a crash: with the records that the log
holds. So a node that is gone blocks nobody for longer than an election takes.

A leader may have been followed by another one and not know it yet. What it decides then rests on old state, and must not be heard.
So all that it says waits for proof that it still led when it decided to say so: a later entry of its own that is committed, or the
answers of a majority (the read of Raft's thesis, §6.4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from histories.tracing import Custom
from targets.core import (
    CancelTimer,
    Effect,
    Event,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    TimerFired,
    Trace,
)
from targets.raft.core import ELECTION, HEARTBEAT, Raft
from targets.twopc import bugs as zoo
from targets.twopc import messages as told
from targets.twopc.core import CommitNode
from targets.twopc.records import Decided, Prepared
from targets.twopc.replicated_log import Confirm, GroupCommand, Keep, Recall

Effects = list[Effect]

Group = str
"""The name of a group, which stands for it as the name of a node does for a lone one."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """An effect that is not performed yet. entry: where it is a record, the request that made it an entry of the log. after: the
    last request to the group when it was decided on. is_loose: only with a bug: it does not wait for its own record."""

    effect: Effect
    after: int
    entry: int | None = None
    is_loose: bool = False


class Replica:
    """Implements targets.core.Core.

    raft: this node's member of the group. new_leader: makes the core that a leader runs, under the name of the group. groups: the
    nodes of every group, by its name.

    Invariants: what is held stands in the order in which it was decided on; nothing is held while this node does not lead.
    """

    def __init__(
        self,
        node: NodeId,
        raft: Raft,
        bugs: frozenset[str],
        new_leader: Callable[[Group], CommitNode],
        groups: Mapping[Group, Sequence[NodeId]],
    ) -> None:
        self._raft = raft
        loose: dict[str, type[Record]] = {zoo.VOTE_TOLD_FIRST: Prepared, zoo.DECISION_TOLD_BY_ONE: Decided}
        self._loose = tuple(record for bug, record in loose.items() if bug in bugs)
        self._groups = groups
        self._group_of = {member: group for group, members in groups.items() for member in members}
        self._group = self._group_of[node]
        self._new_leader = new_leader
        self._idle_status = new_leader(self._group).status()
        self._now_ns = 0

        self._term: int | None = None
        """In which this node leads, as far as it knows."""
        self._leader: CommitNode | None = None
        """Not None from when this node, as leader, knows all that was committed before."""
        self._requests_count = 0
        self._recall = 0
        """The request whose answer the core of this leadership begins with; those before it belong to earlier ones."""
        self._entries: set[int] = set()
        """Requests that make entries, and are not answered."""
        self._kept = 0
        """The last request that made an entry which is committed. They are committed in order."""
        self._proven = 0
        """The last request whose answer proves that this node led when it had been made."""
        self._held: deque[Held] = deque()
        self._asked: dict[int, None] = {}
        """Requests of clients that are not answered."""
        self._timers: set[str] = set()

    def step(self, now_ns: int, event: Event) -> Effects:
        """Take one event; return the effects in order. The first event is Started, and only the first."""
        self._now_ns = now_ns
        out: Effects = []
        match event:
            case Received(source=source, message=message) if isinstance(message, told.MESSAGES):
                group = self._group_of.get(source)
                if group is not None and self._leader is not None:
                    self._step_leader(Received(group, message), out)
            case Request():
                self._on_request(event, out)
            case TimerFired(name=name) if name not in (ELECTION, HEARTBEAT):
                if name in self._timers:
                    self._timers.discard(name)
                    self._step_leader(event, out)
            case _:
                self._step_raft(event, out)
        self._perform(out)
        return out

    def status(self) -> dict[str, Any]:
        """Where this node leads, that of a lone node; and its place in the group."""
        of_leader = self._idle_status if self._leader is None else self._leader.status()
        return {**of_leader, **self._raft.status(), "shard": self._group, "is_serving": self._leader is not None}

    def _on_request(self, event: Request, out: Effects) -> None:
        if self._leader is None:
            out.append(Reply(event.request_id, told.TxnAnswer("not-leader", leader=self._raft.leader)))
            return
        self._asked[event.request_id] = None
        self._step_leader(event, out)

    # --- the group ------------------------------------------------------------------------------------------------------

    def _ask_raft(self, command: GroupCommand, out: Effects) -> None:
        """Put the command to the group, as the request of this number; its answer comes now or later."""
        self._requests_count += 1
        if isinstance(command, Keep):
            self._entries.add(self._requests_count)
        self._step_raft(Request(self._requests_count, command), out)

    def _step_raft(self, event: Event, out: Effects) -> None:
        answers: list[Reply] = []
        for effect in self._raft.step(self._now_ns, event):
            if isinstance(effect, Reply):
                answers.append(effect)
            else:
                out.append(effect)
        # Only now: what they lead to has further effects of Raft, which follow these.
        for reply in answers:
            self._on_answer(reply.request_id, reply.body, out)
        if self._raft.term_led != self._term:
            self._resign(out)
            self._term = self._raft.term_led
            if self._term is not None:
                self._recall = self._requests_count + 1
                self._ask_raft(Recall(), out)

    def _on_answer(self, number: int, answer: Any, out: Effects) -> None:
        """Answers to what was asked in an earlier leadership say nothing to this one."""
        is_entry = number in self._entries
        self._entries.discard(number)
        if answer.status != "ok" or number < self._recall:
            return
        self._proven = max(self._proven, number)
        if is_entry:
            self._kept = max(self._kept, number)
        elif number == self._recall and self._raft.term_led == self._term:
            self._leader = self._new_leader(self._group)
            self._step_leader(Started(answer.result), out)

    def _resign(self, out: Effects) -> None:
        """This node leads no more, or leads anew: what its core held in memory is gone, as in a crash."""
        self._leader = None
        self._held.clear()
        out.extend(CancelTimer(name) for name in sorted(self._timers))
        self._timers.clear()
        # What was decided may be committed, or become so.
        out.extend(Reply(request_id, told.TxnAnswer("unknown")) for request_id in self._asked)
        self._asked.clear()

    # --- the leader -----------------------------------------------------------------------------------------------------

    def _step_leader(self, event: Event, out: Effects) -> None:
        """Its core takes the event. Timers are set at once, records become entries, and all else is held behind them."""
        assert self._leader is not None, "only a leader has timers, and is told anything"
        after = self._requests_count
        told_first: list[Persist] = []
        for effect in self._leader.step(self._now_ns, event):
            match effect:
                case SetTimer(name=name):
                    self._timers.add(name)
                    out.append(effect)
                case CancelTimer(name=name):
                    self._timers.discard(name)
                    out.append(effect)
                case Persist(record=record):
                    if isinstance(record, self._loose):
                        told_first.append(effect)
                    else:
                        self._keep(effect, after, out)
                case _:
                    self._held.append(Held(effect, after, is_loose=bool(told_first)))
        if told_first:  # Only with a bug.
            self._perform(out)
            for effect in told_first:
                self._keep(effect, after, out)

    def _keep(self, effect: Persist, after: int, out: Effects) -> None:
        """Make the record an entry of the group's log. What is held behind it waits until it is committed."""
        self._held.append(Held(effect, after, self._requests_count + 1))
        self._ask_raft(Keep(record=effect.record), out)  # type: ignore[arg-type]

    def _perform(self, out: Effects) -> None:
        """Perform what is held, as far as it may be."""
        while self._held:
            held = self._held[0]
            effect = held.effect
            if held.entry is not None:
                if held.entry > self._kept:
                    return
                self._held.popleft()
            elif isinstance(effect, Send) and effect.to == self._group:
                self._held.popleft()
                self._step_leader(Received(self._group, effect.message), out)
            elif isinstance(effect, Send | Reply) and held.after >= self._proven and not held.is_loose:
                if self._requests_count == held.after:
                    self._ask_raft(Confirm(), out)
                return
            else:
                self._held.popleft()
                self._tell(effect, out)

    def _tell(self, effect: Effect, out: Effects) -> None:
        """The group says it: to all nodes of another one, since only these know who leads there."""
        match effect:
            case Send(to=group, message=message):
                out.extend(Send(node, message) for node in self._groups[group])
            case Reply(request_id=request_id):
                self._asked.pop(request_id, None)
                out.append(effect)
            case Trace(event=Custom(name=name, fields=fields)):
                out.append(Trace(Custom(name, {**fields, "by": self._group, "term": self._term})))
            case _:
                out.append(effect)
