"""An environment whose nodes are processes on Linux machines of some kind, each with an agent beside it.

A kind of machine (namespace, container, host) says how machines are made and removed, and how a command gets there; all
else is the same and is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from harness.environments.base import Deployment
from harness.environments.linux.capabilities import LinuxLinks, LinuxPackets
from harness.environments.linux.firewall import Firewall
from harness.environments.linux.labels import tag
from harness.environments.linux.shaping import Shaping
from harness.environments.real.agent_clients import Agents
from harness.environments.real.environment import RealCluster, RealEnvironment, numbered
from harness.errors import HarnessError
from nemesis.capabilities import FaultError, NodeId
from targets.target import Ports

PORT = 7000
"""Every node listens there and, where it has more ports, on the next ones: each has an address of its own."""
PROBE_PORT = 7001
"""UDP, and left out for nodes."""


class LinuxCluster(RealCluster):
    """What the nemesis may use."""

    def __init__(self, environment: LinuxEnvironment, is_disk_bounded: bool) -> None:
        super().__init__(environment, is_disk_bounded=is_disk_bounded)
        agents = environment.control
        self.firewall = Firewall(agents, environment.hosts, f"THEMIS-{tag(environment.deployment.run_id)}")
        shaping = Shaping(agents, environment.hosts, environment.device)
        self.packets = LinuxPackets(self.firewall, shaping, environment.features)
        self.prober = LinuxLinks(agents, self.firewall, self.packets)
        self.links: LinuxLinks | None = self.prober
        """None where there is no firewall; the links can be probed all the same."""


class LinuxEnvironment(RealEnvironment):
    """Nodes on machines with agents; `check`, `collect` and what is abstract here are left to the kind of machine.

    Raises UsageError for options that do not fit.
    """

    port: int = PORT
    probe_port: int = PROBE_PORT
    cluster: LinuxCluster

    def __init__(self, deployment: Deployment, *, is_disk_bounded: bool = False) -> None:
        super().__init__(deployment)
        self.hosts: dict[NodeId, str] = {}
        """Node -> the address that the other nodes see it under; filled in by `make`."""
        self._agents: Agents | None = None
        self.cluster = LinuxCluster(self, is_disk_bounded)

    # --- what a kind of machine says ----------------------------------------------------------------------------------

    @abstractmethod
    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started. Calls `admit` for every machine."""

    @abstractmethod
    def make(self) -> Agents:
        """Makes the machines, fills in `hosts`, and returns when the agents answer. Raises HarnessError or FaultError; `remove`
        then removes what was made until then."""

    @abstractmethod
    def remove(self) -> None:
        """Removes whatever `make` made. Idempotent; also called after a `make` that failed, with the agents closed."""

    @abstractmethod
    def collect(self) -> None:
        """Brings logs and traces below the run's directory, to nodes/<n>/."""

    @abstractmethod
    def features(self) -> frozenset[str]:
        """What the machines' kernel and tools can do, as harness.environments.linux.kernel_features names it."""

    def device(self, node: NodeId) -> str:
        """The network interface that leads from the node to the others."""
        return "eth0"

    # --- Environment --------------------------------------------------------------------------------------------------

    def control(self) -> Agents:
        """The nodes' agents. Raises FaultError when the machines are not up."""
        if self._agents is None:
            raise FaultError("the nodes are not up")
        return self._agents

    def up(self) -> None:
        """Starts every node, and returns when each answers and every link has carried packets. Raises HarnessError with the end
        of the log of a node that does not answer."""
        try:
            self._agents = self.make()
            self._agents.listen(self.hosts, self.probe_port)
            for node, host in self.hosts.items():
                self.addresses[node] = numbered(host, self.port, self.port_names, skipped=self.probe_port)
            self.bring_up()
            silent = [
                f"{source} to {to}"
                for to, sources in sorted(self.cluster.prober.probe().items())
                for source, reach in sorted(sources.items())
                if reach != "answers"
            ]
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if silent:
            raise HarnessError(
                f"no packet arrives from {silent[0]} ({len(silent)} links in all) although no fault was begun: "
                "does a firewall on this machine drop what is bridged or forwarded?"
            )

    def dialled(self, node: NodeId) -> Mapping[NodeId, Ports]:
        """The addresses at which everyone reaches the nodes: those where they listen."""
        return self.addresses

    def down(self) -> None:
        """Removes what this run has on its machines, and the machines that were made for it."""
        try:
            if self._agents is not None:
                self.crashed_nodes()
                self._agents.close()
        finally:
            self._agents = None
            self.remove()
