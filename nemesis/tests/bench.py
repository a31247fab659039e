"""A fake cluster under a nemesis with every fault, for tests of single faults."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from histories.faults import FaultResult
from histories.op import NEMESIS, Op
from nemesis import shapes
from nemesis.book import OpenFault
from nemesis.nemesis import Nemesis
from nemesis.registry import chosen_families, families, parse_nemesis
from nemesis.tests.fake_cluster import FakeCluster

NODES = ["n1", "n2", "n3", "n4", "n5"]
EVERYTHING = parse_nemesis(list(families()))
SPLIT = {"grudge": shapes.as_json(shapes.isolate("n1", NODES))}
ONE_WAY = {"grudge": {"n1": ["n2"]}}
LOSS = {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.1}}
SECOND_NS = 1_000_000_000


class Bench:
    """A fake cluster under a nemesis with every fault."""

    def __init__(self, leader: str | None = "n3") -> None:
        self.cluster = FakeCluster(NODES, leader)
        self.nemesis = Nemesis(self.cluster, chosen_families(EVERYTHING))

    def in_force(self) -> list[str]:
        """The faults that are not over, with what they do to whom."""
        found: dict[str, OpenFault] = {}
        for name in families():
            found.update((fault.id, fault) for fault in self.nemesis.book.open(name))
        by_age = sorted(found.values(), key=lambda fault: int(fault.id.rpartition("-")[2]))
        return [f"{fault.name} {fault.what or ' '.join(sorted(fault.nodes))}" for fault in by_age]

    def do(self, f: str, value: Any = None) -> FaultResult:
        result = self.nemesis.invoke(Op(0, 0, "invoke", NEMESIS, f, value=value))
        json.dumps(msgspec.to_builtins(result))
        return result
