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
from harness.clients import driver
from harness.clients.driver import NemesisWorker
from harness.environments.base import Deployment
from harness.environments.linux import requirements
from harness.environments.linux.agent_clients import Agents, MonotonicSpan
from harness.environments.linux.capabilities import LinuxDisks, LinuxLinks, LinuxPackets, LinuxProcesses
from harness.environments.linux.faketime import FaketimeClocks, Run
from harness.environments.linux.firewall import Firewall
from harness.environments.linux.labels import tag
from harness.environments.linux.shaping import Shaping
from harness.environments.real import ended_nodes, node_access
from harness.environments.real.fork_server import Spawn
from harness.environments.real.labelled_processes import Ended
from harness.environments.real.node_clocks import HookClocks, NodeClocks
from harness.errors import HarnessError, UsageError
from nemesis.capabilities import FaultError, NodeId
from targets.target import Address, CoreTarget, Place
from targets.timekeeping import Reading

PORT = 7000
"""Every node listens there: each has an address of its own."""
PROBE_PORT = 7001
UP_TIMEOUT_S = 30.0
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
        self.clocks_lacking: tuple[str, ...] = ()
        """The same, of what would move the clock of a program outside the project."""
        self.nodes: tuple[NodeId, ...] = deployment.nodes
        agents = environment.agents
        firewall = Firewall(agents, environment.hosts, f"THEMIS-{tag(deployment.run_id)}")
        shaping = Shaping(agents, environment.hosts, environment.device)
        self.packets = LinuxPackets(firewall, shaping, environment.features)
        self.prober = LinuxLinks(agents, firewall, self.packets)
        self.links: LinuxLinks | None = self.prober
        """None where there is no firewall; the links can be probed all the same."""
        self.processes = LinuxProcesses(
            agents,
            self.nodes,
            environment.start,
            lambda nodes, timeout_s: environment.access.answering(nodes, timeout_s),
            self._resumed,
            lambda monotonic_ns: environment.access.run_ns(monotonic_ns),
        )
        self.clocks: NodeClocks | None = None
        """The hook of our own nodes; of a program outside the project what `admit` finds that moves its clock."""
        if isinstance(deployment.target, CoreTarget):
            self.clocks = HookClocks(environment.addresses, environment.origin, self.processes)
        rng = Random(f"{deployment.seed}/disks")
        self.disks = LinuxDisks(agents, environment.data_dirs, self.processes, rng, is_disk_bounded)
        self.firewall = firewall

    def now_ns(self) -> int:
        """The history's clock."""
        return self._environment.access.run_ns(time.monotonic_ns())

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes."""
        return self._environment.access.primary()

    def _resumed(self, nodes: Collection[NodeId]) -> None:
        if self.clocks is not None:
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
        self.access = node_access.access_to(
            deployment, self.origin, self.addresses, self.cluster.processes.states, self._log_end
        )
        self._agents: Agents | None = None
        self._ended: list[Ended] = []
        self._libraries: dict[NodeId, str] = {}

    # --- what a kind of machine says ----------------------------------------------------------------------------------

    @abstractmethod
    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started. Calls `admit` for every machine."""

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
        """What the machines' kernel and tools can do, as harness.environments.linux.kernel_features names it."""

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

    def admit(self, run: Run, where: str, nodes: Collection[NodeId] = ()) -> None:
        """What the target needs of the machine where `run` runs, which is these nodes' (all, when none are named), is there.
        To be called by `check`, for every machine. Raises EnvironmentUnavailable with what to do."""
        found = requirements.admit(self.deployment, run, where)
        if found.lacking:
            self.cluster.clocks_lacking += (found.lacking,)
        if found.library:
            self._libraries.update(dict.fromkeys(nodes or self.deployment.nodes, found.library))
        # The system's own clock, where it may be moved, was chosen before.
        if self.cluster.clocks is None and len(self._libraries) == len(self.deployment.nodes):
            self.cluster.clocks = self._faketime()

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
            self.access.await_answers(deployment.nodes, UP_TIMEOUT_S)
            silent = [
                f"{source} to {to}"
                for to, sources in sorted(self.cluster.prober.probe().items())
                for source, reach in sorted(sources.items())
                if reach != "answers"
            ]
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if ended := self._agents.ended():
            raise HarnessError(ended_nodes.epitaph(ended[0], self._log_end))
        if silent:
            raise HarnessError(
                f"no packet arrives from {silent[0]} ({len(silent)} links in all) although no fault was begun: "
                "does a firewall on this machine drop what is bridged or forwarded?"
            )

    def start(self, nodes: Collection[NodeId]) -> dict[NodeId, MonotonicSpan]:
        """Start these nodes' processes; whether they answer, nobody has seen yet. When that was. Raises FaultError."""
        began_ns = time.monotonic_ns()
        self.agents().spawn([self._spawn(node) for node in nodes])
        return dict.fromkeys(nodes, (began_ns, time.monotonic_ns()))

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end; its time zero is now."""
        self.access.drive(interpreter, nemesis)

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        return self.access.statuses()

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: see ended_nodes.verdict."""
        return self.access.findings(self._look())

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
            **self.access.variables(place),
            **({} if self.cluster.clocks is None else self.cluster.clocks.variables(node)),
        }
        return Spawn(node, self.access.argv(place), environment, directory, f"{directory}/node.log")

    def _faketime(self) -> FaketimeClocks:
        assert isinstance(self.access, node_access.ProgramAccess)

        def file(node: NodeId) -> str:
            return f"{self.node_directory(node)}/faketime"

        def keep(settings: Mapping[NodeId, tuple[int | None, float | None]]) -> None:
            self.agents().ask(
                "clock_file",
                {
                    node: {"path": file(node), "offset_ns": offset_ns, "rate": rate}
                    for node, (offset_ns, rate) in settings.items()
                },
            )

        return FaketimeClocks(
            libraries=self._libraries,
            file=file,
            keep=keep,
            run=lambda node, argv: self.agents().run(node, argv),
            states=self.cluster.processes.states,
            access=self.access,
            origin=self.origin,
        )

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
