"""What every environment with real processes shares: the nodes' places, processes, disks and clocks, and how it drives a run.

Each kind of environment says how its machines are made, what controls their processes (`control`), and where a node's ports and
files are.
"""

from __future__ import annotations

import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec

from checkers.verdict import Validity, Verdict
from harness import spec
from harness.clients import driver
from harness.clients.driver import NemesisWorker
from harness.environments.base import Deployment
from harness.environments.membership import TargetMembers
from harness.environments.real import cache_mounts, ended_nodes, labelled_processes, node_access, requirements
from harness.environments.real.capabilities import Control, NodeDisks, NodeProcesses
from harness.environments.real.faketime import FaketimeClocks, Run
from harness.environments.real.fork_server import Spawn
from harness.environments.real.labelled_processes import Ended, MonotonicSpan
from harness.environments.real.node_access import ProgramAccess
from harness.environments.real.node_clocks import HookClocks, NodeClocks
from harness.environments.real.program_members import ProgramMembers
from harness.environments.write_cache import protocol
from harness.errors import HarnessError, UsageError
from harness.store import traces
from nemesis.capabilities import Backups, FaultError, Members, NodeId
from targets import data_owner, wal, wire_log
from targets.core import Record
from targets.journal import SEGMENT_VARIABLE
from targets.target import (
    CORE_PORT,
    Address,
    CoreTarget,
    Place,
    Ports,
    Program,
    Reconfigurable,
    ReconfigurableProgram,
)
from targets.timekeeping import Reading

LOG_TAIL_BYTES = 2000

Options = TypeVar("Options", bound=msgspec.Struct)


def typed_options(deployment: Deployment, name: str, option_type: type[Options]) -> Options:
    """The environment's options. Raises UsageError for a misspelt or ill-typed one."""
    return spec.typed_options(f"env {name}", dict(deployment.env_options), option_type)


class RealCluster:
    """What the nemesis may use, except links and packets."""

    def __init__(self, environment: RealEnvironment, *, is_disk_bounded: bool = False) -> None:
        deployment = environment.deployment
        target = deployment.target
        self._environment = environment
        self.nodes: tuple[NodeId, ...] = deployment.nodes
        self.lacking: tuple[str, ...] = ()
        """In words, what the machines lack and how it is had: said when a fault is refused."""
        self.clocks_lacking: tuple[str, ...] = ()
        """The same, of what would move the clock of a program outside the project."""
        self.disks_lacking: tuple[str, ...] = ()
        """The same, of what would make disks lose what was not synced."""
        self.processes = NodeProcesses(
            environment.control,
            self.nodes,
            environment.start,
            lambda nodes, timeout_s: environment.access.answering(nodes, timeout_s),
            self._resumed,
            lambda monotonic_ns: environment.access.run_ns(monotonic_ns),
            lambda ended: environment.access.why_refused(ended),
        )
        self.clocks: NodeClocks | None = None
        """The hook of our own nodes; of a program outside the project what `admit` finds that moves its clock."""
        if isinstance(target, CoreTarget):
            self.clocks = HookClocks(
                environment.addresses,
                environment.origin,
                self.processes,
                environment.access.clocks,
                environment.access.teller,
            )
        self.disks = NodeDisks(
            environment.control,
            environment.data_dirs,
            self.processes,
            Random(f"{deployment.seed}/disks"),
            lost_by_wipe=("*",) if isinstance(target, CoreTarget) else target.lost_by_wipe,
            is_bounded=is_disk_bounded,
        )
        self.backups: Backups | None = None
        self.members: Members | None = None
        if isinstance(target, Reconfigurable):
            self.members = TargetMembers(target, environment.statuses, environment.access.put, time.sleep)
        elif isinstance(target, ReconfigurableProgram):
            self.members = ProgramMembers(
                target, environment.addresses, environment.control, self.processes, self.disks
            )

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes."""
        return self._environment.access.primary()

    def now_ns(self) -> int:
        """The history's clock."""
        return self._environment.access.run_ns(time.monotonic_ns())

    def _resumed(self, nodes: Collection[NodeId]) -> None:
        if self.clocks is not None:
            self.clocks.resumed(nodes)


