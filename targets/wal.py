"""The write-ahead log of a real node: records are on the disk when `append` returns, and damage is never silent.

File: a magic line, then frames. A frame is one group commit, so that it is wholly durable or was never acknowledged:

    u32 payload length | u32 CRC-32 of the payload | u32 CRC-32 of the eight bytes before | payload

The payload is JSON records, one a line (a person can read it). A process that dies in the middle of a write leaves a prefix of the
last frame: that is a *torn* record. It was never acknowledged, and the log cuts it off. Any other error is *damage*: the log gives
the records before it, moves the rest into a file of its own, and reports the damage at every later start until it is wiped. The
header has a checksum of its own because a flipped bit in a length would otherwise look like a torn end and silently lose all that
follows (Alagappan et al., "Protocol-Aware Recovery", FAST 2018, §2).

A checkpoint begins a new file: its magic line is another one, its first frame is the checkpoint, and it takes the old file's name
when it is wholly on the disk. A crash before that leaves the old file, and a part of the new one under a name that nobody reads. So
the first frame of such a file is never torn: when it cannot be read, that is damage.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

MAGIC = b"themis write-ahead log 1\n"
CHECKPOINT_MAGIC = b"themis write-ahead log 1 from a checkpoint\n"
MADE = ".made"
_HEADER = struct.Struct("<III")


class LogInUse(Exception):
    """Another process has this log open."""


class Recovery(msgspec.Struct, frozen=True):
    """What the disk held.

    records: in the order they were appended. torn_bytes: length of the torn record that was cut off, 0 when there was none.
    damage: in words, what else was wrong; None when the log is sound.
    """

    records: tuple[Any, ...]
    torn_bytes: int = 0
    damage: str | None = None


class WriteAheadLog:
    """An open log, locked against other processes. `append` may be called from any one thread at a time."""

    def __init__(self, path: Path, record_type: Any) -> None:
        """Open or create the log at `path`; `recovery` says what it held.

        Raises LogInUse, or OSError when the directory cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._failure: str | None = None
        self._decoder = msgspec.json.Decoder(record_type)
        self._file = _open_locked(path, os.O_RDWR | os.O_CREAT)
        try:
            self.recovery = self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append encoded records as one frame; durable on return.

        Raises OSError when the disk refused. The log then takes no more records, because nobody knows what a failed fsync left.
        """
        self._check_failure()
        frame = _frame(payloads)
        try:
            _write(self._file, frame, self._end)
            os.fdatasync(self._file)
        except OSError as error:
            self._failure = str(error)
            # Best effort: a frame that was not acknowledged may stay or go.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._end += len(frame)

    def replace(self, payloads: Sequence[bytes]) -> None:
        """The log holds these encoded records and nothing else; durable on return. The first is a checkpoint.

        Raises OSError when the disk refused. The log then holds the old records or the new ones, and takes no more.
        """
        self._check_failure()
        data = image(payloads)
        try:
            file = _open_locked(self._new, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                _write(file, data, 0)
                os.fsync(file)
                # Its lock is held: who opens the name now finds it in use.
                os.rename(self._new, self.path)
                _sync_directory(self.path.parent)
            except BaseException:
                os.close(file)
                raise
        except (OSError, LogInUse) as error:
            self._failure = str(error)
            raise OSError(self._failure) from error
        os.close(self._file)
        self._file, self._end = file, len(data)

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise OSError(f"the log failed before: {self._failure}")

    def close(self) -> None:
        """Close and unlock. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def _new(self) -> Path:
        """The file that a checkpoint is written to, before it takes the log's name."""
        return self.path.with_suffix(".new")

    @property
    def _made(self) -> Path:
        """A file that exists from the log's creation on, so that a lost log is told from one that never existed."""
        return self.path.with_suffix(MADE)

    @property
    def _damage(self) -> Path:
        """A file that holds, in words, the damage that was once found."""
        return self.path.with_suffix(".damage")

    def _recover(self) -> Recovery:
        self._new.unlink(missing_ok=True)  # A checkpoint that was not durable when the process died.
        data = os.pread(self._file, os.fstat(self._file).st_size, 0)
        records, torn_bytes, damage = self._read(data)
        if damage is not None:
            self._note(damage)  # Before the log is touched: a crash in between must not make it look sound.
            if data:
                self._set_aside(data)
        if self._end == 0:
            self._create()
        elif self._end < len(data):
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
        if self._damage.exists():
            damage = "; ".join(dict.fromkeys(self._damage.read_text().splitlines()))
        return Recovery(tuple(records), torn_bytes, damage)

    def _create(self) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, MAGIC, 0)
        self._end = len(MAGIC)
        os.fsync(self._file)
        self._made.touch()
        _sync_directory(self.path.parent)

    def _read(self, data: bytes) -> tuple[list[Any], int, str | None]:
        """(records, torn bytes, damage); `_end` is then behind the last sound frame, 0 when not even the magic line is."""
        records: list[Any] = []
        self._end = 0
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            if self._made.exists():
                return records, 0, f"{self.path.name} is gone or was cut to {len(data)} bytes"
            return records, 0, None  # New, or died while it was made.
        has_checkpoint = data.startswith(CHECKPOINT_MAGIC)
        if not has_checkpoint and not data.startswith(MAGIC):
            return records, 0, f"{self.path.name} does not begin as a log of this version"
        self._end = len(CHECKPOINT_MAGIC if has_checkpoint else MAGIC)
        records, torn_bytes, damage = self._read_frames(data)
        if has_checkpoint and not records and damage is None:
            damage = f"{self.path.name} at byte {self._end}: the checkpoint is cut off"
            torn_bytes = 0
        return records, torn_bytes, damage

    def _read_frames(self, data: bytes) -> tuple[list[Any], int, str | None]:
        """As `_read`, from `_end` on."""
        records: list[Any] = []
        while self._end < len(data):
            rest = len(data) - self._end
            if rest < _HEADER.size:
                return records, rest, None
            length, checksum, header_checksum = _HEADER.unpack_from(data, self._end)
            if zlib.crc32(data[self._end : self._end + 8]) != header_checksum:
                if not data[self._end :].strip(b"\0"):
                    return records, rest, None  # The size reached the disk and the bytes did not: a power loss.
                return (
                    records,
                    0,
                    f"{self.path.name} at byte {self._end}: the frame's header does not match its checksum",
                )
            start = self._end + _HEADER.size
            payload = data[start : start + length]
            if len(payload) < length:
                return records, rest, None
            if zlib.crc32(payload) != checksum:
                return records, 0, f"{self.path.name} at byte {self._end}: the records do not match their checksum"
            try:
                records += [self._decoder.decode(line) for line in payload.split(b"\n")]
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                return records, 0, f"{self.path.name} at byte {self._end}: not a record of this target: {error}"
            self._end = start + length
        return records, 0, None

    def _note(self, damage: str) -> None:
        with self._damage.open("a") as file:
            file.write(damage + "\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.path.parent)

    def _set_aside(self, data: bytes) -> None:
        """Keep what cannot be read in a file of its own."""
        with self.path.with_suffix(f".damaged-{self._end}").open("wb") as file:
            file.write(data[self._end :])
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.path.parent)


def image(payloads: Sequence[bytes]) -> bytes:
    """The bytes of a log that holds these encoded records, of which the first is a checkpoint."""
    return CHECKPOINT_MAGIC + _frame(payloads)


def _frame(payloads: Sequence[bytes]) -> bytes:
    payload = b"\n".join(payloads)
    prefix = struct.pack("<II", len(payload), zlib.crc32(payload))
    return prefix + struct.pack("<I", zlib.crc32(prefix)) + payload


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    written = 0
    while written < len(view):
        written += os.pwrite(file, view[written:], offset + written)


def _open_locked(path: Path, flags: int) -> int:
    """A descriptor of the file that has this name, which is locked. Raises LogInUse, or OSError."""
    while True:
        file = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            raise LogInUse(f"{path} is in use by another process") from None
        except FileNotFoundError:
            pass  # Renamed since.
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # A checkpoint took the name between the two calls.


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
