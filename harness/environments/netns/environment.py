"""Implements harness.environments.base.Environment by network namespaces. Needs Linux and root."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.linux import data_size, kernel_features, labels, packet_capture, subnets
from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.linux.packet_capture import Captures
from harness.environments.netns import network
from harness.environments.real import cache_mounts, labelled_processes
from harness.environments.real.agent_clients import AGENT, Agents
from harness.environments.real.environment import typed_options
from harness.environments.real.executor import ExecutorFailed, NamespaceExecutor, PipeChannel, run_here
from harness.environments.real.import_path import import_path
from harness.errors import HarnessError
from nemesis.capabilities import NodeId

NODES_MAX = 99


class NetnsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `netns` (`--env-option NAME=VALUE`).

    subnet: the address range of the nodes, such as 10.213.7.0/24; empty: a free one. data_mib: the size of each node's
    disk, which is a file system of its own (tmpfs) so that it can be full; 0: the run directory's, which cannot.
    messages: nodes log what they send and hear, to nodes/<n>/messages.jsonl (the latest 256 MiB). tcpdump_mib: tcpdump
    keeps the latest packets of each node, so many MiB of them, in nodes/<n>/packets.pcap0 and 1; 0: it does not run.
    """

    subnet: str = ""
    data_mib: int = 512
    messages: bool = False
    tcpdump_mib: int = 0

    def __post_init__(self) -> None:
        packet_capture.checked_size(self.tcpdump_mib)
        if self.subnet:
            subnets.parse(self.subnet)
        data_size.checked_size(self.data_mib)


class NetnsEnvironment(LinuxEnvironment):
    """Nodes in namespaces. Raises UsageError for options that do not fit."""

    name = "netns"
    writes_segments = True

    def __init__(self, deployment: Deployment) -> None:
        self.options = typed_options(deployment, self.name, NetnsOptions)
        self.tag = labels.tag(deployment.run_id)
        self._is_made = False
        self._captures = Captures(deployment.run_id, deployment.directory / "nodes", self.options.tcpdump_mib)
        super().__init__(deployment, is_disk_bounded=self.options.data_mib > 0)
        self.log_messages(is_asked=self.options.messages)

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""
        if not sys.platform.startswith("linux"):
            raise EnvironmentUnavailable("network namespaces are Linux's; use --env local or --env sim here")
        for command, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("iptables", "iptables")):
            if shutil.which(command) is None:
                raise EnvironmentUnavailable(f"the command {command} is not installed: apt-get install {package}")
        if os.geteuid() != 0:
            raise EnvironmentUnavailable("network namespaces need root: run it with sudo, or use --env local")
        if len(self.deployment.nodes) > NODES_MAX:
            raise EnvironmentUnavailable(
                f"{len(self.deployment.nodes)} nodes are more than the {NODES_MAX} it has room for"
            )
        if "drop" not in self.features():
            raise EnvironmentUnavailable(
                "iptables cannot drop packets in a network namespace here: the kernel lacks netfilter (or only what "
                "iptables speaks to: update-alternatives --config iptables chooses between nft and legacy), or this is a "
                "container without the privilege; use --env local"
            )
        if self.options.tcpdump_mib:
            packet_capture.check_tools()
        self.admit(run_here, "this machine")
        self._range()

    def features(self) -> frozenset[str]:
        """What the machines' kernel and tools can do."""
        try:
            found = frozenset(run_here(["unshare", "--net", *kernel_features.ARGV]).text.split())
        except ExecutorFailed:
            found = frozenset()
        self.cluster.lacking = kernel_features.lacking(found)
        return found

    def make(self) -> Agents:
        """Makes the network and its namespaces, and returns when the agents in them answer."""
        deployment, nodes = self.deployment, self.deployment.nodes
        self._is_made = True
        with network.making():
            subnet = self._range()
            network.create(self.tag, labels.controller(), deployment.run_id, subnet, len(nodes))
        for number, node in enumerate(nodes, start=1):
            self.hosts[node] = str(subnets.host(subnet, number + 1))
            if self.options.data_mib:
                data = Path(self.node_directory(node)) / "data"
                network.mount(network.mount_name(self.tag, number), data, self.options.data_mib)
        namespaces = {node: network.namespace_name(self.tag, i) for i, node in enumerate(nodes, start=1)}
        if self.options.tcpdump_mib:
            self._captures.start({node: ("ip", "netns", "exec", name) for node, name in namespaces.items()})
        environment = {**os.environ, **labelled_processes.labels(deployment.run_id)}
        executor = NamespaceExecutor(namespaces, environment, deployment.directory / "agents.log")
        channels: dict[NodeId, PipeChannel] = {}
        try:
            for node in nodes:
                channels[node] = executor.open(node, [sys.executable, "-I", "-S", str(AGENT)])
        except ExecutorFailed:
            Agents(channels).close()
            raise
        return Agents(channels)

    def remove(self) -> None:
        """Removes whatever `make` made. Idempotent."""
        with contextlib.suppress(HarnessError):  # `collect` has told it.
            self._captures.stop()
        if not self._is_made:
            return
        self._is_made = False
        left = labelled_processes.end_found(labelled_processes.labelled(self.deployment.run_id))
        problems = [f"process {pid} does not end" for pid in left]
        problems += cache_mounts.unmount_all(self.deployment.run_id)
        problems += take_away(self.tag)
        if problems:
            raise HarnessError("; ".join(problems))

    def collect(self) -> None:
        """Nodes write logs and traces to their place from the start."""
        self._captures.stop()

    def node_directory(self, node: NodeId) -> str:
        """Where the node's files are, on its machine."""
        return str((self.deployment.directory / "nodes" / node).absolute())

    def python(self, node: NodeId) -> str:
        """The interpreter on the node's machine."""
        return sys.executable

    def node_environment(self, node: NodeId) -> dict[str, str]:
        """What is added to the environment variables of the node's process."""
        return {"PYTHONPATH": import_path(), "THEMIS_CLOCK": str(self.origin)}

    def _range(self) -> IPv4Network:
        try:
            chosen = subnets.choose(self.options.subnet, subnets.routed(), int(self.tag, 16))
        except subnets.RangeInUse as error:
            raise EnvironmentUnavailable(f"{error}; choose another with --env-option subnet=...") from None
        if chosen.num_addresses < len(self.deployment.nodes) + 3:
            raise EnvironmentUnavailable(
                f"the address range {chosen} is too small for {len(self.deployment.nodes)} nodes"
            )
        return chosen


