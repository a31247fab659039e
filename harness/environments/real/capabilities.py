"""What the nemesis may do to nodes that are processes: the same on this machine, in namespaces, in containers and on hosts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from harness.environments.real.executor import Ran
from harness.environments.real.fork_server import Spawn
from harness.environments.real.labelled_processes import Ended, MonotonicSpan
from nemesis.capabilities import FaultError, NodeId, ProcessState, Span, Spans
from nemesis.faults.disk import CRASHES

POWER_LOSSES = frozenset(CRASHES)
"""The kinds that take what was not synced."""
SYNC_WAIT_S = 0.5
"""A node that serves syncs many times in it."""


class Control(Protocol):
    """Acts on the nodes' processes and files: the supervisor in `local`, the agents everywhere else.

    Raises FaultError or OSError where it could not do so.
    """

    def spawn(self, spawns: Collection[Spawn]) -> Mapping[NodeId, int]:
        """Start each node's process unless it runs; return its pid there."""
        ...

    def signal(self, nodes: Collection[NodeId], name: str) -> Mapping[NodeId, MonotonicSpan]:
        """Send SIGKILL, SIGTERM, SIGSTOP or SIGCONT to these nodes' processes; it has had its effect on return. Returns from when
        to when that took."""
        ...

    def doom(self, nodes: Collection[NodeId]) -> Mapping[NodeId, int]:
        """The process groups of those of these nodes whose process lives; from now on its death is wanted, whoever kills it."""
        ...

    def excuse(self, nodes: Collection[NodeId]) -> None:
        """The processes of these nodes may end from now on, by themselves too and in any way."""
        ...

    def states(self) -> Mapping[NodeId, str]:
        """Node -> running, paused or dead; one that was never started is left out."""
        ...

    def ended(self) -> list[Ended]:
        """The processes that ended although nobody killed them."""
        ...

    def ask(self, name: str, arguments: Mapping[NodeId, Mapping[str, Any]]) -> Mapping[NodeId, Any]:
        """Send one command of real.agent.Files or WriteCaches for each of these nodes, with the node's own arguments; return the
        answers."""
        ...

    def run(self, node: NodeId, argv: Sequence[str], /) -> Ran:
        """Run a command to its end on the node's machine, as the node would run it."""
        ...


class NodeProcesses:
    """Implements nemesis.capabilities.Processes. start: starts nodes, and returns when; answering: returns those that answer in
    time; resumed: called with the nodes that run again after a pause; run_ns: converts a monotonic time to the run's clock;
    why_refused: says of a process that ended why it refused to run, None when it ended otherwise."""

    def __init__(
        self,
        control: Callable[[], Control],
        nodes: Sequence[NodeId],
        start: Callable[[Collection[NodeId]], Mapping[NodeId, MonotonicSpan]],
        answering: Callable[[Collection[NodeId], float], frozenset[NodeId]],
        resumed: Callable[[Collection[NodeId]], None],
        run_ns: Callable[[int], int],
        why_refused: Callable[[Ended], str | None] = lambda _ended: None,
    ) -> None:
        self._control = control
        self._nodes = nodes
        self._start = start
        self._why_refused = why_refused
        self._ended_before: dict[NodeId, int] = {}
        """How many processes of the node had ended by themselves when it was last started."""
        self.answering = answering
        self._resumed = resumed
        self._run_ns = run_ns

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        """Kill these, as by `kill -9`; they are dead on return."""
        return self._on_run_clock(self._control().signal(sorted(nodes), "SIGKILL"))

    def start(self, nodes: Collection[NodeId]) -> Spans:
        """Start those that were dead. A process that exits again is no error here: `states` shows it."""
        states = self.states()
        dead = [node for node in sorted(nodes) if states[node] == "dead"]
        ended = self._control().ended() if dead else []
        self._ended_before |= {node: sum(end.node == node for end in ended) for node in dead}
        return self._on_run_clock(self._start(dead))

    def refused(self, nodes: Collection[NodeId]) -> Mapping[NodeId, str]:
        """Those that ended by a rule of their own since they were last started, and why."""
        ended = self._control().ended() if nodes else []
        found: dict[NodeId, str] = {}
        for node in sorted(nodes):
            since = [end for end in ended if end.node == node][self._ended_before.get(node, 0) :]
            why = self._why_refused(since[-1]) if since else None
            if why is not None:
                found[node] = why
        return found

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        """Stop these, as by SIGSTOP."""
        return self._on_run_clock(self._control().signal(sorted(nodes), "SIGSTOP"))

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        """Let those that were paused run again; their clocks show what they were set to meanwhile."""
        states = self.states()
        paused = [node for node in sorted(nodes) if states[node] == "paused"]
        spans = self._on_run_clock(self._control().signal(paused, "SIGCONT"))
        self._resumed(paused)
        return spans

    def _on_run_clock(self, spans: Mapping[NodeId, MonotonicSpan]) -> Spans:
        return {node: Span(self._run_ns(begin_ns), self._run_ns(end_ns)) for node, (begin_ns, end_ns) in spans.items()}

    def states(self) -> Mapping[NodeId, ProcessState]:
        """What each process does now."""
        found = self._control().states()
        states: dict[NodeId, ProcessState] = {}
        for node in self._nodes:
            state = found.get(node, "dead")
            states[node] = "running" if state == "running" else "paused" if state == "paused" else "dead"
        return states


