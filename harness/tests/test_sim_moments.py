"""Faults at moments of the protocol, in the simulation: they strike in the moment, and the run is a function of its seed."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.verdict import Validity
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from histories.op import Op
from nemesis.family import Entry
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3")
SECOND_NS = 1_000_000_000
SPEC = RunSpec(
    env="sim",
    nodes=NODES,
    nemesis=("moment", "partition:one"),
    rate_hz=50.0,
    time_limit_s=10.0,
    interval_s=1.0,
    target_options={"snapshot_entries": 20},
    seed=4,
)


def run(spec: RunSpec, saved: Schedule | None = None) -> MemorySink:
    sink = MemorySink("moments")
    verdict = execute(plan.prepare(spec, saved=saved), sink).verdict
    assert verdict.validity is Validity.VALID, verdict.reason
    return sink


def starts(sink: MemorySink) -> list[Op]:
    return [op for op in sink.history().ops if op.f == "start-moment" and op.type == "info"]


def test_the_same_seed_gives_the_same_moments() -> None:
    first, second = run(SPEC), run(SPEC)
    assert first.history() == second.history()
    installed = [op.value["did"]["moment"] for op in starts(first) if op.value["status"] == "installed"]
    assert len(set(installed)) >= 3, installed


@pytest.mark.parametrize("target", ["raft", "paxos"])
def test_a_leader_is_cut_off_while_another_node_lags(target: str) -> None:
    """n3, which hears nobody for a while, lacks what the leader has carried out by then; before that nobody lags."""
    value: dict[str, Any] = {"moment": "lagging", "action": "isolate", "count": 1, "after_ms": 0}
    late = {"links": {"n3": ["n1", "n2"]}, "parameters": {"probability": 1.0}}
    saved = Schedule(
        nodes=NODES,
        entries=(
            Entry(1 * SECOND_NS, "start-moment", value),
            Entry(2 * SECOND_NS, "stop-moment"),
            Entry(2 * SECOND_NS + 1, "start-late", late),
            Entry(2 * SECOND_NS + 2, "start-moment", value),
            Entry(4 * SECOND_NS, "stop-moment"),
            Entry(5 * SECOND_NS, "stop-late"),
        ),
    )
    early, lagging = starts(
        run(RunSpec(env="sim", target=target, nodes=NODES, rate_hz=100.0, time_limit_s=8.0, seed=5), saved)
    )
    assert early.value["status"] == "skipped"
    assert lagging.value["status"] == "installed", lagging.value
    assert lagging.value["did"]["node"] != "n3"


@pytest.mark.parametrize("moment", ["appended", "stored", "elected"])
def test_the_moment_is_of_the_right_node(moment: str) -> None:
    value: dict[str, Any] = {"moment": moment, "action": "pause", "count": 1, "after_ms": 0}
    begin: dict[str, Any] = {"shape": "primary"}
    entries = [Entry(2 * SECOND_NS, "start-moment", value), Entry(3 * SECOND_NS, "stop-moment")]
    if moment == "elected":  # A new leader: the old one is cut off.
        entries.insert(0, Entry(2 * SECOND_NS - 1, "start-partition", begin))
        entries.append(Entry(4 * SECOND_NS, "stop-partition"))
    saved = Schedule(nodes=NODES, entries=tuple(entries))
    spec = RunSpec(env="sim", nodes=NODES, rate_hz=100.0, time_limit_s=6.0, seed=5)
    sink = run(spec, saved)
    (op,) = starts(sink)
    assert op.value["status"] == "installed", op.value
    node = op.value["did"]["node"]
    before = [o.node for o in sink.history().ops if o.type == "ok" and o.time < 2 * SECOND_NS and o.node is not None]
    leader = before[-1]
    assert (node == leader) == (moment == "appended")
