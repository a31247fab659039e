"""Clock faults. Ops: start-clock, stop-clock (no value). Need: clocks.

A start's value is {"kind": "offset" | "jump" | "strobe", "offset_ns": {"n1": 500000000}} or
{"kind": "drift", "rate": {"n1": 1.2}}. Jumps and strobes are planned as several starts before the one stop, each
moving the same clocks to another offset. Nodes that a start does not name keep the clocks they have.

The evidence is every node's clock against the controller's, and for a drift its rate. A stop also records how far the clocks were
off just before it. The fault compares the readings with what was asked, plus the offsets that the machines had before the first
fault: the clocks of hosts never agree exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from histories.faults import FaultResult
from histories.op import Op
from histories.units import NS_PER_S
from nemesis.book import FaultBook, OpenFault
from nemesis.capabilities import Cluster, NodeId
from nemesis.family import (
    Entry,
    FamilyDefaults,
    Needs,
    Planned,
    Window,
    check_fields,
    check_node,
    check_none,
    check_number,
    even_times,
)
from nemesis.spelling import nearest

START, STOP = "start-clock", "stop-clock"
OFFSET, JUMP, STROBE, DRIFT = "offset", "jump", "strobe", "drift"

Number = TypeVar("Number", int, float)

OFFSET_TOLERANCE_NS = 100_000_000
"""A reading is off by up to half a round trip, and on a busy machine that is tens of milliseconds."""
RATE_TOLERANCE = 0.04
"""The same error over two readings some tenths of a second apart."""
SHARE_TOLERANCE = 0.25
"""An asked change is seen when at least three quarters of it are there."""
READINGS_MAX = 3

OFFSET_NS_MIN, OFFSET_NS_MAX = 200_000_000, 60_000_000_000
"""Planned offsets: far enough from zero for the readings to tell them from no offset at all."""
STROBE_NS_MAX = 4_000_000_000
STROBE_COUNT = 8
JUMPS_MAX = 4
ASKED_OFFSET_NS_MAX = 10 * 365 * 86_400 * NS_PER_S
RATES = (0.5, 0.8, 1.25, 2.0)


class Clock:
    """Moves clocks and reads them."""

    name = "clock"
    fs = frozenset({START, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        assert cluster.clocks is not None, "refused before the run: clock needs clocks"
        self.cluster = cluster
        self.clocks = cluster.clocks
        self.book = book
        self.natural_ns: dict[NodeId, int] = {}
        """The offset of each node before its first fault, for those that could be read then."""
        self.asked_ns: dict[NodeId, int] = {}
        self.drifting: set[NodeId] = set()

    def invoke(self, op: Op) -> FaultResult:
        if op.f == STOP:
            return self._stop()
        kind = op.value["kind"]
        asked = op.value["rate"] if kind == DRIFT else op.value["offset_ns"]
        self._learn(self._offsets())
        name = f"{self.name}:{kind}"
        # Another leap of the same clocks belongs to the same fault; any other start ends the fault that it replaces.
        begun = next((f for f in self.book.open(name) if f.nodes == set(asked)), None)
        replaced = [fault for fault in self.book.open(self.name) if fault is not begun and self._is_same(fault, kind)]
        if begun is None:
            begun = self.book.begin(name, asked)
        for fault in replaced:
            fault.lifting(asked)
        if kind == DRIFT:
            self.drifting.update(asked)
            self.clocks.set_rate(asked)
            acted_ns = self.book.now_ns()
            result = self._measured(op.value, {}, asked)
        else:
            self.asked_ns.update(asked)
            self.clocks.set_offset(asked)
            acted_ns = self.book.now_ns()
            result = self._measured(op.value, asked, {})
        if result.status == "installed":
            for fault in replaced:
                fault.lifted(asked, at_ns=acted_ns)
            begun.in_force([node for node in asked if begun.onsets[node].in_force_ns is None], at_ns=acted_ns)
        return result

    def _is_same(self, fault: OpenFault, kind: str) -> bool:
        """Whether a start of this kind replaces `fault`: an offset replaces an offset, a rate replaces a rate."""
        return (fault.name == f"{self.name}:{DRIFT}") == (kind == DRIFT)

    def heal(self) -> FaultResult:
        """Let every clock show what it did before the first fault. Skipped where the moved clocks went with their processes."""
        result = self._stop()
        if result.status == "indeterminate" and self._moved() and self._moved() <= self._stopped():
            return replace(result, status="skipped")
        return result

    def _moved(self) -> set[NodeId]:
        """The nodes whose clocks were moved, and not yet seen to be right again."""
        return self.asked_ns.keys() | self.drifting

    def _stop(self) -> FaultResult:
        """Undo what was done to the clocks. Only a clock that was read is lifted; the next stop looks at the others again."""
        before = self._offsets()
        self._learn(before)
        lifting = self.book.open(self.name)
        for fault in lifting:
            fault.lifting()
        self.clocks.heal()
        # Also where nobody sees it yet: a clock that is read for the first time later shows its natural offset.
        self.asked_ns = dict.fromkeys(self.asked_ns, 0)
        acted_ns = self.book.now_ns()
        # Only clocks that a fault moved are compared.
        moved = dict.fromkeys(sorted(self._moved()), 0)
        result = self._measured(None, moved, dict.fromkeys(sorted(self.drifting), 1.0), before)
        if result.status == "installed":
            unread = self._unread(result.evidence)
            for fault in lifting:
                if seen := fault.nodes - unread:
                    fault.lifted(seen, at_ns=acted_ns)
            self.asked_ns = dict.fromkeys(sorted(self.asked_ns.keys() & unread), 0)
            self.drifting &= unread
        return result

    def _unread(self, evidence: Mapping[str, Any]) -> set[NodeId]:
        """The moved nodes whose clock, or whose rate where it drifted, was not read."""
        offsets, rates = evidence["offsets_ns"], evidence.get("rates", {})
        return {
            node
            for node in self._moved()
            if offsets.get(node) is None or (node in self.drifting and rates.get(node) is None)
        }

    def _learn(self, offsets: Mapping[NodeId, int | None]) -> None:
        """Note the natural offsets that are not known yet. A node that was dead at its first fault and answers now shows its
        natural offset plus what was asked; a drifting clock shows nothing."""
        for node, ns in offsets.items():
            if ns is not None and node not in self.natural_ns and node not in self.drifting:
                self.natural_ns[node] = ns - self.asked_ns.get(node, 0)

    def _offsets(self) -> dict[NodeId, int | None]:
        found = self.clocks.offsets_ns()
        return {node: found[node] for node in sorted(found)}

    def _measured(
        self,
        did: Any,
        offset_ns: Mapping[NodeId, int],
        rate: Mapping[NodeId, float],
        before_ns: Mapping[NodeId, int | None] | None = None,
    ) -> FaultResult:
        """Read the clocks, again while they disagree, and compare them with what was asked."""
        expected_ns = {node: ns + self.natural_ns[node] for node, ns in offset_ns.items() if node in self.natural_ns}
        offsets, wrong = _read(self._offsets, expected_ns, offset_ns, 0, OFFSET_TOLERANCE_NS)
        evidence: dict[str, Any] = {"offsets_ns": offsets}
        silent = [node for node in sorted(offset_ns) if offsets.get(node) is None]
        if rate:
            rates, wrong_rates = _read(self.clocks.rates, rate, rate, 1, RATE_TOLERANCE)
            evidence["rates"] = {node: rates[node] for node in sorted(rates)}
            wrong += wrong_rates
            silent += [node for node in sorted(rate) if rates.get(node) is None and node not in silent]
        if before_ns is not None:
            evidence["before_offsets_ns"] = before_ns
        if did is not None:
            # The change that was asked for must be larger than the error of a reading.
            wrong += [f"{node}: {ns:d} ns is too little" for node, ns in offset_ns.items() if _small(ns, 0)]
            wrong += [f"{node}: the rate {by:g} is too near 1" for node, by in rate.items() if _small(by, 1)]
        if wrong:
            return FaultResult("indeterminate", did=did, evidence=evidence, why="; ".join(wrong))
        asked = {*offset_ns, *rate}
        stopped = self._stopped()
        unexplained = [node for node in silent if node not in stopped]
        if unexplained:
            why = f"no clock reading from {', '.join(unexplained)}"
            return FaultResult("indeterminate", did=did, evidence=evidence, why=why)
        if asked and asked == set(silent):
            why = f"no clock was read: {', '.join(silent)} dead or paused"
            return FaultResult("indeterminate", did=did, evidence=evidence, why=why)
        return FaultResult("installed", did=did, evidence=evidence)

    def _stopped(self) -> frozenset[NodeId]:
        if self.cluster.processes is None:
            return frozenset()
        return frozenset(node for node, state in self.cluster.processes.states().items() if state != "running")


def _read(
    read: Callable[[], Mapping[NodeId, Number | None]],
    expected: Mapping[NodeId, float],
    asked: Mapping[NodeId, float],
    neutral: float,
    tolerance: float,
) -> tuple[Mapping[NodeId, Number | None], list[str]]:
    """The reading, and in words each node that disagrees. A reading that disagrees is taken again, up to READINGS_MAX times."""
    found: Mapping[NodeId, Number | None] = {}
    wrong: list[str] = []
    for _ in range(READINGS_MAX):
        found = read()
        wrong = []
        for node in sorted(expected):
            measured = found.get(node)
            allowed = max(tolerance, SHARE_TOLERANCE * abs(asked[node] - neutral))
            if measured is not None and abs(measured - expected[node]) > allowed:
                wrong.append(f"{node}: asked {expected[node]:g}, measured {measured:g}")
        if not wrong:
            break
    return found, wrong


def _small(asked: float, neutral: int) -> bool:
    tolerance = RATE_TOLERANCE if neutral else OFFSET_TOLERANCE_NS
    return 0 < abs(asked - neutral) <= tolerance


class ClockFamily(FamilyDefaults):
    """`clock[:kind]`."""

    name = "clock"
    summary = "move clocks (offset, jump), move them to and fro (strobe), or let them run fast or slow (drift)"
    variants: tuple[str, ...] = (OFFSET, JUMP, STROBE, DRIFT)
    fs = Clock.fs
    begins = frozenset({START})
    ends = frozenset({STOP})

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("clocks",))

    def build(self, cluster: Cluster, book: FaultBook) -> Clock:
        return Clock(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned:
        rng = window.rng
        nodes = sorted(rng.sample(sorted(window.nodes), rng.randint(1, len(window.nodes))))
        values: list[dict[str, Any]]
        match variant:
            case "drift":
                values = [{"kind": DRIFT, "rate": {node: rng.choice(RATES) for node in nodes}}]
            case "strobe":
                there = {node: _offset_ns(window, STROBE_NS_MAX) for node in nodes}
                back = dict.fromkeys(nodes, 0)
                values = [{"kind": STROBE, "offset_ns": back if i % 2 else there} for i in range(STROBE_COUNT)]
            case _:
                count = rng.randint(2, JUMPS_MAX) if variant == JUMP else 1
                values = [
                    {"kind": variant, "offset_ns": {node: _offset_ns(window, OFFSET_NS_MAX) for node in nodes}}
                    for _ in range(count)
                ]
        times_ns = even_times(window.start_ns, window.end_ns, len(values))
        starts = [Entry(time_ns, START, value) for time_ns, value in zip(times_ns, values, strict=True)]
        return Planned((*starts, Entry(window.end_ns, STOP)))

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == STOP:
            check_none(f, value)
            return ""
        fields = check_fields(value, ("kind",), ("offset_ns", "rate"))
        kind = fields["kind"]
        if kind not in self.variants:
            raise ValueError(f"unknown kind {kind!r}{nearest(str(kind), self.variants)}")
        field = "rate" if kind == DRIFT else "offset_ns"
        by_node = check_fields(value, ("kind", field))[field]
        if not isinstance(by_node, dict) or not by_node:
            raise ValueError(f"{field} is not an object of node: number, with at least one in it")
        for node, number in by_node.items():
            check_node(node, nodes)
            if kind == DRIFT:
                check_number(f"{field} of {node}", number, 0.01, 100)
            else:
                check_number(f"{field} of {node}", number, -ASKED_OFFSET_NS_MAX, ASKED_OFFSET_NS_MAX)
                if not isinstance(number, int):
                    raise ValueError(f"{field} of {node}: {number!r} is not a whole number of nanoseconds")
        return str(kind)


def _offset_ns(window: Window, most_ns: int) -> int:
    """Forwards or backwards, every order of magnitude as likely, in whole milliseconds."""
    exponent = window.rng.uniform(math.log(OFFSET_NS_MIN), math.log(most_ns))
    return window.rng.choice((-1, 1)) * (round(math.exp(exponent)) // 1_000_000) * 1_000_000
