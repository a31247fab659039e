"""Transcripts of the commit protocols: c coordinates, p holds the key x and q the key y.

cluster [option=value ...] [bug=name]     start c, p and q, telling nothing
c appends 1 | c reads                     one transaction on both keys
p fires NAME                              its timer of that kind is due
deliver, settle, lose, crash, restart     as for Paxos (targets.tests.paxos_transcripts)
status
"""

from __future__ import annotations

from typing import Any

import msgspec

from histories.tracing import Custom
from targets.machines.kv import Txn
from targets.tests.paxos_stage import Stage
from targets.tests.paxos_transcripts import Scene
from targets.twopc.core import CommitNode
from targets.twopc.options import CommitOptions

HOLDERS = {"x": "p", "y": "q"}


class CommitScene(Scene):
    """A scene of three nodes."""

    def perform(self, command: str) -> list[str]:
        """Carry the command out; the lines that tell what came of it."""
        words = command.split()
        match words:
            case ["cluster", *options]:
                self._stage = cluster(options)
                self._told_traces = len(self.stage.traces)
                return []
            case ["status"]:
                return [f"{node}: {_status(core.status())}" for node, core in sorted(self.stage.cores.items())]
            case [node, "fires", kind]:
                self.stage.fire(node, next(name for name in self.stage.timers[node] if name.split()[0] == kind))
            case [node, "appends", value]:
                self.stage.ask(node, Txn(value=tuple(("append", key, int(value)) for key in HOLDERS)))
            case [node, "reads"]:
                self.stage.ask(node, Txn(value=tuple(("r", key, None) for key in HOLDERS)))
            case _:
                return super().perform(command)
        return self._news()

    def _trace(self, node: str, event: Any) -> str | None:
        if not isinstance(event, Custom):
            return None
        txn = event.fields.get("txn", "")
        match event.name:
            case "voted":
                return f"  {node} votes {event.fields['vote']} for {txn}"
            case "decided":
                return f"  {node} decides to {event.fields['decision']} {txn}"
            case "doubted":
                return f"  {node} is in doubt about {txn}"
            case "ended":
                return f"  {node} forgets {txn}"
            case _:
                told = {name: found for name, found in event.fields.items() if found}
                return f"  {node} recovers {msgspec.json.encode(told).decode()}"


def cluster(words: list[str]) -> Stage:
    """The three nodes, with these options."""
    given = dict(word.split("=", 1) for word in words)
    bugs = frozenset({given.pop("bug")} if "bug" in given else ())
    options = msgspec.convert(given, CommitOptions, strict=False)
    return Stage(
        ("c", "p", "q"),
        lambda node: CommitNode(node, options, bugs, ("c",), ("p", "q"), lambda key: HOLDERS[str(key)]),
    )


def _status(status: dict[str, Any]) -> str:
    words = ("unfinished", "in_doubt", "holding_locks", "waiting_for_locks")
    return ", ".join(f"{word} {status[word]}" for word in words)
