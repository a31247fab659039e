"""How many faults a run had, and from when to when: by what its ops began and ended, not by how many ops there were."""

from __future__ import annotations

from typing import Any

from checkers.verdict import Validity
from checkers.windows import fault_results, fault_windows
from harness.run.check import count_faults_not_begun
from harness.run.execute import execute
from harness.run.plan import prepare
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from histories.builder import h
from nemesis.family import Entry
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3")
SECOND = 1_000_000_000


def test_five_faults_are_five_however_many_ops_they_took() -> None:
    entries: list[tuple[float, str, Any]] = [
        (1.0, "damage-disk", {"kind": "torn-write", "nodes": ["n1"], "parameters": {}}),
        (2.7, "heal-disk", None),
        (3.0, "kill", ["n2"]),
        (3.5, "start", None),
        (4.0, "start-partition", {"grudge": {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}}),
        (4.5, "start-partition", {"grudge": {"n2": ["n1", "n3"], "n1": ["n2"], "n3": ["n2"]}}),
        (5.0, "stop-partition", None),
        (6.0, "restart-all", None),
    ]
    planned = Schedule(nodes=NODES, entries=tuple(Entry(round(s * SECOND), f, value) for s, f, value in entries))
    sink = MemorySink("counts")
    spec = RunSpec(env="sim", nodes=NODES, time_limit_s=8.0, seed=1, beyond_model=True)
    result = execute(prepare(spec, saved=planned), sink)
    assert result.verdict.validity is Validity.VALID, result.verdict.reason
    history = sink.history()
    assert result.counts["faults"] == 5
    assert len(list(fault_results(history))) > 8, "the final heals are fault ops as well"
    disk, kill, first, second, restart = fault_windows(history)
    assert (disk.name, kill.name, restart.name) == ("disk:torn-write", "kill", "restart-all")
    assert disk.lifting_ns is not None
    assert disk.in_force_ns is not None
    assert 1.2 * SECOND < disk.lifting_ns - disk.in_force_ns <= 1.7 * SECOND
    assert kill.nodes == ("n2",)
    assert first.lifted_ns == second.in_force_ns == round(4.5 * SECOND), (
        "the second partition takes the first one's place"
    )
    assert second.lifted_ns == 5 * SECOND
    assert restart.began_ns == 6 * SECOND
    assert all(window.lifted_ns is not None for window in (disk, kill, first, second, restart))


def test_each_node_of_a_kill_has_its_own_times() -> None:
    planned = Schedule(nodes=NODES, entries=(Entry(SECOND, "kill", ["n1", "n2", "n3"]), Entry(2 * SECOND, "start")))
    differ = False
    for seed in range(5):
        sink = MemorySink("kills")
        spec = RunSpec(env="sim", nodes=NODES, time_limit_s=3.0, seed=seed, env_options={"kill_inside_step": 1.0})
        execute(prepare(spec, saved=planned), sink)
        (window,) = fault_windows(sink.history())
        died_ns = [onset.in_force_ns for onset in window.onsets.values()]
        assert all(ns is not None and ns >= SECOND for ns in died_ns)
        assert window.in_force_ns == max(ns for ns in died_ns if ns is not None)
        differ |= len(set(died_ns)) > 1
    assert differ, "a node dies when it is in the middle of a step, and the others before or after it"


def test_a_run_that_ended_early_has_not_missed_what_was_due_later() -> None:
    history = h("p0 invoke read | nemesis invoke kill primary | p0 ok read | nemesis info kill")
    end_ns = history[-1].time
    due = [(1, "kill", "primary"), (end_ns + 1, "start", None), (end_ns + 2, "kill", ["n2"])]
    assert count_faults_not_begun(history, due) == 0, "a violation ended the run before they were due"
    assert count_faults_not_begun(history, [*due[:1], (2, "start", None), *due[1:]]) == 1
