"""The controller's side of the agents: one for each node; the controller asks all at once."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.environments.real.executor import RUN_TIMEOUT_S, Channel, ExecutorFailed, Ran
from harness.environments.real.fork_server import Spawn
from harness.environments.real.labelled_processes import Ended, MonotonicSpan
from nemesis.capabilities import FaultError, NodeId, Reach

AGENT = Path(__file__).with_name("agent.py")
"""The program itself, which needs nothing of ours beside it."""
ANSWER_TIMEOUT_S = 15.0
PROBE_AGAIN_S = 0.04
"""How often a probe's datagrams are sent again: a lossy link loses most of them."""
PROBE_CUT_S = 0.25
"""How long a link that should be cut is listened to; an open one takes about a millisecond."""
PROBE_OPEN_S_MAX = 2.0
"""How long a link that should be open is waited for: the worst of slow links takes some tenths of a second."""

Value = TypeVar("Value")


def at_once(work: Mapping[NodeId, Callable[[], Value]]) -> dict[NodeId, Value]:
    """Do each node's work in a thread of its own; every thread has ended on return.

    Raises FaultError with everything that went wrong, by node.
    """
    if not work:
        return {}
    with ThreadPoolExecutor(len(work), "node") as pool:
        futures = {node: pool.submit(job) for node, job in work.items()}
    problems = []
    for node, future in futures.items():
        error = future.exception()
        if isinstance(error, (FaultError, OSError)):
            problems.append(f"{node}: {error}")
        elif error is not None:
            raise error
    if problems:
        raise FaultError("; ".join(problems))
    return {node: future.result() for node, future in futures.items()}


