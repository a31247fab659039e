"""What runs can leave on a machine, a line each: to be compared before and after.

Processes and shared memory are those that carry the label of Themis; the kernel's network, mounts and the directory for temporary
files are looked at as they are. So a comparison of these holds only while nobody else changes them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.environments import shared_memory
from harness.environments.real import labelled_processes

_LINK = re.compile(r"\d+: (th\w+|br-\w+)")
_LOOK_EVERY_S = 0.1


def processes(is_mine: Callable[[str], bool]) -> Iterator[str]:
    """The living processes of the runs, and of the sweeps ("sweep-PID"), whose id `is_mine`."""
    for process in labelled_processes.labelled():
        if is_mine(process.run_id):
            yield f"process {process.pid} of {process.run_id}: {process.command[:100]}"


def semaphores(pid: int) -> Iterator[str]:
    """Those that the process `pid` made for its workers."""
    for entry in sorted(shared_memory.PLACE.glob(f"sem.themis-{pid}-*")):
        yield f"shared memory {entry.name}"


def temporary_files(directory: Path | None = None) -> Iterator[str]:
    """What stands in the directory for temporary files; None: this process's."""
    for entry in sorted((directory or Path(tempfile.gettempdir())).iterdir()):
        yield f"temporary file {entry.name}"


def network() -> Iterator[str]:
    """Namespaces, bridges and their ends, firewall rules, and mounts of runs: of the whole machine."""
    for line in _said("ip", "netns"):
        yield f"namespace {line.split()[0]}"
    for line in _said("ip", "-o", "link"):
        if found := _LINK.match(line):
            yield f"link {found[1]}"
    for program, is_rule in (
        ("iptables-save", lambda line: line.startswith("-")),
        ("nft", lambda line: "themis" in line),
    ):
        for line in _said(program, *(("list", "ruleset") if program == "nft" else ())):
            if is_rule(line):
                yield f"rule {line.strip()}"
    for line in Path("/proc/mounts").read_text().splitlines():
        if "themis" in line:
            yield f"mount {line}"


def _said(*argv: str) -> list[str]:
    if shutil.which(argv[0]) is None:
        return []
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()


def left(seen: Callable[[], Iterator[str]], before: frozenset[str], patience_s: float) -> list[str]:
    """What is there and was not before, as soon as that is nothing, or when the time is up."""
    deadline_s = time.monotonic() + patience_s
    while (found := sorted(set(seen()) - before)) and time.monotonic() < deadline_s:
        time.sleep(_LOOK_EVERY_S)
    return found
