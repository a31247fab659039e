"""A cluster in memory with every capability, and switches to lie: a call that does nothing, or that fails."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

import msgspec

from nemesis.capabilities import Backup, ChangeResult, FaultError, Grudge, NodeId, ProcessState, Reach, Span, Spans
from nemesis.shapes import Link, all_links, links_of


class FakeCluster:
    """lies: "object.method" names whose calls do nothing and say nothing, such as "links.drop". fails: those that raise
    FaultError. Both may be changed at any time."""

    def __init__(self, nodes: Sequence[NodeId], leader: NodeId | None = None) -> None:
        self.nodes = tuple(nodes)
        self.lies: set[str] = set()
        self.fails: set[str] = set()
        self.leader = leader
        self._now_ns = 0
        self.links = FakeLinks(self)
        self.processes = FakeProcesses(self)
        self.clocks = FakeClocks(self)
        self.packets = FakePackets(self)
        self.disks = FakeDisks(self)
        self.members = FakeMembers(self)
        self.backups = FakeBackups(self)
        self.moments = FakeMoments(self)

    def now_ns(self) -> int:
        """Each look at the clock is a microsecond later than the one before."""
        self._now_ns += 1000
        return self._now_ns

    def primary(self) -> NodeId | None:
        return self.leader

    def does(self, call: str) -> bool:
        """Whether a call is to do its work. Raises FaultError for one that is to fail."""
        if call in self.fails:
            raise FaultError(f"{call} failed")
        return call not in self.lies

    def healthy(self) -> bool:
        return (
            not self.links.cut
            and set(self.processes.now.values()) == {"running"}
            and all(ns == self.clocks.natural_ns for ns in self.clocks.offset_ns.values())
            and set(self.clocks.rate.values()) == {1.0}
            and not self.packets.links
            and not self.disks.lasting
            and self.members.voters == set(self.nodes)
        )


class FakeLinks:
    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.cut: set[Link] = set()
        self.stuck: threading.Event | None = None
        self.flaky_probes = 0
        """So many of the next probes lose their first open link."""
        self.blind: set[Link] = set()
        """Links that a probe cannot measure."""

    def drop(self, grudge: Grudge) -> None:
        if self.stuck is not None:
            self.stuck.wait()
        if self.cluster.does("links.drop"):
            self.cut = set(links_of(grudge))

    def heal(self) -> None:
        if self.cluster.does("links.heal"):
            self.cut = set()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        self.cluster.does("links.probe")
        found: dict[NodeId, dict[NodeId, Reach]] = {}
        lose = self.flaky_probes > 0
        self.flaky_probes -= lose
        for source, destination in all_links(self.cluster.nodes):
            if (source, destination) in self.blind:
                continue
            reach: Reach = "cut" if (source, destination) in self.cut else "answers"
            if self.cluster.processes.now[destination] == "dead":
                reach = "down"
            elif self.cluster.processes.now[destination] == "paused":
                reach = "cut"
            elif lose and reach == "answers":
                reach, lose = "cut", False
            found.setdefault(destination, {})[source] = reach
        return found


class FakeProcesses:
    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.now: dict[NodeId, ProcessState] = dict.fromkeys(cluster.nodes, "running")
        self.silent: set[NodeId] = set()
        """Those that never answer, running or not."""
        self.refusing: dict[NodeId, str] = {}
        """Those that end by a rule of their own when they are started, and why."""

    def _move(self, call: str, nodes: Collection[NodeId], able: Collection[ProcessState], to: ProcessState) -> Spans:
        """One node after another, each with times of its own."""
        spans: dict[NodeId, Span] = {}
        if self.cluster.does(call):
            for node in nodes:
                if self.now[node] in able:
                    begin_ns = self.cluster.now_ns()
                    self.now[node] = to
                    spans[node] = Span(begin_ns, self.cluster.now_ns())
        return spans

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        return self._move("processes.kill", nodes, ["running", "paused"], "dead")

    def start(self, nodes: Collection[NodeId]) -> Spans:
        spans = self._move("processes.start", nodes, ["dead"], "running")
        self.now |= dict.fromkeys(self.refusing.keys() & spans.keys(), "dead")
        return spans

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        return self._move("processes.pause", nodes, ["running"], "paused")

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        return self._move("processes.resume", nodes, ["paused"], "running")

    def answering(self, nodes: Collection[NodeId], timeout_s: float) -> frozenset[NodeId]:
        return frozenset(node for node in nodes if self.now[node] == "running" and node not in self.silent)

    def refused(self, nodes: Collection[NodeId]) -> Mapping[NodeId, str]:
        return {node: self.refusing[node] for node in nodes if node in self.refusing and self.now[node] == "dead"}

    def states(self) -> Mapping[NodeId, ProcessState]:
        self.cluster.does("processes.states")
        return dict(self.now)


class FakeClocks:
    natural_ns = 3_000_000_000
    """These machines were never in step with the controller."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.offset_ns: dict[NodeId, int] = dict.fromkeys(cluster.nodes, self.natural_ns)
        self.rate: dict[NodeId, float] = dict.fromkeys(cluster.nodes, 1.0)
        self.unreadable: set[NodeId] = set()
        """Those whose clock nobody can read although they run."""

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        if self.cluster.does("clocks.set_offset"):
            self.offset_ns.update({node: self.natural_ns + ns for node, ns in offset_ns.items()})

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        if self.cluster.does("clocks.set_rate"):
            self.rate.update(rate)

    def heal(self) -> None:
        if self.cluster.does("clocks.heal"):
            self.offset_ns = dict.fromkeys(self.cluster.nodes, self.natural_ns)
            self.rate = dict.fromkeys(self.cluster.nodes, 1.0)

    def _up(self, node: NodeId) -> bool:
        return self.cluster.processes.now[node] == "running" and node not in self.unreadable

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        return {node: ns if self._up(node) else None for node, ns in self.offset_ns.items()}

    def rates(self) -> Mapping[NodeId, float | None]:
        return {node: rate if self._up(node) else None for node, rate in self.rate.items()}


