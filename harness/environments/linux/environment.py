"""An environment whose nodes are processes on Linux machines of some kind, each with an agent beside it.

A kind of machine (namespace, container, host) says how machines are made and removed, and how a command gets there; all
else is the same and is here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from random import Random
from typing import Any, TypeVar

import msgspec

from checkers.verdict import Verdict
from harness import driver
from harness.environments import calls as http
from harness.environments import endings
from harness.environments.base import Deployment, NemesisWorker
from harness.environments.linux.agents import Agents
from harness.environments.linux.capabilities import LinuxDisks, LinuxLinks, LinuxPackets, LinuxProcesses
from harness.environments.linux.firewall import Firewall
from harness.environments.linux.labels import tag
from harness.environments.linux.shaping import Shaping
from harness.environments.local_capabilities import LocalClocks
from harness.environments.nursery import Spawn
from harness.environments.supervisor import Ended
from harness.errors import HarnessError, UsageError
from harness.interpreter import Interpreter
from nemesis.capabilities import FaultError, NodeId
from targets.target import Address, Client, Place
from targets.timekeeping import Reading

PORT = 7000
"""Every node listens there: each has an address of its own."""
PROBE_PORT = 7001
UP_TIMEOUT_S = 30.0
STATUS_TIMEOUT_S = 0.5
LOG_TAIL_BYTES = 2000

Options = TypeVar("Options", bound=msgspec.Struct)


def typed_options(deployment: Deployment, name: str, option_type: type[Options]) -> Options:
    """The environment's options. Raises UsageError for a misspelt or ill-typed one."""
    try:
        return msgspec.convert(dict(deployment.env_options), option_type, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"env options of {name}: {error}") from error


