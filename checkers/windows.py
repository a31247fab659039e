"""Reads from the history's fault ops when each fault was in force. It judges nothing.

The result of a fault op says which faults the op began and ended (histories.faults); the name of the op means nothing. Fault ops
that another tool recorded do not say it: such a history has no windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from histories.faults import Begun, FaultResult, Lift, Onset, fault_result
from histories.history import History
from histories.op import NEMESIS, Op


class Window(msgspec.Struct, frozen=True):
    """One fault, from when it began to when it was over.

    id, name, what, damages: as in histories.faults.Begun. index: of the completion of the op that began it. did: what that
    op did. onsets, lifts: by node, sorted; a node that is not in `lifts` is still under the fault at the end.

    began_ns <= in_force_ns <= lifting_ns <= lifted_ns. It was certainly in force on all its nodes from in_force_ns to
    lifting_ns, and on none of them before began_ns or after lifted_ns. in_force_ns: None when that was not measured on
    every node. lifting_ns, lifted_ns: None when it lasted to the end, or nobody knows better.
    """

    id: str
    name: str
    what: str
    damages: bool
    index: int
    did: Any
    onsets: dict[str, Onset]
    lifts: dict[str, Lift]
    began_ns: int
    in_force_ns: int | None
    lifting_ns: int | None
    lifted_ns: int | None

    @property
    def status(self) -> Literal["installed", "indeterminate"]:
        """Whether it was seen to be in force on every node."""
        return "indeterminate" if self.in_force_ns is None else "installed"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it concerned, sorted."""
        return tuple(self.onsets)

    @property
    def title(self) -> str:
        """The name with the nodes, or with words that say more than the nodes do: "kill n1 n2", "partition:one n1 | n2 n3"."""
        return f"{self.name} {self.what or ' '.join(self.onsets)}"

    def spans(self) -> Iterator[tuple[int, int | None]]:
        """From when to when it was certainly in force, for each node on which it was; None: to the end."""
        for node, onset in self.onsets.items():
            if onset.in_force_ns is not None:
                lift = self.lifts.get(node)
                yield onset.in_force_ns, None if lift is None else lift.lifting_ns


class _Building:
    """What is known so far of one fault."""

    def __init__(self, begun: Begun, index: int, did: Any) -> None:
        self.begun = begun
        self.index = index
        self.did = did
        self.lifts: dict[str, Lift] = {}

    def lift(self, lifts: Mapping[str, Lift]) -> None:
        for node, lift in lifts.items():
            first = self.lifts.get(node)
            if first is None:
                self.lifts[node] = lift
            elif first.lifted_ns is None:
                # The first try may have ended the fault; the last one measured that it was over.
                self.lifts[node] = Lift(first.lifting_ns, lift.lifted_ns)

    def built(self) -> Window:
        onsets = {node: self.begun.nodes[node] for node in sorted(self.begun.nodes)}
        in_force = [onset.in_force_ns for onset in onsets.values()]
        lifts = {node: self.lifts[node] for node in onsets if node in self.lifts}
        lifted = [lift.lifted_ns for lift in lifts.values()]
        known_in_force = [ns for ns in in_force if ns is not None]
        known_lifted = [ns for ns in lifted if ns is not None]
        return Window(
            id=self.begun.id,
            name=self.begun.name,
            what=self.begun.what,
            damages=self.begun.damages,
            index=self.index,
            did=self.did,
            onsets=onsets,
            lifts=lifts,
            began_ns=min(onset.began_ns for onset in onsets.values()),
            in_force_ns=max(known_in_force) if len(known_in_force) == len(onsets) else None,
            lifting_ns=min((lift.lifting_ns for lift in lifts.values()), default=None),
            lifted_ns=max(known_lifted) if len(known_lifted) == len(onsets) else None,
        )


def fault_windows(history: History) -> list[Window]:
    """Every fault of the run, in the order in which they were begun."""
    found: dict[str, _Building] = {}
    for op, result in fault_results(history):
        for begun in result.begins:
            if not begun.nodes:
                continue
            known = found.get(begun.id)
            if known is None:
                found[begun.id] = _Building(begun, op.index, result.did)
            else:
                known.begun = begun
        for ended in result.ends:
            if ended.id in found:
                found[ended.id].lift(ended.nodes)
    return [building.built() for building in found.values()]


def fault_results(history: History) -> Iterator[tuple[Op, FaultResult]]:
    """Each completed fault op with its result, in order. Ops without a FaultResult are left out."""
    for op in history:
        if op.process == NEMESIS and (result := fault_result(op)) is not None:
            yield op, result
