"""One Raft core with its effects in hand, for tests that look at single steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from histories.tracing import TraceEvent
from targets.core import (
    Effect,
    Event,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.machines.kv import KvMachine, Read, Write
from targets.machines.machine import Answer, Command, Machine
from targets.raft.core import ELECTION, Raft
from targets.raft.log import Entry
from targets.raft.messages import AppendEntries, AppendEntriesReply, RequestVoteReply
from targets.raft.options import RaftOptions

MS = 1_000_000
MEMBERS = ("n1", "n2", "n3", "n4", "n5")
M = TypeVar("M", bound=msgspec.Struct)
T = TypeVar("T", bound=TraceEvent)


READ = Read("x")


def write(value: Any, key: str = "x") -> Write:
    return Write(key, value=value)


def entry(term: int, value: Any = None) -> Entry[Any]:
    """An entry that writes `value`; a no-op when there is none."""
    return Entry(term, None if value is None else write(value))


class Subject:
    """Node n1 of `members`. `effects` are those of the last step; `records` all that was persisted."""

    def __init__(
        self,
        records: Sequence[Record] = (),
        members: Sequence[NodeId] = MEMBERS,
        bugs: Sequence[str] = (),
        machine: type[Machine] = KvMachine,
        **options: Any,
    ) -> None:
        self.options = RaftOptions(**options)
        self.core = Raft("n1", members, self.options, frozenset(bugs), random.Random(1), machine)
        self.now_ns = 0
        self.effects: Sequence[Effect] = ()
        self.records: list[Record] = list(records)
        self.request_count = 0
        self.answers: dict[int, Answer[Any]] = {}
        """Every reply so far, by request id."""
        self.step(Started(tuple(records)))

    # --- events -------------------------------------------------------------------------------------------------------

    def step(self, event: Event) -> Sequence[Effect]:
        self.effects = self.core.step(self.now_ns, event)
        for effect in self.effects:
            if isinstance(effect, Persist):
                self.records = [effect.record] if effect.is_checkpoint else [*self.records, effect.record]
        self.answers |= self.replies()
        return self.effects

    def pass_ms(self, ms: float) -> None:
        self.now_ns += int(ms * MS)

    def time_out(self) -> None:
        """Let the election time-out pass without word from anyone."""
        self.pass_ms(self.options.election_ms_max)
        self.step(TimerFired(ELECTION))

    def hear(self, source: NodeId, message: msgspec.Struct) -> None:
        self.step(Received(source, message))

    def request(self, command: Command) -> int:
        self.request_count += 1
        self.step(Request(self.request_count, command))
        return self.request_count

    def ask(self, command: Command) -> int:
        """A request whose entry, if it makes one, becomes durable at once."""
        request_id = self.request(command)
        self.sync()
        return request_id

    def sync(self) -> None:
        """All that the last step persisted with a token becomes durable."""
        tokens = [e.token for e in self.effects if isinstance(e, Persist) and e.token is not None]
        for token in tokens:
            self.step(SyncDone(token))

    def elect(self) -> None:
        """Make it leader of the next term (with pre_vote off), its no-op durable and unanswered."""
        assert not self.options.pre_vote, "elect takes the short way"
        self.time_out()
        for voter, _ in self.core._other_voters:
            if self.role != "leader":
                self.hear(voter, RequestVoteReply(self.term, True))
        self.sync()

    def acknowledge(self, *followers: NodeId, match_index: int | None = None) -> None:
        """`followers` answer the newest message with success."""
        leadership = self.core._leadership
        assert leadership is not None
        index = self.log_length if match_index is None else match_index
        for follower in followers:
            sequence = leadership._peers[follower].sent
            self.hear(follower, AppendEntriesReply(self.term, True, sequence, index))

    def follow(
        self, entries: Sequence[Entry[Any]] = (), term: int = 1, prev: tuple[int, int] = (0, 0), commit: int = 0
    ) -> None:
        """n2, leader of `term`, sends `entries` behind `prev`, (index, term)."""
        self.hear("n2", AppendEntries(term, "n2", prev[0], prev[1], tuple(entries), commit, 1))

    # --- what it did --------------------------------------------------------------------------------------------------

    def sent(self, type: type[M]) -> list[tuple[NodeId, M]]:
        """(to, message) of this type, from the last step."""
        return [(e.to, e.message) for e in self.effects if isinstance(e, Send) and isinstance(e.message, type)]

    def answer(self, type: type[M]) -> M:
        """The one message of this type in the last step."""
        ((_, message),) = self.sent(type)
        return message

    def replies(self) -> dict[int, Answer[Any]]:
        """request id -> answer, from the last step."""
        return {e.request_id: e.body for e in self.effects if isinstance(e, Reply) and isinstance(e.body, Answer)}

    def traced(self, type: type[T]) -> list[T]:
        """What the last step traced of this type."""
        return [e.event for e in self.effects if isinstance(e, Trace) and isinstance(e.event, type)]

    def kinds(self) -> list[str]:
        """The names of the effects of the last step, in order, without traces and timers."""
        names = (type(e.message).__name__ if isinstance(e, Send) else type(e).__name__ for e in self.effects)
        return [name for name in names if name not in ("Trace", "SetTimer", "CancelTimer")]

    @property
    def role(self) -> str:
        return str(self.core.status()["role"])

    @property
    def term(self) -> int:
        return int(self.core.status()["term"])

    @property
    def commit_index(self) -> int:
        return int(self.core.status()["commit_index"])

    @property
    def log_length(self) -> int:
        return int(self.core.status()["log_length"])

    def log(self) -> list[Entry[Any]]:
        first = self.core._log.base_index + 1
        return [self.core._log.entry(index) for index in range(first, self.log_length + 1)]


def leader(**options: Any) -> Subject:
    """Leader of term 1, its no-op committed."""
    subject = Subject(pre_vote=False, **options)
    subject.elect()
    subject.acknowledge(*[node for node, _ in subject.core._other_voters])
    assert subject.role == "leader"
    assert subject.commit_index == 1
    return subject
