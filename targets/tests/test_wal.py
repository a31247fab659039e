"""The write-ahead log gives back what was appended, cuts off what is torn, and never hides damage."""

from __future__ import annotations

import resource
import zlib
from pathlib import Path

import msgspec
import pytest

from targets.wal import CHECKPOINT_MAGIC, MAGIC, LogInUse, Recovery, WriteAheadLog


class Vote(msgspec.Struct, frozen=True, tag=True):
    term: int
    node: str


class Entry(msgspec.Struct, frozen=True, tag=True):
    index: int
    text: str = ""


FIRST, SECOND, THIRD = Vote(1, "n1"), Entry(1, "line\nbreak"), Entry(2)


def encoded(*records: msgspec.Struct) -> list[bytes]:
    return [msgspec.json.encode(record) for record in records]


def recovered(path: Path) -> Recovery:
    log = WriteAheadLog(path, Vote | Entry)
    log.close()
    return log.recovery


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with two frames: FIRST and SECOND in one, THIRD in the other."""
    path = tmp_path / "data" / "wal.log"
    log = WriteAheadLog(path, Vote | Entry)
    assert log.recovery == Recovery(())
    log.append(encoded(FIRST, SECOND))
    log.append(encoded(THIRD))
    log.close()
    return path


def frame_length(*records: msgspec.Struct) -> int:
    return 12 + len(b"\n".join(encoded(*records)))


def test_gives_back_what_was_appended_in_order(path: Path) -> None:
    assert recovered(path) == Recovery((FIRST, SECOND, THIRD))


def test_an_empty_log_is_sound_when_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert recovered(tmp_path / "wal.log") == Recovery(())


def test_a_torn_last_frame_is_cut_off_wherever_it_was_torn(path: Path) -> None:
    whole = path.read_bytes()
    boundary = len(whole) - frame_length(THIRD)
    for length in range(boundary + 1, len(whole)):
        path.write_bytes(whole[:length])
        assert recovered(path) == Recovery((FIRST, SECOND), torn_bytes=length - boundary)
        assert path.read_bytes() == whole[:boundary]
        log = WriteAheadLog(path, Vote | Entry)
        log.append(encoded(Entry(9)))
        log.close()
        assert recovered(path) == Recovery((FIRST, SECOND, Entry(9)))


def test_zeros_at_the_end_are_a_torn_frame(path: Path) -> None:
    """A power loss may keep the file's new size and lose the bytes."""
    path.write_bytes(path.read_bytes() + bytes(40))
    assert recovered(path) == Recovery((FIRST, SECOND, THIRD), torn_bytes=40)


def test_any_flipped_bit_is_reported_and_what_stands_before_it_is_kept(path: Path) -> None:
    whole = path.read_bytes()
    first_frame_end = len(whole) - frame_length(THIRD)
    for position in range(0, len(whole), 2):
        for old in path.parent.iterdir():
            if old.name not in ("wal.log", "wal.made"):
                old.unlink()
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        recovery = recovered(path)
        assert recovery.damage is not None, position
        assert recovery.records == ((FIRST, SECOND) if position >= first_frame_end else ()), position
        aside = [file for file in path.parent.iterdir() if ".damaged-" in file.name]
        kept = path.read_bytes() if position >= len(MAGIC) else b""
        assert kept + aside[0].read_bytes() == bytes(flipped)


def test_damage_is_told_again_until_the_log_is_wiped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    damage = recovered(path).damage
    assert damage is not None
    assert "do not match their checksum" in damage
    log = WriteAheadLog(path, Vote | Entry)
    log.append(encoded(Entry(7)))
    log.close()
    assert recovered(path) == Recovery((FIRST, SECOND, Entry(7)), damage=damage)
    for file in path.parent.iterdir():
        file.unlink()
    assert recovered(path) == Recovery(())


@pytest.mark.parametrize("length", [None, 0, len(MAGIC) - 1])
def test_a_log_that_is_gone_or_cut_to_nothing_is_damage(path: Path, length: int | None) -> None:
    if length is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    for _ in range(2):
        damage = recovered(path).damage
        assert damage is not None
        assert "is gone" in damage


def test_a_record_of_another_target_is_damage(path: Path) -> None:
    payload = b'{"type":"Promise","ballot":1}'
    prefix = len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little")
    path.write_bytes(path.read_bytes() + prefix + zlib.crc32(prefix).to_bytes(4, "little") + payload)
    recovery = recovered(path)
    assert recovery.records == (FIRST, SECOND, THIRD)
    assert recovery.damage is not None
    assert "not a record of this target" in recovery.damage


