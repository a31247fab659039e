"""Transcripts of the Paxos cores: commands that move a stage of nodes by hand, and what they tell.

cluster single n1 n2 n3 [option=value ...] [bug=name]   start them (or: cluster multi ...), telling nothing
n1 proposes x | n1 asks                                  a client's request, of the single decree
n1 writes 3 | n1 reads                                   of Multi-Paxos
n1 fires NAME                                            its timer is due
deliver [n1 n2]                                          all letters (among these nodes) and those sent meanwhile, telling each
settle [n1 n2]                                           the same, telling only what is decided
lose [n1]                                                the letters under way (from and to n1) are lost
crash n1 | restart n1                                    on what it persisted
status
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from histories.tracing import Chosen, Role, TraceEvent
from targets.core import NodeId
from targets.machines.consensus import Learn, Propose
from targets.machines.kv import KvMachine, Read, Write
from targets.paxos.multi.core import MultiPaxos
from targets.paxos.multi.options import MultiOptions
from targets.paxos.single.core import SingleDecree
from targets.paxos.single.options import SingleOptions
from targets.tests.paxos_stage import Letter, Stage


class Scene:
    """`perform` takes one command and returns what there is to tell."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._told_traces = 0
        self._told_replies: set[int] = set()

    @property
    def stage(self) -> Stage:
        """The nodes."""
        assert self._stage is not None, "a transcript begins with `cluster`"
        return self._stage

    def perform(self, command: str) -> list[str]:
        """Carry the command out; the lines that tell what came of it."""
        words = command.split()
        match words:
            case ["cluster", kind, *rest]:
                self._stage = cluster(kind, rest)
                self._told_traces = len(self.stage.traces)
                return []
            case ["deliver", *nodes]:
                return self._deliver(set(nodes))
            case ["settle", *nodes]:
                self.stage.deliver(_among(set(nodes)))
            case ["lose", *nodes]:
                lost = self.stage.lose(lambda letter: not nodes or bool({*nodes} & {*letter[:2]}))
                return [f"lost: {len(lost)} letters"]
            case ["crash", node]:
                self.stage.crash(node)
            case ["restart", node]:
                self.stage.restart(node)  # Also one that is down.
            case ["status"]:
                return [f"{node}: {_status(core.status())}" for node, core in sorted(self.stage.cores.items())]
            case [node, "fires", name]:
                self.stage.fire(node, name)
            case [node, "proposes", value]:
                self.stage.ask(node, Propose(value=value))
            case [node, "asks"]:
                self.stage.ask(node, Learn())
            case [node, "writes", value]:
                self.stage.ask(node, Write(key="x", value=int(value)))
            case [node, "reads"]:
                self.stage.ask(node, Read(key="x"))
            case _:
                raise AssertionError(f"no command of transcripts: {command}")
        return self._news()

    def _deliver(self, nodes: set[NodeId]) -> list[str]:
        told = []
        stage, wanted = self.stage, _among(nodes)
        while (letter := next((each for each in stage.letters if wanted(each)), None)) is not None:
            stage.letters.remove(letter)
            source, to, message = letter
            is_down = "" if to in stage.cores else " (down)"
            told.append(f"{source} > {to}{is_down}: {_message(message)}")
            stage.hand_over(letter)
            told += self._news()
        return told

    def _news(self) -> list[str]:
        """What was decided, who leads, and who was answered since the last time."""
        stage = self.stage
        told = []
        for node, event in stage.traces[self._told_traces :]:
            if (lines := self._trace(node, event)) is not None:
                told.append(lines)
        self._told_traces = len(stage.traces)
        for number in sorted(stage.replies.keys() - self._told_replies):
            self._told_replies.add(number)
            told.append(f"  request {number} is answered: {msgspec.json.encode(stage.replies[number]).decode()}")
        return told

    def _trace(self, node: NodeId, event: TraceEvent) -> str | None:
        """The lines that tell of the event; None where it is not told."""
        if isinstance(event, Role):
            return f"  {node} is {event.role} in round {event.term}"
        if isinstance(event, Chosen):
            return "\n".join(f"  {node} learns slot {slot}: {_command(command)}" for slot, command in event.slots())
        return None


def cluster(kind: str, words: list[str]) -> Stage:
    """The nodes that the command names, with its options."""
    nodes = tuple(word for word in words if "=" not in word)
    given = dict(word.split("=", 1) for word in words if "=" in word)
    bugs = frozenset({given.pop("bug")} if "bug" in given else ())
    build: Callable[[NodeId], Any]
    if kind == "single":
        single = msgspec.convert(given, SingleOptions, strict=False)
        build = lambda node: SingleDecree(node, nodes, single, bugs, random.Random(node))  # noqa: E731
    else:
        multi = msgspec.convert(given, MultiOptions, strict=False)
        build = lambda node: MultiPaxos(node, nodes, multi, bugs, random.Random(node), KvMachine)  # noqa: E731
    return Stage(nodes, build)


def _among(nodes: set[NodeId]) -> Callable[[Letter], bool]:
    return lambda letter: not nodes or {*letter[:2]} <= nodes


def _command(command: Any) -> str:
    return "no-op" if command is None else msgspec.json.encode(command).decode()


def _message(message: msgspec.Struct) -> str:
    shown = {
        name: value
        for name in message.__struct_fields__
        if (value := getattr(message, name)) not in (None, (), "") and not name.endswith("_id")
    }
    return f"{type(message).__name__} {msgspec.json.encode(shown).decode()}"


def _status(status: dict[str, Any]) -> str:
    words = ("role", "ballot", "leader", "commit_index", "log_length", "chosen", "snapshot_index")
    return ", ".join(f"{word} {_plain(status[word])}" for word in words if status.get(word) is not None)


def _plain(value: Any) -> str:
    return ".".join(map(str, value)) if isinstance(value, list) else str(value)
