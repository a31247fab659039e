"""What earlier runs left behind, by the label of their run, in every environment: found by `themis cleanup` and the next run."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

from harness.environments import shared_memory
from harness.environments.real import cache_mounts, labelled_processes
from harness.store.runs import RunDirectory

_log = logging.getLogger("themis")


class Leftover(Protocol):
    """Something that a run made and that nobody watches any more."""

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        ...

    def remove(self) -> str | None:
        """Remove it; why it is still there, or None."""
        ...


class OrphanProcess(msgspec.Struct, frozen=True):
    """A process on this machine whose controller is gone."""

    process: labelled_processes.Labelled

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        return f"process {self.process.pid} of run {self.process.run_id}: {self.process.command[:80]}"

    def remove(self) -> str | None:
        """It is gone; why it is still there, or None."""
        return "it does not end" if labelled_processes.end_found([self.process]) else None


FINDERS = {
    "docker": "harness.environments.docker.environment:find_leftovers",
    "netns": "harness.environments.netns.environment:find_leftovers",
    "ssh": "harness.environments.ssh.remote_directories:find_leftovers",
}
"""Environment -> what finds more than processes, shared memory and mounts of this machine, which are looked for always."""


def find(environments: Iterable[str] = tuple(FINDERS)) -> list[Leftover]:
    """Everything that runs in these environments left. Runs that still have their controller are left out.

    Processes come first: what they hold can be removed only after them.
    """
    found: list[Leftover] = [OrphanProcess(process) for process in labelled_processes.find_leftovers()]
    found += shared_memory.find_leftovers()
    found += cache_mounts.find_leftovers()
    for name in environments:
        if name in FINDERS:
            module, _, attribute = FINDERS[name].partition(":")
            finder = cast(Callable[[], Sequence[Leftover]], getattr(importlib.import_module(module), attribute))
            found += finder()
    return found


def remove_before(environment: str) -> list[str]:
    """What earlier runs left in `environment` is gone, but for what was to be left running; in words, what would not go."""
    problems = []
    for leftover in find([environment]):
        if not getattr(leftover, "is_kept", False):
            problem = leftover.remove()
            _log.info("left behind by an earlier run: %s: %s", leftover.description, problem or "removed")
            if problem is not None:
                problems.append(f"{leftover.description}: {problem}")
    return problems


def processes_of_run(run: Path) -> list[labelled_processes.Labelled]:
    """The living processes of the run in this folder."""
    return labelled_processes.labelled(RunDirectory(run).run_id)
