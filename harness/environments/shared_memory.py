"""Semaphores of worker processes in shared memory: named after the process that wants them, and found when that is gone."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.environments.real import labelled_processes

PLACE = Path("/dev/shm")
_NAME = re.compile(r"sem\.themis-(\d+)-(\d+)-.+")
"""As glibc names the file of semaphore /themis-<pid>-<start>-<word>."""


@contextmanager
def named_semaphores() -> Iterator[None]:
    """Semaphores that multiprocessing makes inside are named after this process."""
    # Where multiprocessing keeps the first word of the names; it has no public way to choose it. Were it not heeded, the names
    # would be its own, and only `cleanup` would know less.
    config: dict[str, str] = getattr(multiprocessing.current_process(), "_config", {})
    before = config.get("semprefix")
    config["semprefix"] = "/themis-" + labelled_processes.identity(os.getpid()).replace(":", "-")
    try:
        yield
    finally:
        if before is None:
            del config["semprefix"]
        else:
            config["semprefix"] = before


class OrphanSemaphore(msgspec.Struct, frozen=True):
    """A semaphore whose process is gone."""

    path: str
    pid: int

    @property
    def description(self) -> str:
        """What it is and whose it was."""
        return f"shared memory {self.path} of a sweep by process {self.pid}"

    def remove(self) -> str | None:
        """It is gone; why it is still there, or None."""
        try:
            Path(self.path).unlink(missing_ok=True)
        except OSError as error:
            return error.strerror or str(error)
        return None


def find_leftovers(place: Path = PLACE) -> list[OrphanSemaphore]:
    """The semaphores of processes that are gone."""
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError:
        return []
    found = []
    for name in names:
        if (match := _NAME.fullmatch(name)) and not labelled_processes.is_alive(f"{match[1]}:{match[2]}"):
            found.append(OrphanSemaphore(str(place / name), int(match[1])))
    return found
