"""The environment `local`: nodes are processes on loopback, which reach each other through proxies that can be cut.

Needs Linux and nothing else: no root, no daemon. A supervisor process holds the proxies and is the parent of the nodes; it ends
with the controller, however that ends, and takes everything with it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from checkers.verdict import Verdict
from harness import driver
from harness.environments import calls, endings, processes
from harness.environments.base import Deployment, EnvironmentUnavailable, NemesisWorker
from harness.environments.local_capabilities import LocalClocks, LocalDisks, LocalLinks, LocalPackets, LocalProcesses
from harness.environments.nursery import Spawn
from harness.environments.supervision import Supervision, SupervisorFailed, import_path
from harness.environments.supervisor import Ended, Plan, reserve
from harness.errors import HarnessError, UsageError
from nemesis.capabilities import FaultError, NodeId
from targets.target import Address, Client, Place
from targets.timekeeping import Reading

HOST = "127.0.0.1"
UP_TIMEOUT_S = 20.0
STATUS_TIMEOUT_S = 0.5
LOG_TAIL_BYTES = 2000


class LocalOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `local` (`--env-option NAME=VALUE`).

    base_port: the first node listens there, the second on the next, and so on; 0: each on a free port.
    """

    base_port: int = 0

    def __post_init__(self) -> None:
        if self.base_port and not 1024 <= self.base_port <= 65000:
            raise ValueError(f"base_port is {self.base_port}; it must be 0 or from 1024 to 65000")


