"""Fault ops for histories of tests: what a nemesis would have recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from histories.faults import Begun, Ended, FaultResult, Lift, Onset
from histories.op import NEMESIS, Op


def begins(
    time: int,
    id: str,
    nodes: Collection[str] = ("n1",),
    *,
    took: int = 0,
    did: Any = None,
    status: str = "installed",
    damages: bool = False,
) -> list[Op]:
    """A fault op of `took` ns that begins the fault `id` on these nodes; its name is the id without the number."""
    in_force_ns = time + took if status == "installed" else None
    name = id.rpartition("-")[0]
    begun = Begun(id, name, {node: Onset(time, in_force_ns) for node in nodes}, damages=damages)
    return pair(time, time + took, f"start-{name}", FaultResult(status, did, begins=(begun,)))  # type: ignore[arg-type]


def ends(
    time: int, nodes_by_id: Mapping[str, Collection[str]], *, took: int = 0, status: str = "installed"
) -> list[Op]:
    """A fault op of `took` ns that ends these faults on these nodes, or only tried to."""
    lifted_ns = time + took if status == "installed" else None
    ended = [Ended(id, {node: Lift(time, lifted_ns) for node in nodes}) for id, nodes in nodes_by_id.items()]
    return pair(time, time + took, "stop", FaultResult(status, ends=tuple(ended)))  # type: ignore[arg-type]


def pair(begin: int, end: int, f: str, result: FaultResult | Any) -> list[Op]:
    """The invocation and the completion of a fault op, as a file would hold them."""
    return [
        Op(0, begin, "invoke", NEMESIS, f),
        Op(0, end, "info", NEMESIS, f, None, msgspec.to_builtins(result)),
    ]


def numbered(*groups: Collection[Op]) -> list[Op]:
    """The ops of all groups in order of time, numbered."""
    ops = sorted((op for group in groups for op in group), key=lambda op: op.time)
    return [msgspec.structs.replace(op, index=i) for i, op in enumerate(ops)]
