"""tcpdump beside nodes: it writes what goes over an interface, within bounds, and says when it could not."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from harness.environments.base import EnvironmentUnavailable
from harness.environments.linux import packet_capture
from harness.environments.linux.packet_capture import FILE, Captures
from harness.errors import HarnessError, UsageError
from harness.tests import kernel
from harness.tests.kernel import PCAP_MAGIC

HERE = {"n1": ("env",)}
"""A command that runs what follows it: in this network namespace."""


@pytest.mark.linux
@pytest.mark.real
def test_packets_are_written_in_files_of_bounded_size(tmp_path: Path) -> None:
    captures = Captures("run-1", tmp_path, 4)
    captures.start(HERE, interface="lo")
    files = [tmp_path / "n1" / f"{FILE}{number}" for number in (0, 1)]
    deadline_s = time.monotonic() + 60
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
    ):
        sink.bind(("127.0.0.1", 0))
        while not all(file.exists() and file.stat().st_size > 100_000 for file in files):
            assert time.monotonic() < deadline_s, (tmp_path / "n1" / "tcpdump.log").read_text()
            sender.sendto(b"themis" * 1_000, sink.getsockname())
            time.sleep(0.0001)
    captures.stop()
    captures.stop()
    for file in files:
        assert file.read_bytes()[:4] == PCAP_MAGIC
        assert file.stat().st_size < 3_000_000
    assert b"themisthemis" in files[1].read_bytes()


@pytest.mark.linux
@pytest.mark.real
def test_a_ctrl_c_in_the_terminal_is_not_for_a_capture(tmp_path: Path) -> None:
    """The terminal sends it to the whole group of the controller, whose run goes on to its end."""
    captures = Captures("run-3", tmp_path, 4)
    captures.start(HERE, interface="lo")
    assert os.getpgid(captures._running["n1"].pid) != os.getpgid(0)
    captures.stop()


@pytest.mark.linux
@pytest.mark.real
def test_a_capture_that_ended_by_itself_is_told(tmp_path: Path) -> None:
    captures = Captures("run-2", tmp_path, 4)
    captures.start(HERE, interface="no-such-one")
    captures._running["n1"].wait(30)
    with pytest.raises(HarnessError, match=r"tcpdump of n1 ended by itself with 1: .*no-such-one"):
        captures.stop()


@pytest.mark.parametrize("env", kernel.ENVIRONMENTS)
@pytest.mark.parametrize("mib", ["1", "-3", "5000"])
def test_a_size_that_is_none_is_refused(env: str, mib: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"tcpdump_mib is {mib}; it must be 0 or from 2 to 4096"):
        kernel.environment(env, tmp_path, {"tcpdump_mib": mib})


def test_a_missing_tool_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda wanted: None if wanted == "tcpdump" else f"/usr/bin/{wanted}")
    with pytest.raises(
        EnvironmentUnavailable, match="command tcpdump, which is not installed: apt-get install tcpdump"
    ):
        packet_capture.check_tools()
