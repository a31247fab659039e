"""Names and labels of what a run makes in the kernel. By these `cleanup` finds what is left of a run and leaves alone what a
living run uses."""

from __future__ import annotations

import hashlib
import os

from harness.environments.real import labelled_processes

TAG_LENGTH = 7


def tag(run_id: str) -> str:
    """A short name of the run, for names that the kernel keeps short (15 bytes for a network interface)."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:TAG_LENGTH]


def controller() -> str:
    """This process as a label: its identity, and the namespace of pids that it holds in. A controller in a container of
    its own cannot be looked up from outside."""
    return f"{labelled_processes.identity(os.getpid())}@{labelled_processes.pid_namespace()}"


def is_orphan(label: str) -> bool:
    """Whether the controller of this label is gone. One that cannot be looked up from here is taken to live."""
    identity, _, namespace = label.partition("@")
    if namespace != labelled_processes.pid_namespace():
        return False
    pid = identity.partition(":")[0]
    try:
        return labelled_processes.identity(int(pid)) != identity or labelled_processes.state(int(pid)) == "dead"
    except (OSError, ValueError):
        return True
