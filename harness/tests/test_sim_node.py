"""The driver's side of targets/core.py: each promise of the contract, and each thing that the simulator may do against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from checkers.evidence import EndedNodes
from harness.environments.sim.capabilities import KILL_WAIT_NS_MAX
from harness.environments.sim.environment import SimEnvironment
from harness.environments.sim.world import World
from harness.tests.simulated import Script, Scripted, ScriptedTarget, Word, run_for, world_of
from histories.tracing import Chosen, Custom
from targets.core import (
    CancelTimer,
    DiskFailed,
    Effect,
    Event,
    Halt,
    Persist,
    Received,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)

SECOND = 1_000_000_000
MS = 1_000_000


def texts(core: Scripted) -> list[str]:
    """What the core received, in order."""
    return [event.message.text for _, event in core.seen if isinstance(event, Received)]  # type: ignore[attr-defined]


# --- effects and durability --------------------------------------------------------------------------------------------


def persist_between(core: Scripted, event: Event) -> Sequence[Effect]:
    """n1 sends before and behind a record when all have started."""
    if core.node == "n1" and isinstance(event, Started):
        return () if event.records else [SetTimer("begin", 10 * MS)]
    if event == TimerFired("begin"):
        return [
            Send("n2", Word("before")),
            Persist(Word("record"), token=7),
            Send("n2", Word("behind")),
            SetTimer("next", 0),
        ]
    if event == TimerFired("next"):
        return [Send("n2", Word("next step"))]
    return ()


def test_what_stands_behind_a_persist_waits_for_the_disk_and_so_do_later_steps() -> None:
    _, target = run_to_end(persist_between, fsync_ms_min=500, fsync_ms_mean=500)
    core = target.cores["n2"][0]
    arrivals = {
        event.message.text: when  # type: ignore[attr-defined]
        for when, event in core.seen
        if isinstance(event, Received)
    }
    assert arrivals["before"] < 100 * MS
    assert arrivals["behind"] > 490 * MS
    assert arrivals["next step"] > 490 * MS
    sync_done = target.cores["n1"][0].events(SyncDone)
    assert sync_done == [SyncDone(7)]


def run_to_end(script: Script, **options: Any) -> tuple[SimEnvironment, ScriptedTarget]:
    environment, target = world_of(script, **options)
    run_for(environment, 5)
    return environment, target


def test_timers_move_at_once_even_behind_a_persist() -> None:
    _, target = run_to_end(persist_between, fsync_ms_min=500, fsync_ms_mean=500)
    fired = [when for when, event in target.cores["n1"][0].seen if event == TimerFired("next")]
    assert fired[0] < 50 * MS


def test_a_crash_before_the_sync_hides_what_stood_behind_the_record() -> None:
    """Rule 3: the list is cut at the Persist; the record itself survives in some seeds and not in others."""
    survived = set()
    for seed in range(40):
        environment, target = world_of(
            persist_between, seed=seed, fsync_ms_min=500, fsync_ms_mean=500, kill_inside_step=0
        )
        run_for(environment, 0.1)
        environment.cluster.processes.kill(["n1"])
        run_for(environment, 1)
        assert texts(target.cores["n2"][0]) == ["before"]
        environment.cluster.processes.start(["n1"])
        started = target.cores["n1"][1].events(Started)[0]
        assert isinstance(started, Started)
        survived.add(len(started.records))
    assert survived == {0, 1}


def test_what_was_synced_survives_every_crash() -> None:
    environment, target = run_to_end(persist_between)
    for _ in range(10):
        environment.cluster.processes.kill(["n1"])
        environment.cluster.processes.start(["n1"])
    started = [event for core in target.cores["n1"][1:] for event in core.events(Started)]
    assert all(isinstance(event, Started) and event.records[0] == Word("record") for event in started)


def test_a_restarted_core_is_a_new_object_and_old_timers_and_syncs_are_gone() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if isinstance(event, Started) and not event.records:
            return [SetTimer("old", SECOND), Persist(Word("x"), token=1)]
        return ()

    environment, target = world_of(script, kill_inside_step=0)
    run_for(environment, 0.5)
    environment.cluster.processes.kill(["n1"])
    environment.cluster.processes.start(["n1"])
    run_for(environment, 2)
    assert target.cores["n1"][1].events(TimerFired) == []
    assert target.cores["n2"][0].events(TimerFired) == [TimerFired("old")]


def chatter(core: Scripted, event: Event) -> Sequence[Effect]:
    """n1 says ten numbered words to n2, again and again."""
    if core.node == "n1" and isinstance(event, Started | TimerFired):
        return [*(Send("n2", Word(str(number))) for number in range(10)), SetTimer("again", MS)]
    return ()


def test_a_kill_lands_between_any_two_effects_of_a_step() -> None:
    cuts = []
    for effects in range(22):
        environment, target = world_of(chatter, delay="constant", delay_ms_min=1, delay_ms_mean=1)
        run_for(environment, 0.02)
        environment.by_name["n1"].doom(effects)
        run_for(environment, 0.1)
        assert environment.cluster.processes.states()["n1"] == "dead"
        received = texts(target.cores["n2"][0])
        assert received == [str(number) for number in range(10)] * (len(received) // 10) + [
            str(number) for number in range(len(received) % 10)
        ]
        cuts.append(len(received))
    # The eleventh effect of each step is its timer.
    sends = [effects - (effects > 10) - (effects > 21) for effects in range(22)]
    assert [cut - cuts[0] for cut in cuts] == sends


def test_a_trace_of_several_slots_counts_for_one_each_before_a_kill() -> None:
    """So how a core bundles its traces moves no crash."""

    def script(bundled: bool) -> Script:
        one_by_one = [Trace(Chosen(slot, "x")) for slot in (1, 2, 3)]
        told = [Trace(Chosen(1, "x", ("x", "x")))] if bundled else one_by_one
        words: list[Effect] = [*told, Send("n2", Word("a")), *told, Send("n2", Word("b"))]
        effects: list[Effect] = [*words, Persist(Word("r")), *words, SetTimer("next", 10 * MS)]
        return lambda core, event: effects if core.node == "n1" and isinstance(event, Started | TimerFired) else ()

    def heard(bundled: bool, effects: int) -> list[str]:
        environment, target = world_of(script(bundled), fsync_ms_min=1, fsync_ms_mean=1, delay="constant")
        run_for(environment, 0.1)
        environment.by_name["n1"].doom(effects)
        run_for(environment, 0.1)
        return texts(target.cores["n2"][0])

    one_by_one = [heard(False, effects) for effects in range(28)]
    assert len({*map(tuple, one_by_one)}) > 2
    assert [heard(True, effects) for effects in range(28)] == one_by_one


def test_a_kill_may_wait_for_the_next_record_and_lands_right_behind_it() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node == "n1" and isinstance(event, Started | TimerFired):
            return [Send("n2", Word("a")), Persist(Word("r")), Send("n2", Word("b")), SetTimer("next", 10 * MS)]
        return ()

    environment, target = world_of(script, fsync_ms_min=1, fsync_ms_mean=1, delay="constant")
    run_for(environment, 0.1)
    node = environment.by_name["n1"]
    node.doom_after_record(0)
    run_for(environment, 0.1)
    assert node.state == "dead"
    assert texts(target.cores["n2"][0])[-2:] == ["b", "a"]
    assert len(node.disk.unsynced) == 1


def test_a_kill_may_wait_for_a_record_of_a_rare_kind() -> None:
    class Rare(msgspec.Struct, frozen=True, tag=True):
        text: str

    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node != "n1" or not isinstance(event, Started | TimerFired):
            return ()
        number = len(core.seen)
        record = Rare("r") if number % 7 == 3 else Word("r")
        return [Persist(record), Send("n2", Word(type(record).__name__)), SetTimer("next", 10 * MS)]

    environment, target = world_of(script, fsync_ms_min=1, fsync_ms_mean=1, delay="constant")
    run_for(environment, 0.045)
    node = environment.by_name["n1"]
    assert {kind.__name__ for kind in node.disk.kinds} == {"Word", "Rare"}
    node.doom_after_record(0, rare=True)
    run_for(environment, 1.0)
    assert node.state == "dead"
    assert [type(record).__name__ for record in node.disk.unsynced] == ["Rare"]
    assert texts(target.cores["n2"][0])[-1] == "Word"


def test_what_is_sent_waits_for_the_records_before_it_and_not_for_those_behind_it() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node != "n1" or not isinstance(event, Started):
            return ()
        return [Persist(Word("first")), Send("n2", Word("said")), Persist(Word("second"))]

    environment, _ = world_of(script, fsync_ms_min=1, fsync_ms_mean=1, messages=True)
    run_for(environment, 0.1)
    assert environment.world.messages is not None
    done = [entry.kind for entry in environment.world.messages.entries if entry.node == "n1"]
    assert [kind for kind in done if kind in ("persist", "send", "sync")] == [
        *("persist", "persist"),
        *("sync", "send", "sync"),
    ]


def test_kills_of_the_nemesis_land_inside_steps_and_between_them() -> None:
    ends = set()
    for seed in range(40):
        environment, target = world_of(chatter, seed=seed, kill_inside_step=0.5)
        run_for(environment, 0.02)
        environment.cluster.processes.kill(["n1"])
        run_for(environment, 0.1)
        ends.add(len(texts(target.cores["n2"][0])) % 10 == 0)
    assert ends == {True, False}


def test_kill_returns_with_everyone_dead_also_who_has_nothing_to_do() -> None:
    environment, _ = world_of(kill_inside_step=1)
    before_ns = environment.world.now_ns
    environment.cluster.processes.kill(["n1", "n2", "n3"])
    assert set(environment.cluster.processes.states().values()) == {"dead"}
    assert environment.world.now_ns <= before_ns + KILL_WAIT_NS_MAX


def test_a_halt_ends_the_process_and_nothing_behind_it_is_done() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node == "n1" and isinstance(event, TimerFired):
            return [Send("n2", Word("a")), Halt("enough"), Send("n2", Word("b"))]
        return [SetTimer("halt", 10 * MS)]

    environment, target = world_of(script)
    run_for(environment, 1)
    assert texts(target.cores["n2"][0]) == ["a"]
    assert environment.cluster.processes.states()["n1"] == "dead"
    assert environment.by_name["n1"].ended_unasked == "enough"


def test_a_core_that_raises_is_a_dead_process_and_a_finding() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        assert core.node != "n1" or isinstance(event, Started), "n1 cannot count to two"
        return [SetTimer("next", 10 * MS)]

    environment, _ = world_of(script, liveness_s=0)
    run_for(environment, 1)
    finding = environment.findings()["nodes"]
    assert finding.validity.value == "invalid"
    assert "n1" in finding.reason
    assert "n1 cannot count to two" in finding.evidence_of(EndedNodes).ended[0].words


# --- disk faults -------------------------------------------------------------------------------------------------------


def writer(core: Scripted, event: Event) -> Sequence[Effect]:
    """Every node writes ten records when it is first started, and one each 10 ms afterwards."""
    match event:
        case Started(records=()):
            return [*(Persist(Word(str(number))) for number in range(10)), SetTimer("write", 10 * MS)]
        case Started():
            return [SetTimer("write", 10 * MS)]
        case TimerFired():
            return [Persist(Word("more")), SetTimer("write", 10 * MS)]
        case DiskFailed(reason):
            return [Trace(Custom("refused", {"reason": reason})), Halt(reason)]
    return ()


def restarted(environment: SimEnvironment, target: ScriptedTarget, node: str) -> Started:
    environment.cluster.processes.start([node])
    started = target.cores[node][-1].seen[0][1]
    assert isinstance(started, Started)
    return started


def test_a_full_disk_is_told_to_the_core_and_later_effects_of_the_step_are_not_done() -> None:
    environment, target = world_of(writer)
    run_for(environment, 1)
    before = environment.by_name["n1"].disk.position
    assert environment.cluster.disks.damage("full", ["n1"], {}) == {"n1": {"full": True}}
    assert environment.cluster.disks.measure() == {"in_force": {"full": ["n1"]}}
    run_for(environment, 1)
    assert len(target.cores["n1"][0].events(DiskFailed)) == 1
    assert environment.by_name["n1"].disk.position == before
    assert environment.cluster.processes.states()["n1"] == "dead"
    environment.cluster.disks.heal()
    assert len(restarted(environment, target, "n1").records) == before


def test_lose_unsynced_leaves_exactly_what_was_synced() -> None:
    for seed in range(20):
        environment, target = world_of(writer, seed=seed, fsync_ms_min=15, fsync_ms_mean=30, kill_inside_step=0)
        run_for(environment, 1)
        environment.cluster.processes.kill(["n1"])
        synced = environment.by_name["n1"].disk.synced_position
        environment.cluster.disks.damage("lose-unsynced", ["n1"], {})
        assert len(restarted(environment, target, "n1").records) == synced


def test_a_torn_write_loses_no_synced_record_and_is_no_damage() -> None:
    for seed in range(20):
        environment, target = world_of(writer, seed=seed, fsync_ms_min=15, fsync_ms_mean=30, kill_inside_step=0)
        run_for(environment, 1)
        environment.cluster.processes.kill(["n1"])
        disk = environment.by_name["n1"].disk
        synced, written = disk.synced_position, disk.position
        environment.cluster.disks.damage("torn-write", ["n1"], {})
        started = restarted(environment, target, "n1")
        assert started.damage is None
        assert synced <= len(started.records) < max(written, synced + 1)


def test_a_flipped_bit_is_seen_and_hides_what_stands_behind_it() -> None:
    environment, target = world_of(writer)
    run_for(environment, 1)
    environment.cluster.processes.kill(["n1"])
    done = environment.cluster.disks.damage("bitflip", ["n1"], {"bits": 1})
    flipped = done["n1"]["record"]  # type: ignore[index]
    started = restarted(environment, target, "n1")
    assert started.damage is not None
    assert "checksum" in started.damage
    assert len(started.records) == flipped


def test_truncation_takes_records_off_the_end() -> None:
    environment, target = world_of(writer)
    run_for(environment, 1)
    environment.cluster.processes.kill(["n1"])
    disk = environment.by_name["n1"].disk
    before = len(disk.records) + len(disk.unsynced)
    done = environment.cluster.disks.damage("truncate", ["n1"], {"bytes": 200})
    assert done == {"n1": {"records_cut": 3}}
    assert before - 3 - len(disk.unsynced) <= len(restarted(environment, target, "n1").records) <= before - 3


def test_a_wiped_disk_is_empty_and_says_nothing() -> None:
    environment, target = world_of(writer)
    run_for(environment, 1)
    environment.cluster.processes.kill(["n1"])
    environment.cluster.disks.damage("wipe", ["n1"], {})
    assert restarted(environment, target, "n1") == Started((), None, is_rejoining=True)


def test_a_slow_disk_takes_longer_until_it_is_healed() -> None:
    environment, _ = world_of(writer, fsync_ms_min=1, fsync_ms_mean=1)
    environment.cluster.disks.damage("slow", ["n1"], {"delay_ms": 300})
    run_for(environment, 2)
    slow = environment.by_name["n1"].disk
    assert slow.position - slow.synced_position > 10
    environment.cluster.disks.heal()
    run_for(environment, 1)
    assert slow.position - slow.synced_position <= 1


# --- timers and clocks -------------------------------------------------------------------------------------------------


def test_a_timer_that_was_moved_fires_once_for_its_new_time_and_a_cancelled_one_never() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        match event:
            case Started():
                return [SetTimer("a", 10 * MS), SetTimer("b", 20 * MS), SetTimer("c", 5 * MS), CancelTimer("c")]
            case TimerFired("b"):
                return [SetTimer("a", 30 * MS), SetTimer("a", 10 * MS)]
            case TimerFired("a") if len(core.seen) < 3:
                return [SetTimer("a", 40 * MS)]
        return ()

    _, target = run_to_end(script)
    core = target.cores["n1"][0]
    start = core.seen[0][0]
    assert [(when - start, event) for when, event in core.seen[1:]] == [
        (10 * MS, TimerFired("a")),
        (20 * MS, TimerFired("b")),
        (30 * MS, TimerFired("a")),
    ]


def ticker(_core: Scripted, event: Event) -> Sequence[Effect]:
    return [SetTimer("tick", 100 * MS)]


def test_timers_follow_the_nodes_own_rate() -> None:
    environment, target = world_of(ticker)
    environment.cluster.clocks.set_rate({"n1": 2.0, "n2": 0.5})
    run_for(environment, 10)
    ticks = {node: len(cores[0].seen) for node, cores in target.cores.items()}
    assert 199 <= ticks["n1"] <= 202
    assert 49 <= ticks["n2"] <= 52
    assert 99 <= ticks["n3"] <= 102
    assert environment.cluster.clocks.rates() == {"n1": 2.0, "n2": 0.5, "n3": 1.0}


def test_a_timer_without_delay_fires_at_once_and_never_in_the_past() -> None:
    """A slow clock reads the same for several ns, the first of which are over."""
    times_ns: list[int] = []
    worlds: list[World] = []

    def hurry(_core: Scripted, event: Event) -> Sequence[Effect]:
        times_ns.extend(world.now_ns for world in worlds)
        if isinstance(event, Received):
            return [SetTimer("now", 0)]  # At a time that is no deadline of this node.
        if isinstance(event, TimerFired) and event.name == "now":
            return []
        return [Send("n1", Word("now")), SetTimer("tick", 7 * MS + 1)]

    environment, _ = world_of(hurry)
    worlds.append(environment.world)
    environment.cluster.clocks.set_rate({"n1": 0.3, "n2": 1.7})
    run_for(environment, 10)
    assert len(times_ns) > 1000
    assert times_ns == sorted(times_ns)


@pytest.mark.parametrize("rate", [1.0, 1.25])
def test_a_jump_moves_no_timer(rate: float) -> None:
    """As targets.timekeeping does for real nodes."""
    environment, target = world_of(ticker)
    clocks = environment.cluster.clocks
    clocks.set_rate({"n1": rate, "n2": rate})
    run_for(environment, 1.05)
    clocks.set_offset({"n1": 5 * SECOND, "n2": -60 * SECOND})
    before = {node: len(cores[0].seen) for node, cores in target.cores.items()}
    run_for(environment, 2)
    after = {node: len(cores[0].seen) - before[node] for node, cores in target.cores.items()}
    assert after["n3"] == pytest.approx(20, abs=1)
    assert after["n1"] == pytest.approx(20 * rate, abs=1)
    assert after["n2"] == after["n1"]
    drift_ns = int(2 * SECOND * (rate - 1))
    assert clocks.offsets_ns() == {"n1": 5 * SECOND + drift_ns, "n2": -60 * SECOND + drift_ns, "n3": 0}


def test_a_core_sees_its_own_clock_and_healing_makes_it_true_again() -> None:
    environment, target = world_of(ticker)
    environment.cluster.clocks.set_offset({"n1": 3 * SECOND})
    environment.cluster.clocks.set_rate({"n1": 1.25})
    run_for(environment, 4)
    now_ns = environment.world.now_ns
    assert target.cores["n1"][0].seen[-1][0] == pytest.approx(now_ns + 4 * SECOND, abs=150 * MS)
    environment.cluster.clocks.heal()
    assert environment.cluster.clocks.offsets_ns() == {"n1": 0, "n2": 0, "n3": 0}
    run_for(environment, 5)
    assert target.cores["n1"][0].seen[-1][0] == pytest.approx(environment.world.now_ns, abs=150 * MS)


# --- pause and slow nodes ----------------------------------------------------------------------------------------------


def test_a_paused_node_does_nothing_and_then_takes_what_waited() -> None:
    environment, target = world_of(chatter)
    run_for(environment, 0.01)
    environment.cluster.processes.pause(["n2"])
    before = len(target.cores["n2"][0].seen)
    run_for(environment, 0.02)
    assert len(target.cores["n2"][0].seen) == before
    assert environment.statuses().keys() == {"n1", "n3"}
    environment.cluster.processes.pause(["n1"])
    run_for(environment, 0.1)
    environment.cluster.processes.resume(["n2"])
    run_for(environment, 0.001)
    assert len(target.cores["n2"][0].seen) > before + 150


def test_a_paused_node_can_be_killed_and_forgets_what_waited() -> None:
    environment, target = world_of(chatter)
    environment.cluster.processes.pause(["n2"])
    run_for(environment, 0.02)
    environment.cluster.processes.kill(["n2", "n1"])
    environment.cluster.processes.start(["n2"])
    run_for(environment, 1)
    assert len(texts(target.cores["n2"][1])) <= 40, "only what was still on the wire"


def test_a_slow_node_takes_its_time_for_each_event() -> None:
    environment, target = world_of(chatter, slow_nodes_ms={"n2": 5})
    run_for(environment, 1)
    assert 190 <= len(target.cores["n2"][0].seen) <= 202