class Agent:
    """One node's agent. Its methods may be called from any thread; one is carried out at a time."""

    def __init__(self, node: NodeId, channel: Channel) -> None:
        self.node = node
        self.channel = channel
        self._lock = threading.Lock()
        self._broken: str | None = None

    def do(self, name: str, arguments: Mapping[str, Any], answer_timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """The answer to the command. Raises ExecutorFailed when the agent could not do it, or is gone."""
        with self._lock:
            if self._broken is not None:
                raise ExecutorFailed(self._broken)
            try:
                self.channel.send(json.dumps({"do": name, **arguments}).encode())
                answer = self.channel.receive(answer_timeout_s)
            except (OSError, ValueError) as error:
                # After a time-out the next answer would be this command's: nothing more can be asked.
                self._broken = f"the agent of {self.node} does not answer: {error}"
                raise ExecutorFailed(self._broken) from error
            except BaseException:  # Ctrl-C: the same.
                self._broken = f"the agent of {self.node} was interrupted in the command {name}"
                raise
            if not answer:
                self._broken = f"the agent of {self.node} is gone"
                raise ExecutorFailed(self._broken)
        result = json.loads(answer)
        if "error" in result:
            raise ExecutorFailed(f"{name} on {self.node}: {result['error']}")
        return result["ok"]


class Agents:
    """All nodes' agents. Raises ExecutorFailed or FaultError where an agent could not do a command."""

    def __init__(self, channels: Mapping[NodeId, Channel]) -> None:
        self._agents = {node: Agent(node, channel) for node, channel in channels.items()}
        self._addresses: dict[NodeId, tuple[str, int]] = {}

    # --- commands and files -------------------------------------------------------------------------------------------

    def run(self, node: NodeId, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> Ran:
        """A command on the node, ended; see Executor.run. Quicker than the executor's, where that starts a process."""
        command = {"argv": list(argv), "stdin": base64.b64encode(stdin).decode(), "timeout_s": timeout_s}
        answer = self._agents[node].do("run", command, timeout_s + 1)
        out, errors = base64.b64decode(answer["stdout"]), base64.b64decode(answer["stderr"])
        return Ran(tuple(argv), answer["exit_code"], out, errors)

    def tail(self, node: NodeId, path: str, byte_count: int) -> str | None:
        """The end of a file there; None when there is none."""
        found: str | None = self._agents[node].do("tail", {"path": path, "byte_count": byte_count})
        return found

    def ask(self, name: str, arguments: Mapping[NodeId, Mapping[str, Any]]) -> dict[NodeId, Any]:
        """Send one command to each of these nodes at once, with the node's own arguments; return the answers."""

        def asking(node: NodeId) -> Callable[[], Any]:
            return lambda: self._agents[node].do(name, arguments[node])

        return at_once({node: asking(node) for node in arguments})

    # --- processes ----------------------------------------------------------------------------------------------------

    def spawn(self, spawns: Collection[Spawn]) -> dict[NodeId, int]:
        """Start each node's process unless it runs; return its pid there."""
        return self.ask("spawn", {spawn.node: msgspec.to_builtins(spawn) for spawn in spawns})

    def signal(self, nodes: Collection[NodeId], name: str) -> dict[NodeId, MonotonicSpan]:
        """Send SIGKILL, SIGTERM, SIGSTOP or SIGCONT to these nodes' processes; it has had its effect on return. Returns from when
        to when that took, on the controller's clock."""

        def asking(node: NodeId) -> Callable[[], MonotonicSpan]:
            def ask() -> MonotonicSpan:
                asked_ns = time.monotonic_ns()
                self._agents[node].do("signal", {"node": node, "name": name})
                return asked_ns, time.monotonic_ns()

            return ask

        return at_once({node: asking(node) for node in nodes})

    def doom(self, nodes: Collection[NodeId]) -> dict[NodeId, int]:
        """The process groups of those of these nodes whose process lives; from now on its death is wanted, whoever kills it."""
        groups = self.ask("doom", {node: {"node": node} for node in nodes})
        return {node: group for node, group in groups.items() if group}

    def excuse(self, nodes: Collection[NodeId]) -> None:
        """The processes of these nodes may end from now on, by themselves too and in any way."""
        self.ask("excuse", {node: {"node": node} for node in nodes})

    def states(self) -> Mapping[NodeId, str]:
        """Node -> running, paused or dead; one that was never started is left out."""
        answers = self.ask("states", {node: {} for node in self._agents})
        return {node: state for answer in answers.values() for node, state in answer.items()}

    def ended(self) -> list[Ended]:
        """The processes that ended although nobody killed them."""
        answers = self.ask("ended", {node: {} for node in self._agents})
        return [msgspec.convert(end, Ended) for node in sorted(answers) for end in answers[node]]

    # --- probes -------------------------------------------------------------------------------------------------------

    def listen(self, hosts: Mapping[NodeId, str], port: int) -> None:
        """Each agent takes probes at its node's address."""
        ports = self.ask("listen", {node: {"host": host, "port": port} for node, host in hosts.items()})
        self._addresses = {node: (hosts[node], ports[node]) for node in hosts}

    def probe(self, is_cut: Callable[[NodeId, NodeId], bool]) -> dict[NodeId, dict[NodeId, Reach]]:
        """destination -> source -> whether datagrams that the source sends now arrive at the destination.

        is_cut(source, destination): what to expect, which only decides how long to wait. "down": the agent at one of the two ends
        does not answer.
        """
        nodes = sorted(self._addresses)
        nonce = secrets.token_hex(16)  # Nobody else can send a datagram that counts.
        links = {(source, to) for source in nodes for to in nodes if source != to}
        down: set[NodeId] = set()
        heard: set[tuple[NodeId, NodeId]] = set()
        began_s = time.monotonic()
        last_s = 0.0
        while True:
            waiting = {link for link in links - heard if not down & set(link)}
            for source in nodes:
                to = [self._addresses[node] for origin, node in sorted(waiting) if origin == source]
                if to:
                    self._told(down, source, "probe", {"nonce": nonce, "node": source, "to": to})
            time.sleep(PROBE_AGAIN_S / 2)
            for to_node in sorted({to for _, to in waiting}):
                sources = self._told(down, to_node, "heard", {"nonce": nonce})
                arrived = {(source, to_node) for source in sources or ()} & links
                if arrived - heard:
                    heard |= arrived
                    last_s = time.monotonic() - began_s
            silent = {link for link in links - heard if not down & set(link)}
            passed_s = time.monotonic() - began_s
            # A cut link is given as long as the slowest open one took, and some more.
            patience_s = max(PROBE_CUT_S, 2 * last_s) if all(is_cut(*link) for link in silent) else PROBE_OPEN_S_MAX
            if not silent or passed_s >= min(patience_s, PROBE_OPEN_S_MAX):
                break
            time.sleep(PROBE_AGAIN_S / 2)
        matrix: dict[NodeId, dict[NodeId, Reach]] = {node: {} for node in nodes}
        for source, to_node in sorted(links):
            reach: Reach = "answers" if (source, to_node) in heard else "down" if down & {source, to_node} else "cut"
            matrix[to_node][source] = reach
        return matrix

    def _told(self, down: set[NodeId], asked: NodeId, name: str, arguments: Mapping[str, Any]) -> Any:
        if asked in down:
            return None
        try:
            return self._agents[asked].do(name, arguments)
        except ExecutorFailed:
            down.add(asked)
            return None

    def close(self) -> None:
        """Every agent has ended, and with it what it started. Idempotent."""
        at_once({node: agent.channel.close for node, agent in self._agents.items()})
