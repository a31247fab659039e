"""The mounts of harness.environments.write_cache on this machine, by the run and the controller that their name says.

Each is unmounted by the process that serves it, whoever else ends. Only a `kill -9` of that process leaves one behind.
"""

from __future__ import annotations

import os
import re
import time

import msgspec

from harness.environments.real import labelled_processes, mounts
from harness.environments.write_cache import protocol

MODULE = "harness.environments.write_cache"
_SOURCE = re.compile(r"themis\|([^|]+)\|([^|]+)")
PATIENCE_S = 4.0
"""How long the process of a run that has ended may take to unmount by itself."""


class CacheMount(msgspec.Struct, frozen=True):
    """Implements harness.environments.leftovers.Leftover where its controller is gone."""

    place: str
    run_id: str
    controller: str

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        return f"mount {self.place} of run {self.run_id}"

    def remove(self) -> str | None:
        """Nothing is mounted there; why something is, or None."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self in mounted():
            try:
                protocol.unmount(self.place, protocol.DETACH if time.monotonic() > deadline_s else 0)
            except OSError as error:
                if time.monotonic() > deadline_s + 1 and self in mounted():
                    return str(error)
            time.sleep(0.05)
        return None


def source(run_id: str) -> str:
    """The name of a mount that this process makes for this run."""
    return f"themis|{run_id}|{labelled_processes.identity(os.getpid())}"


def mounted() -> list[CacheMount]:
    """All of them, whoever made them, the last one first."""
    found = []
    try:
        all_of_them = mounts.read()
    except OSError:
        return []
    for name, place, kind in reversed(all_of_them):
        if kind == protocol.TYPE and (match := _SOURCE.fullmatch(name)):
            found.append(CacheMount(place, match[1], match[2]))
    return found


def find_leftovers() -> list[CacheMount]:
    """Those whose controller is gone."""
    return [mount for mount in mounted() if not labelled_processes.is_alive(mount.controller)]


def unmount_all(run_id: str) -> list[str]:
    """Nothing of this run is mounted; in words, what is. Its nodes must have ended."""
    problems = (mount.remove() for mount in mounted() if mount.run_id == run_id)
    return [problem for problem in problems if problem is not None]