class LocalCluster:
    """What the nemesis may use."""

    def __init__(self, environment: LocalEnvironment) -> None:
        deployment = environment.deployment
        self._environment = environment
        self.nodes: tuple[NodeId, ...] = deployment.nodes
        self.links = LocalLinks(environment.supervised, self.nodes)
        self.packets = LocalPackets(environment.supervised)
        self.processes = LocalProcesses(environment.supervised, self.nodes, environment.start, self._resumed)
        self.clocks = LocalClocks(environment.addresses, environment.origin, self.processes)
        data_dirs = {node: environment.node_directory(node) / "data" for node in self.nodes}
        self.disks = LocalDisks(data_dirs, self.processes, Random(f"{deployment.seed}/disks"))

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes."""
        return self._environment.deployment.target.primary(self._environment.statuses())

    def _resumed(self, nodes: Collection[NodeId]) -> None:
        self.clocks.resumed(nodes)


class LocalEnvironment:
    """Implements harness.environments.base.Environment. Raises UsageError for options that do not fit."""

    name = "local"

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.options = _options(deployment)
        self.origin = Reading.now()
        self.addresses: dict[NodeId, Address] = {node: Address(HOST, 0) for node in deployment.nodes}
        """Where each node listens; filled in by `up`."""
        self.cluster = LocalCluster(self)
        self._supervision: Supervision | None = None
        self._ended: list[Ended] = []
        self._epoch_ns: int | None = None
        self._incarnations: dict[NodeId, int] = {}

    def node_directory(self, node: NodeId) -> Path:
        """Where the node's log, trace and data are."""
        return (self.deployment.directory / "nodes" / node).absolute()

    def supervised(self) -> Supervision:
        """The running supervisor. Raises FaultError when there is none."""
        if self._supervision is None:
            raise FaultError("the nodes are not up")
        return self._supervision

    # --- Environment --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""
        if not sys.platform.startswith("linux"):
            raise EnvironmentUnavailable("real processes are supervised by means of Linux; use --env sim here")
        for node, port in self._ports().items():
            try:
                reserve(HOST, port).close()
            except OSError as error:
                raise EnvironmentUnavailable(
                    f"port {port}, wanted for {node}, is in use ({error.strerror or error}): "
                    "choose another base_port, or leave it out"
                ) from None

    def up(self) -> None:
        """Every node answers. Raises HarnessError with the end of the log of one that does not."""
        deployment = self.deployment
        plan = Plan(deployment.run_id, str(deployment.seed), HOST, self._ports())
        try:
            self._supervision = Supervision(plan, deployment.directory / "supervisor.log")
        except SupervisorFailed as error:
            raise HarnessError(f"the supervisor of the nodes did not start: {error}") from error
        for node, port in self._supervision.ports.items():
            self.addresses[node] = Address(HOST, port)
        try:
            self.start(deployment.nodes)
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if ended := self._supervision.ended():
            raise HarnessError(endings.epitaph(ended[0], self._log_end))

    def start(self, nodes: Collection[NodeId]) -> None:
        """Start these nodes; each answers, or has ended by itself, on return. Raises FaultError when neither happens."""
        supervision = self.supervised()
        pids = {node: supervision.spawn(self._spawn(node)) for node in nodes}
        waiting = set(pids)
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while waiting:
            answering = calls.ask_statuses({node: self.addresses[node] for node in sorted(waiting)}, STATUS_TIMEOUT_S)
            states = supervision.states()
            waiting -= {node for node in waiting if node in answering or states[node] == "dead"}
            if waiting and time.monotonic() > deadline_s:
                node = min(waiting)
                raise FaultError(
                    f"{node} does not answer after {UP_TIMEOUT_S:g} s; its log ends:\n{self._log_end(node)}"
                )
            if waiting:
                time.sleep(0.01)

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker, client: Client) -> None:
        """Run the interpreter to its end; its time zero is now."""
        deployment = self.deployment
        began_ns = time.monotonic_ns()
        self._epoch_ns = self.origin.wall_ns + began_ns - self.origin.monotonic_ns
        # A node that is dead now is given it when it starts.
        running = [node for node, state in self.cluster.processes.states().items() if state == "running"]
        told = calls.tell(self.addresses, "/epoch", {node: {"epoch_ns": self._epoch_ns} for node in running})
        silent = sorted(node for node, answer in told.items() if answer is None)
        if silent:
            raise HarnessError(f"{silent[0]} does not answer; its log ends:\n{self._log_end(silent[0])}")

        def make_clients() -> calls.Clients:
            return calls.Clients(deployment.target, client, self.addresses, deployment.client_timeout_s)

        driver.drive(interpreter, nemesis, make_clients, deployment.nodes, began_ns)

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        states = self.cluster.processes.states()
        running = {node: address for node, address in self.addresses.items() if states[node] == "running"}
        return calls.ask_statuses(running, STATUS_TIMEOUT_S)

    def crashed_nodes(self) -> list[Ended]:
        """The node processes that ended although nobody killed them, in order."""
        if self._supervision is not None:
            self._ended = self._supervision.ended()
        return self._ended

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: see endings.verdict."""
        return {endings.CHECKER: endings.verdict(self.crashed_nodes(), self._log_end)}

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
            processes.end([process.pid for process in processes.labelled(self.deployment.run_id)])

    # --- its parts ----------------------------------------------------------------------------------------------------

    def _ports(self) -> dict[NodeId, int]:
        base_port = self.options.base_port
        return {node: base_port + index if base_port else 0 for index, node in enumerate(self.deployment.nodes)}

    def _spawn(self, node: NodeId) -> Spawn:
        deployment, directory = self.deployment, self.node_directory(node)
        links = self.supervised().links
        incarnation = self._incarnations[node] = self._incarnations.get(node, -1) + 1
        place = Place(
            node=node,
            listen=self.addresses[node],
            peers={other: Address(HOST, links[node, other]) for other in deployment.nodes if other != node},
            data_dir=str(directory / "data"),
            log_dir=str(directory),
            python=sys.executable,
            seed=f"{deployment.seed}/node/{node}/{incarnation}",
        )
        (directory / "data").mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            **processes.labels(deployment.run_id),
            "PYTHONPATH": import_path(),
            "THEMIS_CLOCK": str(self.origin),
            "THEMIS_CLOCK_SKEW": self.cluster.clocks.skew(node),
            "THEMIS_EPOCH_NS": "pending" if self._epoch_ns is None else str(self._epoch_ns),
        }
        argv = list(deployment.target.argv(place, deployment.options, deployment.bugs))
        return Spawn(node, argv, environment, str(directory), str(directory / "node.log"))

    def _log_end(self, node: NodeId) -> str:
        try:
            data = (self.node_directory(node) / "node.log").read_bytes()
        except OSError as error:
            return f"(no log: {error.strerror})"
        return data[-LOG_TAIL_BYTES:].decode(errors="replace").strip() or "(an empty log)"


def _options(deployment: Deployment) -> LocalOptions:
    try:
        return msgspec.convert(dict(deployment.env_options), LocalOptions, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"env options of local: {error}") from error
