"""The environment `local`: nodes are processes on loopback, which reach each other through proxies that can be cut.

Needs Linux and nothing else: no root, no daemon. A supervisor process holds the proxies and is the parent of the nodes; it ends
with the controller, however that ends, and takes everything with it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping

import msgspec

from harness.environments.backups import TargetBackups
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.local.capabilities import LocalLinks, LocalPackets, refuse_bypasses
from harness.environments.local.socket_owners import NODE
from harness.environments.local.supervisor import Plan, reserve
from harness.environments.local.supervisor_client import Supervision, SupervisorFailed
from harness.environments.real import cache_mounts, labelled_processes
from harness.environments.real.environment import RealCluster, RealEnvironment, typed_options
from harness.environments.real.executor import run_here
from harness.environments.real.faketime import Run
from harness.environments.real.import_path import import_path
from harness.environments.write_cache import protocol
from harness.errors import HarnessError
from nemesis.capabilities import FaultError, NodeId
from targets.target import CoreTarget, Ports, Restorable

HOST = "127.0.0.1"


class LocalOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `local` (`--env-option NAME=VALUE`).

    base_port: the first node's first port, and the others' on the next ones; 0: each on a free port. messages: nodes log
    what they send and hear, to nodes/<n>/messages.jsonl; many times as long as the history, of which each keeps the latest 256 MiB.
    """

    base_port: int = 0
    messages: bool = False

    def __post_init__(self) -> None:
        if self.base_port and not 1024 <= self.base_port <= 65000:
            raise ValueError(f"base_port is {self.base_port}; it must be 0 or from 1024 to 65000")


class LocalCluster(RealCluster):
    """What the nemesis may use."""

    def __init__(self, environment: LocalEnvironment) -> None:
        super().__init__(environment)
        self.links = LocalLinks(environment.control, self.nodes)
        self.packets = LocalPackets(environment.control)
        deployment = environment.deployment
        if isinstance(target := deployment.target, Restorable):
            self.backups = TargetBackups(
                target,
                self.nodes,
                deployment.interface,
                deployment.options,
                environment.statuses,
                environment.access.put,
                environment.restore,
            )


class LocalEnvironment(RealEnvironment):
    """Nodes on this machine. Raises UsageError for options that do not fit."""

    name = "local"
    writes_segments = True
    cluster: LocalCluster

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self.options = typed_options(deployment, self.name, LocalOptions)
        self.log_messages(is_asked=self.options.messages)
        self._supervision: Supervision | None = None
        self.cluster = LocalCluster(self)

    def control(self) -> Supervision:
        """The running supervisor. Raises FaultError when there is none."""
        if self._supervision is None:
            raise FaultError("the nodes are not up")
        return self._supervision

    # --- Environment --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""
        if not sys.platform.startswith("linux"):
            raise EnvironmentUnavailable("real processes are supervised by means of Linux; use --env sim here")
        for node, ports in self._ports().items():
            for port in ports.values():
                try:
                    reserve(HOST, port).close()
                except OSError as error:
                    raise EnvironmentUnavailable(
                        f"port {port}, wanted for {node}, is in use ({error.strerror or error}): "
                        "choose another base_port, or leave it out"
                    ) from None
        self.admit(run_here, "this machine")

    def up(self) -> None:
        """Every node answers. Raises HarnessError with the end of the log of one that does not."""
        deployment = self.deployment
        is_core = isinstance(deployment.target, CoreTarget)
        hosts = dict.fromkeys(deployment.nodes, HOST) if is_core else _own_hosts(deployment)
        plan = Plan(deployment.run_id, str(deployment.seed), HOST, self._ports(), hosts, by_node=not is_core)
        try:
            self._supervision = Supervision(plan, deployment.directory / "supervisor.log")
        except SupervisorFailed as error:
            raise HarnessError(f"the supervisor of the nodes did not start: {error}") from error
        self.addresses.update(self._supervision.listening)
        self.bring_up()
        try:
            refuse_bypasses(self._supervision)
        except FaultError as error:
            raise HarnessError(str(error)) from error

    def collect(self) -> None:
        """Logs and traces are written to their place from the start."""

    def down(self) -> None:
        """No process of this run is left."""
        if self._supervision is None:
            return
        try:
            self.crashed_nodes()
        except SupervisorFailed as error:
            raise HarnessError(f"the supervisor of the nodes failed during the run: {error}") from error
        finally:
            self._supervision.end()
            self._supervision = None
            labelled_processes.end_found(labelled_processes.labelled(self.deployment.run_id))
            if problems := cache_mounts.unmount_all(self.deployment.run_id):
                raise HarnessError("; ".join(problems))

    # --- what a kind of environment says ------------------------------------------------------------------------------

    def lacks_for_losses(self, run: Run) -> str:
        """What this machine lacks for this user."""
        return protocol.lacking()

    def dialled(self, node: NodeId) -> Mapping[NodeId, Ports]:
        """Where this node dials each node: at the proxies."""
        return self.control().dialled[node]

    def node_directory(self, node: NodeId) -> str:
        """Below the run's directory."""
        return str((self.deployment.directory / "nodes" / node).absolute())

    def python(self, node: NodeId) -> str:
        """This process's own."""
        return sys.executable

    def node_environment(self, node: NodeId) -> dict[str, str]:
        """This process's own, labelled."""
        return {
            **os.environ,
            **labelled_processes.labels(self.deployment.run_id),
            NODE: node,
            "PYTHONPATH": import_path(),
            "THEMIS_CLOCK": str(self.origin),
        }

    def _ports(self) -> dict[NodeId, dict[str, int]]:
        base, names = self.options.base_port, self.port_names
        return {
            node: {name: base + index * len(names) + number if base else 0 for number, name in enumerate(names)}
            for index, node in enumerate(self.deployment.nodes)
        }


def _own_hosts(deployment: Deployment) -> dict[NodeId, str]:
    """A loopback host for each node, the same in the eyes of all. Two runs may have the same ones: their ports differ."""
    first, second = hashlib.sha256(deployment.run_id.encode()).digest()[:2]
    return {
        node: f"127.{64 + first % 128}.{(second + index // 250) % 256}.{index % 250 + 1}"
        for index, node in enumerate(deployment.nodes)
    }
