"""Implements harness.environments.base.Environment on machines that are reached by SSH.

Each machine is sent our packages and gets a guard, which is the parent of its node and holds it and the kernel's faults for as
long as the SSH session lives: see `guard`. The controller needs SSH and the nodes' ports; the machines need Linux, Python and
root (or sudo without a password; without either, only what needs no root: as_root=false), and for faults iptables and tc.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import paramiko

from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.linux import firewall, labels
from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.real.agent_clients import Agents, at_once
from harness.environments.real.environment import typed_options
from harness.environments.real.executor import ExecutorFailed
from harness.environments.real.faketime import Run
from harness.environments.ssh import bundle, collecting, connection, guard, host_facts, remote_directories, system_clock
from harness.environments.ssh import options as machine_options
from harness.environments.ssh.executor import SshChannel, SshExecutor
from harness.environments.ssh.host_clocks import SystemClocks, shared_origin
from harness.environments.ssh.host_facts import MODULES, Facts, Unfit
from harness.environments.ssh.options import Machine, SshOptions
from harness.environments.ssh.remote_directories import MODULE, RemoteDirectories, RemoteDirectory
from harness.errors import HarnessError, UsageError
from nemesis.capabilities import FaultError, NodeId
from targets.target import CoreTarget

BEAT_S = 5.0
UPLOAD_TIMEOUT_S = 120.0
PROBLEMS_MAX = 5

_log = logging.getLogger("themis.ssh")


class SshEnvironment(LinuxEnvironment):
    """Nodes on machines. Raises UsageError for options that do not fit."""

    name = "ssh"

    def __init__(self, deployment: Deployment) -> None:
        self.options = typed_options(deployment, self.name, SshOptions)
        try:
            self.machines = machine_options.machines(self.options, deployment.nodes)
        except ValueError as error:
            raise UsageError(f"env {self.name} options: {error}") from error
        self.port, self.probe_port = self.options.node_port, self.options.probe_port
        self.facts: dict[NodeId, Facts] = {}
        """What `check` found."""
        self._inner = machine_options.addresses(self.options, deployment.nodes)
        self._remote: RemoteDirectories | None = None
        self._clients: dict[NodeId, paramiko.SSHClient] = {}
        self._executor = SshExecutor({})
        self._channels: dict[NodeId, SshChannel] = {}
        self._is_over = threading.Event()
        self._beats: threading.Thread | None = None
        super().__init__(deployment, is_disk_bounded=self.options.data_mib > 0)
        self.log_messages(is_asked=self.options.messages)
        if self.options.allow_system_clock:
            self.cluster.clocks = SystemClocks(
                self.control, self.addresses, self.origin, self.cluster.processes, self.access.teller
            )

    # --- before the run -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started; nothing is left on the machines."""
        key = connection.private_key(self.options.private_key and self.machines[self.deployment.nodes[0]].private_key)
        nodes = self.deployment.nodes
        with ThreadPoolExecutor(len(nodes), "check") as pool:
            futures = {node: pool.submit(self._examined, self.machines[node], key) for node in nodes}
        problems: list[str] = []
        callers: dict[NodeId, str] = {}
        for node, future in futures.items():
            try:
                self.hosts[node], callers[node], self.facts[node] = future.result()
            except EnvironmentUnavailable as error:
                problems += str(error).splitlines()
        if not problems:
            problems = self._conflicts(callers)
        if problems:
            more = f"\n  and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
            raise EnvironmentUnavailable("\n  ".join(problems[:PROBLEMS_MAX]) + more)
        self.cluster.lacking = tuple(
            f"{self.machines[node]}: {what}" for node in nodes for what in self.facts[node].lacking()
        )
        if "drop" not in self.features():
            self.cluster.links = None

    def features(self) -> frozenset[str]:
        """What the machines' kernel and tools can do."""
        return host_facts.together(self.facts)

    def lacks_for_losses(self, run: Run) -> str:
        """What the machine lacks, and how it is had."""
        if not self.options.as_root:
            return "mounting a file system needs root (as_root=false)"
        return super().lacks_for_losses(run)

    def _examined(self, machine: Machine, key: paramiko.PKey | None) -> tuple[str, str, Facts]:
        """The node's address, the controller's as the machine is reached from, and what the machine has."""
        client = connection.connect(machine, key)
        try:
            there, here = connection.ends(client)
            address = self._inner.get(machine.node) or there
            executor = SshExecutor({machine.node: client})
            found = host_facts.examine(executor, machine, address, self.options)
            as_root = (*found.sudo, *host_facts.PLAIN)
            self.admit(lambda argv: executor.run(machine.node, [*as_root, *argv]), str(machine), [machine.node])
        except (Unfit, ExecutorFailed) as error:
            raise EnvironmentUnavailable(f"{machine}: {error}") from None
        finally:
            client.close()
        if problems := host_facts.unfitness(found, self.options, address):
            raise EnvironmentUnavailable("\n".join(f"{machine}: {problem}" for problem in problems))
        return address, here, found

    def _conflicts(self, callers: Mapping[NodeId, str]) -> list[str]:
        """In words, what is wrong with the machines taken together."""
        problems = []
        seen: dict[str, NodeId] = {}
        for node, address in self.hosts.items():
            if address in seen:
                problems.append(
                    f"{seen[address]} and {node} are one machine ({address}); a partition cannot separate two nodes on one machine"
                )
            seen[address] = node
        if self.options.allow_system_clock:
            problems += self._shared_clocks()
        for node, caller in callers.items():
            if caller in seen and len(self.hosts) > 1:
                problems.append(
                    f"this machine reaches {node} from {caller}, which is the node {seen[caller]}: a partition would cut "
                    "the controller off. Run it on a machine that is no node"
                )
        return problems

    def _shared_clocks(self) -> list[str]:
        """In words, which nodes cannot have their clocks moved one by one: kernels have one each, and containers none."""
        problems = []
        ticking: dict[str, NodeId] = {}
        for node in self.deployment.nodes:
            first = ticking.setdefault(self.facts[node].boot_id, node)
            if first != node:
                problems.append(
                    f"the machines of {first} and {node} share one kernel and with it one clock (their boot id is the same): "
                    "moving one's would move the other's. Leave --allow-system-clock out, or give each node a machine"
                )
        with contextlib.suppress(OSError):
            if mine := ticking.get(system_clock.boot_id()):
                _log.warning("%s has this machine's clock: clock faults move it here as well", self.machines[mine])
        return problems

    # --- up and down --------------------------------------------------------------------------------------------------

    def make(self) -> Agents:
        """Prepares the machines, and returns when their agents answer."""
        deployment = self.deployment
        self._sweep_up_before()
        self._remote = self._placed()
        self._remote.save()
        key = connection.private_key(self.options.private_key and self.machines[deployment.nodes[0]].private_key)
        packages = self._packages()
        # The clients are filled in by the threads; each has a key of its own.
        self._executor = SshExecutor(
            self._clients, {node: remote.prefix for node, remote in self._remote.by_node.items()}
        )
        at_once({node: self._preparing(remote, key, packages) for node, remote in self._remote.by_node.items()})
        for node in deployment.nodes:
            remote = self._remote.by_node[node]
            silence_s = f"{self.options.silence_s:g}"
            argv = [remote.python, "-m", MODULE, "serve", remote.root, deployment.run_id, silence_s]
            self._channels[node] = self._executor.open(node, argv)
        agents = Agents(self._channels)
        try:
            agents.ask("undo", {node: {"undo": self._undo(node)} for node in deployment.nodes})
        except FaultError:
            said = {node: channel.last_words() for node, channel in self._channels.items()}
            agents.close()
            told = [f"{node} says: {words}" for node, words in said.items() if words]
            raise ExecutorFailed("; ".join(told) or "the guards of the nodes do not answer") from None
        self._beats = threading.Thread(target=self._beat, args=(agents,), name="beats", daemon=True)
        self._beats.start()
        return agents

    def remove(self) -> None:
        """Removes whatever `make` made. Idempotent. Raises HarnessError with what is still on which machine; `themis cleanup`
        tries again."""
        if self._remote is None:
            return
        self._is_over.set()
        for node, channel in self._channels.items():
            channel.close()
            if words := channel.last_words():
                _log.warning("the guard of %s said: %s", node, words)
        self._channels.clear()
        # Over new connections: those of the run may have broken, and that may be why it ends.
        problems = remote_directories.sweep_anew(self._remote)
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if problems:
            raise HarnessError(f"{'; '.join(problems)}. `themis cleanup` tries again once this process has ended")
        self._remote.forget()
        self._remote = None

    def collect(self) -> None:
        """Copies logs, traces and data of every machine to nodes/<n>/."""
        if self._remote is None:
            return
        at_once({node: self._fetching(node) for node in self._clients})

    def _sweep_up_before(self) -> None:
        """Removes what earlier runs left on these machines."""
        wanted = {(machine.host, machine.port) for machine in self.machines.values()}
        for left in remote_directories.find_leftovers():
            if wanted & {(remote.machine.host, remote.machine.port) for remote in left.remotes.by_node.values()}:
                problem = left.remove()
                _log.warning("found %s: %s", left.description, problem or "removed")

    def _placed(self) -> RemoteDirectories:
        found = {}
        for node, machine in self.machines.items():
            root = f"{self.options.remote_directory}/{self.deployment.run_id}/{node}"
            environment = [f"PYTHONPATH={root}/lib", "PYTHONSAFEPATH=1"]
            prefix = (*self.facts[node].sudo, *host_facts.PLAIN, *environment)
            found[node] = RemoteDirectory(machine, root, self.facts[node].python, prefix)
        return RemoteDirectories(
            self.deployment.run_id, labels.controller(), found, str(self.deployment.directory.resolve())
        )

    def _packages(self) -> dict[bool, bytes]:
        """The archives to send to machines, by whether a machine lacks what a node imports."""
        module = type(self.deployment.target).__module__
        wanted = {found.needs_bundle for found in self.facts.values()}
        return {is_needed: bundle.make(module, MODULES if is_needed else ()) for is_needed in wanted}

    def _preparing(
        self, remote: RemoteDirectory, key: paramiko.PKey | None, packages: Mapping[bool, bytes]
    ) -> Callable[[], None]:
        """Connects to the machine, and makes sure that everything a node needs is there and can be imported."""
        node = remote.machine.node

        def work() -> None:
            try:
                client = self._clients[node] = connection.connect(remote.machine, key)
            except EnvironmentUnavailable as error:
                raise ExecutorFailed(str(error)) from None
            executor = SshExecutor({node: client}, {node: remote.prefix})
            where = str(remote.machine)
            executor.run(node, ["mkdir", "-p", "-m", "700", self.options.remote_directory]).checked(where)
            directories = [f"{remote.root}/{name}" for name in ("lib", guard.DATA)]
            executor.run(node, ["mkdir", "-p", *directories]).checked(where)
            tar = ["tar", "-xzf", "-", "-C", f"{remote.root}/lib"]
            data = packages[self.facts[node].needs_bundle]
            executor.run(node, tar, stdin=data, timeout_s=UPLOAD_TIMEOUT_S).checked(where)
            if self.options.data_mib:
                size = f"size={self.options.data_mib}m,mode=0700"
                name = f"themis-{labels.tag(self.deployment.run_id)}"
                argv = ["mount", "-t", "tmpfs", "-o", size, name, f"{remote.root}/{guard.DATA}"]
                executor.run(node, argv).checked(where)
            modules = ["targets.node", "targets.serving", type(self.deployment.target).__module__]
            if not isinstance(self.deployment.target, CoreTarget):
                modules = [
                    guard.__name__
                ]  # A program needs none of Themis's modules on its machine: its driver runs here.
            ran = executor.run(node, [remote.python, "-c", f"import {', '.join(modules)}"], timeout_s=UPLOAD_TIMEOUT_S)
            if ran.exit_code:
                said = ran.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
                raise ExecutorFailed(
                    f"what a node imports does not work with {remote.python} there ({said[-1]}): run `{remote.python} -m pip "
                    f"install {' '.join(MODULES)}` and what the target needs"
                )

        return work

    def _remote_of_nodes(self) -> Mapping[NodeId, RemoteDirectory]:
        assert self._remote is not None
        return self._remote.by_node

    def _undo(self, node: NodeId) -> dict[str, object]:
        """What the guard takes back at the end, and how it sees that it is gone."""
        chain = f"THEMIS-{labels.tag(self.deployment.run_id)}"
        abilities = self.facts[node].abilities
        tables = [("filter", "INPUT")] if "drop" in abilities else []
        tables += [("mangle", "OUTPUT")] if "tee" in abilities else []
        return {
            "device": self.facts[node].device if "htb" in abilities else "",
            "take_back": [argv for table, hook in tables for argv in firewall.removal(chain, table, hook)],
            "gone": [["iptables", *firewall.WAIT, "-t", table, "-S", chain] for table, _ in tables],
        }

    def _beat(self, agents: Agents) -> None:
        """Tell the guards that the controller is there."""
        while not self._is_over.wait(BEAT_S):
            try:
                agents.ask("beat", {node: {} for node in self.deployment.nodes})
            except FaultError as error:
                if not self._is_over.is_set():
                    _log.warning("%s", error)

    def _fetching(self, node: NodeId) -> Callable[[], None]:
        def work() -> None:
            there = self.node_directory(node)
            collecting.fetch(self._executor, node, there, self.deployment.directory / "nodes" / node)

        return work

    # --- what a kind of machine says ----------------------------------------------------------------------------------

    def node_directory(self, node: NodeId) -> str:
        """Where the node's files are, on its machine."""
        return f"{self._remote_of_nodes()[node].root}/node"

    def python(self, node: NodeId) -> str:
        """The interpreter on the node's machine."""
        return self.facts[node].python

    def device(self, node: NodeId) -> str:
        """The network interface that leads from the node to the others."""
        return self.facts[node].device

    def node_environment(self, node: NodeId) -> dict[str, str]:
        """What is added to the environment variables of the node's process. The machine's monotonic clock is not ours: it is
        measured against it."""
        return {"THEMIS_CLOCK": str(shared_origin(self.control(), node, self.origin))}
