"""tcpdump beside each node: what its network interface sent and got, for Wireshark and the like.

It runs here and not on the node, in the node's network namespace, so that no fault strikes it. It keeps the latest packets in two
files in turn, packets.pcap0 and packets.pcap1, so that a long run fills no disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.environments.base import EnvironmentUnavailable
from harness.environments.real import labelled_processes
from harness.errors import HarnessError
from histories.printing import line
from nemesis.capabilities import NodeId

FILE = "packets.pcap"
FILES_COUNT = 2
MIB_MAX = 4096
END_S = 5.0
"""tcpdump writes each packet at once, so there is little to wait for."""


def checked_size(tcpdump_mib: int) -> None:
    """Raises ValueError for a size that is none."""
    if tcpdump_mib and not FILES_COUNT <= tcpdump_mib <= MIB_MAX:
        raise ValueError(f"tcpdump_mib is {tcpdump_mib}; it must be 0 or from {FILES_COUNT} to {MIB_MAX}")


def check_tools() -> None:
    """Raises EnvironmentUnavailable where packets cannot be captured."""
    for command, package in (("tcpdump", "tcpdump"), ("nsenter", "util-linux")):
        if shutil.which(command) is None:
            raise EnvironmentUnavailable(
                f"tcpdump_mib needs the command {command}, which is not installed: apt-get install {package}"
            )
    if os.geteuid() != 0:
        raise EnvironmentUnavailable("tcpdump_mib needs root: run it with sudo, or leave it out")


class Captures:
    """The captures of one run.

    nodes: the folder of the nodes' folders. mib: what the files of one node hold at most, together.
    """

    def __init__(self, run_id: str, nodes: Path, mib: int) -> None:
        self._environment = {**os.environ, **labelled_processes.labels(run_id)}
        self._nodes = nodes
        self._file_mb = max(1, mib * 2**20 // FILES_COUNT // 1_000_000)
        self._running: dict[NodeId, subprocess.Popen[bytes]] = {}

    def start(self, enter: Mapping[NodeId, Sequence[str]], interface: str = "eth0") -> None:
        """Capture on `interface` of each node. enter: what runs a command in the node's network namespace."""
        for node, prefix in enter.items():
            directory = self._nodes / node
            directory.mkdir(parents=True, exist_ok=True)
            argv = ["tcpdump", "-i", interface, "-n", "-U", "-Z", "root", "-w", str(directory / FILE)]
            argv += ["-C", str(self._file_mb), "-W", str(FILES_COUNT)]
            with (directory / "tcpdump.log").open("wb") as log:
                self._running[node] = subprocess.Popen(
                    [*prefix, *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C in the terminal is for the controller alone.
                )

    def stop(self) -> None:
        """End them; the files are whole. Idempotent. Raises HarnessError for one that had ended by itself."""
        problems = []
        running, self._running = self._running, {}
        for node, process in running.items():
            if process.poll() is not None:
                said = (self._nodes / node / "tcpdump.log").read_text(errors="replace")
                problems.append(f"tcpdump of {node} ended by itself with {process.returncode}: {line(said)}")
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in running.values():
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if problems:
            raise HarnessError("; ".join(problems))
