"""What a simulated process leaves when it is killed, paused, halts or raises: for its clients, its timers, the next process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from checkers.evidence import EndedNodes
from checkers.verdict import Validity
from harness.environments.sim.environment import SimEnvironment
from harness.errors import HarnessError
from harness.tests.simulated import Scripted, Word, run_for, silent, world_of
from histories.op import Op
from nemesis.capabilities import FaultError
from targets.core import (
    DiskFailed,
    Effect,
    Event,
    Halt,
    Persist,
    Received,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
)
from targets.session import Outcome

MS = 1_000_000
SECOND = 1_000_000_000


class Asked:
    """One client's call to n1, and how it ended."""

    def __init__(self, environment: SimEnvironment) -> None:
        self.ends: list[tuple[int, Outcome]] = []
        self._world = environment.world
        environment.clients.start(Op(0, 0, "invoke", 0, "say", None, "hello"), 0, self._ended)

    def _ended(self, _op: Op, outcome: Outcome, _node: str) -> None:
        self.ends.append((self._world.now_ns, outcome))


def test_a_call_that_a_dying_process_held_is_reset_at_once_and_may_have_happened() -> None:
    environment, _ = world_of(silent, kill_inside_step=0, client_timeout_s=5.0)
    asked = Asked(environment)
    run_for(environment, 0.1)
    environment.cluster.processes.kill(["n1"])
    killed_ns = environment.world.now_ns
    run_for(environment, 1)
    ((ended_ns, outcome),) = asked.ends
    assert (outcome.type, outcome.error) == ("info", ["reset", "killed"])
    assert ended_ns < killed_ns + SECOND // 2


def test_a_call_to_a_dead_process_certainly_did_nothing() -> None:
    environment, _ = world_of(silent, kill_inside_step=0)
    environment.cluster.processes.kill(["n1"])
    asked = Asked(environment)
    run_for(environment, 1)
    assert [outcome.type for _, outcome in asked.ends] == ["fail"]


