"""A fault at a moment of the protocol: right after an election, between an entry's arrival and its answer, when a snapshot arrives.
Ops: start-moment, stop-moment (no value). Need: moments, processes, links.

A start's value is {"moment": "elected", "action": "isolate", "count": 2, "after_ms": 3}: when what the nodes trace says for the
second time from now on that one of them was elected, and 3 ms more have passed, that node is cut off from all others. Where the
moment does not come within a second, the op is skipped. What is in force then is a kill, a pause or a partition like any other.

The moments: elected: a node leads. voted: it gave its vote to another. appended: a leader's log has a new entry, which nobody else
has yet. stored: a follower's log has one, and the leader does not know it yet. snapshot: one has come from another node. lagging: a
leader has carried out entries of which the log of a node that runs lacks some; it is the leader to which this moment belongs.
The actions: kill, pause, isolate. With after_ms 0 a kill may also strike in the middle of the step that reached the moment: between
what it writes and what it sends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace

from histories.faults import FaultResult
from histories.op import Op
from nemesis import shapes
from nemesis.book import FaultBook
from nemesis.capabilities import MOMENTS, Cluster, Moments, NodeId
from nemesis.family import Down, Entry, FamilyDefaults, Needs, Planned, Window, check_fields, check_none, check_number
from nemesis.fault import Fault
from nemesis.faults.kill import KILL, Kill
from nemesis.faults.kill import START as START_DEAD
from nemesis.faults.partition import START as START_PARTITION
from nemesis.faults.partition import STOP as STOP_PARTITION
from nemesis.faults.partition import Partition
from nemesis.faults.pause import PAUSE, RESUME, Pause

START, STOP = "start-moment", "stop-moment"
ISOLATE = "isolate"
ACTIONS = (KILL, PAUSE, ISOLATE)
BACK = {KILL: START_DEAD, PAUSE: RESUME}

WITHIN_S = 1.0
"""How long a start waits for its moment: some elections."""
COUNT_MAX = 8
AFTER_MS = (0, 0, 1, 3, 10, 40)
"""A message, some messages, a heartbeat."""


class Moment:
    """Waits for a moment, and does to its node what it was told."""

    name = "moment"
    fs = frozenset({START, STOP})

    def __init__(self, cluster: Cluster, book: FaultBook) -> None:
        moments: Moments | None = getattr(cluster, "moments", None)
        assert moments is not None, "refused before the run: moment needs moments"
        self.cluster = cluster
        self.moments = moments
        self.faults: dict[str, Fault] = {
            KILL: Kill(cluster, book),
            PAUSE: Pause(cluster, book),
            ISOLATE: Partition(cluster, book),
        }
        self.back: list[tuple[str, Op]] = []
        """What ends what was done: the action, and the op of its fault."""

    def invoke(self, op: Op) -> FaultResult:
        if op.f == STOP:
            return self.heal()
        wanted = op.value
        began_ns = self.cluster.now_ns()
        node = self.moments.wait(wanted["moment"], wanted["count"], WITHIN_S)
        if node is None:
            return FaultResult("skipped", did=wanted, why=f"it did not come within {WITHIN_S:g} s")
        came_ms = round((self.cluster.now_ns() - began_ns) / 1e6, 3)
        if wanted["after_ms"]:
            self.moments.rest(wanted["after_ms"] / 1000)
        action = wanted["action"]
        there, back = self._ops(op, action, node)
        self.back.append((action, back))
        result = self.faults[action].invoke(there)
        evidence = result.evidence if isinstance(result.evidence, dict) else {}
        return replace(result, did={**wanted, "node": node}, evidence={**evidence, "came_after_ms": came_ms})

    def _ops(self, op: Op, action: str, node: NodeId) -> tuple[Op, Op]:
        """What to ask the fault of this action, and what ends it."""
        if action != ISOLATE:
            return replace(op, f=action, value=[node]), replace(op, f=BACK[action], value=[node])
        grudge = shapes.as_json(shapes.isolate(node, self.cluster.nodes))
        cut = replace(op, f=START_PARTITION, value={"shape": "one", "grudge": grudge})
        return cut, replace(op, f=STOP_PARTITION, value=None)

    def heal(self) -> FaultResult:
        """The nodes of the moments so far run, and are heard. What could not be ended now is tried again at the next stop."""
        results = [(self.faults[action].invoke(op), action, op) for action, op in self.back]
        self.back = [(action, op) for result, action, op in results if result.status == "indeterminate"]
        return next((result for result, _, _ in results if result.status != "installed"), FaultResult("installed"))


class MomentFamily(FamilyDefaults):
    """`moment[:which]`."""

    name = "moment"
    summary = "kill, pause or cut off the node that was just elected, voted, has a new entry, got a snapshot, or left one behind"
    variants: tuple[str, ...] = MOMENTS
    fs = Moment.fs
    begins = frozenset({START})
    ends = frozenset({STOP})

    def needs(self, variant: str) -> Needs:
        return Needs(capabilities=("moments", "processes", "links"))

    def nodes_min(self, variant: str) -> int:
        return 2

    def build(self, cluster: Cluster, book: FaultBook) -> Moment:
        return Moment(cluster, book)

    def plan(self, variant: str, window: Window) -> Planned | None:
        if len(window.nodes) < self.nodes_min(variant) or window.down_nodes_max < 1:
            return None
        rng = window.rng
        value = {
            "moment": variant,
            "action": rng.choice(ACTIONS),
            "count": 1 if variant in ("elected", "snapshot", "lagging") else rng.randint(1, COUNT_MAX),
            "after_ms": rng.choice(AFTER_MS),
        }
        return Planned((Entry(window.start_ns, START, value), Entry(window.end_ns, STOP)), down_count=1)

    def final_ops(self) -> Sequence[tuple[str, Any]]:
        return ((STOP, None),)

    def check(self, f: str, value: Any, nodes: Collection[NodeId]) -> str:
        if f == STOP:
            check_none(f, value)
            return ""
        fields = check_fields(value, ("moment", "action", "count", "after_ms"), ("node",))
        for field, known in (("moment", MOMENTS), ("action", ACTIONS)):
            if fields[field] not in known:
                raise ValueError(f"{field}: {fields[field]!r} is none of {', '.join(known)}")
        count = check_number("count", fields["count"], 1, 1000)
        if count != int(count):
            raise ValueError(f"count: {count!r} is not a whole number")
        check_number("after_ms", fields["after_ms"], 0, 10_000)
        return str(fields["moment"])

    def down(self, f: str, value: Any, nodes: Collection[NodeId], before: frozenset[NodeId]) -> Down:
        after = frozenset({"the node of the moment"}) if f == START and value["action"] != ISOLATE else frozenset()
        return Down(before | after, after)