def test_a_log_is_open_in_one_process_only(path: Path) -> None:
    log = WriteAheadLog(path, Vote | Entry)
    with pytest.raises(LogInUse, match=r"wal\.log is in use"):
        WriteAheadLog(path, Vote | Entry)
    log.close()
    assert recovered(path).damage is None


def test_a_disk_that_refuses_is_an_error_and_the_log_takes_no_more(path: Path) -> None:
    log = WriteAheadLog(path, Vote | Entry)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            log.append(encoded(Entry(3, "too long for the file")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(OSError, match="failed before"):
        log.append(encoded(Entry(4)))
    log.close()
    assert recovered(path) == Recovery((FIRST, SECOND, THIRD))


# --- checkpoints --------------------------------------------------------------------------------------------------------

CHECKPOINT, BEHIND = Vote(2, "n3"), Entry(3)


def replaced(path: Path) -> None:
    """CHECKPOINT takes the place of what the log held, and BEHIND comes after it."""
    log = WriteAheadLog(path, Vote | Entry)
    log.replace(encoded(CHECKPOINT))
    log.append(encoded(BEHIND))
    log.close()


def test_a_checkpoint_takes_the_place_of_all_records_before_it(path: Path) -> None:
    replaced(path)
    assert recovered(path) == Recovery((CHECKPOINT, BEHIND))
    replaced(path)
    assert recovered(path) == Recovery((CHECKPOINT, BEHIND)), "also of another checkpoint"
    size = len(CHECKPOINT_MAGIC) + frame_length(CHECKPOINT) + frame_length(BEHIND)
    assert path.stat().st_size == size
    assert sorted(file.name for file in path.parent.iterdir()) == ["wal.log", "wal.made"]


def test_a_process_that_dies_while_it_writes_a_checkpoint_leaves_the_old_records(path: Path) -> None:
    """At every byte: until the rename, the new file has a name that nobody reads."""
    whole = path.with_name("other.log")
    WriteAheadLog(whole, Vote | Entry).close()
    replaced(whole)
    data = whole.read_bytes()
    for length in range(len(data) + 1):
        path.with_suffix(".new").write_bytes(data[:length])
        assert recovered(path) == Recovery((FIRST, SECOND, THIRD))
        assert not path.with_suffix(".new").exists()


def test_a_process_that_dies_behind_a_checkpoint_loses_only_the_torn_frame(path: Path) -> None:
    replaced(path)
    data = path.read_bytes()
    whole = len(data) - frame_length(BEHIND)
    for length in range(whole, len(data)):
        path.write_bytes(data[:length])
        assert recovered(path) == Recovery((CHECKPOINT,), torn_bytes=length - whole)


@pytest.mark.parametrize("cut", [1, 12, frame_length(CHECKPOINT), frame_length(CHECKPOINT) + 1])
def test_a_checkpoint_that_is_cut_off_is_damage_and_never_an_empty_log(path: Path, cut: int) -> None:
    """It had its name only when all of it was durable: a crash cannot have torn it."""
    replaced(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - frame_length(BEHIND) - cut])
    for _ in range(2):
        recovery = recovered(path)
        assert recovery.records == ()
        assert recovery.damage is not None


def test_any_flipped_bit_of_a_log_with_a_checkpoint_is_reported(path: Path) -> None:
    replaced(path)
    data = path.read_bytes()
    for position in range(len(data)):
        for file in path.parent.iterdir():
            if file.name not in ("wal.log", "wal.made"):
                file.unlink()
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        recovery = recovered(path)
        assert recovery.damage is not None
        assert recovery.records == ((CHECKPOINT,) if position >= len(data) - frame_length(BEHIND) else ())


def test_a_log_stays_locked_when_a_checkpoint_took_its_place(path: Path) -> None:
    log = WriteAheadLog(path, Vote | Entry)
    log.replace(encoded(CHECKPOINT))
    with pytest.raises(LogInUse, match="in use"):
        WriteAheadLog(path, Vote | Entry)
    log.close()
    assert recovered(path) == Recovery((CHECKPOINT,))


def test_a_checkpoint_that_the_disk_refuses_leaves_the_old_records(path: Path) -> None:
    log = WriteAheadLog(path, Vote | Entry)
    path.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        log.replace(encoded(CHECKPOINT))
    with pytest.raises(OSError, match="failed before"):
        log.append(encoded(BEHIND))
    log.close()
    path.with_suffix(".new").rmdir()
    assert recovered(path) == Recovery((FIRST, SECOND, THIRD))
