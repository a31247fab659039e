"""Families from outside this project: found by entry point or by `package.module:Name`, and given ops of their own.

A family may call its ops `kill` and `start` as the built-in ones do. In a plan, a schedule and a history each op of a family from
outside carries the family's name, as in `hiccup.kill`, so that a reader always sees which family it belongs to; the family and its
fault see `kill`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from importlib.metadata import entry_points
from typing import Any

import msgspec

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import Down, Entry, Family, Needs, Planned, Window
from nemesis.fault import Fault

ENTRY_POINTS = "themis.faults"
MEMBERS = (
    "name", "summary", "variants", "takes_roles", "fs", "begins", "ends",
    "needs", "claims", "nodes_min", "build", "plan", "final_ops", "check", "down",
)  # fmt: skip
"""What a family must have: the members of nemesis.family.Family."""


class BadFamily(ValueError):
    """A family from outside that cannot be used; the message says which one, where it comes from, and why."""


def installed(taken: Collection[str]) -> dict[str, Family]:
    """Every family that an entry point names. taken: the names that are not free. Raises BadFamily."""
    found: dict[str, Family] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        family = loaded(point.value, f"entry point {ENTRY_POINTS}: {point.name} = {point.value}")
        if family.name in taken or family.name in found:
            raise BadFamily(
                f"entry point {ENTRY_POINTS}: {point.name} = {point.value}: the name {family.name!r} is taken"
            )
        found[family.name] = family
    return found


def loaded(path: str, where: str) -> Family:
    """The family at `package.module:Name`, which is an object or a class without arguments. Raises BadFamily, which begins
    with `where`."""
    module, _, attribute = path.partition(":")
    try:
        family: Any = getattr(importlib.import_module(module), attribute)
        if isinstance(family, type):
            family = family()
    except Exception as error:
        raise BadFamily(f"{where}: {type(error).__name__}: {error}") from error
    if lacking := [member for member in MEMBERS if not hasattr(family, member)]:
        raise BadFamily(
            f"{where}: it is no family of faults (nemesis.family.Family): it lacks {', '.join(lacking)}; "
            "nemesis.family.FamilyDefaults has most of them"
        )
    name = family.name
    if not isinstance(name, str) or not name or set(name) & set(":,. \t\n"):
        raise BadFamily(f"{where}: its name {name!r} must be letters and hyphens, without dot, colon, comma or space")
    if bad := sorted(f for f in {*family.begins, *family.ends} - set(family.fs)):
        raise BadFamily(f"{where}: begins or ends has {', '.join(bad)}, which is not among its fs")
    return OutsideFamily(family)


class OutsideFamily:
    """A family from outside, with its name before each of its ops; implements nemesis.family.Family."""

    def __init__(self, family: Family) -> None:
        self.inner = family
        self.name = family.name
        self.summary = family.summary
        self.variants = tuple(family.variants)
        self.takes_roles = family.takes_roles
        self.fs = frozenset(map(self._outer, family.fs))
        self.begins = frozenset(map(self._outer, family.begins))
        self.ends = frozenset(map(self._outer, family.ends))

    def needs(self, variant: str) -> Needs:
        return self.inner.needs(variant)

    def claims(self, variant: str) -> Sequence[str]:
        return self.inner.claims(variant)

    def nodes_min(self, variant: str) -> int:
        return self.inner.nodes_min(variant)

    def build(self, cluster: Cluster, book: FaultBook) -> Fault:
        return OutsideFault(self.inner.build(cluster, book), self.name, self.fs)

    def plan(self, variant: str, window: Window) -> Planned | None:
        planned = self.inner.plan(variant, window)
        if planned is None:
            return None
        entries = tuple(Entry(entry.time_ns, self._outer(entry.f), entry.value) for entry in planned.entries)
        return Planned(entries, planned.down_count)

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return [(self._outer(f), value) for f, value in self.inner.final_ops()]

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        return self.inner.check(_inner(f), value, nodes)

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        return self.inner.down(_inner(f), value, nodes, before)

    def _outer(self, f: str) -> str:
        return f"{self.name}.{f}"


class OutsideFault:
    """The fault of a family from outside; implements nemesis.fault.Fault."""

    def __init__(self, fault: Fault, name: str, fs: frozenset[str]) -> None:
        self._fault = fault
        self.name = name
        self.fs = fs

    def invoke(self, op: Op) -> FaultResult:
        return self._fault.invoke(msgspec.structs.replace(op, f=_inner(op.f)))

    def heal(self) -> FaultResult:
        return self._fault.heal()


def _inner(f: str) -> str:
    """The op as its family knows it."""
    return f.partition(".")[2]
