"""The environment `sim`: the target's cores, the faults, the clients and the interpreter of every other environment, in virtual
time. The same deployment, with the same interpreter, gives the same history and trace, byte by byte."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from heapq import heappop
from typing import Any

import msgspec

from checkers.evidence import EndedNode, EndedNodes
from checkers.invariants import Observers
from checkers.verdict import Validity, Verdict
from harness.clients.driver import NemesisWorker
from harness.clients.sessions import SessionRunner
from harness.environments.backups import TargetBackups
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.membership import TargetMembers
from harness.environments.sim import liveness
from harness.environments.sim.capabilities import SimClocks, SimDisks, SimLinks, SimPackets, SimProcesses
from harness.environments.sim.clients import Clients
from harness.environments.sim.delays import quantiles_ns
from harness.environments.sim.disk import Disk
from harness.environments.sim.message_log import LogEntry, MessageLog
from harness.environments.sim.moments import SimMoments
from harness.environments.sim.network import Network
from harness.environments.sim.node import Node
from harness.environments.sim.options import SimOptions
from harness.environments.sim.run_files import RunFiles
from harness.environments.sim.world import InvariantViolated, TraceRow, World
from harness.errors import HarnessError, UsageError
from harness.generators.interpreter import Interpreter
from harness.spec import typed_options
from histories.op import NEMESIS, Op
from histories.units import NS_PER_MS, NS_PER_S
from nemesis.capabilities import Backups, Members, NodeId
from targets.core import Core, Record
from targets.session import Outcome, Session
from targets.target import (
    Client,
    CoreTarget,
    Reconfigurable,
    Restorable,
    ServesWithSome,
    nodes_from_home,
    session_for,
)

BOOT_NS_MAX = 5 * NS_PER_MS
"""Nodes start at different moments within this time, as processes do."""

RESTORE_S = 0.1
"""How long the data of a backup is on its way to the disks."""

FOREVER_NS = 2**63
"""Later than any event."""


LIVES_A_COLLECTION = 250
"""Garbage is looked for after so many processes of nodes at the latest."""

GARBAGE_SHARE, GARBAGE_BLOCKS = 0.125, 40_000
"""It is looked for before that where the blocks that Python has allocated grew by this share, and by so many: the core that a
restart leaves behind is as large as what clients have written by then."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """No garbage is looked for inside, since that costs a fifth of the time; what makes some has to see to it.

    A run makes next to no cycles, but for cores: the parts of a core know each other, and each restart leaves one behind.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _blocks_allowed() -> int:
    """So many blocks may be allocated before garbage is looked for again."""
    blocks = sys.getallocatedblocks()
    return blocks + max(GARBAGE_BLOCKS, int(blocks * GARBAGE_SHARE))


