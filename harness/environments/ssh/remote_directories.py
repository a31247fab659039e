"""Where on which machines a run has its files, and how to sweep up there; kept in a file of this user's as long as anything may
be there, so that after a `kill -9` of the controller the machines are known.

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
from nemesis.capabilities import NodeId

SWEEP_TIMEOUT_S = 40.0
MODULE = "harness.environments.ssh.guard"

_log = logging.getLogger("themis.ssh")


class Site(msgspec.Struct, frozen=True):
    """One machine of a run. root: the directory of the run's files for this node. prefix: the words before a command that
    make it run as root, with our packages."""

    machine: Machine
    root: str
    python: str
    prefix: tuple[str, ...]


class Sites(msgspec.Struct, frozen=True):
    """A run's machines. controller: the label of the process that wants them. directory: of the run, on this machine."""

    run_id: str
    controller: str
    sites: Mapping[NodeId, Site]
    directory: str = ""

    @property
    def path(self) -> Path:
        """Its file."""
        return folder() / f"{self.run_id}.json"

    def save(self) -> None:
        """It is in its file, readable by its user alone. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))
        new.replace(self.path)

    def forget(self) -> None:
        """Its file is gone. Idempotent."""
        self.path.unlink(missing_ok=True)


class LeftOnMachines(msgspec.Struct, frozen=True):
    """Implements harness.environments.leftovers.Leftover: what a run whose controller is gone may have left on machines."""

    sites: Sites

    @property
    def description(self) -> str:
        """See Leftover."""
        places = ", ".join(str(site.machine) for site in self.sites.sites.values())
        return f"run {self.sites.run_id} on {places}"

    def remove(self) -> str | None:
        """See Leftover. The nodes' files come into the run's directory first; a machine that cannot be reached is kept in
        mind."""
        problems = sweep_anew(self.sites, is_collecting=True)
        if not problems:
            self.sites.forget()
        return "; ".join(problems) or None


def folder() -> Path:
    """Where the files are."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()) / "themis" / "ssh"


def find_leftovers() -> list[LeftOnMachines]:
    """Of runs whose controller is gone."""
    found = []
    for path in sorted(folder().glob("*.json")):
        # One that vanishes meanwhile was another's; one that cannot be read was never whole, or is not ours.
        with contextlib.suppress(OSError, msgspec.DecodeError):
            sites = msgspec.json.decode(path.read_bytes(), type=Sites)
            if labels.is_orphan(sites.controller):
                found.append(LeftOnMachines(sites))
    return found


def sweep_anew(sites: Sites, *, is_collecting: bool = False) -> list[str]:
    """Nothing of the run is left on its machines, each reached by a connection of its own; in words, what is.

    is_collecting: with the nodes' files in the run's directory before, as far as they are not there.
    """

    def swept(site: Site) -> list[str]:
        node = site.machine.node
        place = late_files.place(sites.run_id, sites.directory, node) if is_collecting else None
        try:
            client = connection.connect(site.machine, connection.private_key(site.machine.private_key))
        except EnvironmentUnavailable as error:
            return [str(error)]
        try:
            return sweep(client, site, place)
        finally:
            client.close()

    with ThreadPoolExecutor(max(1, len(sites.sites)), "sweep") as pool:
        return [problem for problems in pool.map(swept, sites.sites.values()) for problem in problems]


def sweep(client: paramiko.SSHClient, site: Site, place: Path | None = None) -> list[str]:
    """Nothing of the run is left on the machine; in words, what is. Idempotent. place: where the node's files go before."""
    node = site.machine.node
    executor = SshExecutor({node: client}, {node: site.prefix})
    try:
        if executor.run(node, ["test", "-d", site.root]).exit_code:
            return []
        if place is not None:
            try:
                collecting.fetch(executor, node, f"{site.root}/node", place)
            except (ExecutorFailed, OSError, tarfile.TarError) as error:
                # What is left must go all the same.
                _log.warning("%s: the files of the node cannot be had: %s", site.machine, error)
        ran = executor.run(node, [site.python, "-m", MODULE, "sweep", site.root], timeout_s=SWEEP_TIMEOUT_S)
        if ran.exit_code == 0:
            return [f"{site.machine}: {problem}" for problem in json.loads(ran.stdout)]
        if executor.run(node, ["test", "-e", f"{site.root}/guard.pid"]).exit_code:
            # The upload broke off: nothing was started yet.
            executor.run(node, ["rm", "-rf", "--", site.root]).checked(str(site.machine))
            return []
        ran.checked(str(site.machine))
    except (ExecutorFailed, ValueError) as error:
        return [f"{site.machine}: {error}"]
    return []
