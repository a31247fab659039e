"""What a simulated run leaves behind while it goes on: dead cores are collected, traces are passed on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from harness.campaign import sweep
from harness.environments.sim import environment, world
from harness.spec import RunSpec
from harness.tests.simulated import run_for, world_of
from histories.tracing import TraceRecord
from targets.raft.core import Raft

STORMY = RunSpec(env="sim", nemesis=("kill",), interval_s=0.2, time_limit_s=6.0, concurrency=5, rate_hz=20.0)


NEVER = 10**9


@pytest.fixture(autouse=True)
def old_objects_are_passed_over() -> Iterator[None]:
    """The hundred thousands that other tests left make each look for garbage slow."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("lives", "blocks"), [(10, NEVER), (NEVER, 0)])
def test_cores_of_killed_nodes_are_let_go_of(lives: int, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raft core's parts know each other: without a look for garbage every restart would keep one, with its log."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    alive_max = made_count = 0
    make = Raft.__init__

    def noted(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal alive_max, made_count
        make(self, *arguments, **named)
        alive.add(self)
        made_count += 1
        alive_max = max(alive_max, len(alive))

    monkeypatch.setattr(Raft, "__init__", noted)
    monkeypatch.setattr(environment, "LIVES_A_COLLECTION", lives)
    monkeypatch.setattr(environment, "GARBAGE_BLOCKS", blocks)
    monkeypatch.setattr(environment, "GARBAGE_SHARE", 0.0)
    sweep.run_seed(STORMY)
    assert made_count > 25
    assert alive_max <= 5 + 10
    assert not alive, "nor does a run that ended keep any"
    assert gc.isenabled()


def test_when_garbage_is_looked_for_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seldom = sweep.run_seed(STORMY, with_digests=True)
    monkeypatch.setattr(environment, "LIVES_A_COLLECTION", 3)
    often = sweep.run_seed(STORMY, with_digests=True)
    assert (seldom.history_digest, seldom.trace_digest) == (often.history_digest, often.trace_digest)


def test_no_more_than_a_block_of_traces_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "TRACE_ROWS_MAX", 5)
    simulated, _ = world_of()
    blocks: list[int] = []
    records: list[TraceRecord] = []

    def keep(rows: Any) -> None:
        blocks.append(len(rows))
        records.extend(TraceRecord(*row) for row in rows)

    simulated.world.keep_traces = keep
    for _ in range(6):
        for node in simulated.nodes:
            node.kill()
            node.start()
    run_for(simulated, 0.1)
    simulated.world.pass_on_traces()
    assert max(blocks) == 5
    assert len(records) == 6 * 3 * 2
