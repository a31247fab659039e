"""What the nemesis may do to nodes on Linux machines: the kernel's faults, once for every kind of environment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

from harness.environments.linux import kernel_features
from harness.environments.linux.agent_clients import Agents, MonotonicSpan
from harness.environments.linux.firewall import Firewall, Link
from harness.environments.linux.shaping import Shaping, unavailable
from nemesis.capabilities import FaultError, Grudge, NodeId, ProcessState, Reach, Span, Spans


class LinuxLinks:
    """Implements nemesis.capabilities.Links by the firewall of each node; its evidence is datagrams between the agents.

    What is measured is the path between two machines, whatever their node processes do: a link to a killed or paused node
    is cut or answers as well. Only an end that has no agent any more is "down".
    """

    def __init__(self, agents: Callable[[], Agents], firewall: Firewall, packets: LinuxPackets) -> None:
        self._agents = agents
        self._firewall = firewall
        self._packets = packets
        self._grudge: Grudge = {}

    def drop(self, grudge: Grudge) -> None:
        """See Links."""
        self._grudge = grudge
        self._firewall.cut(grudge)

    def heal(self) -> None:
        """See Links."""
        self.drop({})
        self._packets.heal()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """See Links."""
        # What is expected only says how long to be patient; what is reported is what arrived.
        return self._agents().probe(lambda source, to: source in self._grudge.get(to, ()))


class LinuxPackets:
    """Implements nemesis.capabilities.Packets by iptables (loss, and duplicate where the kernel has TEE) and tc (the rest)."""

    def __init__(self, firewall: Firewall, shaping: Shaping, find_features: Callable[[], frozenset[str]]) -> None:
        """find_features: what the kernel has, as harness.environments.linux.kernel_features names it; asked once."""
        self._firewall = firewall
        self._shaping = shaping
        self._find_features = find_features
        self._features: frozenset[str] | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """See Packets; without sch_netem in the kernel there are only loss and rate, and duplicate with xt_TEE."""
        return kernel_features.kinds(self._known_features())

    def disturb(self, kind: str, links: Sequence[Link], parameters: Mapping[str, float]) -> None:
        """See Packets."""
        if kind not in self.kinds:
            raise unavailable(kind, self.kinds)
        if kind == "loss":
            self._firewall.lose(links, parameters["probability"])
        elif kind == "duplicate" and "tee" in self._known_features():
            self._firewall.double(links, parameters["probability"])
        else:
            self._shaping.disturb(kind, links, parameters)

    def heal(self) -> None:
        """See Packets."""
        self._firewall.lose((), 0)
        self._firewall.double((), 0)
        self._shaping.calm()

    def measure(self) -> Mapping[str, object]:
        """in_force: as iptables and tc list it; links: each disturbed one, with what they say of it."""
        found: dict[Link, dict[str, object]] = self._shaping.read()
        for node, rules in self._firewall.read().items():
            for source, share in rules.lost.items():
                found.setdefault((source, node), {})["loss"] = share
            for to, share in rules.doubled.items():
                found.setdefault((node, to), {})["duplicate"] = share
        in_force: dict[str, list[list[str]]] = {}
        links = []
        for (source, to), kinds in sorted(found.items()):
            if kinds:
                links.append({"source": source, "destination": to, "kinds": dict(sorted(kinds.items()))})
            for kind in sorted(kinds):
                in_force.setdefault(kind, []).append([source, to])
        return {"in_force": in_force, "links": links}

    def _known_features(self) -> frozenset[str]:
        if self._features is None:
            self._features = self._find_features()
        return self._features


class LinuxProcesses:
    """Implements nemesis.capabilities.Processes by the agents. start: starts nodes, and says when; answering: see NodeAccess;
    resumed: told which nodes run again after a pause; run_ns: a monotonic time on the run's clock."""

    def __init__(
        self,
        agents: Callable[[], Agents],
        nodes: Sequence[NodeId],
        start: Callable[[Collection[NodeId]], Mapping[NodeId, MonotonicSpan]],
        answering: Callable[[Collection[NodeId], float], frozenset[NodeId]],
        resumed: Callable[[Collection[NodeId]], None],
        run_ns: Callable[[int], int],
    ) -> None:
        self._agents = agents
        self._nodes = nodes
        self._start = start
        self.answering = answering
        self._resumed = resumed
        self._run_ns = run_ns

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        return self._on_run_clock(self._agents().signal(sorted(nodes), "SIGKILL"))

    def start(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes. One that ends by itself again is no error here: `states` shows it."""
        states = self.states()
        return self._on_run_clock(self._start([node for node in sorted(nodes) if states[node] == "dead"]))

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        return self._on_run_clock(self._agents().signal(sorted(nodes), "SIGSTOP"))

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        """See Processes."""
        states = self.states()
        paused = [node for node in sorted(nodes) if states[node] == "paused"]
        spans = self._on_run_clock(self._agents().signal(paused, "SIGCONT"))
        self._resumed(paused)
        return spans

    def _on_run_clock(self, spans: Mapping[NodeId, MonotonicSpan]) -> Spans:
        return {node: Span(self._run_ns(begin_ns), self._run_ns(end_ns)) for node, (begin_ns, end_ns) in spans.items()}

    def states(self) -> Mapping[NodeId, ProcessState]:
        """See Processes."""
        found = self._agents().states()
        states: dict[NodeId, ProcessState] = {}
        for node in self._nodes:
            state = found.get(node, "dead")
            states[node] = "running" if state == "running" else "paused" if state == "paused" else "dead"
        return states


class LinuxDisks:
    """Implements nemesis.capabilities.Disks by the agents. What the kernel has in its cache survives a kill, so there is no
    losing of unsynced writes; a disk can be full where the node's data is a file system of its own."""

    def __init__(
        self,
        agents: Callable[[], Agents],
        data_dirs: Callable[[], Mapping[NodeId, str]],
        processes: LinuxProcesses,
        rng: Random,
        is_bounded: bool,
    ) -> None:
        """is_bounded: each data directory is a file system of its own."""
        self._agents = agents
        self._data_dirs = data_dirs
        self._processes = processes
        self._rng = rng
        self.kinds = frozenset({"truncate", "bitflip", "wipe"} | ({"full"} if is_bounded else set()))
        self._filled: set[NodeId] = set()

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        """See Disks. truncate and bitflip strike the file that was written last."""
        if kind not in self.kinds:
            raise FaultError(f"disks here cannot {kind}; they can {', '.join(sorted(self.kinds))}")
        directories = self._data_dirs()
        if kind == "full":
            self._filled.update(nodes)
            return self._agents().ask("fill", {node: {"directory": directories[node]} for node in sorted(nodes)})
        states = self._processes.states()
        alive = sorted(node for node in nodes if states[node] != "dead")
        if alive:
            raise FaultError(f"{alive[0]} is {states[alive[0]]}: only the disk of a dead node is damaged")
        asked = {
            node: {
                "kind": kind,
                "directory": directories[node],
                "parameters": dict(parameters),
                "seed": str(self._rng.random()),
            }
            for node in sorted(nodes)
        }
        return {node: done for node, done in self._agents().ask("damage", asked).items() if done is not None}

    def heal(self) -> None:
        """See Disks."""
        directories = self._data_dirs()
        self._agents().ask("drain", {node: {"directory": directories[node]} for node in sorted(self._filled)})
        self._filled.clear()

    def measure(self) -> Mapping[str, object]:
        """in_force: full, the nodes whose data directory takes not one byte more; bytes_free: of those that can be."""
        if "full" not in self.kinds:
            return {"in_force": {}}
        free = self._agents().ask("free", {node: {"directory": path} for node, path in self._data_dirs().items()})
        full = sorted(node for node, byte_count in free.items() if byte_count == 0)
        return {"in_force": {"full": full} if full else {}, "bytes_free": free}
