"""A scripted core and a small world around it, for the tests of the simulated environment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.environments.base import Deployment, Environment
from harness.environments.sim.environment import SimEnvironment
from harness.environments.sim.world import TraceRow
from harness.run.sinks import MemorySink
from histories.tracing import TraceRecord
from nemesis.schedule import Schedule
from targets.core import Effect, Event, NodeId
from targets.session import Ask, Call, NoReply, Outcome, Session
from targets.target import Bug, FaultModel, Formats, Place, Route, SystemDefaults
from targets.topology import Topology

Script = Callable[["Scripted", Event], Sequence[Effect]]


class Word(msgspec.Struct, frozen=True, tag=True):
    """A message, a record, a request and a reply: all of them are words here."""

    text: str


class Scripted:
    """Does what its script says, and remembers every event with the reading of its own clock."""

    def __init__(self, node: NodeId, members: Sequence[NodeId], script: Script) -> None:
        self.node = node
        self.members = members
        self.script = script
        self.seen: list[tuple[int, Event]] = []

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        self.seen.append((now_ns, event))
        return self.script(self, event)

    def events(self, kind: type[Event]) -> list[Event]:
        """Those of this kind that it saw, in order."""
        return [event for _, event in self.seen if isinstance(event, kind)]

    def status(self) -> dict[str, Any]:
        return {"role": "follower", "term": 0, "leader": None, "commit_index": 0, "log_length": 0, "bugs": []}


class ScriptedTarget(SystemDefaults):
    """A CoreTarget whose cores are `Scripted`; `cores[node]` are a node's lives, in order."""

    name = "scripted"
    summary = "for tests"
    interfaces = frozenset({"words"})
    option_type: type[msgspec.Struct] = Word
    bugs: Mapping[str, Bug] = {}
    fault_model = FaultModel(frozenset())

    def __init__(self, script: Script) -> None:
        self.script = script
        self.make_session: Callable[[], Session] = WordSession
        self.opened: list[tuple[str, int, Topology]] = []
        self.cores: dict[NodeId, list[Scripted]] = {}

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Scripted:
        core = Scripted(node, members, self.script)
        self.cores.setdefault(node, []).append(core)
        return core

    def formats(self, interface: str) -> Formats:
        return Formats(Word, Word, Word, (Route("/word", Word),))

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        self.opened.append((interface, process, topology))
        return self.make_session()

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        return "linearizable"

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        return next(iter(sorted(statuses)), None)

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        return []


class WordSession:
    """Asks with the op's value; a reply "go to X" redirects."""

    def begin(self, call: Call) -> Ask:
        self.word = Word(str(call.value))
        return Ask(self.word)

    def on_reply(self, reply: msgspec.Struct | NoReply) -> Ask | Outcome:
        if isinstance(reply, NoReply):
            return Outcome("fail" if reply.why == "not-sent" else "info", error=[reply.why, reply.detail])
        assert isinstance(reply, Word)
        if reply.text.startswith("go to "):
            return Ask(self.word, reply.text.removeprefix("go to "))
        return Outcome("ok", reply.text)


def silent(_core: Scripted, _event: Event) -> Sequence[Effect]:
    """A script that does nothing."""
    return ()


def world_of(
    script: Script = silent,
    nodes: Sequence[str] = ("n1", "n2", "n3"),
    seed: int = 1,
    directory: Path = Path(),
    client_timeout_s: float = 2.0,
    target: ScriptedTarget | None = None,
    **options: Any,
) -> tuple[SimEnvironment, ScriptedTarget]:
    """An environment with its nodes up, and the target that holds their cores; None: one of this script."""
    target = target or ScriptedTarget(script)
    deployment = Deployment(
        "test",
        directory,
        target,
        Word(""),
        frozenset(),
        tuple(nodes),
        seed,
        client_timeout_s,
        options,
        keeps_files=False,
    )
    environment = SimEnvironment(deployment)
    environment.check()
    environment.up()
    return environment, target


class TraceSink(MemorySink):
    """Also keeps what the nodes trace, in order."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._records: list[TraceRecord] = []

    @contextmanager
    def opened(self, environment: Environment, faults: Schedule) -> Iterator[None]:
        cast(SimEnvironment, environment).world.keep_traces = self._take
        with super().opened(environment, faults):
            yield

    def _take(self, rows: Sequence[TraceRow]) -> None:
        self._records += [TraceRecord(*row) for row in rows]

    @property
    def records(self) -> list[TraceRecord]:
        """All of it."""
        cast(SimEnvironment, self.environment).world.pass_on_traces()
        return self._records


def run_for(environment: SimEnvironment, seconds: float) -> None:
    """So much virtual time passes."""
    world = environment.world
    world.advance(world.now_ns + int(seconds * 1e9), lambda: False)
