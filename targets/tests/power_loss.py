"""A disk that keeps only what was synced, for tests of what is written durably.

The file system of a test's directory goes on as ever. Beside it the calls of fsync and fdatasync are watched: what a file
holds when it is synced is on the disk, and so are the names of a directory when that is. A power loss leaves these and nothing
else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


class Disk:
    """What a power loss would leave of the files below `root`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        """By inode: what a file holds on the disk; which names a directory has there, and their inodes."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            sync(descriptor)
            self._keep(descriptor)

        return synced

    def _keep(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = {entry.name: entry.inode() for entry in os.scandir(descriptor)}
        else:
            self._contents[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def after_power_loss(self, directory: Path) -> Path:
        """`directory` with what is left of `root` in it. A file whose name was synced and that itself never was is empty."""
        directory.mkdir(parents=True)
        for name, inode in self._names.get(self.root.stat().st_ino, {}).items():
            (directory / name).write_bytes(self._contents.get(inode, b""))
        return directory