def take_away(run_tag: str) -> list[str]:
    """Removes what the run with this tag has in the kernel, and returns in words what is still there. Its processes must have
    ended."""
    problems = []
    for _, place in network.mounts(network.bridge_name(run_tag)).values():
        try:
            network.unmount(place)
        except (ExecutorFailed, OSError) as error:
            problems.append(f"{place} is still mounted: {error}")
    return problems + network.remove(run_tag)


class LeftNetwork(msgspec.Struct, frozen=True):
    """What a run whose controller is gone left in the kernel."""

    bridge: str
    run_id: str
    parts: Mapping[str, int]

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        counted = ", ".join(f"{count} {what}" for what, count in self.parts.items() if count)
        return f"network {self.bridge} of run {self.run_id or '(unknown)'}: {counted}"

    def remove(self) -> str | None:
        """Removes it, and returns why it is still there, or None."""
        if os.geteuid() != 0:
            return "removing it needs root"
        if self.run_id:
            labelled_processes.end_found(labelled_processes.labelled(self.run_id))
            cache_mounts.unmount_all(self.run_id)
        return "; ".join(take_away(self.bridge.removeprefix("th"))) or None


def find_leftovers() -> list[LeftNetwork]:
    """Networks of runs whose controller is gone."""
    if not sys.platform.startswith("linux") or shutil.which("ip") is None:
        return []
    with network.making() if os.geteuid() == 0 else contextlib.nullcontext():
        # A run removes its bridge last: whatever was found before this look for bridges has one, unless it is a leftover.
        spaces = [network.bridge_of(namespace) for namespace in network.namespaces()]
        rules, mounts = network.accepted(), [bridge for bridge, _ in network.mounts().values()]
        made = {bridge.name: bridge for bridge in network.bridges()}
    found = []
    for name in sorted({*spaces, *rules, *mounts, *made}):
        bridge = made.get(name, network.Bridge(name))
        if bridge.label and not labels.is_orphan(bridge.label):
            continue
        parts = {
            "bridge": int(name in made),
            "namespaces": spaces.count(name),
            "rule of the FORWARD chain": rules.count(name),
            "mounts": mounts.count(name),
        }
        found.append(LeftNetwork(name, bridge.run_id, parts))
    return found