class SimCluster:
    """What the nemesis may use of the simulated world."""

    def __init__(self, environment: SimEnvironment) -> None:
        self._environment = environment
        nodes = environment.by_name
        self.nodes: tuple[NodeId, ...] = tuple(nodes)
        world = environment.world
        self.links = SimLinks(environment.network, nodes)
        self.processes = SimProcesses(world, nodes, environment.options.kill_inside_step)
        self.clocks = SimClocks(world, nodes)
        self.packets = SimPackets(environment.network, nodes)
        self.disks = SimDisks(nodes)
        self.moments = SimMoments(world, nodes, self._leads)
        self.members: Members | None = None
        if isinstance(environment.deployment.target, Reconfigurable):
            self.members = TargetMembers(environment.deployment.target, environment.statuses, self._ask, self._wait)
        self.backups: Backups | None = None
        deployment = environment.deployment
        if isinstance(target := deployment.target, Restorable):
            self.backups = TargetBackups(
                target,
                self.nodes,
                deployment.interface,
                deployment.options,
                environment.statuses,
                self._ask,
                self._write,
            )

    def now_ns(self) -> int:
        """Virtual time: the history's."""
        return self._environment.world.now_ns

    def primary(self) -> NodeId | None:
        """The node that leads now, by what the nodes say."""
        return self._environment.deployment.target.primary(self._environment.statuses())

    def _write(self, records: Mapping[NodeId, Sequence[Record]], number: int) -> Mapping[NodeId, object]:
        nodes = self._environment.by_name
        self._wait(RESTORE_S)
        return {node: {"records_lost": nodes[node].disk.restore(records[node], number)} for node in records}

    def _leads(self, node: NodeId) -> bool:
        status = self._environment.by_name[node].status()
        return status is not None and self._environment.deployment.target.primary({node: status}) == node

    def _wait(self, seconds: float) -> None:
        world = self._environment.world
        world.run(world.now_ns + int(seconds * NS_PER_S), lambda: False)

    def _ask(
        self, requests: Mapping[int, tuple[NodeId, msgspec.Struct]], timeout_s: float
    ) -> Mapping[int, msgspec.Struct]:
        world, clients = self._environment.world, self._environment.clients
        questions = {
            number: clients.put(self._environment.by_name[node], body) for number, (node, body) in requests.items()
        }
        world.run(world.now_ns + int(timeout_s * NS_PER_S), lambda: all(one.is_over for one in questions.values()))
        return {number: one.reply for number, one in questions.items() if one.reply is not None}


