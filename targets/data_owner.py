"""Whose a data directory is: the node, the target, the interface and the version that wrote it, in a file of its own.

A node that starts on another's data would vote with another's promises, and one that starts empty in the place of data that it
cannot read would forget its own. So a node looks here first, and refuses before it has touched anything. Data that is its own and
damaged is not refused here: the log reports it, and the core halts (targets/wal.py).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from histories.json_text import REQUEST_DEPTH_MAX, decoded

VERSION = 1
"""Of the format of a data directory, the write-ahead log's included."""
NAME = "owner.json"
RESTORED = "restored"
"""A file that holds the number of the restore that the data comes from."""
LOG_NAME = "wal.log"
_MAGIC = re.compile(rb"themis write-ahead log (\d{1,9})[ \n]")


class Foreign(Exception):
    """The directory is not this node's, or is not readable by this version; the message says why. Nothing in it was changed."""


class Owner(msgspec.Struct, frozen=True):
    """Unknown fields are left alone: a later version may have more."""

    version: int
    target: str
    interface: str
    node: str


def claim(directory: Path, target: str, interface: str, node: str) -> None:
    """The directory is this node's: it was, or nobody's. Raises Foreign, and OSError when it cannot be read or written."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        _check_log(directory / LOG_NAME)
        _write(path, msgspec.json.encode(Owner(VERSION, target, interface, node)))
        return
    try:
        owner = decoded(msgspec.json.Decoder(Owner).decode, text, REQUEST_DEPTH_MAX)
    except msgspec.DecodeError as error:
        raise Foreign(f"{NAME} does not say whose the data is: {error}") from None
    if owner.version > VERSION:
        raise Foreign(
            f"the data has version {owner.version}, and this version reads up to {VERSION}: use the later version"
        )
    for what, its, ours in (
        ("target", owner.target, target),
        ("interface", owner.interface, interface),
        ("node", owner.node, node),
    ):
        if its != ours:
            raise Foreign(
                f"the data is of {what} {its:.200}, and this node's is {ours}; give each node a directory of its own"
            )
    _check_log(directory / LOG_NAME)


def restored(directory: Path) -> int:
    """The number of the restore that the data comes from; 0: of none."""
    try:
        return int((directory / RESTORED).read_text())
    except (OSError, ValueError):
        return 0


def _check_log(path: Path) -> None:
    """Raises Foreign for a log of a later version; other damage is the log's own affair."""
    try:
        with path.open("rb") as file:
            found = _MAGIC.match(file.read(64))
    except FileNotFoundError:
        return
    if found and int(found[1]) > VERSION:
        raise Foreign(
            f"{path.name} has version {int(found[1])}, and this version reads up to {VERSION}: use the later version"
        )


def _write(path: Path, text: bytes) -> None:
    """The file has this text, wholly and durably, or is not there."""
    new = path.with_suffix(".new-owner")
    with new.open("wb") as file:
        file.write(text + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
