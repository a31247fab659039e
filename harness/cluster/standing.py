"""A cluster that stands until it is told to go: its nodes, and what the commands of other terminals do to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harness.cluster import backup_file
from harness.cluster.control import Answer, Command, Listener, NodeLine
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.local.environment import HOST, LocalEnvironment
from harness.environments.local.supervisor import reserve
from harness.errors import HarnessError, UsageError, unknown_name
from harness.run.live_traces import KEPT_BYTES, LiveInvariants
from harness.run.plan import check_interface
from histories.printing import line
from nemesis.capabilities import Backup, Backups, FaultError, Grudge, Members
from targets.target import CORE_PORT, CoreTarget

LOOK_S = 0.25
"""How often it looks whether a node has ended by itself."""
START_TIMEOUT_S = 20.0

Say = Callable[[str], None]


class Settings(msgspec.Struct, frozen=True):
    """What `themis cluster up` is to start. port: of the first node; the others have the next ones."""

    name: str
    target: CoreTarget
    options: msgspec.Struct
    bugs: frozenset[str]
    nodes: tuple[str, ...]
    interface: str
    port: int
    seed: int


class Standing:
    """Owns the environment. `up`, then `serve` until somebody asks it to end, and always `down`."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """Starts nothing. Raises UsageError when it could not be started: nothing was then."""
        self.settings = settings
        target, nodes = settings.target, settings.nodes
        check_interface(target.name, target, settings.interface)
        for number, node in enumerate(nodes, settings.port):
            _check_port(number, node)
        self._cut: frozenset[str] = frozenset()
        self._environment = LocalEnvironment(
            Deployment(
                run_id=f"cluster-{settings.name}-{settings.seed}",
                directory=directory,
                target=target,
                options=settings.options,
                bugs=settings.bugs,
                nodes=nodes,
                seed=settings.seed,
                env_options={"base_port": str(settings.port)},
                topology=target.topology(nodes, settings.options),
                interface=settings.interface,
                is_gateway=True,
            )
        )
        try:
            self._environment.check()
        except EnvironmentUnavailable as error:
            raise UsageError(str(error)) from error
        self._ended_count = 0
        # Nobody checks its traces; what is old of them is removed.
        self._traces = LiveInvariants((), directory / "nodes", nodes, KEPT_BYTES)

    def up(self) -> None:
        """Every node answers. Raises HarnessError with the end of the log of one that does not."""
        self._environment.up()
        self._traces.start()

    def down(self) -> None:
        """No process of it is left."""
        self._traces.end(lambda: True)
        self._environment.down()

    def serve(self, listener: Listener, say: Say) -> Callable[[], None]:
        """Carry out commands until one of them is `down`; returns what tells its sender that it is done."""
        while True:
            heard = listener.next(LOOK_S)
            self._tell_ended(say)
            if heard is None:
                continue
            if heard.command.verb == "down":
                return lambda: heard.answer(Answer(said=f"the cluster {self.settings.name!r} is down"))
            answer = self.perform(heard.command)
            heard.answer(answer)
            if heard.command.verb != "status":
                say(answer.error or answer.said)

    def perform(self, command: Command) -> Answer:
        """Do what is asked; the answer says what was done, or why it was not."""
        try:
            known = self.settings.nodes
            for node in command.nodes:
                if node not in known:
                    raise unknown_name("node", node, known)
            match command.verb:
                case "status":
                    return Answer(nodes=self._lines())
                case "kill":
                    return self._kill(_named(command))
                case "pause":
                    return self._pause(_named(command))
                case "resume":
                    return self._resume(command.nodes or known)
                case "partition":
                    return self._partition(frozenset(command.nodes))
                case "heal":
                    self._environment.cluster.links.heal()
                    self._cut = frozenset()
                    return Answer(said="every link carries messages again")
                case "add":
                    return self._change("add-node", _one(command), "is being added, and votes once it has caught up")
                case "remove":
                    return self._change("remove-node", _one(command), "is no member of the cluster any more")
                case "transfer":
                    return self._change(
                        "transfer-leadership", _one(command), "was asked to lead, and the leader stepped down"
                    )
                case "replace":
                    return self._replace(_one(command))
                case "backup":
                    return self._backup(Path(command.path))
                case "restore":
                    return self._restore(Path(command.path))
        except (UsageError, FaultError, HarnessError) as error:
            return Answer(error=str(error))
        return Answer(error=f"{command.verb} is not for a cluster that stands")

    # --- what is done -------------------------------------------------------------------------------------------------

    def _kill(self, nodes: Collection[str]) -> Answer:
        states = self._environment.cluster.processes.states()
        if dead := [node for node in nodes if states[node] == "dead"]:
            raise UsageError(f"{dead[0]} is dead already; `themis cluster resume {dead[0]}` starts it again")
        self._environment.cluster.processes.kill(nodes)
        return Answer(said=f"killed {_in_words(nodes)}, as by kill -9")

    def _pause(self, nodes: Collection[str]) -> Answer:
        states = self._environment.cluster.processes.states()
        if other := [node for node in nodes if states[node] != "running"]:
            raise UsageError(f"{other[0]} is {states[other[0]]}; only a node that runs can be paused")
        self._environment.cluster.processes.pause(nodes)
        return Answer(said=f"paused {_in_words(nodes)}")

    def _resume(self, nodes: Collection[str]) -> Answer:
        processes = self._environment.cluster.processes
        states = processes.states()
        paused = [node for node in nodes if states[node] == "paused"]
        dead = [node for node in nodes if states[node] == "dead"]
        processes.resume(paused)
        processes.start(dead)
        if refused := processes.refused(dead):
            raise UsageError("; ".join(f"{node} refused to run: {why}" for node, why in refused.items()))
        silent = sorted(set(dead) - processes.answering(dead, START_TIMEOUT_S))
        if silent:
            raise UsageError(f"{_in_words(silent)} was started and does not answer")
        done = [f"{_in_words(paused)} goes on" if paused else "", f"started {_in_words(dead)} again" if dead else ""]
        return Answer(said=", ".join(filter(None, done)) or "nothing to do: every node runs")

    def _partition(self, side: frozenset[str]) -> Answer:
        nodes = self.settings.nodes
        if not side:
            leader = self._environment.access.primary()
            if leader is None:
                raise UsageError("no node says that it leads: name the nodes that are to be cut off from the others")
            side = frozenset({leader})
        others = frozenset(nodes) - side
        if not others:
            raise UsageError("a partition needs nodes on both sides, and these are all of them")
        grudge: Grudge = {node: others if node in side else side for node in nodes}
        self._environment.cluster.links.drop(grudge)
        self._cut = side
        sides = f"{' '.join(sorted(side))} | {' '.join(sorted(others))}"
        return Answer(said=f"cut: {sides} (messages pass on each side, and none between the sides)")

    def _members(self) -> Members:
        members = self._environment.cluster.members
        if members is None:
            raise UsageError(f"the members of {self.settings.target.name} cannot be changed while it runs")
        return members

    def _change(self, change: str, node: str, done: str) -> Answer:
        outcome = self._members().change([(change, node)])[0]
        if not outcome.is_done:
            raise UsageError(f"{node}: {outcome.why}")
        return Answer(said=f"{node} {done}")

    def _replace(self, node: str) -> Answer:
        """Kill the node, and start it again without its data."""
        members, cluster = self._members(), self._environment.cluster
        view = members.view()
        if view is None:
            raise UsageError("no node leads: none can be replaced now")
        if others := [other for other in view.behind if other != node]:
            raise UsageError(f"{_in_words(others)} is missing or far behind: without {node} too, a quorum may be lost")
        if not view.is_settled:
            raise UsageError("a change of the membership is under way; `themis cluster status` shows when it is over")
        cluster.processes.kill([node])
        cluster.disks.damage("wipe", [node], {})
        cluster.processes.start([node])
        if not cluster.processes.answering([node], START_TIMEOUT_S):
            raise UsageError(f"{node} was started without its data and does not answer")
        return Answer(said=f"{node} was killed and started without its data; it comes back as a new member")

    def _backups(self) -> Backups:
        backups = self._environment.cluster.backups
        if backups is None:
            raise UsageError(f"{self.settings.target.name} gives no backups; raft, paxos and gossip do")
        return backups

    def _backup(self, path: Path) -> Answer:
        """Save the data as it is now."""
        backup, settings = self._backups().take(), self.settings
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        count = backup_file.write(path, settings.target.name, settings.interface, taken, dict(backup.pieces))
        return Answer(said=f"{path} holds all that was acknowledged before now ({count} bytes)")

    def _restore(self, path: Path) -> Answer:
        """Kill every node, and start a new cluster on the data of the file."""
        backups, cluster, settings = self._backups(), self._environment.cluster, self.settings
        content = backup_file.read(path)
        for what, its, ours in (
            ("target", content.target, settings.target.name),
            ("interface", content.interface, settings.interface),
        ):
            if its != ours:
                why = f"it is a backup of {what} {line(its, 60)}, and this cluster's is {ours}"
                raise UsageError(f"{path}: {why}. Nothing was restored")
        backup = Backup(0, content.pieces)
        if (refusal := backups.refusal(backup, settings.nodes)) is not None:
            raise UsageError(f"{path}: {line(refusal)}. Nothing was restored")
        cluster.processes.kill(settings.nodes)
        backups.restore(backup, settings.nodes)
        cluster.processes.start(settings.nodes)
        silent = sorted(set(settings.nodes) - cluster.processes.answering(settings.nodes, START_TIMEOUT_S))
        if silent:
            raise UsageError(f"{_in_words(silent)} was started on the data of the backup and does not answer")
        return Answer(
            said=f"the cluster began anew with the data of {line(content.taken, 40)}: what came after that is gone"
        )

    # --- what is seen -------------------------------------------------------------------------------------------------

    def addresses(self) -> Mapping[str, str]:
        """Node -> host:port of its routes."""
        return {node: str(ports[CORE_PORT]) for node, ports in self._environment.addresses.items()}

    def _lines(self) -> tuple[NodeLine, ...]:
        environment = self._environment
        states, statuses = environment.cluster.processes.states(), environment.statuses()
        side, others = self._cut, frozenset(self.settings.nodes) - self._cut
        return tuple(
            NodeLine(
                node,
                address,
                states[node],
                dict(statuses[node]) if node in statuses else None,
                tuple(sorted(others if node in side else side)),
            )
            for node, address in self.addresses().items()
        )

    def _tell_ended(self, say: Say) -> None:
        ended = self._environment.crashed_nodes()
        for end in ended[self._ended_count :]:
            why = self._environment.access.why_refused(end)
            say(f"{end.node} ended by itself with status {end.status}" + (f": {why}" if why else ""))
        self._ended_count = len(ended)


def _named(command: Command) -> tuple[str, ...]:
    if not command.nodes:
        raise UsageError(f"{command.verb}: name at least one node")
    return command.nodes


def _one(command: Command) -> str:
    if len(command.nodes) != 1:
        raise UsageError(f"{command.verb}: name one node; members change one at a time")
    return command.nodes[0]


def _in_words(nodes: Collection[str]) -> str:
    return ", ".join(sorted(nodes))


def _check_port(number: int, node: str) -> None:
    if not 1024 <= number <= 65535:
        raise UsageError(f"--port: port {number}, wanted for {node}, must be from 1024 to 65535")
    try:
        reserve(HOST, number).close()
    except OSError as error:
        raise UsageError(
            f"port {number}, wanted for {node}, is in use ({error.strerror or error}): choose another with --port"
        ) from None