class SimEnvironment:
    """Implements harness.environments.base.Environment. Raises UsageError for options that do not fit."""

    name = "sim"
    is_virtual = True
    writes_segments = False

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        options = _options(deployment)
        names = deployment.nodes
        rules = deployment.target.invariants_under(deployment.options) if options.invariants else ()
        invariants = tuple(rule for rule in rules if rule not in options.unwatched)
        shards = deployment.topology.shard_by_node
        self.observers = Observers(invariants, len(names), shard_by_node=shards) if invariants else None
        messages = MessageLog() if options.messages else None
        self.world = World(deployment.seed, self.observers, messages)
        self.world.past_violation_ns = int(options.past_violation_s * NS_PER_S)
        self._files: RunFiles | None = None
        self._lives_count = 0
        self._blocks_max = _blocks_allowed()
        self.options = options = options.drawn(self.world.rng("hardware"))
        assert options.fsync_ms_mean is not None
        self.network = Network(self.world, options, names)
        self.clients = Clients(self.world, options, deployment.client_timeout_s)
        fsyncs_ns = quantiles_ns(
            "exponential", int(options.fsync_ms_min * NS_PER_MS), int(options.fsync_ms_mean * NS_PER_MS)
        )
        self.nodes = [
            Node(
                self.world,
                name,
                self._builder(name),
                Disk(self.world.rng(f"disk/{name}"), fsyncs_ns),
                self.network.links[name],
                self.clients.answer,
                self.clients.reset,
                getattr(deployment.target, "durable_before_send", ()),
            )
            for name in names
        ]
        for node in self.nodes:
            node.step_cost_ns = int(options.slow_nodes_ms.get(node.name, 0) * NS_PER_MS)
        self.by_name: dict[NodeId, Node] = {node.name: node for node in self.nodes}
        self.network.connect(self.nodes)
        self.cluster = SimCluster(self)
        self._interpreter: Interpreter | None = None
        self._is_poll_due = False
        self._first_ops: dict[str, Op] = {}
        """The first client op of each kind."""
        self._findings: dict[str, Verdict] | None = None

    def _builder(self, name: NodeId) -> Callable[[int], Core]:
        deployment = self.deployment

        def build(incarnation: int) -> Core:
            self._lives_count += 1
            if self._lives_count % LIVES_A_COLLECTION == 0 or sys.getallocatedblocks() > self._blocks_max:
                gc.collect()
                self._blocks_max = _blocks_allowed()
            rng = self.world.rng(f"node/{name}/{incarnation}")
            assert isinstance(deployment.target, CoreTarget), "refused by check"
            return deployment.target.core(
                name, deployment.nodes, deployment.options, deployment.bugs, rng, deployment.interface
            )

        return build

    def _sessions(self) -> SessionRunner:
        deployment, target = self.deployment, self.deployment.target
        assert isinstance(target, CoreTarget), "refused by check"

        def open_session(process: int) -> Session:
            home_first = nodes_from_home(deployment.nodes, process)
            client = Client(process, home_first, deployment.topology, deployment.options)
            return session_for(target, deployment.interface, client)

        return SessionRunner(open_session, target.formats(deployment.interface).request, deployment.nodes)

    # --- Environment ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises EnvironmentUnavailable for a target that is not written as a core."""
        if not isinstance(self.deployment.target, CoreTarget):
            raise EnvironmentUnavailable(
                f"target {self.deployment.target.name!r} has no core: the simulation can only run targets written against "
                "targets/core.py; choose another environment with --env"
            )

    def up(self) -> None:
        """Every node runs."""
        if self.deployment.keeps_files:
            self._keep_files()
        self.clients.connect(self.nodes, self._sessions())
        rng = self.world.rng("boot")
        for node in self.nodes:
            self.world.at(int(rng.random() * BOOT_NS_MAX), self._boot, node)
        try:
            self.world.advance(BOOT_NS_MAX, lambda: False)
        except InvariantViolated:
            return
        dead = [node for node in self.nodes if node.state == "dead"]
        if dead:
            raise HarnessError("; ".join(f"{node.name} did not start: {node.log[-1][1]}" for node in dead))

    def _keep_files(self) -> None:
        """What happens from now on is written to the run's files."""
        world, root = self.world, self.deployment.directory
        has_traces, messages = self.options.trace, world.messages
        self._files = RunFiles(root, self.by_name, has_traces=has_traces, has_messages=messages is not None)
        if has_traces:
            world.keep_traces = self._keep_traces
        if messages is not None:
            messages.keep = self._keep_messages

    def _keep_messages(self, entries: Sequence[LogEntry]) -> None:
        assert self._files is not None
        with self.world.whole_steps():
            self._files.keep_messages(entries)

    def _keep_traces(self, rows: Sequence[TraceRow]) -> None:
        assert self._files is not None
        with self.world.whole_steps():
            self._files.keep_traces(rows)
            for node in self.nodes:
                # The last line stays: it says why a node does not run.
                self._files.keep_log(node.name, node.log[:-1])
                del node.log[:-1]

    def _boot(self, node: Node) -> None:
        node.start()

    def drive(self, interpreter: Interpreter, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end, or to the step that violated an invariant; then ask for liveness."""
        self._interpreter = interpreter
        if self.world.is_over:
            return
        self.world.on_past_end = self._end_main_phase
        try:
            with collecting_seldom(), suppress(InvariantViolated), self.world.whole_steps():
                self._run(interpreter, nemesis)
        finally:
            self.world.run = self.world.advance

    def _run(self, interpreter: Interpreter, nemesis: NemesisWorker) -> None:
        world = self.world
        heap = world.heap
        self._is_poll_due = True
        world.run = self._run_meanwhile
        while True:
            if self._is_poll_due:
                faults = self._poll(interpreter)
                for op in faults:
                    result = nemesis.invoke(op)  # Which may take virtual time.
                    interpreter.complete(world.now_ns, op, "info", result)
                    self._is_poll_due = True
                if interpreter.finished:
                    return
                # Either of them the fault op may have taken for an error of its own.
                if world.is_over:
                    world.end()
                if world.failure is not None:
                    raise world.failure
                if self._is_poll_due:
                    self.clients.queue_next_deadline()
            wake_ns = interpreter.wake_ns
            until_ns = FOREVER_NS if wake_ns is None else wake_ns
            while heap and heap[0][0] <= until_ns:
                world.now_ns, _, callback, argument = heappop(heap)
                callback(argument)
                if self._is_poll_due:
                    break
            else:
                if wake_ns is None and self._is_poll_due:
                    continue  # A fault op has ended, and neither a node nor a client is there to do anything before the next.
                if wake_ns is None:
                    raise HarnessError("the interpreter waits for a completion, and nothing is left to happen")
                world.now_ns = max(world.now_ns, wake_ns)
                self._is_poll_due = True

    def _end_main_phase(self) -> None:
        """The run heals, waits for a while, reads for the last time, and ends."""
        assert self._interpreter is not None
        self._interpreter.stop()
        self._is_poll_due = True

    def _poll(self, interpreter: Interpreter) -> list[Op]:
        """Start the clients' ops that are due; the nemesis' ones are left to the caller, since they may take time."""
        self._is_poll_due = False
        faults: list[Op] = []
        for op in interpreter.poll(self.world.now_ns):
            if op.process == NEMESIS:
                faults.append(op)
            else:
                self._first_ops.setdefault(op.f, op)
                self.clients.start(op, op.process, self._finished)
        return faults

    def _run_meanwhile(self, until_ns: int, is_over: Callable[[], bool]) -> None:
        """As World.advance, while the nemesis waits for something: clients go on."""
        world, interpreter = self.world, self._interpreter
        assert interpreter is not None
        while True:
            if self._is_poll_due:
                with world.whole_steps():
                    faults = self._poll(interpreter)
                assert not faults, "one nemesis op at a time"
            wake_ns = interpreter.wake_ns
            next_ns = until_ns if wake_ns is None else min(until_ns, max(wake_ns, world.now_ns))
            world.advance(next_ns, lambda: self._is_poll_due or is_over())
            if is_over() or (world.now_ns >= until_ns and not self._is_poll_due):
                return
            self._is_poll_due = True

    def _finished(self, op: Op, outcome: Outcome, node: NodeId) -> None:
        assert self._interpreter is not None
        self._interpreter.complete(self.world.now_ns, op, outcome.type, outcome.value, outcome.error, node)
        if self._interpreter.needs_poll:
            self._is_poll_due = True

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """What the cores of running nodes say."""
        found = ((node.name, node.status()) for node in self.nodes)
        return {name: status for name, status in found if status is not None}

    def _leader(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Any:
        """Who leads, and its term or ballot; None where nobody does."""
        primary = self.deployment.target.primary(statuses)
        if primary is None:
            return None
        return primary, statuses[primary].get("term", statuses[primary].get("ballot"))

    def findings(self) -> Mapping[str, Verdict]:
        """nodes: no core raised, or halted on a sound disk. invariants: none was violated. liveness: healed, the cluster
        served and converged."""
        if self._findings is None:
            self._findings = self._find()
        return self._findings

    def _find(self) -> dict[str, Verdict]:
        found: dict[str, Verdict] = {}
        if self.options.liveness_s and self.world.violation is None and self.world.failure is None:
            try:
                found["liveness"] = self._liveness()
            except InvariantViolated:
                found["liveness"] = Verdict.unknown("an invariant was violated first", liveness.CHECKER)
        if self.observers is not None:
            found["invariants"] = (
                self.observers.verdict(self.world.violation)
                if self.world.violation is not None or self.world.failure is None
                else Verdict.unknown("a failure of the harness ended the run", "invariants")
            )
        crashes = sorted((when, node.name, words) for node in self.nodes for when, words in node.crashes)
        if crashes:
            _, name, words = crashes[0]
            reason = f"the core of {name} ended: {words.strip().splitlines()[-1]}"
            ended = tuple(EndedNode(name, "crashed", words, time_ns=when) for when, name, words in crashes)
            found["nodes"] = Verdict.invalid(reason, "nodes", evidence=EndedNodes(ended))
        else:
            ended = tuple(
                EndedNode(node.name, "halted", node.ended_unasked)
                for node in self.nodes
                if node.ended_unasked is not None
            )
            found["nodes"] = Verdict.valid("nodes", evidence=EndedNodes(ended) if ended else None)
        return found

    def _liveness(self) -> Verdict:
        some = self._liveness_of_some()
        if some.validity is Validity.INVALID:
            return some
        found = liveness.check(
            self.world,
            self.nodes,
            self._heal,
            liveness.Probe(self.clients, self._probe_ops()),
            self.options.liveness_s,
            self.deployment.target.converged,
            self._leader,
        )
        return msgspec.structs.replace(found, stats={**some.stats, **found.stats})

    def _probe_ops(self) -> list[Op]:
        """What is asked of a healed cluster. One that says who is enough to serve has to serve an op of each kind: a leader that
        can read need not be able to write."""
        ops = self._first_ops
        if isinstance(self.deployment.target, ServesWithSome):
            return list(ops.values())
        return [ops["read"]] if "read" in ops else list(ops.values())[:1]

    def _liveness_of_some(self) -> Verdict:
        """As many nodes as are enough serve, while the others are cut off or dead; VALID, unasked, where it takes them all."""
        target, count = self.deployment.target, len(self.nodes)
        self._heal()
        if not isinstance(target, ServesWithSome):
            return Verdict.valid(liveness.CHECKER)
        options = self.deployment.options
        least = target.nodes_to_serve(self.deployment.nodes, self.statuses(), options)
        sound = [node.name for node in self.nodes if not node.disk.is_damaged]
        if least >= count or len(sound) < least:
            return Verdict.valid(liveness.CHECKER)
        rng = self.world.rng("liveness")
        some = set(rng.sample(sound, least))
        away = [node for node in self.nodes if node.name not in some]
        links = [(source, other) for source in some for other in self.by_name if other not in some]
        self.network.cut_exactly({*links, *[(other, source) for source, other in links]})
        for node in away:
            if rng.random() < 0.5:
                node.kill("down until the others have served")
        homes = [number for number, node in enumerate(self.nodes) if node.name in some]
        probe = liveness.Probe(self.clients, self._probe_ops(), homes)
        return liveness.check_some(self.world, self.nodes, [node.name for node in away], probe, self.options.liveness_s)

    def _heal(self) -> None:
        cluster = self.cluster
        cluster.links.heal()
        cluster.packets.heal()
        cluster.clocks.heal()
        cluster.disks.heal()
        cluster.processes.resume(cluster.nodes)
        cluster.processes.start(cluster.nodes)

    def collect(self) -> None:
        """The files of the run are whole."""
        self.world.pass_on_traces()
        if self.world.messages is not None:
            self.world.messages.pass_on()
        if self._files is not None:
            for node in self.nodes:
                self._files.keep_log(node.name, node.log)
                node.log.clear()

    def down(self) -> None:
        """Nothing outlives a simulation; memory is let go."""
        self.world.heap.clear()
        if self._files is not None:
            self._files.close()


def _options(deployment: Deployment) -> SimOptions:
    options = typed_options("env sim", dict(deployment.env_options), SimOptions)
    for rule in options.unwatched:
        if rule not in deployment.target.invariants_under(deployment.options):
            raise UsageError(
                f"env sim options: unwatched: {deployment.target.name} has no invariant {rule!r}; it has "
                f"{', '.join(deployment.target.invariants_under(deployment.options)) or 'none'}"
            )
    for node in options.slow_nodes_ms:
        if node not in deployment.nodes:
            raise UsageError(f"env sim options: slow_nodes_ms: no node is called {node!r}")
    for link in options.link_delay_ms:
        source, _, target = link.partition(">")
        if source not in deployment.nodes or target not in deployment.nodes or source == target:
            raise UsageError(f"env sim options: link_delay_ms: {link!r} is not SOURCE>DESTINATION of two nodes")
    return options
