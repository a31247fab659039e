"""A simulated disk keeps what was synced, may lose what was not, and hides nothing that a checksum would see."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from harness.environments.sim.delays import quantiles_ns
from harness.environments.sim.disk import Disk
from harness.environments.sim.environment import SimEnvironment
from harness.tests.simulated import Scripted, ScriptedTarget, Word, run_for, world_of
from targets.core import Effect, Event, Persist, Received, Send, Started, SyncDone


def disk_of(count: int, synced: int, seed: int = 1) -> Disk:
    """A disk with so many records, of which the first `synced` are durable."""
    disk = Disk(random.Random(seed), quantiles_ns("constant", 1, 1))
    for number in range(count):
        disk.append(Word(str(number)), token=number)
    disk.synced(synced)
    return disk


def found(disk: Disk) -> list[str]:
    return [record.text for record in disk.recover()[0]]  # type: ignore[attr-defined]


def test_a_sync_makes_durable_what_was_there_when_it_began_and_nothing_else() -> None:
    disk = disk_of(5, 2)
    assert ([record.text for record in disk.records], len(disk.unsynced)) == (["0", "1"], 3)  # type: ignore[attr-defined]
    disk.lose_unsynced()
    disk.crash()
    assert found(disk) == ["0", "1"]


def test_a_crash_keeps_every_synced_record_and_of_the_others_any_prefix() -> None:
    lengths = set()
    for seed in range(100):
        disk = disk_of(5, 2, seed)
        disk.crash()
        kept = found(disk)
        assert kept == [str(number) for number in range(len(kept))]
        lengths.add(len(kept))
    assert lengths == {2, 3, 4, 5}


def test_a_crash_forgets_tokens_and_the_sync_under_way() -> None:
    disk = disk_of(5, 2)
    disk.in_flight = True
    disk.crash()
    assert (list(disk.tokens), disk.in_flight) == ([], False)


def lives(environment: SimEnvironment, target: ScriptedTarget) -> list[Scripted]:
    """n1 killed while its first record is being synced, and started again."""
    run_for(environment, 0.1)
    environment.cluster.processes.kill(["n1"])
    environment.cluster.processes.start(["n1"])
    run_for(environment, 3)
    return target.cores["n1"]


@pytest.mark.parametrize("seed", range(4))
def test_a_restarted_core_hears_of_its_own_records_only(seed: int) -> None:
    starts: list[Event] = []

    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if core.node != "n1" or not isinstance(event, Started):
            return ()
        starts.append(event)
        life = len(starts)
        return [Persist(Word(str(life)), token=life), Send("n2", Word(f"life {life}"))]

    environment, target = world_of(script, seed=seed, fsync_ms_min=500, fsync_ms_mean=500, kill_inside_step=0)
    first, second = lives(environment, target)
    assert [event for _, event in first.seen if isinstance(event, SyncDone)] == []
    assert [event for _, event in second.seen if isinstance(event, SyncDone)] == [SyncDone(2)]
    said = [event.message for _, event in target.cores["n2"][0].seen if isinstance(event, Received)]
    assert said == [Word("life 2")], "what waited for the disk died with the process"


@pytest.mark.parametrize("kind", ["bitflip", "truncate", "wipe"])
def test_what_no_crash_does_is_damage(kind: str) -> None:
    disk = disk_of(5, 5)
    match kind:
        case "bitflip":
            disk.flip()
        case "truncate":
            disk.truncate(1)
        case _:
            disk.wipe()
    assert disk.is_damaged


def test_where_nothing_was_there_to_cut_there_is_no_damage() -> None:
    disk = disk_of(0, 0)
    assert disk.truncate(1) == 0
    assert not disk.is_damaged


def test_what_crashes_do_is_none() -> None:
    disk = disk_of(5, 2)
    disk.tear()
    disk.lose_unsynced()
    disk.crash()
    disk.recover()
    assert not disk.is_damaged


def test_the_first_of_several_flipped_bits_hides_what_stands_behind_it() -> None:
    for seed in range(20):
        disk = disk_of(9, 9, seed)
        first = min(number for number in (disk.flip(), disk.flip(), disk.flip()) if number is not None)
        records, damage = disk.recover()
        assert len(records) == first
        assert damage == f"record {first + 1} of 9: its checksum does not match"


def test_a_wiped_disk_has_nothing_also_of_what_was_not_synced() -> None:
    disk = disk_of(5, 2)
    assert disk.wipe() == 5
    disk.crash()
    assert found(disk) == []