class RealEnvironment(ABC):
    """Implements the part of harness.environments.base.Environment that is the same for all. Raises UsageError for options that do
    not fit. up_timeout_s: how long a node that runs may take to answer for the first time, on a busy machine too."""

    name: str
    is_virtual = False
    writes_segments = False
    logs_messages = False
    cluster: RealCluster
    up_timeout_s = 60.0

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.origin = Reading.now()
        target = deployment.target
        self.port_names: tuple[str, ...] = (CORE_PORT,) if isinstance(target, CoreTarget) else tuple(target.ports)
        self.addresses: dict[NodeId, Ports] = {node: {} for node in deployment.nodes}
        """Where each node listens, and the controller reaches it; filled in by `up`."""
        self.access = node_access.access_to(deployment, self.origin, self.addresses, self._states, self._log_end)
        self._ended: list[Ended] = []
        self._untold = ""
        """Why it is not known which nodes have ended since; "" where it is."""
        self._cached: set[NodeId] = set()
        """The nodes whose machine can make a disk lose what was not synced."""
        self._libraries: dict[NodeId, str] = {}
        self._starts: dict[NodeId, int] = {}

    def log_messages(self, *, is_asked: bool) -> None:
        """Nodes log their messages if that is asked. Raises UsageError where they are no nodes of ours."""
        if is_asked and not isinstance(self.deployment.target, CoreTarget):
            raise UsageError(
                f"env {self.name} options: messages: {self.deployment.target.name} is a program outside the project, which logs "
                "no messages"
            )
        self.logs_messages = is_asked

    # --- what a kind of environment says ------------------------------------------------------------------------------

    @abstractmethod
    def control(self) -> Control:
        """The object that acts on the nodes' processes and files. Raises FaultError when they are not up."""

    @abstractmethod
    def dialled(self, node: NodeId) -> Mapping[NodeId, Ports]:
        """The addresses at which this node dials each node, itself included."""

    @abstractmethod
    def node_directory(self, node: NodeId) -> str:
        """Where the node's log, trace, configuration and data are, on its machine."""

    @abstractmethod
    def python(self, node: NodeId) -> str:
        """The interpreter on the node's machine."""

    @abstractmethod
    def node_environment(self, node: NodeId) -> dict[str, str]:
        """The environment variables to add for the node's process, beside those of its clock."""

    def lacks_for_losses(self, run: Run) -> str:
        """What the machine where `run` runs, as root, lacks to make a disk lose what was not synced, and how it is had; "" when it
        lacks nothing."""
        return "" if run(["test", "-c", protocol.DEVICE]).exit_code == 0 else protocol.MISSING

    # --- Environment --------------------------------------------------------------------------------------------------

    def admit(self, run: Run, where: str, nodes: Collection[NodeId] = ()) -> None:
        """Check that the machine where `run` runs, which is these nodes' (all, when none are named), has what the target needs.
        `check` must call it for every machine. Raises EnvironmentUnavailable with what to do."""
        found = requirements.admit(self.deployment, run, where)
        if found.lacking:
            self.cluster.clocks_lacking += (found.lacking,)
        if found.library:
            self._libraries.update(dict.fromkeys(nodes or self.deployment.nodes, found.library))
        if self.deployment.loses_unsynced:
            if lacking := self.lacks_for_losses(run):
                self.cluster.disks_lacking += (f"{where}: {lacking}",)
            else:
                self._cached.update(nodes or self.deployment.nodes)
            if self.is_cached:
                self.cluster.disks.can_lose()
        # The system's own clock, where it may be moved, was chosen before.
        if self.cluster.clocks is None and len(self._libraries) == len(self.deployment.nodes):
            self.cluster.clocks = self._faketime()

    def bring_up(self) -> None:
        """Start every node and return when each answers and the target has done its step after that. The machines exist already.

        Raises HarnessError, with the end of the log of a node that does not answer."""
        nodes, target = self.deployment.nodes, self.deployment.target
        timeout_s = max(self.up_timeout_s, target.up_timeout_s if isinstance(target, Program) else 0)
        try:
            if self.is_cached:
                self._mount_caches()
            self.start(nodes)
            answering = self.access.answering(nodes, timeout_s)
            silent = [node for node, state in self._states().items() if state == "running" and node not in answering]
        except FaultError as error:
            raise HarnessError(str(error)) from error
        if silent:
            raise HarnessError(self.access.why_silent(silent[0], timeout_s))
        if ended := self.crashed_nodes():
            raise HarnessError(ended_nodes.epitaph(ended[0], self._log_end))
        self.access.after_up({node: self._place(node) for node in nodes})

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end; its time zero is now."""
        self.access.drive(interpreter, nemesis)

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        return self.access.statuses()

    def crashed_nodes(self) -> list[Ended]:
        """The node processes that ended although nobody killed them, in order; after `down`, those that were known before it."""
        try:
            control = self.control()
        except FaultError:
            return self._ended  # The nodes are down: what was known stays.
        try:
            self._ended, self._untold = control.ended(), ""
        except FaultError as error:
            self._untold = str(error)
        return self._ended

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: INVALID where a core raised, or took its disk for damaged that nothing but crashes befell; UNKNOWN where a process
        exited for another reason, or where nobody can tell whether one did."""
        found = self.access.findings(self.crashed_nodes(), self.cluster.disks.harmed)
        nodes = found[ended_nodes.CHECKER]
        if not self._untold or nodes.validity is not Validity.VALID:
            return found
        why = f"nobody knows which nodes ended by themselves: {self._untold}"
        return {**found, ended_nodes.CHECKER: Verdict.unknown(why, ended_nodes.CHECKER, evidence=nodes.evidence)}

    # --- its parts ----------------------------------------------------------------------------------------------------

    def data_dirs(self) -> Mapping[NodeId, str]:
        """Where each node keeps what is durable."""
        return {node: f"{self.node_directory(node)}/data" for node in self.deployment.nodes}

    @property
    def is_cached(self) -> bool:
        """Whether the data directories can lose what was not synced."""
        return len(self._cached) == len(self.deployment.nodes)

    def _mount_caches(self) -> None:
        source = cache_mounts.source(self.deployment.run_id)
        asked: dict[NodeId, dict[str, Any]] = {}
        for node, directory in self.data_dirs().items():
            asked[node] = {
                "directory": directory,
                "argv": [self.python(node), "-m", cache_mounts.MODULE, directory, source],
                "environment": self.node_environment(node),
                "labels": [labelled_processes.RUN, labelled_processes.CONTROLLER],
            }
        self.control().ask("cache", asked)

    def _states(self) -> Mapping[NodeId, Any]:
        return self.cluster.processes.states()

    def _place(self, node: NodeId) -> Place:
        directory = self.node_directory(node)
        return Place(
            node=node,
            listen=self.addresses[node],
            nodes=self.dialled(node),
            config_dir=f"{directory}/config",
            data_dir=f"{directory}/data",
            log_dir=directory,
            python=self.python(node),
            seed=f"{self.deployment.seed}/node/{node}/{self._starts.get(node, 0)}",
            is_wiped=node in self.cluster.disks.wiped,
            is_rejoining=node in self.cluster.disks.rejoining,
        )

    def start(self, nodes: Collection[NodeId]) -> dict[NodeId, MonotonicSpan]:
        """Start these nodes' processes, without waiting for an answer, and return when that was. Raises FaultError."""
        began_ns = time.monotonic_ns()
        spawns = []
        for node in nodes:
            place = self._place(node)
            environment = {
                **self.node_environment(node),
                **self.access.variables(place),
                **({SEGMENT_VARIABLE: str(traces.SEGMENT_BYTES)} if self.writes_segments else {}),
                **({wire_log.VARIABLE: "1"} if self.logs_messages else {}),
                **({} if self.cluster.clocks is None else self.cluster.clocks.variables(node)),
            }
            log = f"{place.log_dir}/node.log"
            argv, files = self.access.argv(place), self.access.files(place)
            spawns.append(Spawn(node, argv, environment, place.log_dir, log, files, [place.config_dir, place.data_dir]))
        self.control().spawn(spawns)
        for node in nodes:
            self._starts[node] = self._starts.get(node, 0) + 1
        self.cluster.disks.wiped.difference_update(nodes)
        return dict.fromkeys(nodes, (began_ns, time.monotonic_ns()))

    def restore(self, records: Mapping[NodeId, Sequence[Record]], number: int) -> Mapping[NodeId, object]:
        """These records stand on the disks of these dead nodes, in the place of all that was there. Raises FaultError."""
        states, directories = self._states(), self.data_dirs()
        if alive := sorted(node for node in records if states[node] != "dead"):
            raise FaultError(f"{alive[0]} is {states[alive[0]]}: only the disk of a dead node is restored")
        self.cluster.disks.wiped.difference_update(records)
        self.cluster.disks.rejoining.difference_update(records)
        self.cluster.disks.harmed.update(records)
        asked: dict[NodeId, dict[str, Any]] = {}
        for node, kept in records.items():
            log = wal.image([msgspec.json.encode(record) for record in kept])
            files = {
                data_owner.LOG_NAME: log,
                str(Path(data_owner.LOG_NAME).with_suffix(wal.MADE)): b"",
                data_owner.RESTORED: str(number).encode(),
            }
            encoded = {name: base64.b64encode(data).decode() for name, data in files.items()}
            asked[node] = {"directory": directories[node], "files": encoded}
        return self.control().ask("restore", asked)

    def _faketime(self) -> FaketimeClocks:
        assert isinstance(self.access, ProgramAccess)

        def file(node: NodeId) -> str:
            return f"{self.node_directory(node)}/faketime"

        def keep(settings: Mapping[NodeId, tuple[int | None, float | None]]) -> None:
            asked = {
                node: {"path": file(node), "offset_ns": offset_ns, "rate": rate}
                for node, (offset_ns, rate) in settings.items()
            }
            self.control().ask("clock_file", asked)

        return FaketimeClocks(
            libraries=self._libraries,
            file=file,
            keep=keep,
            run=lambda node, argv: self.control().run(node, argv),
            states=self._states,
            access=self.access,
            origin=self.origin,
        )

    def _log_end(self, node: NodeId) -> str:
        path = f"{self.node_directory(node)}/node.log"
        try:
            end = self.control().ask("tail", {node: {"path": path, "byte_count": LOG_TAIL_BYTES}})[node]
        except FaultError as error:
            return f"(no log: {error})"
        return "(no log)" if end is None else end.strip() or "(an empty log)"


def numbered(host: str, first: int, names: Collection[str], skipped: int = 0) -> dict[str, Address]:
    """An address for each of these ports of a host: numbers from `first` on, without `skipped`."""
    numbers = [number for number in range(first, first + len(names) + 1) if number != skipped]
    return {name: Address(host, number) for name, number in zip(names, numbers, strict=False)}
