"""Keeps in a file of this user on which machines a run has files, where, and how to remove them. The file stays as long as
anything may be left there, so that `cleanup` knows the machines after a `kill -9` of the controller.

    $XDG_STATE_HOME/themis/ssh/<run>.json      (~/.local/state where that is not set)

It holds names, ports and paths, and no secret.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import paramiko

from harness.environments.base import EnvironmentUnavailable
from harness.environments.linux import labels, late_files
from harness.environments.real.executor import ExecutorFailed
from harness.environments.ssh import collecting, connection
from harness.environments.ssh.executor import SshExecutor
from harness.environments.ssh.options import Machine
from harness.errors import HarnessError
from harness.store.files import whole
from histories.json_text import FILE_DEPTH_MAX, decoded
from nemesis.capabilities import NodeId

SWEEP_TIMEOUT_S = 40.0
MODULE = "harness.environments.ssh.guard"

_log = logging.getLogger("themis.ssh")


class RemoteDirectory(msgspec.Struct, frozen=True):
    """One machine of a run. root: the directory of the run's files for this node. prefix: the words before a command that
    make it run as root, with our packages."""

    machine: Machine
    root: str
    python: str
    prefix: tuple[str, ...]


class RemoteDirectories(msgspec.Struct, frozen=True):
    """A run's machines. controller: the label of the process that wants them. directory: of the run, on this machine."""

    run_id: str
    controller: str
    by_node: Mapping[NodeId, RemoteDirectory]
    directory: str = ""

    @property
    def path(self) -> Path:
        """Its file."""
        return folder() / f"{self.run_id}.json"

    def save(self) -> None:
        """Writes its file, readable by its user alone. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))
        new.replace(self.path)

    def forget(self) -> None:
        """Removes its file. Idempotent."""
        self.path.unlink(missing_ok=True)


_DECODER = msgspec.json.Decoder(RemoteDirectories)


class LeftOnMachines(msgspec.Struct, frozen=True):
    """Implements harness.environments.leftovers.Leftover: what a run whose controller is gone may have left on machines."""

    remotes: RemoteDirectories

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        places = ", ".join(str(remote.machine) for remote in self.remotes.by_node.values())
        return f"run {self.remotes.run_id} on {places}"

    def remove(self) -> str | None:
        """Removes it, and returns why it is still there, or None. First copies the nodes' files into the run's directory. A
        machine that cannot be reached stays in the file."""
        problems = sweep_anew(self.remotes, is_collecting=True)
        if not problems:
            self.remotes.forget()
        return "; ".join(problems) or None


def folder() -> Path:
    """Where the files are. Raises HarnessError where this user has no place for them."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        return (Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()) / "themis" / "ssh"
    except RuntimeError:
        raise HarnessError("this user has no home on this machine: set HOME or XDG_STATE_HOME") from None


def find_leftovers() -> list[LeftOnMachines]:
    """Of runs whose controller is gone; none where this user has no place to note them."""
    found: list[LeftOnMachines] = []
    try:
        paths = sorted(folder().glob("*.json"))
    except HarnessError:
        return found
    for path in paths:
        # A file that vanishes meanwhile was removed by another process; one that cannot be read was never whole, or is not
        # Themis's.
        with contextlib.suppress(OSError, msgspec.DecodeError):
            remotes = decoded(_DECODER.decode, whole(path).read_bytes(), FILE_DEPTH_MAX)
            if labels.is_orphan(remotes.controller):
                found.append(LeftOnMachines(remotes))
    return found


def sweep_anew(remotes: RemoteDirectories, *, is_collecting: bool = False) -> list[str]:
    """Removes what the run has on its machines, over new connections, and returns in words what is still there. is_collecting:
    first copies the nodes' files into the run's directory, where they are missing.
    """

    def swept(remote: RemoteDirectory) -> list[str]:
        node = remote.machine.node
        place = late_files.place(remotes.run_id, remotes.directory, node) if is_collecting else None
        try:
            client = connection.connect(remote.machine, connection.private_key(remote.machine.private_key))
        except EnvironmentUnavailable as error:
            return [str(error)]
        try:
            return sweep(client, remote, place)
        finally:
            client.close()

    with ThreadPoolExecutor(max(1, len(remotes.by_node)), "sweep") as pool:
        return [problem for problems in pool.map(swept, remotes.by_node.values()) for problem in problems]


def sweep(client: paramiko.SSHClient, remote: RemoteDirectory, place: Path | None = None) -> list[str]:
    """Removes what the run has on the machine, and returns in words what is still there. Idempotent. place: where the node's
    files are copied first."""
    node = remote.machine.node
    executor = SshExecutor({node: client}, {node: remote.prefix})
    try:
        if executor.run(node, ["test", "-d", remote.root]).exit_code:
            return []
        if place is not None:
            try:
                collecting.fetch(executor, node, f"{remote.root}/node", place)
            except (ExecutorFailed, OSError, tarfile.TarError) as error:
                # The leftover must be removed all the same.
                _log.warning("%s: the files of the node cannot be had: %s", remote.machine, error)
        ran = executor.run(node, [remote.python, "-m", MODULE, "sweep", remote.root], timeout_s=SWEEP_TIMEOUT_S)
        if ran.exit_code == 0:
            return [f"{remote.machine}: {problem}" for problem in json.loads(ran.stdout)]
        if executor.run(node, ["test", "-e", f"{remote.root}/guard.pid"]).exit_code:
            # The upload broke off: nothing was started yet.
            executor.run(node, ["rm", "-rf", "--", remote.root]).checked(str(remote.machine))
            return []
        ran.checked(str(remote.machine))
    except (ExecutorFailed, ValueError) as error:
        return [f"{remote.machine}: {error}"]
    return []
