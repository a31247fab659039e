"""What the nemesis may do to the simulated world, and what it measures there: nemesis.capabilities in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence

from harness.environments.sim.network import KINDS, Network
from harness.environments.sim.node import Node
from harness.environments.sim.world import World
from histories.units import NS_PER_MS
from nemesis.capabilities import FaultError, Grudge, NodeId, ProcessState, Reach, Span, Spans

KILL_EFFECTS_MAX = 24
"""A kill lands within this many effects: a few steps of a busy Raft leader, each five to ten effects long."""

KILL_AFTER_RECORD_MAX = 4
"""Or within this many effects behind the next record that is written: at 0 it is not synced."""

KILL_WAIT_NS = 15 * NS_PER_MS
"""How long a kill waits for its victim to be in the middle of a step."""

KILL_WAIT_NS_MAX = 400 * NS_PER_MS
"""How long it waits for a record: until an election may have begun, since then nodes write what they must not forget."""


class SimLinks:
    """Cuts and probes links of the simulated network."""

    def __init__(self, network: Network, nodes: Mapping[NodeId, Node]) -> None:
        self._network = network
        self._nodes = nodes

    def drop(self, grudge: Grudge) -> None:
        """Exactly the links of `grudge` are cut. Raises FaultError on an unknown node, with nothing changed."""
        pairs = {(source, target) for target, sources in grudge.items() for source in sources}
        unknown = sorted({name for pair in pairs for name in pair} - set(self._nodes))
        if unknown:
            raise FaultError(f"the grudge names {', '.join(unknown)}; the nodes are {', '.join(self._nodes)}")
        self._network.cut_exactly(pairs)

    def heal(self) -> None:
        """No link is cut or held."""
        self._network.cut_exactly(set())
        self._network.release()

    def probe(self) -> Mapping[NodeId, Mapping[NodeId, Reach]]:
        """destination -> source -> what would become of a message sent now."""
        matrix: dict[NodeId, dict[NodeId, Reach]] = {}
        for name, node in self._nodes.items():
            matrix[name] = {}
            for source, targets in self._network.links.items():
                if source != name:
                    link = targets[name]
                    cut: Reach = "cut" if link.is_cut or link.is_held else "answers"
                    matrix[name][source] = "down" if node.state == "dead" else cut
        return matrix


class SimProcesses:
    """Kills, starts, pauses and resumes simulated processes."""

    def __init__(self, world: World, nodes: Mapping[NodeId, Node], kill_inside_step: float) -> None:
        self._world = world
        self._nodes = nodes
        self._rng: random.Random = world.rng("processes")
        self._kill_inside_step = kill_inside_step

    def kill(self, nodes: Collection[NodeId]) -> Spans:
        """They are dead. Some die in the middle of a step: the world runs on for some virtual ms until they have."""
        victims = [node for node in self._named(nodes) if node.state != "dead"]
        began_ns = self._world.now_ns
        wait_ns = KILL_WAIT_NS
        died_ns: dict[NodeId, int] = {}
        for node in self._named(nodes):
            draw = self._rng.random()
            if node.state == "running" and draw < self._kill_inside_step / 2:
                rare = draw < self._kill_inside_step / 4
                node.doom_after_record(self._rng.randrange(KILL_AFTER_RECORD_MAX), rare=rare)
                wait_ns = KILL_WAIT_NS_MAX
            elif node.state == "running" and draw < self._kill_inside_step:
                node.doom(self._rng.randrange(KILL_EFFECTS_MAX))
            else:
                node.kill()

        def are_dead() -> bool:
            for node in victims:
                if node.state == "dead":
                    died_ns.setdefault(node.name, self._world.now_ns)
            return len(died_ns) == len(victims)

        if not are_dead():
            self._world.run(began_ns + wait_ns, are_dead)
        for node in victims:
            node.kill()
        are_dead()
        return {node.name: Span(began_ns, died_ns[node.name]) for node in victims}

    def start(self, nodes: Collection[NodeId]) -> Spans:
        """Those that were dead run on the disk they left."""
        return self._done_at_once(nodes, "dead", lambda node: node.start())

    def pause(self, nodes: Collection[NodeId]) -> Spans:
        """They do nothing and lose nothing."""
        return self._done_at_once(nodes, "running", lambda node: node.pause())

    def resume(self, nodes: Collection[NodeId]) -> Spans:
        """They go on."""
        return self._done_at_once(nodes, "paused", lambda node: node.resume())

    def answering(self, nodes: Collection[NodeId], timeout_s: float) -> frozenset[NodeId]:
        """Those that run: a core that runs answers."""
        return frozenset(node.name for node in self._named(nodes) if node.state == "running")

    def refused(self, nodes: Collection[NodeId]) -> Mapping[NodeId, str]:
        """Those whose core halted because of its disk, and why."""
        return {node.name: node.refusal for node in self._named(nodes) if node.refusal is not None}

    def _done_at_once(self, names: Collection[NodeId], able: ProcessState, act: Callable[[Node], None]) -> Spans:
        """`act` on those in that state, which takes no virtual time."""
        nodes = [node for node in self._named(names) if node.state == able]
        for node in nodes:
            act(node)
        return {node.name: Span(self._world.now_ns, self._world.now_ns) for node in nodes}

    def states(self) -> Mapping[NodeId, ProcessState]:
        """What each process does now."""
        return {name: node.state for name, node in self._nodes.items()}

    def _named(self, names: Collection[NodeId]) -> list[Node]:
        return named(self._nodes, names)


class SimClocks:
    """Sets simulated clocks."""

    def __init__(self, world: World, nodes: Mapping[NodeId, Node]) -> None:
        self._world = world
        self._nodes = nodes

    def set_offset(self, offset_ns: Mapping[NodeId, int]) -> None:
        """Each of these clocks is `offset_ns` ahead of true time."""
        for node in named(self._nodes, offset_ns):
            node.set_clock(offset_ns=offset_ns[node.name])

    def set_rate(self, rate: Mapping[NodeId, float]) -> None:
        """Each of these clocks runs at this rate from what it reads now."""
        for node in named(self._nodes, rate):
            if rate[node.name] <= 0:
                raise FaultError(f"{node.name}: rate {rate[node.name]:g}; a clock's rate is greater than 0")
            node.set_clock(rate=rate[node.name])

    def heal(self) -> None:
        """Every clock is true."""
        for node in self._nodes.values():
            if not node.clock.is_plain or node.clock.offset_ns:
                node.set_clock(offset_ns=0, rate=1.0)

    def offsets_ns(self) -> Mapping[NodeId, int | None]:
        """Each clock minus true time; None for a node that does not run."""
        now_ns = self._world.now_ns
        return {
            name: node.clock.local_ns(now_ns) - now_ns if node.state == "running" else None
            for name, node in self._nodes.items()
        }

    def rates(self) -> Mapping[NodeId, float | None]:
        """Each clock's seconds a true second; None for a node that does not run."""
        return {
            name: node.clock.rate_ppb / 1e9 if node.state == "running" else None for name, node in self._nodes.items()
        }