class NodeDisks:
    """Implements nemesis.capabilities.Disks. A disk can be full where the node's data is a file system of its own. The kernel's
    cache survives a kill: writes that were not synced can be lost where the data directories are served by
    harness.environments.write_cache."""

    def __init__(
        self,
        control: Callable[[], Control],
        data_dirs: Callable[[], Mapping[NodeId, str]],
        processes: NodeProcesses,
        rng: Random,
        *,
        lost_by_wipe: Sequence[str],
        is_bounded: bool,
    ) -> None:
        """lost_by_wipe: patterns, below a data directory, of the files that a wiped node loses. is_bounded: each data directory is
        a file system of its own."""
        self._control = control
        self._data_dirs = data_dirs
        self._processes = processes
        self._rng = rng
        self._lost_by_wipe = list(lost_by_wipe)
        self.kinds = frozenset({"truncate", "bitflip", "wipe"} | ({"full"} if is_bounded else set()))
        self.wiped: set[NodeId] = set()
        """The nodes whose data was wiped since they were started last."""
        self.rejoining: set[NodeId] = set()
        """Those whose data was wiped at any time."""
        self._filled: set[NodeId] = set()
        self.harmed: set[NodeId] = set()
        """Those to whose data something was done at any time that no crash may do."""

    def can_lose(self) -> None:
        """The disks can lose what was not synced, or some of it."""
        self.kinds |= POWER_LOSSES

    def before_kill(self, kind: str, nodes: Collection[NodeId]) -> None:
        """Where a write is to be torn, each node is killed at its next sync, before that: else there is seldom anything to tear. A
        node that does not sync within SYNC_WAIT_S still runs."""
        if kind != "torn-write" or kind not in self.kinds:
            return
        directories, groups = self._data_dirs(), self._control().doom(sorted(nodes))
        asked = {node: {"directory": directories[node], "group": group} for node, group in groups.items()}
        self._control().ask("kill_at_sync", asked)
        deadline_s = time.monotonic() + SYNC_WAIT_S
        while time.monotonic() < deadline_s:
            states = self._processes.states()
            if all(states[node] != "running" for node in groups):
                return
            time.sleep(0.005)

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        """Do the damage and return what was done to each node. truncate and bitflip strike the file that was written last."""
        if kind not in self.kinds:
            raise FaultError(
                f"disks in this environment cannot {kind}; they can {', '.join(sorted(self.kinds))} (--env sim can every kind)"
            )
        directories = self._data_dirs()
        if kind not in POWER_LOSSES:
            self.harmed.update(nodes)
        if kind == "full":
            self._filled.update(nodes)
            return self._control().ask("fill", {node: {"directory": directories[node]} for node in sorted(nodes)})
        states = self._processes.states()
        alive = sorted(node for node in nodes if states[node] != "dead")
        if alive:
            raise FaultError(f"{alive[0]} is {states[alive[0]]}: only the disk of a dead node is damaged")
        if kind in POWER_LOSSES:
            is_torn = kind == "torn-write"
            lost = {
                node: {"directory": directories[node], "torn_by": str(self._rng.random()) if is_torn else None}
                for node in sorted(nodes)
            }
            return self._control().ask("lose", lost)
        if kind == "wipe":
            self.wiped.update(nodes)
            self.rejoining.update(nodes)
        asked = {
            node: {
                "kind": kind,
                "directory": directories[node],
                "parameters": dict(parameters),
                "seed": str(self._rng.random()),
                "lost": self._lost_by_wipe,
            }
            for node in sorted(nodes)
        }
        return {node: done for node, done in self._control().ask("damage", asked).items() if done is not None}

    def heal(self) -> None:
        """No disk is full because of a fault any more."""
        directories = self._data_dirs()
        self._control().ask("drain", {node: {"directory": directories[node]} for node in sorted(self._filled)})
        self._filled.clear()

    def measure(self) -> Mapping[str, object]:
        """in_force: full, the nodes whose data directory takes not one byte more. bytes_free: of those whose disk can be full."""
        if "full" not in self.kinds:
            return {"in_force": {}}
        free = self._control().ask("free", {node: {"directory": path} for node, path in self._data_dirs().items()})
        full = sorted(node for node, byte_count in free.items() if byte_count == 0)
        return {"in_force": {"full": full} if full else {}, "bytes_free": free}
