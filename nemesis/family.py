"""Describes a family of faults to the planner, the command line and the schedule file: its names, needs, plans and final ops.

A user's own family is an object of this Protocol, mostly a subclass of `FamilyDefaults`: under the entry point group
`themis.faults`, or named as `--nemesis package.module:Family`. docs/faults.md has an example.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId
from nemesis.fault import Fault

CAPABILITIES = ("links", "processes", "clocks", "packets", "disks", "members", "backups", "moments")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One planned fault op. time_ns: since the run began, >= 0. f and value: as the nemesis op of the history will
    have them."""

    time_ns: int
    f: str
    value: Any = None


class Needs(msgspec.Struct, frozen=True):
    """What an environment must have for a fault: capabilities by name, and kinds that its packets or disks must
    offer."""

    capabilities: tuple[str, ...] = ()
    packet_kinds: tuple[str, ...] = ()
    disk_kinds: tuple[str, ...] = ()


class Window(msgspec.Struct, frozen=True):
    """The bounds for one planned fault: it begins at start_ns, is healed at end_ns, and holds at most down_nodes_max nodes dead or
    paused. roles: the target's, with the nodes of each, sorted; empty where all nodes are alike."""

    nodes: tuple[NodeId, ...]
    rng: Random
    start_ns: int
    end_ns: int
    down_nodes_max: int
    roles: Mapping[str, tuple[NodeId, ...]] = {}


class Planned(msgspec.Struct, frozen=True):
    """One planned fault: its entries from start to end, in order of time, and how many nodes it may take down."""

    entries: tuple[Entry, ...]
    down_count: int = 0


class Family(Protocol):
    """One name of the command line, such as `partition`, with its variants after the colon, such as
    `partition:ring`."""

    name: str
    summary: str
    variants: tuple[str, ...]
    """Empty when there is only one way; else all of them, in a fixed order."""
    takes_roles: bool
    """Whether a role of the target is a variant as well, such as `kill:coordinator`. Then `plan` and `claims` know those of
    `Window.roles`."""
    fs: frozenset[str]
    begins: frozenset[str]
    """The fs after which a fault is in force; disjoint from `ends`."""
    ends: frozenset[str]

    def needs(self, variant: str) -> Needs:
        """What `variant` ("" where there are none) needs of an environment."""
        ...

    def claims(self, variant: str) -> Sequence[str]:
        """Names in a target's fault model; each of them says that the target survives this variant."""
        ...

    def nodes_min(self, variant: str) -> int:
        """The size of the smallest cluster on which this fault has an effect."""
        ...

    def build(self, cluster: Cluster, book: FaultBook) -> Fault:
        """The fault, bound to a cluster that has what it needs, and to the book of its run."""
        ...

    def plan(self, variant: str, window: Window) -> Planned | None:
        """One fault within `window`; None when there is no room for it."""
        ...

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        """The (f, value) that undo whatever this family may have done."""
        ...

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        """The variant that this op belongs to ("" where the op does not show it). Raises ValueError with the broken rule."""
        ...

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        """Which nodes this family holds down during the op and after it, if it held `before` down until then."""
        ...


class Down(NamedTuple):
    """Nodes that are dead or paused during an op, and after it. "the primary" stands for a node that only the run knows."""

    during: frozenset[NodeId]
    after: frozenset[NodeId]


class FamilyDefaults:
    """The defaults that fit most families: no variants, no roles, any cluster size, no node down; a fault model claims the family
    by its own name."""

    name: str
    variants: tuple[str, ...] = ()
    takes_roles = False

    def claims(self, variant: str) -> Sequence[str]:
        """Its name, and its name with the variant."""
        return (self.name, f"{self.name}/{variant}") if variant else (self.name,)

    def nodes_min(self, variant: str) -> int:
        """One node."""
        return 1

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        """This family holds no node down."""
        return Down(before, before)


def check_nodes(value: Any, nodes: Collection[NodeId]) -> tuple[NodeId, ...]:
    """`value` as a non-empty list of different nodes of the cluster. Raises ValueError with the broken rule."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{value!r} is not a list of nodes with at least one in it")
    for node in value:
        check_node(node, nodes)
    if len(set(value)) != len(value):
        raise ValueError(f"{list(value)} names one node twice")
    return tuple(value)


def check_node(node: Any, nodes: Collection[NodeId]) -> NodeId:
    """`node`, which is one of the cluster. Raises ValueError with the broken rule."""
    if not isinstance(node, str) or node not in nodes:
        raise ValueError(f"unknown node {node!r} (nodes: {', '.join(sorted(nodes))})")
    return node


def check_none(f: str, value: Any) -> None:
    """Raises ValueError when an op without a value has one."""
    if value is not None:
        raise ValueError(f"{f} takes no value, not {value!r}")


def check_fields(value: Any, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """`value` as an object with all required and no other than optional fields. Raises ValueError with the broken
    rule."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object with {', '.join(required)}")
    for field in required:
        if field not in value:
            raise ValueError(f"the value lacks {field!r}")
    for field in value:
        if field not in required and field not in optional:
            raise ValueError(f"the value has an unknown field {field!r} (fields: {', '.join([*required, *optional])})")
    return value


def check_number(field: str, value: Any, least: float, most: float) -> float:
    """`value` as a number within the bounds, both included. Raises ValueError with the broken rule."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{field}: {value!r} is not a number between {least:g} and {most:g}")
    return value


def even_times(start_ns: int, end_ns: int, count: int) -> list[int]:
    """`count` different times from start_ns on, evenly spread, all before end_ns."""
    step_ns = max(1, (end_ns - start_ns) // count)
    return [start_ns + i * step_ns for i in range(count)]
