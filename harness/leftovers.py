"""What earlier runs left on this machine, by the label of their run; every environment's kind of it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from harness.environments import processes
from harness.store import RunDirectory


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
    """A process whose controller is gone."""

    process: processes.Labelled

    @property
    def description(self) -> str:
        return f"process {self.process.pid} of run {self.process.run_id}: {self.process.command[:80]}"

    def remove(self) -> str | None:
        return "it does not end" if processes.end([self.process.pid]) else None


def find() -> list[Leftover]:
    """Everything that is there. Runs that still have their controller are left out."""
    # Here, because they load docker and paramiko, which only this needs.
    from harness.environments.docker import environment as docker
    from harness.environments.netns import environment as netns
    from harness.environments.ssh import sites

    return [
        *(OrphanProcess(process) for process in processes.find_leftovers()),
        *netns.find_leftovers(),
        *docker.find_leftovers(),
        *sites.find_leftovers(),
    ]


def processes_of_run(run: Path) -> list[processes.Labelled]:
    """The living processes of the run in this folder."""
    return processes.labelled(RunDirectory(run).run_id)
