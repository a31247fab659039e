"""What people read of a standing cluster: lines for curl to paste, and the table of its nodes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from harness.cluster.control import NodeLine
from targets.target import ClientRoute

EXAMPLES: Mapping[str, Sequence[Any]] = {
    "kv": ({"f": "write", "key": "greeting", "value": "Hello Raft"}, {"f": "read", "key": "greeting"}),
    "counter": ({"f": "add", "value": 1}, {"f": "read"}),
    "set": ({"f": "add", "value": 1}, {"f": "read"}),
    "queue": ({"f": "enqueue", "value": 1}, {"f": "dequeue"}),
    "stack": ({"f": "push", "value": 1}, {"f": "pop"}),
    "priority-queue": ({"f": "enqueue", "value": [1, "first"]}, {"f": "dequeue"}),
    "bank": ({"f": "open", "value": {"alice": 10, "bob": 5}}, {"f": "read"}),
    "lock": ({"f": "acquire", "value": 1}, {"f": "release", "value": 1}),
}
"""Interface -> bodies of its route that show what it does."""

ROUTE_EXAMPLES: Mapping[str, Any] = {
    "/paxos/propose": {"value": "Hello Paxos"},
    "/2pc/transaction": {"steps": [["w", "alice", 90], ["w", "bob", 110], ["r", "bob", None]]},
}
"""The same for routes that are a target's own."""

COLUMNS = (
    "node",
    "address",
    "process",
    "role",
    "member",
    "term",
    "leader",
    "log",
    "commit",
    "applied",
    "does not hear",
)


def curl_lines(interface: str, routes: Sequence[ClientRoute], addresses: Mapping[str, str]) -> list[str]:
    """A request for each example, each to another node, and the question for a status. routes: the target's own for clients."""
    hosts = list(addresses.values())
    asked: list[tuple[str, Any]] = []
    for route in routes:
        if route.method == "GET" or route.path in ROUTE_EXAMPLES:
            asked.append((route.path, ROUTE_EXAMPLES.get(route.path)))
    if not asked:
        asked = [(f"/{interface}", body) for body in EXAMPLES.get(interface, ())]
    lines = []
    for number, (path, body) in enumerate(asked):
        url = f"http://{hosts[number % len(hosts)]}{path}"
        text = (
            "" if body is None else f"-X POST -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))} "
        )
        lines.append(f"curl {text}{url}")
    lines.append(f"curl http://{hosts[-1]}/status")
    return lines


def cells(line: NodeLine) -> tuple[str, ...]:
    """One row of the table, by COLUMNS. A node that does not answer shows what is known of its process alone."""
    status = line.status or {}

    def of(*names: str) -> str:
        found = next((status[name] for name in names if status.get(name) is not None), None)
        if isinstance(found, list | tuple):  # A ballot: its number, and who drew it.
            return ".".join(map(str, found))
        return "-" if found is None else str(found)

    state = line.state if line.status is not None or line.state != "running" else "running, silent"
    return (
        line.node,
        line.address,
        state,
        of("role"),
        _member(line),
        of("term", "ballot"),
        of("leader"),
        of("log_length"),
        of("commit_index"),
        of("applied_index"),
        " ".join(line.unheard) or "-",
    )


def _member(line: NodeLine) -> str:
    """How the node counts, by its own log."""
    status = line.status or {}
    for word, field in (("voter", "voters"), ("joining", "joining"), ("learner", "learners")):
        if line.node in status.get(field, ()):
            return word
    return "no" if "voters" in status else "-"


def table(lines: Sequence[NodeLine]) -> Table:
    """The nodes as a table; numbers stand to the right."""
    with_ballots = any("ballot" in (line.status or {}) for line in lines)
    found = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        is_number = column in ("term", "log", "commit", "applied")
        title = "ballot" if column == "term" and with_ballots else column
        found.add_column(title, justify="right" if is_number else "left", no_wrap=True)
    for line in lines:
        style = {"dead": "red", "paused": "yellow"}.get(line.state, "bold" if cells(line)[3] == "leader" else "")
        found.add_row(*cells(line), style=style)
    return found
