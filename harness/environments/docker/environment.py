"""Implements harness.environments.base.Environment by containers. Needs a Docker engine on this machine.

A container's main process is the agent, attached to the controller: when the controller ends, the agent ends, and the
container stops. The node's process is the agent's child, so that a kill leaves the container, its network and its rules as
they are. Containers have NET_ADMIN for the faults and no other privilege, but those that the target names, and in runs whose
disks can lose what was not synced: a file system is mounted for that, which takes SYS_ADMIN and /dev/fuse.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tarfile
import time
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import click
import docker
import msgspec
from docker.errors import APIError, ContainerError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool, NetworkingConfig

from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.docker import image
from harness.environments.docker.engine import ENGINE_ERRORS, ContainerChannel, ContainerExecutor, explained, reach
from harness.environments.linux import data_size, kernel_features, labels, late_files, packet_capture, packing, subnets
from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.linux.packet_capture import Captures
from harness.environments.real.agent_clients import Agents, at_once
from harness.environments.real.environment import typed_options
from harness.environments.real.executor import ExecutorFailed, Ran
from harness.environments.real.faketime import Run
from harness.environments.write_cache import protocol
from harness.errors import HarnessError, UsageError
from histories import printing
from nemesis.capabilities import FaultError, NodeId
from targets.target import Privileged, Program

RUN_LABEL = "themis.run"
CONTROLLER_LABEL = "themis.controller"
NODE_LABEL = "themis.node"
DIRECTORY_LABEL = "themis.directory"
"""The run's directory on this machine: `cleanup` copies the files of the nodes there after a `kill -9`."""
KEPT_LABEL = "themis.kept"

ROOT = "/themis"
NODE_DIRECTORY = f"{ROOT}/node"
NODES_MIN, NODES_MAX = 1, 9
RANGES_TRIED_MAX = 16
PROCESSES_MAX = 512
AGENT_SEEN_WITHIN_S = 10.0

_log = logging.getLogger("themis")


class DockerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the environment `docker` (`--env-option NAME=VALUE`).

    image: one of your own, with Python, iptables, tc and what the target needs; empty: Themis makes one. subnet: the address
    range of the nodes; empty: a free one. cpus, memory_mib: what each node may use at most; 0: all there is. data_mib: the
    size of each node's disk, which is in memory so that it can be full; 0: the container's own, which cannot.
    leave_running: the containers are left as they are at the end; `themis cleanup` removes them. messages: nodes log
    what they send and hear, to nodes/<n>/messages.jsonl (the latest 256 MiB). tcpdump_mib: tcpdump on this machine
    keeps the latest packets of each node, so many MiB of them, in nodes/<n>/packets.pcap0 and 1; 0: it does not run.
    """

    image: str = ""
    subnet: str = ""
    cpus: float = 0
    memory_mib: int = 0
    data_mib: int = 512
    leave_running: bool = False
    messages: bool = False
    tcpdump_mib: int = 0

    def __post_init__(self) -> None:
        packet_capture.checked_size(self.tcpdump_mib)
        if self.subnet:
            subnets.parse(self.subnet)
        data_size.checked_size(self.data_mib)
        if self.cpus < 0:
            raise ValueError(f"cpus is {self.cpus}; it must not be negative")
        if self.memory_mib and self.memory_mib < 64:
            raise ValueError(f"memory_mib is {self.memory_mib}; it must be 0 or at least 64")


class DockerEnvironment(LinuxEnvironment):
    """Nodes in containers. Raises UsageError for options that do not fit."""

    name = "docker"

    def __init__(self, deployment: Deployment) -> None:
        self.options = typed_options(deployment, self.name, DockerOptions)
        self.tag = labels.tag(deployment.run_id)
        self._client: docker.DockerClient | None = None
        self._containers: dict[NodeId, Container] = {}
        self._network: Network | None = None
        self._features: frozenset[str] | None = None
        self._captures = Captures(deployment.run_id, deployment.directory / "nodes", self.options.tcpdump_mib)
        super().__init__(deployment, is_disk_bounded=self.options.data_mib > 0)
        self.log_messages(is_asked=self.options.messages)

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""
        if not sys.platform.startswith("linux"):
            raise EnvironmentUnavailable(
                "the containers' addresses can be reached on Linux only; use --env local or --env sim here"
            )
        count = len(self.deployment.nodes)
        if not NODES_MIN <= count <= NODES_MAX:
            raise EnvironmentUnavailable(f"{count} nodes; it runs {NODES_MIN} to {NODES_MAX}")
        client = self._engine()
        if self.options.image and not image.find(client, self.options.image):
            raise EnvironmentUnavailable(
                f"the engine has no image {self.options.image}: pull or build it, or leave the option image out"
            )
        if self.options.subnet:
            self._range(())
        if self.options.tcpdump_mib:
            packet_capture.check_tools()
        self.admit(self._run_in_image, f"the image {self.options.image or image.wanted(self._packages())}")

    def features(self) -> frozenset[str]:
        """What the kernel and tools can do, found out in a container of its own, without a network. Builds the image where it is
        missing."""
        if self._features is None:
            try:
                printed = self._engine().containers.run(
                    self._image(), list(kernel_features.ARGV), remove=True, network_mode="none", **self._confined()
                )
            except EnvironmentUnavailable as error:
                raise UsageError(f"environment docker: {error}") from error
            except ENGINE_ERRORS as error:
                raise UsageError(f"environment docker: no container can be run: {explained(error)}") from error
            self._features = frozenset(bytes(printed).decode().split())
            self.cluster.lacking = kernel_features.lacking(self._features)
        return self._features

    def make(self) -> Agents:
        """Makes the network and the containers, and returns when the agents in them answer."""
        if "drop" not in self.features():
            raise HarnessError("iptables cannot drop packets in a container here: the kernel lacks netfilter")
        name = self._image()
        try:
            self._network = self._make_network()
            python_version = self._python_version(name)
            code = packing.code(self.deployment.target, ROOT.strip("/"), python_version)
            nodes = self.deployment.nodes
            made = at_once({node: partial(self._make_container, node, name, code) for node in nodes})
            if self.options.tcpdump_mib:
                self._captures.start({node: ("nsenter", "-t", str(self._pid(node)), "-n") for node in nodes})
        except ENGINE_ERRORS as error:
            raise HarnessError(f"the containers could not be made: {explained(error)}") from error
        return Agents({node: made[node] for node in nodes})

    def remove(self) -> None:
        """Removes whatever `make` made. Idempotent; with leave_running everything stays."""
        with contextlib.suppress(HarnessError):  # `collect` has told it.
            self._captures.stop()
        containers, network = dict(self._containers), self._network
        if self.options.leave_running and network is not None and containers:
            names = ", ".join(f"{node}: {containers[node].name} at {self.hosts[node]}" for node in sorted(containers))
            click.echo(f"themis: the containers are left running ({names}); `themis cleanup` removes them", err=True)
            return
        self._containers.clear()
        self._network = None
        problems: list[str] = []
        try:
            at_once({node: partial(_remove_container, container) for node, container in containers.items()})
        except FaultError as error:
            problems.append(str(error))
        if network is not None:
            problems += _remove_network(network)
        if problems:
            raise HarnessError("; ".join(problems))

    def collect(self) -> None:
        """Copies logs and traces below the run's directory. Raises HarnessError when it cannot copy those of a node."""
        self._captures.stop()
        client, nodes = self._engine(), self.deployment.directory / "nodes"
        try:
            at_once({node: partial(_fetch, client, made, nodes / node) for node, made in self._containers.items()})
        except FaultError as error:
            raise HarnessError(f"logs and traces could not be collected: {error}") from error

    def node_directory(self, node: NodeId) -> str:
        """Where the node's files are, on its machine."""
        return NODE_DIRECTORY

    def python(self, node: NodeId) -> str:
        """The interpreter on the node's machine."""
        return "python3"

    def node_environment(self, node: NodeId) -> dict[str, str]:
        """What is added to the environment variables of the node's process. A container has the machine's monotonic clock."""
        return {"THEMIS_CLOCK": str(self.origin)}

    def lacks_for_losses(self, run: Run) -> str:
        """What the engine's machine, which is this one, lacks: the device is given to the containers."""
        return "" if os.path.exists(protocol.DEVICE) else protocol.MISSING

    def _pid(self, node: NodeId) -> int:
        """Of the container's main process, on this machine. Raises HarnessError where the engine is on another one."""
        container = self._containers[node]
        deadline_s = time.monotonic() + AGENT_SEEN_WITHIN_S
        while True:
            container.reload()
            pid = int(container.attrs["State"]["Pid"])
            # It is the engine's own program until that becomes the agent.
            with contextlib.suppress(OSError):
                if f"{ROOT}/agent.py".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            if time.monotonic() > deadline_s:
                raise HarnessError("tcpdump_mib needs an engine whose containers are processes of this machine")
            time.sleep(0.05)

    # --- its parts ----------------------------------------------------------------------------------------------------

    def _engine(self) -> docker.DockerClient:
        if self._client is None:
            self._client = reach()
        return self._client

    def _image(self) -> str:
        """The name of the image. Builds it where it is missing."""
        return self.options.image or image.ensure(
            self._engine(), lambda text: click.echo(f"themis: {printing.line(text)}", err=True), self._packages()
        )

    def _packages(self) -> Sequence[str]:
        """The Debian packages that the target needs in the image."""
        target = self.deployment.target
        return tuple(target.packages) if isinstance(target, Program) else ()

    def _run_in_image(self, argv: Sequence[str]) -> Ran:
        """A command, run to its end in a container of its own, without a network. Builds the image where it is missing.

        Raises EnvironmentUnavailable when no container can be run."""
        try:
            # Run by `env`: Docker cannot start a container whose own command is missing, and does not remove it either.
            printed = self._engine().containers.run(
                self._image(), ["env", *argv], remove=True, network_mode="none", **self._confined()
            )
        except ContainerError as error:
            said = error.stderr or b""
            return Ran(tuple(argv), error.exit_status, b"", said if isinstance(said, bytes) else said.encode())
        except ENGINE_ERRORS as error:
            raise EnvironmentUnavailable(f"no container can be run: {explained(error)}") from error
        return Ran(tuple(argv), 0, bytes(printed))

    def _labels(self) -> dict[str, str]:
        kept = {KEPT_LABEL: "yes"} if self.options.leave_running else {}
        return {
            RUN_LABEL: self.deployment.run_id,
            CONTROLLER_LABEL: labels.controller(),
            DIRECTORY_LABEL: str(self.deployment.directory.resolve()),
            **kept,
        }

    def _privileges(self) -> dict[str, Any]:
        """What the containers of nodes may do."""
        target, confined = self.deployment.target, self._confined()
        if isinstance(target, Privileged):
            confined = {**confined, "cap_add": [*confined["cap_add"], *target.container_capabilities]}
        if not self.is_cached:
            return confined
        return {
            **confined,
            "cap_add": [*confined["cap_add"], "SYS_ADMIN"],
            # Docker's own profile lets nobody mount.
            "security_opt": [*confined["security_opt"], "apparmor=unconfined"],
            "devices": [f"{protocol.DEVICE}:{protocol.DEVICE}:rwm"],
        }

    def _confined(self) -> dict[str, Any]:
        """The settings of every container that Themis makes."""
        return {
            "cap_drop": ["ALL"],
            "cap_add": ["NET_ADMIN"],
            "security_opt": ["no-new-privileges"],
            "labels": self._labels(),
        }

    def _make_network(self) -> Network:
        client = self._engine()
        refused: list[str] = []
        tried: list[IPv4Network] = []
        for _ in range(RANGES_TRIED_MAX):
            subnet = self._range(tried)
            tried.append(subnet)
            try:
                network = client.networks.create(
                    f"themis-{self.tag}",
                    driver="bridge",
                    # The nodes reach only each other and this machine, and only these reach them.
                    internal=True,
                    ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnets.host(subnet, 1)))]),
                    labels=self._labels(),
                )
            except APIError as error:
                refused.append(explained(error))
                if "overlap" not in explained(error).lower() or self.options.subnet:
                    break
                continue
            for number, node in enumerate(self.deployment.nodes, start=2):
                self.hosts[node] = str(subnets.host(subnet, number))
            return network
        raise HarnessError(f"the network could not be made: {refused[-1]}")

    def _range(self, tried: Any) -> IPv4Network:
        used = [*subnets.routed(), *tried]
        for network in self._engine().networks.list():
            for pool in (network.attrs.get("IPAM") or {}).get("Config") or ():
                if "." in pool.get("Subnet", ""):
                    used.append(IPv4Network(pool["Subnet"]))
        try:
            return subnets.choose(self.options.subnet, used, int(self.tag, 16))
        except subnets.RangeInUse as error:
            raise EnvironmentUnavailable(f"{error}; choose another with --env-option subnet=...") from None

    def _python_version(self, name: str) -> str:
        """major.minor of the Python in the image; it cannot use the bytecode of another version."""
        attributes = self._engine().images.get(name).attrs
        return str((attributes["Config"].get("Labels") or {}).get(image.PYTHON_LABEL, ""))

    def _make_container(self, node: NodeId, name: str, code: bytes) -> ContainerChannel:
        client, network, options = self._engine(), self._network, self.options
        assert network is not None
        argv = ["python3", "-I", "-S", f"{ROOT}/agent.py"]
        limits: dict[str, Any] = {"pids_limit": PROCESSES_MAX}
        if options.cpus:
            limits["nano_cpus"] = int(options.cpus * 1e9)
        if options.memory_mib:
            limits["mem_limit"] = limits["memswap_limit"] = options.memory_mib << 20
        if options.data_mib:
            limits["tmpfs"] = {f"{NODE_DIRECTORY}/data": f"size={options.data_mib}m,mode=0700"}
        confined = self._privileges()
        labels_of_node = {**confined.pop("labels"), NODE_LABEL: node}
        try:
            host_config = client.api.create_host_config(**confined, **limits)
            endpoints = NetworkingConfig()
            endpoints["EndpointsConfig"] = {
                network.name: client.api.create_endpoint_config(ipv4_address=self.hosts[node])
            }
            made = client.api.create_container(
                name,
                [*argv, "--linger"] if options.leave_running else argv,
                name=f"themis-{self.tag}-{node}",
                hostname=node,
                stdin_open=True,
                labels=labels_of_node,
                host_config=host_config,
                networking_config=endpoints,
            )
            container = client.containers.get(made["Id"])
            self._containers[node] = container
            container.put_archive("/", code)
            channel = ContainerChannel(client, str(container.id), partial(self._stopped, container))
            container.start()
        except ENGINE_ERRORS as error:
            raise ExecutorFailed(f"its container could not be made: {explained(error)}") from error
        return channel

    def _stopped(self, container: Container, timeout_s: float) -> None:
        """Waits until the container's processes have ended, unless they are to be left running."""
        if self.options.leave_running:
            return
        try:
            container.wait(timeout=timeout_s)
        except ENGINE_ERRORS:
            _log.warning("the container %s does not stop by itself", container.name)


