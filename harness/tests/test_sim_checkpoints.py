"""A checkpoint on a simulated disk: the records before it, or it and those behind it; never both, never neither."""

from __future__ import annotations

import random

import msgspec
import pytest

from harness.environments.sim.disk import Disk


class Number(msgspec.Struct, frozen=True):
    n: int


def disk(seed: int = 1) -> Disk:
    """Ten synced records, 0 to 9."""
    subject = Disk(random.Random(seed), (1,))
    for n in range(10):
        subject.append(Number(n), None)
    subject.synced(10)
    return subject


def numbers(subject: Disk) -> list[int]:
    """What a restarted process finds on a sound disk."""
    records, damage = subject.recover()
    assert damage is None
    return [record.n for record in records if isinstance(record, Number)]


def test_superseded_records_are_dropped_when_the_checkpoint_is_durable_and_not_before() -> None:
    subject = disk()
    subject.append(Number(10), None)
    subject.append(Number(100), 1, True)
    subject.append(Number(101), None)
    subject.synced(11)
    assert len(subject.records) == 11
    subject.synced(13)
    assert len(subject.records) == 2
    assert numbers(subject) == [100, 101]


def test_of_two_checkpoints_in_one_sync_the_last_counts() -> None:
    subject = disk()
    for n in (100, 101, 200, 201):
        subject.append(Number(n), None, n % 100 == 0)
    subject.synced(14)
    assert numbers(subject) == [200, 201]
    subject.append(Number(202), None)
    subject.synced(15)
    assert numbers(subject) == [200, 201, 202]


def test_a_crash_leaves_the_old_records_or_the_checkpoint_and_what_was_written_with_it() -> None:
    found = set()
    for seed in range(60):
        subject = disk(seed)
        for n in (10, 100, 101):
            subject.append(Number(n), None, n == 100)
        subject.crash()
        found.add(tuple(numbers(subject)))
        subject.append(Number(102), None)
        subject.synced(14)
        assert subject.records[-1] == Number(102)
    old = tuple(range(10))
    assert found == {old, (*old, 10), (100,), (100, 101)}


def test_a_torn_or_lost_checkpoint_leaves_the_old_records() -> None:
    for seed in range(20):
        torn, lost = disk(seed), disk(seed)
        for subject in (torn, lost):
            subject.append(Number(100), None, True)
            subject.crash()
        assert torn.tear() == 1
        assert lost.lose_unsynced() == 1
        assert numbers(torn) == numbers(lost) == list(range(10))
        for subject in (torn, lost):
            subject.append(Number(10), None)
            subject.synced(12)
            assert len(subject.records) == 11, "the checkpoint that was lost supersedes nothing later"


def test_damage_goes_with_the_records_that_are_dropped() -> None:
    subject = disk()
    assert subject.flip() is not None
    subject.append(Number(100), None, True)
    subject.synced(11)
    assert numbers(subject) == [100]
    assert subject.flip() == 0
    assert subject.recover() == ((), "record 1 of 1: its checksum does not match")


@pytest.mark.parametrize("cut", [1, 2])
def test_a_checkpoint_that_is_cut_off_is_damage_until_the_disk_is_wiped(cut: int) -> None:
    subject = disk()
    for n in (100, 101):
        subject.append(Number(n), None, n == 100)
    subject.synced(12)
    subject.truncate(cut)
    for _ in range(2):
        records, damage = subject.recover()
        assert (records, damage is not None) == (((Number(100),), False) if cut == 1 else ((), True))
    subject.wipe()
    assert subject.recover() == ((), None)
