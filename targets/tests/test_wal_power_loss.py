"""What the write-ahead log acknowledged is there after a power loss at any moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from targets.tests.power_loss import Disk
from targets.wal import WriteAheadLog


class Entry(msgspec.Struct, frozen=True):
    index: int
    text: str = ""


def opened(directory: Path) -> WriteAheadLog:
    return WriteAheadLog(directory / "wal.log", Entry)


def append(log: WriteAheadLog, *entries: Entry) -> None:
    log.append([msgspec.json.encode(entry) for entry in entries])


def found(directory: Path) -> list[Entry]:
    log = opened(directory)
    log.close()
    assert log.recovery.damage is None
    return list(log.recovery.records)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    root = tmp_path / "data"
    root.mkdir()
    return Disk(root, monkeypatch)


def test_every_acknowledged_record_survives_a_power_loss_right_after_it(disk: Disk, tmp_path: Path) -> None:
    log = opened(disk.root)
    acknowledged: list[Entry] = []
    for number in range(1, 6):
        frame = [Entry(10 * number + i, "x" * 100 * i) for i in range(number)]
        append(log, *frame)
        acknowledged += frame
        assert found(disk.after_power_loss(tmp_path / f"after-{number}")) == acknowledged
    log.close()


def test_a_new_log_is_sound_after_a_power_loss(disk: Disk, tmp_path: Path) -> None:
    opened(disk.root).close()
    assert found(disk.after_power_loss(tmp_path / "after")) == []


def test_a_log_that_was_opened_again_goes_on_durably(disk: Disk, tmp_path: Path) -> None:
    for number in range(3):
        log = opened(disk.root)
        append(log, Entry(number))
        log.close()
        assert len(found(disk.after_power_loss(tmp_path / f"after-{number}"))) == number + 1


def test_a_torn_record_that_was_cut_off_does_not_come_back(disk: Disk, tmp_path: Path) -> None:
    log = opened(disk.root)
    append(log, Entry(1), Entry(2))
    log.close()
    with (disk.root / "wal.log").open("ab") as file:
        file.write(b"\x20\0\0")
        os.fsync(file.fileno())  # The torn bytes are on the disk, as after a crash.
    log = opened(disk.root)
    assert log.recovery.torn_bytes == 3
    log.close()
    left = disk.after_power_loss(tmp_path / "after") / "wal.log"
    assert left.read_bytes() == (disk.root / "wal.log").read_bytes()


def test_a_log_that_was_lost_is_told_from_one_that_never_was(disk: Disk, tmp_path: Path) -> None:
    opened(disk.root).close()
    left = disk.after_power_loss(tmp_path / "after")
    (left / "wal.log").unlink()
    log = opened(left)
    log.close()
    assert log.recovery.damage is not None


def test_a_log_whose_sync_failed_acknowledges_nothing_more(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(disk.root)
    append(log, Entry(1))

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fdatasync", refuse)
        failing.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            append(log, Entry(2))
    with pytest.raises(OSError, match="failed before"):
        append(log, Entry(3))
    log.close()
    assert found(disk.root) == [Entry(1)]