def test_a_call_that_nobody_answers_ends_at_its_time_out() -> None:
    environment, _ = world_of(silent, client_timeout_s=0.5)
    began_ns = environment.world.now_ns
    asked = Asked(environment)
    run_for(environment, 3)
    assert [(when - began_ns, outcome.type) for when, outcome in asked.ends] == [(SECOND // 2, "info")]


def test_a_request_that_waited_for_a_process_dies_with_it() -> None:
    """The process is slow: the request waits until the step before it is over."""
    environment, target = world_of(silent, slow_nodes_ms={"n1": 400}, kill_inside_step=0)
    first, second = Asked(environment), Asked(environment)
    run_for(environment, 0.1)
    assert len(target.cores["n1"][0].events(Request)) <= 1
    environment.cluster.processes.kill(["n1"])
    environment.cluster.processes.start(["n1"])
    run_for(environment, 2)
    assert target.cores["n1"][1].events(Request) == []
    assert {outcome.type for asked in (first, second) for _, outcome in asked.ends} == {"info"}


def ticking(_core: Scripted, event: Event) -> Sequence[Effect]:
    return [SetTimer("tick", 10 * MS)] if isinstance(event, Started | TimerFired) else ()


def test_no_timer_fires_while_its_process_is_paused_and_each_does_when_it_goes_on() -> None:
    environment, target = world_of(ticking)
    run_for(environment, 0.1)
    before = len(target.cores["n1"][0].seen)
    environment.cluster.processes.pause(["n1"])
    run_for(environment, 1)
    assert len(target.cores["n1"][0].seen) == before
    environment.cluster.processes.resume(["n1"])
    run_for(environment, 0.001)
    assert len(target.cores["n1"][0].seen) == before + 1
    run_for(environment, 0.1)
    assert len(target.cores["n1"][0].seen) > before + 5


def writing(core: Scripted, event: Event) -> Sequence[Effect]:
    """n1 writes a record, and says so to n2 when it is durable."""
    if core.node == "n1" and isinstance(event, Started):
        return [Persist(Word("record"), token=1), Send("n2", Word("written"))]
    return ()


def test_a_sync_that_ends_while_its_process_is_paused_is_noticed_when_it_goes_on() -> None:
    environment, target = world_of(writing, fsync_ms_min=100, fsync_ms_mean=100)
    environment.cluster.processes.pause(["n1"])
    run_for(environment, 2)
    assert (target.cores["n2"][0].events(Received), target.cores["n1"][0].events(SyncDone)) == ([], [])
    environment.cluster.processes.resume(["n1"])
    run_for(environment, 0.1)
    assert len(target.cores["n2"][0].events(Received)) == 1
    assert target.cores["n1"][0].events(SyncDone) == [SyncDone(1)]


def one_minute(_core: Scripted, event: Event) -> Sequence[Effect]:
    return [SetTimer("late", 60 * SECOND)] if isinstance(event, Started) else ()


@pytest.mark.parametrize("offset_s", [100, -100])
def test_a_jump_of_the_clock_moves_no_timer(offset_s: int) -> None:
    environment, target = world_of(one_minute)
    run_for(environment, 1)
    environment.cluster.clocks.set_offset({"n1": offset_s * SECOND})
    run_for(environment, 58.9)
    assert [target.cores[node][0].events(TimerFired) for node in ("n1", "n2")] == [[], []]
    run_for(environment, 0.2)
    assert [target.cores[node][0].events(TimerFired) for node in ("n1", "n2")] == [[TimerFired("late")]] * 2


def test_a_timer_that_is_set_already_goes_by_the_rate_that_its_clock_has_now() -> None:
    environment, target = world_of(one_minute)
    run_for(environment, 10)
    environment.cluster.clocks.set_rate({"n1": 2.0, "n2": 0.5})
    run_for(environment, 24.9)
    assert target.cores["n1"][0].events(TimerFired) == []
    run_for(environment, 0.2)
    assert target.cores["n1"][0].events(TimerFired) == [TimerFired("late")]
    run_for(environment, 74.8)
    assert target.cores["n2"][0].events(TimerFired) == []
    run_for(environment, 0.2)
    assert target.cores["n2"][0].events(TimerFired) == [TimerFired("late")]


def test_what_was_sent_to_a_process_over_a_stream_dies_with_it() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node == "n1" and isinstance(event, Started | TimerFired):
            return [Send("n2", Word("to whom it may concern")), SetTimer("again", 10 * MS)]
        return ()

    reached: dict[str, int] = {}
    for transport in ("datagram", "stream"):
        environment, target = world_of(
            script, kill_inside_step=0, link_delay_ms={"n1>n2": 500}, delay="constant", transport=transport
        )
        run_for(environment, 0.2)
        environment.cluster.processes.kill(["n2"])
        environment.cluster.processes.start(["n2"])
        environment.cluster.processes.kill(["n1"])
        run_for(environment, 2)
        reached[transport] = len(target.cores["n2"][1].events(Received))
    assert reached["stream"] == 0, "its connection was to the other process"
    assert reached["datagram"] > 10


def test_what_reaches_a_dead_process_is_lost_and_counted() -> None:
    environment, _ = world_of(writing, kill_inside_step=0, fsync_ms_min=100, fsync_ms_mean=100)
    environment.cluster.processes.kill(["n2"])
    run_for(environment, 1)
    assert environment.network.counts == {"dropped: no process listens": 1}


@pytest.mark.parametrize("kind", ["lose-unsynced", "torn-write", "bitflip", "truncate", "wipe"])
@pytest.mark.parametrize("state", ["running", "paused"])
def test_no_disk_is_damaged_under_a_process_that_is_not_dead(kind: str, state: str) -> None:
    environment, _ = world_of(writing)
    if state == "paused":
        environment.cluster.processes.pause(["n1"])
    with pytest.raises(FaultError, match=f"{kind} is for the disk of a dead process; n1 run"):
        environment.cluster.disks.damage(kind, ["n1"], {"bytes": 1})


# --- what a run finds ---------------------------------------------------------------------------------------------------


def halting(core: Scripted, event: Event) -> Sequence[Effect]:
    """Writes a record each 10 ms, and halts when the disk refuses one."""
    match event:
        case Started():
            return [SetTimer("write", 10 * MS)]
        case TimerFired():
            return [Persist(Word("more")), SetTimer("write", 10 * MS)]
        case DiskFailed(reason):
            return [Halt(reason)]
    return ()


def test_a_core_that_halts_on_a_sound_disk_is_wrong() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        return [Halt("enough")] if core.node == "n1" and isinstance(event, TimerFired) else halting(core, event)

    environment, _ = world_of(script, liveness_s=0)
    run_for(environment, 1)
    found = environment.findings()["nodes"]
    assert found.validity is Validity.INVALID
    assert found.evidence_of(EndedNodes).ended[0].words == "halted, though nothing was done to its disk: enough"


def test_a_core_that_halts_because_its_disk_is_damaged_refused_to_run_until_it_is_started_on_a_sound_one() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        return [Halt(event.damage)] if isinstance(event, Started) and event.damage else writing(core, event)

    environment, _ = world_of(script, kill_inside_step=0)
    processes, disks = environment.cluster.processes, environment.cluster.disks
    run_for(environment, 1)
    processes.kill(["n1", "n2"])
    assert processes.refused(["n1", "n2"]) == {}
    disks.damage("bitflip", ["n1"], {"bits": 1})
    processes.start(["n1"])
    assert processes.refused(["n1", "n2", "n3"]) == {"n1": "record 1 of 1: its checksum does not match"}
    disks.damage("wipe", ["n1"], {})
    processes.start(["n1"])
    assert (processes.refused(["n1"]), processes.states()["n1"]) == ({}, "running")


def test_a_core_that_halts_because_its_disk_is_full_is_right_and_serves_again_when_all_is_healed() -> None:
    environment, _ = world_of(halting, kill_inside_step=0)
    environment.cluster.disks.damage("full", ["n1", "n2"], {})
    environment.cluster.processes.kill(["n3"])
    run_for(environment, 1)
    assert set(environment.cluster.processes.states().values()) == {"dead"}
    found = environment.findings()
    assert found["liveness"].validity is Validity.VALID, found["liveness"].reason
    assert found["nodes"].validity is Validity.VALID
    assert set(environment.cluster.processes.states().values()) == {"running"}
    assert environment.cluster.disks.measure() == {"in_force": {}}
    run_for(environment, 1)
    assert set(environment.cluster.processes.states().values()) == {"running"}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (lambda core, event: [Halt("no licence")], "n1 did not start: halted: no licence"),
        (lambda core, event: 1 / 0, "n1 did not start: the core raised ZeroDivisionError"),
    ],
)
def test_a_cluster_of_which_one_node_does_not_start_is_not_tested(
    script: Callable[[Scripted, Event], Sequence[Effect]], words: str
) -> None:
    def first_only(core: Scripted, event: Event) -> Sequence[Effect]:
        return script(core, event) if core.node == "n1" else ()

    with pytest.raises(HarnessError, match=words):
        world_of(first_only)