class SimPackets:
    """Disturbs links of the simulated network."""

    kinds = frozenset(KINDS)

    def __init__(self, network: Network, nodes: Mapping[NodeId, Node]) -> None:
        self._network = network
        self._nodes = nodes
        if network.is_stream:  # Who receives a stream throws away what comes twice.
            self.kinds = self.kinds - {"duplicate"}

    def disturb(self, kind: str, links: Sequence[tuple[NodeId, NodeId]], parameters: Mapping[str, float]) -> None:
        """These links are disturbed so, and of this kind no others. Raises FaultError on what it does not know."""
        if kind not in self.kinds:
            raise FaultError(f"the simulated network cannot do {kind!r}; it can do {', '.join(KINDS)}")
        named(self._nodes, {name for link in links for name in link})
        needed = {"slow": "delay_ms", "rate": "bytes_per_s"}.get(kind, "probability")
        if needed not in parameters:
            raise FaultError(f"{kind} needs {needed}")
        self._network.disturb(kind, links, dict(parameters))

    def heal(self) -> None:
        """No link is disturbed."""
        self._network.undisturb()

    def measure(self) -> Mapping[str, object]:
        """in_force, and what has befallen packets since the run began."""
        return {"in_force": self._network.in_force(), "counts": dict(sorted(self._network.counts.items()))}


class SimDisks:
    """Damages simulated disks."""

    kinds = frozenset({"lose-unsynced", "torn-write", "bitflip", "truncate", "full", "slow", "wipe"})

    def __init__(self, nodes: Mapping[NodeId, Node]) -> None:
        self._nodes = nodes

    def before_kill(self, kind: str, nodes: Collection[NodeId]) -> None:
        """Waits for nothing: in virtual time a kill finds records that are not synced often enough."""

    def damage(self, kind: str, nodes: Collection[NodeId], parameters: Mapping[str, float]) -> Mapping[NodeId, object]:
        """Do it, and say what was done in records. Raises FaultError for a running node where a dead one is needed."""
        victims = named(self._nodes, nodes)
        if kind not in self.kinds:
            raise FaultError(f"a simulated disk cannot do {kind!r}; it can do {', '.join(sorted(self.kinds))}")
        if kind not in ("full", "slow"):
            alive = [node.name for node in victims if node.state != "dead"]
            if alive:
                raise FaultError(f"{kind} is for the disk of a dead process; {', '.join(alive)} run")
        done: dict[NodeId, object] = {}
        for node in victims:
            disk = node.disk
            match kind:
                case "lose-unsynced":
                    done[node.name] = {"records_lost": disk.lose_unsynced()}
                case "torn-write":
                    done[node.name] = {"records_torn": disk.tear()}
                case "bitflip":
                    flipped = disk.flip()
                    if flipped is not None:
                        done[node.name] = {"record": flipped}
                case "truncate":
                    if cut := disk.truncate(max(1, int(parameters.get("bytes", 1)) // 64)):
                        done[node.name] = {"records_cut": cut}
                case "wipe":
                    was_damaged = disk.is_damaged
                    done[node.name] = {"records_lost": disk.wipe()}
                    if parameters.get("rejoins"):  # It comes back as a new member, and is as good as any.
                        disk.is_damaged = was_damaged
                case "full":
                    disk.is_full = True
                    done[node.name] = {"full": True}
                case "slow":
                    disk.added_ns = int(parameters["delay_ms"] * NS_PER_MS)
                    done[node.name] = {"delay_ms": parameters["delay_ms"]}
        return done

    def heal(self) -> None:
        """No disk is full or slow."""
        for node in self._nodes.values():
            node.disk.is_full = False
            node.disk.added_ns = 0

    def measure(self) -> Mapping[str, object]:
        """in_force: which disks are full or slow now."""
        found = {
            "full": [name for name, node in self._nodes.items() if node.disk.is_full],
            "slow": [name for name, node in self._nodes.items() if node.disk.added_ns],
        }
        return {"in_force": {kind: names for kind, names in found.items() if names}}


def named(nodes: Mapping[NodeId, Node], names: Collection[NodeId]) -> list[Node]:
    """The nodes of these names, in the cluster's order. Raises FaultError naming those that do not exist."""
    unknown = sorted(set(names) - set(nodes))
    if unknown:
        raise FaultError(f"no node is called {', '.join(unknown)}; the nodes are {', '.join(nodes)}")
    wanted = set(names)
    return [node for name, node in nodes.items() if name in wanted]