class LinuxCluster:
    """What the nemesis may use."""

    def __init__(self, environment: LinuxEnvironment, is_disk_bounded: bool) -> None:
        deployment = environment.deployment
        self._environment = environment
        self.lacking: tuple[str, ...] = ()
        """In words, what the machines lack and how it is had: said when a fault is refused."""
        self.nodes: tuple[NodeId, ...] = deployment.nodes
        agents = environment.agents
        firewall = Firewall(agents, environment.hosts, f"THEMIS-{tag(deployment.run_id)}")
        shaping = Shaping(agents, environment.hosts, environment.device)
        self.packets = LinuxPackets(firewall, shaping, environment.features)
        self.prober = LinuxLinks(agents, firewall, self.packets)
        self.links: LinuxLinks | None = self.prober
        """None where there is no firewall; the links can be probed all the same."""
        self.processes = LinuxProcesses(agents, self.nodes, environment.start, self._resumed)
        self.clocks = LocalClocks(environment.addresses, environment.origin, self.processes)
        rng = Random(f"{deployment.seed}/disks")
        self.disks = LinuxDisks(agents, environment.data_dirs, self.processes, rng, is_disk_bounded)
        self.firewall = firewall

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes."""
        return self._environment.deployment.target.primary(self._environment.statuses())

    def _resumed(self, nodes: Collection[NodeId]) -> None:
        self.clocks.resumed(nodes)


class LinuxEnvironment(ABC):
    """Implements harness.environments.base.Environment, but for `check`, `collect` and what is abstract here.

    Raises UsageError for options that do not fit.
    """

    name: str
    port: int = PORT
    probe_port: int = PROBE_PORT

    def __init__(self, deployment: Deployment, *, is_disk_bounded: bool = False) -> None:
        self.deployment = deployment
        self.origin = Reading.now()
        self.hosts: dict[NodeId, str] = {}
        """Node -> the address that the other nodes see it under; filled in by `make`."""
        self.addresses: dict[NodeId, Address] = {node: Address("", 0) for node in deployment.nodes}
        """Where the controller reaches each node; filled in by `make`."""
        self.cluster = LinuxCluster(self, is_disk_bounded)
        self._agents: Agents | None = None
        self._ended: list[Ended] = []
        self._epoch_ns: int | None = None

    # --- what a kind of machine says ----------------------------------------------------------------------------------

    @abstractmethod
    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""

    @abstractmethod
    def make(self) -> Agents:
        """The machines stand, `hosts` and `addresses` are filled in, and the agents answer. Raises HarnessError or
        FaultError; what was made until then is removed by `remove`."""

    @abstractmethod
    def remove(self) -> None:
        """Whatever `make` made is gone. Idempotent; also called after a `make` that failed, with the agents closed."""

    @abstractmethod
    def collect(self) -> None:
        """See Environment."""

    @abstractmethod
    def features(self) -> frozenset[str]:
        """What the machines' kernel and tools can do, as harness.environments.linux.features names it."""

    @abstractmethod
    def node_directory(self, node: NodeId) -> str:
        """Where the node's log, trace and data are, on its machine."""

    @abstractmethod
    def python(self, node: NodeId) -> str:
        """The interpreter on the node's machine."""

    @abstractmethod
    def node_environment(self, node: NodeId) -> dict[str, str]:
        """What is added to the environment variables of the node's process, beside the clock's."""

    def device(self, node: NodeId) -> str:
        """The network interface that leads from the node to the others."""
        return "eth0"

    # --- Environment --------------------------------------------------------------------------------------------------

    def agents(self) -> Agents:
        """The nodes' agents. Raises FaultError when the machines are not up."""
        if self._agents is None:
            raise FaultError("the nodes are not up")
        return self._agents

    def up(self) -> None:
        """Every node answers, and every link was seen to carry packets. Raises HarnessError with the end of the log of a
        node that does not."""
        deployment = self.deployment
        try:
            self._agents = self.make()
            self._agents.listen(self.hosts, self.probe_port)
            self.start(deployment.nodes)
            silent = [
                f"{source} to {to}"
                for to, sources in sorted(self.cluster.prober.probe().items())
                for source, reach in sorted(sources.items())
                if reach != "answers"
            ]
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if ended := self._agents.ended():
            raise HarnessError(endings.epitaph(ended[0], self._log_end))
        if silent:
            raise HarnessError(
                f"no packet arrives from {silent[0]} ({len(silent)} links in all) although no fault was begun: "
                "does a firewall on this machine drop what is bridged or forwarded?"
            )

    def start(self, nodes: Collection[NodeId]) -> None:
        """Start these nodes; each answers, or has ended by itself, on return. Raises FaultError when neither happens."""
        agents = self.agents()
        agents.spawn([self._spawn(node) for node in nodes])
        waiting = set(nodes)
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while waiting:
            answering = http.ask_statuses({node: self.addresses[node] for node in sorted(waiting)}, STATUS_TIMEOUT_S)
            states = agents.states()
            waiting -= {node for node in waiting if node in answering or states[node] == "dead"}
            if waiting and time.monotonic() > deadline_s:
                node = min(waiting)
                raise FaultError(
                    f"{node} does not answer after {UP_TIMEOUT_S:g} s; its log ends:\n{self._log_end(node)}"
                )
            if waiting:
                time.sleep(0.02)

    def drive(self, interpreter: Interpreter, nemesis: NemesisWorker, client: Client) -> None:
        """Run the interpreter to its end; its time zero is now."""
        deployment = self.deployment
        began_ns = time.monotonic_ns()
        self._epoch_ns = self.origin.wall_ns + began_ns - self.origin.monotonic_ns
        told = http.tell(self.addresses, "/epoch", {node: {"epoch_ns": self._epoch_ns} for node in deployment.nodes})
        silent = sorted(node for node, answer in told.items() if answer is None)
        if silent:
            raise HarnessError(f"{silent[0]} does not answer; its log ends:\n{self._log_end(silent[0])}")

        def make_clients() -> http.Clients:
            return http.Clients(deployment.target, client, self.addresses, deployment.client_timeout_s)

        driver.drive(interpreter, nemesis, make_clients, deployment.nodes, began_ns)

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        states = self.cluster.processes.states()
        running = {node: address for node, address in self.addresses.items() if states[node] == "running"}
        return http.ask_statuses(running, STATUS_TIMEOUT_S)

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: see endings.verdict."""
        return {endings.CHECKER: endings.verdict(self._look(), self._log_end)}

    def down(self) -> None:
        """Nothing of this run is left on its machines, and no machine that was made for it."""
        try:
            if self._agents is not None:
                self._agents.close()
        finally:
            self._agents = None
            self.remove()

    # --- its parts ----------------------------------------------------------------------------------------------------

    def data_dirs(self) -> Mapping[NodeId, str]:
        """Where each node keeps what is durable."""
        return {node: f"{self.node_directory(node)}/data" for node in self.deployment.nodes}

    def _spawn(self, node: NodeId) -> Spawn:
        deployment, directory = self.deployment, self.node_directory(node)
        place = Place(
            node=node,
            listen=Address(self.hosts[node], self.port),
            peers={other: Address(self.hosts[other], self.port) for other in deployment.nodes if other != node},
            data_dir=f"{directory}/data",
            log_dir=directory,
            python=self.python(node),
            seed=f"{deployment.seed}/{node}/{time.monotonic_ns()}",
        )
        environment = {
            **self.node_environment(node),
            "THEMIS_CLOCK_SKEW": self.cluster.clocks.skew(node),
            "THEMIS_EPOCH_NS": "pending" if self._epoch_ns is None else str(self._epoch_ns),
        }
        argv = list(deployment.target.argv(place, deployment.options, deployment.bugs))
        return Spawn(node, argv, environment, directory, f"{directory}/node.log")

    def _look(self) -> list[Ended]:
        if self._agents is not None:
            self._ended = self._agents.ended()
        return self._ended

    def _log_end(self, node: NodeId) -> str:
        try:
            end = self.agents().tail(node, f"{self.node_directory(node)}/node.log", LOG_TAIL_BYTES)
        except FaultError as error:
            return f"(no log: {error})"
        return "(no log)" if end is None else end.strip() or "(an empty log)"