def _fetch(client: docker.DockerClient, container: Container, place: Path) -> None:
    """Copies the files of the container's node below `place`. Raises ExecutorFailed, OSError or TarError."""
    try:
        container.reload()
        if container.status != "running":
            # Its disk in memory is gone; logs and traces are not.
            pieces, _ = container.get_archive(NODE_DIRECTORY)
            packing.unpack(b"".join(pieces), place, outer="node")
            return
    except ENGINE_ERRORS as error:
        raise ExecutorFailed(explained(error)) from error
    executor = ContainerExecutor(client, {"": str(container.id)})
    ran = executor.run("", ["tar", "-C", NODE_DIRECTORY, "-cf", "-", "."], timeout_s=120)
    if ran.exit_code not in (0, 1):  # 1: a file grew while it was read.
        ran.checked(str(container.name))
    packing.unpack(ran.stdout, place)


def _remove_container(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return
    except ENGINE_ERRORS as error:
        raise ExecutorFailed(f"the container {container.name} is still there: {explained(error)}") from error


def _remove_network(network: Network) -> list[str]:
    try:
        network.remove()
    except NotFound:
        return []
    except ENGINE_ERRORS as error:
        return [f"the network {network.name} is still there: {explained(error)}"]
    return []


class LeftRun(msgspec.Struct, frozen=True):
    """The containers and networks of a run whose controller is gone."""

    run_id: str
    containers: tuple[str, ...]
    networks: tuple[str, ...]
    is_kept: bool

    @property
    def description(self) -> str:
        """What it is and which run made it."""
        why = ", left running as it was asked" if self.is_kept else ""
        parts = [f"{len(self.containers)} containers"] if self.containers else []
        parts += [f"network {name}" for name in self.networks]
        return f"{', '.join(parts)} of run {self.run_id}{why}"

    def remove(self) -> str | None:
        """Removes it, and returns why it is still there, or None. First copies the nodes' files into the run's directory."""
        client = reach()
        problems: list[str] = []
        for container in client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{RUN_LABEL}={self.run_id}"}
        ):
            tags = container.labels
            place = late_files.place(self.run_id, tags.get(DIRECTORY_LABEL, ""), tags.get(NODE_LABEL, ""))
            try:
                if place is not None:
                    _fetch(client, container, place)
            except (ExecutorFailed, OSError, tarfile.TarError) as error:
                # The leftover must be removed all the same.
                _log.warning("the files of the container %s cannot be had: %s", container.name, error)
            try:
                _remove_container(container)
            except ExecutorFailed as error:
                problems.append(str(error))
        for network in client.networks.list(filters={"label": f"{RUN_LABEL}={self.run_id}"}):
            problems += _remove_network(network)
        return "; ".join(problems) or None


def find_leftovers() -> list[LeftRun]:
    """Containers and networks of runs whose controller is gone; none where no engine answers."""
    try:
        client = reach()
        found: list[tuple[str, dict[str, str], bool]] = []
        for container in client.containers.list(all=True, ignore_removed=True, filters={"label": RUN_LABEL}):
            found.append((str(container.name), container.labels, True))
        for network in client.networks.list(filters={"label": RUN_LABEL}):
            found.append((str(network.name), (network.attrs or {}).get("Labels") or {}, False))
    except (EnvironmentUnavailable, *ENGINE_ERRORS):
        return []
    orphans = [entry for entry in found if labels.is_orphan(entry[1].get(CONTROLLER_LABEL, ""))]
    return [
        LeftRun(
            run_id,
            tuple(name for name, tags, is_container in orphans if is_container and tags[RUN_LABEL] == run_id),
            tuple(name for name, tags, is_container in orphans if not is_container and tags[RUN_LABEL] == run_id),
            any(KEPT_LABEL in tags for _, tags, _ in orphans if tags[RUN_LABEL] == run_id),
        )
        for run_id in sorted({tags[RUN_LABEL] for _, tags, _ in orphans})
    ]
