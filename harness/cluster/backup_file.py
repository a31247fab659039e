"""The file that `themis cluster backup` writes and `restore` reads: one JSON object, with a digest of the rest of it.

Whoever reads it checks the digest first: a file that was cut, or changed by accident, restores nothing. It holds all data of the
cluster, so only its owner can read it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import UsageError
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.printing import line

FORMAT: Literal["themis backup 1"] = "themis backup 1"
BYTES_MAX = 1 << 30


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """target, interface: whose data it is. taken: when, as ISO 8601. pieces: node -> what it gave; opaque."""

    format: Literal["themis backup 1"]
    target: str
    interface: str
    taken: str
    pieces: dict[str, str]


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """digest: SHA-256 of the content, as hexadecimal digits."""

    digest: str
    content: msgspec.Raw


def write(path: Path, target: str, interface: str, taken: str, pieces: dict[str, str]) -> int:
    """The file holds the backup, wholly and durably; how many bytes it has. Raises UsageError when it cannot be written; what was
    at the path before is then still there."""
    content = msgspec.json.encode(Content(FORMAT, target, interface, taken, pieces))
    text = msgspec.json.encode(Sealed(hashlib.sha256(content).hexdigest(), msgspec.Raw(content))) + b"\n"
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UsageError(f"--to {path}: {error.strerror or error}") from error
    return len(text)


def read(path: Path) -> Content:
    """What the file holds. Raises UsageError, with what is wrong, for one that is no sound backup."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: {'not a file' if path.exists() else 'there is no such file'}")
        if path.stat().st_size > BYTES_MAX:
            raise UsageError(f"{path}: longer than {BYTES_MAX >> 20} MiB: no backup of a cluster of ours")
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    try:
        sealed = decoded(msgspec.json.Decoder(Sealed).decode, text, FILE_DEPTH_MAX)
        content = bytes(sealed.content)
        if hashlib.sha256(content).hexdigest() != sealed.digest:
            raise UsageError(f"{path}: the backup is damaged: its digest does not match. Nothing was restored")
        return decoded(msgspec.json.Decoder(Content).decode, content, FILE_DEPTH_MAX)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: no backup, or a damaged one: {line(error)}. Nothing was restored") from None