class FakePackets:
    kinds = frozenset({"slow", "loss", "duplicate", "reorder", "late", "corrupt", "rate"})

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.links: dict[str, list[Link]] = {}
        self.instead: list[Link] | None = None
        """Links that are disturbed whichever were asked for."""
        self.is_blind = False
        """Nothing is measured."""

    def disturb(self, kind: str, links: Sequence[Link], parameters: Mapping[str, float]) -> None:
        if self.cluster.does("packets.disturb"):
            self.links.pop(kind, None)
            if links:
                self.links[kind] = list(links if self.instead is None else self.instead)

    def heal(self) -> None:
        if self.cluster.does("packets.heal"):
            self.links.clear()

    def measure(self) -> Mapping[str, object]:
        self.cluster.does("packets.measure")
        if self.is_blind:
            return {}
        return {"in_force": {kind: [list(link) for link in links] for kind, links in self.links.items()}}


class FakeDisks:
    kinds = frozenset({"lose-unsynced", "torn-write", "bitflip", "truncate", "full", "slow", "wipe"})

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.lasting: dict[str, list[NodeId]] = {}
        self.damaged: list[tuple[str, NodeId]] = []
        self.awaited: list[tuple[str, list[NodeId]]] = []

    def before_kill(self, kind: str, nodes: Collection[NodeId]) -> None:
        self.awaited.append((kind, sorted(nodes)))

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        if not self.cluster.does("disks.damage"):
            return {}
        if kind in ("full", "slow"):
            if self.cluster.does("disks.last"):
                self.lasting[kind] = sorted({*self.lasting.get(kind, []), *nodes})
        else:
            for node in nodes:
                assert self.cluster.processes.now[node] == "dead", "damage under a process that writes"
        self.damaged += [(kind, node) for node in nodes]
        return {node: {"kind": kind, **parameters} for node in nodes}

    def heal(self) -> None:
        if self.cluster.does("disks.heal"):
            self.lasting.clear()

    def measure(self) -> Mapping[str, object]:
        return {"in_force": {kind: list(nodes) for kind, nodes in self.lasting.items()}}


class FakeView(msgspec.Struct, frozen=True):
    leader: NodeId
    voters: Sequence[NodeId]
    learners: Sequence[NodeId]
    is_settled: bool
    behind: Sequence[NodeId]


class FakeMoments:
    """Each moment comes at once, at the node `at`; None: none comes."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.at: NodeId | None = cluster.nodes[1]
        self.rested_s = 0.0

    def wait(self, moment: str, count: int, within_s: float) -> NodeId | None:
        return self.at

    def rest(self, seconds: float) -> None:
        self.rested_s += seconds


class FakeMembers:
    """Takes one change at a time, as a sound target does: of several at once all but the first are refused."""

    settles_within_s = 3.0

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.voters = set(cluster.nodes)
        self.behind: list[NodeId] = []
        self.is_settled = True

    def view(self) -> FakeView | None:
        leader = self.cluster.leader
        if leader is None:
            return None
        return FakeView(leader, sorted(self.voters), [], self.is_settled, self.behind)

    def change(self, changes: Sequence[tuple[str, NodeId]]) -> list[ChangeResult]:
        results: list[ChangeResult] = []
        for name, node in changes:
            if results or not self.cluster.does("members.change"):
                results.append(ChangeResult(False, "another change is under way"))
                continue
            if name == "transfer-leadership":
                self.cluster.leader = node
            else:
                (self.voters.add if name == "add-node" else self.voters.discard)(node)
            results.append(ChangeResult(True, ""))
        return results

    def wait(self, seconds: float) -> None:
        self.cluster._now_ns += int(seconds * 1e9)


class FakeBackups:
    """taken: how many. restored: (backup, nodes) of each restore. refused: why it refuses every backup; None: it does not."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.taken = 0
        self.restored: list[tuple[int, tuple[NodeId, ...]]] = []
        self.refused: str | None = None

    def take(self) -> Backup:
        if not self.cluster.does("backups.take"):
            raise FaultError("nobody leads")
        self.taken += 1
        return Backup(self.taken, dict.fromkeys(self.cluster.nodes, "{}"))

    def refusal(self, backup: Backup, nodes: Collection[NodeId]) -> str | None:
        return self.refused

    def restore(self, backup: Backup, nodes: Collection[NodeId]) -> Mapping[NodeId, object]:
        assert all(self.cluster.processes.now[node] == "dead" for node in nodes)
        self.cluster.does("backups.restore")
        self.restored.append((backup.number, tuple(nodes)))
        return {node: {} for node in nodes}
