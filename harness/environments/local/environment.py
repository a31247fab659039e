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
from harness.clients import driver
from harness.clients.driver import NemesisWorker
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.linux import requirements
from harness.environments.linux.agent import ClockFiles
from harness.environments.linux.executor import run_here
from harness.environments.linux.faketime import FaketimeClocks
from harness.environments.local.capabilities import LocalDisks, LocalLinks, LocalPackets, LocalProcesses
from harness.environments.local.supervisor import Plan, reserve
from harness.environments.local.supervisor_client import MonotonicSpan, Supervision, SupervisorFailed
from harness.environments.real import ended_nodes, labelled_processes, node_access
from harness.environments.real.fork_server import Spawn
from harness.environments.real.import_path import import_path
from harness.environments.real.labelled_processes import Ended
from harness.environments.real.node_clocks import HookClocks, NodeClocks
from harness.errors import HarnessError, UsageError
from nemesis.capabilities import FaultError, NodeId
from targets.target import Address, CoreTarget, Place
from targets.timekeeping import Reading

HOST = "127.0.0.1"
UP_TIMEOUT_S = 20.0
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
        self.processes = LocalProcesses(
            environment.supervised,
            self.nodes,
            environment.start,
            lambda nodes, timeout_s: environment.access.answering(nodes, timeout_s),
            self._resumed,
            lambda monotonic_ns: environment.access.run_ns(monotonic_ns),
        )
        self.clocks: NodeClocks | None = None
        """The hook of our own nodes; of a program outside the project what `check` finds that moves its clock."""
        if isinstance(deployment.target, CoreTarget):
            self.clocks = HookClocks(environment.addresses, environment.origin, self.processes)
        self.clocks_lacking: tuple[str, ...] = ()
        """In words, what this machine lacks and how it is had: said when a fault is refused."""
        data_dirs = {node: environment.node_directory(node) / "data" for node in self.nodes}
        self.disks = LocalDisks(data_dirs, self.processes, Random(f"{deployment.seed}/disks"))

    def now_ns(self) -> int:
        """The history's clock."""
        return self._environment.access.run_ns(time.monotonic_ns())

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes."""
        return self._environment.access.primary()

    def _resumed(self, nodes: Collection[NodeId]) -> None:
        if self.clocks is not None:
            self.clocks.resumed(nodes)


class LocalEnvironment:
    """Implements harness.environments.base.Environment. Raises UsageError for options that do not fit."""

    name = "local"
    is_virtual = False

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.options = _options(deployment)
        self.origin = Reading.now()
        self.addresses: dict[NodeId, Address] = {node: Address(HOST, 0) for node in deployment.nodes}
        """Where each node listens; filled in by `up`."""
        self.cluster = LocalCluster(self)
        self.access = node_access.access_to(
            deployment, self.origin, self.addresses, self.cluster.processes.states, self._log_end
        )
        self._supervision: Supervision | None = None
        self._ended: list[Ended] = []
        self._clock_files = ClockFiles()
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
        found = requirements.admit(self.deployment, run_here, "this machine")
        if found.lacking:
            self.cluster.clocks_lacking = (found.lacking,)
        if found.library:
            self.cluster.clocks = self._faketime(found.library)

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
            self.access.await_answers(deployment.nodes, UP_TIMEOUT_S)
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if ended := self._supervision.ended():
            raise HarnessError(ended_nodes.epitaph(ended[0], self._log_end))

    def start(self, nodes: Collection[NodeId]) -> dict[NodeId, MonotonicSpan]:
        """Start these nodes' processes; whether they answer, nobody has seen yet. When each was started. Raises FaultError."""
        supervision = self.supervised()
        spans: dict[NodeId, MonotonicSpan] = {}
        for node in nodes:
            began_ns = time.monotonic_ns()
            supervision.spawn(self._spawn(node))
            spans[node] = (began_ns, time.monotonic_ns())
        return spans

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end; its time zero is now."""
        self.access.drive(interpreter, nemesis)

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        return self.access.statuses()

    def crashed_nodes(self) -> list[Ended]:
        """The node processes that ended although nobody killed them, in order."""
        if self._supervision is not None:
            self._ended = self._supervision.ended()
        return self._ended

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: see ended_nodes.verdict."""
        return self.access.findings(self.crashed_nodes())

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
            labelled_processes.end([process.pid for process in labelled_processes.labelled(self.deployment.run_id)])

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
            **labelled_processes.labels(deployment.run_id),
            "PYTHONPATH": import_path(),
            "THEMIS_CLOCK": str(self.origin),
            **self.access.variables(place),
            **({} if self.cluster.clocks is None else self.cluster.clocks.variables(node)),
        }
        return Spawn(node, self.access.argv(place), environment, str(directory), str(directory / "node.log"))

    def _faketime(self, library: str) -> FaketimeClocks:
        assert isinstance(self.access, node_access.ProgramAccess)
        nodes = self.deployment.nodes

        def file(node: NodeId) -> str:
            return str(self.node_directory(node) / "faketime")

        def keep(settings: Mapping[NodeId, tuple[int | None, float | None]]) -> None:
            for node, (offset_ns, rate) in settings.items():
                try:
                    self._clock_files.set(file(node), offset_ns, rate)
                except OSError as error:
                    raise FaultError(f"the clock of {node} could not be set: {error}") from error

        return FaketimeClocks(
            libraries=dict.fromkeys(nodes, library),
            file=file,
            keep=keep,
            run=lambda _, argv: run_here(argv),
            states=self.cluster.processes.states,
            access=self.access,
            origin=self.origin,
        )

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
