"""A stage for transcripts: a few Raft nodes, one queue of messages and syncs, and commands that move them by hand.

cluster n1 n2 n3 [option=value ...] [bug=name]   start them, telling nothing
pass 300                                         every clock goes on by 300 ms
n1 fires election                                its timer is due
n1 asked write x 3 | read x | cas x 3 4          a client's request
deliver [n]                                      the next n (1) of the queue, telling all
settle                                           the whole queue, telling only roles, commits, truncations and replies
cut n1 | heal                                    from now on, what n1 sends or is sent is lost
lose                                             what is in the queue is lost
crash n1 | restart n1                            on what it persisted
status
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import msgspec

from histories.tracing import kind_of
from targets.core import (
    CancelTimer,
    Effect,
    Event,
    Halt,
    NodeId,
    Persist,
    Received,
    Record,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.leader_session import command_of, commands_of
from targets.machines.kv import KvMachine
from targets.machines.machine import Command
from targets.raft.core import Raft
from targets.raft.log import Entry
from targets.raft.options import RaftOptions
from targets.session import Call

_COMMANDS = ("command", "commands", "tail")
"""Fields of traces that only repeat what is persisted."""

TOLD_WHEN_SETTLING = ("role", "committed", "truncated")


class Stage:
    """`perform` takes one command and returns what there is to tell."""

    def __init__(self) -> None:
        self._cores: dict[NodeId, Raft] = {}
        self._records: dict[NodeId, list[Record]] = {}
        self._members: tuple[NodeId, ...] = ()
        self._options = RaftOptions()
        self._bugs: frozenset[str] = frozenset()
        self._queue: deque[tuple[NodeId, Event]] = deque()
        self._cut: set[NodeId] = set()
        self._now_ms = 0
        self._request_count = 0

    def perform(self, command: str) -> list[str]:
        match command.split():
            case ["cluster", *words]:
                self._start(words)
                return []
            case ["pass", ms]:
                self._now_ms += int(ms)
                return []
            case [node, "fires", timer]:
                return self._step(node, TimerFired(timer))
            case [node, "asked", f, key, *values]:
                self._request_count += 1
                numbers = [int(value) for value in values]
                call = Call(f, key, numbers if f == "cas" else numbers[0] if numbers else None)
                return self._step(node, Request(self._request_count, command_of(call, commands_of(KvMachine))))
            case ["deliver", *count]:
                return [line for _ in range(int(count[0]) if count else 1) for line in self._deliver()]
            case ["settle"]:
                told: list[str] = []
                while self._queue:
                    told += [line for line in self._deliver() if _is_told(line)]
                return told
            case ["cut", node]:
                self._cut.add(node)
                return []
            case ["heal"]:
                self._cut.clear()
                return []
            case ["lose"]:
                self._queue.clear()
                return []
            case ["crash", node]:
                del self._cores[node]
                return []
            case ["restart", node]:
                return self._begin(node)
            case ["status"]:
                return [self._status(node) for node in self._members]
        raise ValueError(command)

    def _start(self, words: list[str]) -> None:
        self._members = tuple(word for word in words if "=" not in word)
        pairs = [word.split("=") for word in words if "=" in word]
        self._bugs = frozenset(value for name, value in pairs if name == "bug")
        options = {name: value for name, value in pairs if name != "bug"}
        self._options = msgspec.convert(options, RaftOptions, strict=False)
        self._records = {node: [] for node in self._members}
        for node in self._members:
            self._begin(node)

    def _begin(self, node: NodeId) -> list[str]:
        core = Raft(node, self._members, self._options, self._bugs, random.Random(f"transcript/{node}"), KvMachine)
        self._cores[node] = core
        return self._step(node, Started(tuple(self._records[node])))

    def _deliver(self) -> list[str]:
        if not self._queue:
            return ["nothing to deliver"]
        node, event = self._queue.popleft()
        if isinstance(event, Received):
            line = f"{event.source} -> {node} {_show(event.message)}"
            if node not in self._cores or {node, event.source} & self._cut:
                return [f"{line}: lost"]
            return [line, *self._step(node, event)]
        return [f"{node} synced", *self._step(node, event)] if node in self._cores else []

    def _step(self, node: NodeId, event: Event) -> list[str]:
        told = []
        for effect in self._cores[node].step(self._now_ms * 1_000_000, event):
            told.append(f"  {node} {self._perform(node, effect)}")
        return told

    def _perform(self, node: NodeId, effect: Effect) -> str:
        match effect:
            case Send(to, message):
                self._queue.append((to, Received(node, message)))
                return f"sends {to} {_show(message)}"
            case Reply(request_id, body):
                return f"replies to {request_id}: {_show(body)}"
            case Persist(record, token, is_checkpoint):
                if is_checkpoint:
                    self._records[node].clear()
                self._records[node].append(record)
                if token is not None:
                    self._queue.append((node, SyncDone(token)))
                return f"persists {_show(record)}"
            case SetTimer(name, delay_ns):
                return f"waits for {name} {delay_ns // 1_000_000} ms"
            case CancelTimer(name):
                return f"waits no more for {name}"
            case Trace(event):
                fields = [(name, getattr(event, name)) for name in event.__struct_fields__]
                words = [f"{name}={_show_value(value)}" for name, value in fields if name not in _COMMANDS]
                return " ".join([kind_of(event), *words])
            case Halt(reason):
                return f"halts: {reason}"
        raise AssertionError(effect)

    def _status(self, node: NodeId) -> str:
        if node not in self._cores:
            return f"{node} is down"
        core = self._cores[node]
        status = core.status()
        log = " ".join(_show_value(core._log.entry(index)) for index in range(1, status["log_length"] + 1))
        return f"{node} {status['role']} term={status['term']} commit={status['commit_index']} log=[{log}]"


def _is_told(line: str) -> bool:
    words = line.split()
    return line.startswith("  ") and words[1] in (*TOLD_WHEN_SETTLING, "replies", "halts:")


def _show(struct: msgspec.Struct) -> str:
    """The type's name and its fields, without those that have their default."""
    words = [type(struct).__name__]
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if value != field.default:
            words.append(f"{field.name}={_show_value(value)}")
    return " ".join(words)


def _show_value(value: Any) -> str:
    match value:
        case Entry(term, None):
            return f"{term}:no-op"
        case Entry(term, command):
            return f"{term}:{_show_value(command)}"
        case Command():
            fields = msgspec.to_builtins(value)
            return f"{fields['f']}/{value.key}/{fields.get('value')}"
        case tuple():
            return "[" + " ".join(_show_value(item) for item in value) + "]"
    return str(value)
