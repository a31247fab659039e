"""A target that replicates nothing: each node is a durable map of its own that pings its peers. For tests of
drivers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from histories.tracing import Custom
from targets import session
from targets.command import node_argv
from targets.core import (
    Core,
    DiskFailed,
    Effect,
    Event,
    Halt,
    Persist,
    Received,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.session import Call, NoReply, Outcome
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults
from targets.topology import Topology


class Ping(msgspec.Struct, frozen=True):
    number: int


class Pong(msgspec.Struct, frozen=True):
    number: int
    records: int


class Note(msgspec.Struct, frozen=True):
    """One-way."""

    text: str


class Put(msgspec.Struct, frozen=True, tag="put"):
    key: str
    value: Any


class Ask(msgspec.Struct, frozen=True):
    """f: read, write, go-to (redirect to the node `value`), never (no reply), halt or raise."""

    f: str
    key: str = ""
    value: Any = None


class Told(msgspec.Struct, frozen=True):
    value: Any = None
    node: str | None = None


class Options(msgspec.Struct, frozen=True):
    ping_ms: int = 20
    mode: str = "plain"


class EchoCore:
    def __init__(self, node: str, members: Sequence[str], options: Options, bugs: frozenset[str]) -> None:
        self.node = node
        self.peers = [member for member in members if member != node]
        self.options = options
        self.bugs = bugs
        self.values: dict[str, Any] = {}
        self.record_count = 0
        self.pings = 0
        self.pongs: dict[str, int] = dict.fromkeys(self.peers, 0)
        self.pinged: dict[str, int] = dict.fromkeys(self.peers, 0)
        self.notes: list[str] = []
        self.syncs: list[int] = []
        self.fired: list[tuple[str, int]] = []
        self.damage: str | None = None

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        match event:
            case Started(records=records, damage=damage):
                for record in records:
                    assert isinstance(record, Put)
                    self.values[record.key] = record.value
                self.record_count, self.damage = len(records), damage
                return [Trace(Custom("began", {"records": len(records)})), self._timer()]
            case TimerFired(name=name):
                self.fired.append((name, now_ns))
                self.pings += 1
                return [*[Send(peer, Ping(self.pings)) for peer in self.peers], self._timer()]
            case Received(source=source, message=Ping(number=number)):
                self.pinged[source] += 1
                return [Send(source, Pong(number, self.record_count))]
            case Received(source=source, message=Pong()):
                self.pongs[source] += 1
                return []
            case Received(message=Note(text=text)):
                self.notes.append(text)
                return []
            case Request(request_id=request_id, body=Ask() as ask):
                return self._on_ask(request_id, ask)
            case SyncDone(token=token):
                self.syncs.append(token)
                return []
            case DiskFailed(reason=reason):
                return [Halt(reason)]
            case _:
                raise AssertionError(event)

    def status(self) -> dict[str, Any]:
        return {
            "role": "echo",
            "term": 0,
            "leader": None,
            "commit_index": self.record_count,
            "log_length": self.record_count,
            "pongs": self.pongs,
            "pinged": self.pinged,
            "notes": self.notes,
            "syncs": self.syncs,
            "damage": self.damage,
            "fired": self.fired[-5:],
        }

    def _timer(self) -> Effect:
        return SetTimer("ping", self.options.ping_ms * 1_000_000)

    def _on_ask(self, request_id: int, ask: Ask) -> Sequence[Effect]:
        match ask.f:
            case "write":
                self.values[ask.key] = ask.value
                self.record_count += 1
                return [
                    Persist(Put(ask.key, ask.value), token=self.record_count),
                    Trace(Custom("write", {"key": ask.key})),
                    Reply(request_id, Told()),
                ]
            case "read":
                return [Reply(request_id, Told(self.values.get(ask.key)))]
            case "go-to":
                if ask.value == self.node:
                    return [Reply(request_id, Told(self.node))]
                return [Reply(request_id, Told(node=ask.value))]
            case "halt":
                return [Halt("asked to")]
            case "never":
                return []
            case _:
                raise ValueError(ask.f)


class EchoSession:
    """Follows every redirect; the bound on Asks is the harness'."""

    def begin(self, call: Call) -> session.Ask:
        self.call = call
        self.body = Ask(call.f, str(call.key), call.value)
        return session.Ask(self.body)

    def on_reply(self, reply: msgspec.Struct | NoReply) -> session.Ask | Outcome:
        if isinstance(reply, NoReply):
            return Outcome("fail" if reply.why == "not-sent" else "info", self.call.value, [reply.why, reply.detail])
        assert isinstance(reply, Told)
        if reply.node is not None:
            return session.Ask(self.body, reply.node)
        return Outcome("ok", self.call.value if self.call.f == "write" else reply.value)


class EchoTarget(SystemDefaults):
    name = "targets.tests.echo:TARGET"
    summary = "independent maps that ping each other"
    interfaces = frozenset({"kv"})
    option_type: type[msgspec.Struct] = Options
    bugs: Mapping[str, Bug] = {"deaf": Bug("deaf", "does nothing", "nothing")}
    fault_model = FaultModel(frozenset({"kill", "pause", "partition", "clock"}))

    def core(
        self,
        node: str,
        members: Sequence[str],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Core:
        assert isinstance(options, Options)
        return EchoCore(node, members, options, bugs)

    def formats(self, interface: str) -> Formats:
        return Formats(Ask, Told, Put, (Route("/echo/ping", Ping, Pong), Route("/echo/note", Note)))

    def session(self, interface: str, process: int, topology: Topology) -> EchoSession:
        return EchoSession()

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        return "none"

    def primary(self, statuses: Mapping[str, Mapping[str, Any]]) -> str | None:
        return min(statuses, default=None)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return node_argv(self.name, place, options, bugs, interface)


TARGET = EchoTarget()
