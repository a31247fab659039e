"""The table of mounts, whose names are anybody's: they may hold blanks, line ends of other scripts, and bytes that are no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.environments.netns import network
from harness.environments.real import cache_mounts, mounts
from harness.environments.write_cache import protocol

OURS = f"themis|run|1:2 /tmp/a\\040b\\134c\\012d {protocol.TYPE} rw 0 0\n".encode()
TMPFS = b"themis-th0123456-1 /tmp/n1\xfe/data tmpfs rw 0 0\n"
TABLE = b"proc /proc proc rw 0 0\n//server/\xff /mnt/\xc2\x85\xe2\x80\xa8\xff cifs rw 0 0\n" + OURS + TMPFS


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mounts"
    file.write_bytes(TABLE)
    monkeypatch.setattr(mounts.read, "__defaults__", (file,))


def test_each_line_is_one_mount(table: None) -> None:
    assert [os.fsencode(mount.place) for mount in mounts.read()] == [
        b"/proc",
        b"/mnt/\xc2\x85\xe2\x80\xa8\xff",
        b"/tmp/a b\\c\nd",
        b"/tmp/n1\xfe/data",
    ]


def test_ours_are_found_beside_those_of_anybody(table: None) -> None:
    assert [(mount.place, mount.run_id, mount.controller) for mount in cache_mounts.mounted()] == [
        ("/tmp/a b\\c\nd", "run", "1:2")
    ]
    assert network.mounts() == {"themis-th0123456-1": ("th0123456", Path(os.fsdecode(b"/tmp/n1\xfe/data")))}


def test_this_machines_own_can_be_read() -> None:
    assert "/proc" in [mount.place for mount in mounts.read()]
