"""A stage of commit nodes: c coordinates, p holds the key x and q the key y."""

from __future__ import annotations

from typing import Any

from targets.machines.kv import Txn
from targets.tests.paxos_stage import Letter, Stage, of_type
from targets.twopc import messages as told
from targets.twopc.core import CommitNode
from targets.twopc.options import CommitOptions
from targets.twopc.target import TARGET

HOLDERS = {"x": "p", "y": "q"}


def stage(*, coordinators: tuple[str, ...] = ("c",), bugs: tuple[str, ...] = (), **options: Any) -> Stage:
    given = CommitOptions(**options)

    def build(node: str) -> CommitNode:
        return CommitNode(node, given, frozenset(bugs), coordinators, ("p", "q"), lambda key: HOLDERS[str(key)])

    return Stage((*coordinators, "p", "q"), build)


def both(value: int) -> Txn:
    return Txn(value=(("append", "x", value), ("append", "y", value)))


def reads() -> Txn:
    return Txn(value=(("r", "x", None), ("r", "y", None)))


def core(on: Stage, node: str) -> CommitNode:
    found = on.cores[node]
    assert isinstance(found, CommitNode)
    return found


def read(on: Stage, node: str = "c") -> Any:
    """What a transaction of reads is told once everything was delivered."""
    number = on.ask(node, reads())
    on.deliver()
    return on.replies[number]


def from_to(source: str, to: str) -> Any:
    def wanted(letter: Letter) -> bool:
        return letter[:2] == (source, to)

    return wanted


def voted(on: Stage) -> int:
    """A transaction for which both have voted yes; the votes are under way."""
    number = on.ask("c", both(1))
    on.deliver(of_type(told.Prepare))
    return number


def at_rest(on: Stage) -> bool:
    return TARGET.converged({node: one.status() for node, one in on.cores.items()})


def timer_of_kind(on: Stage, node: str, kind: str) -> str:
    return next(name for name in on.timers[node] if name.startswith(kind))
