"""The supervisor: one process for each run, which holds the links between the nodes and is the parent of the nodes.

    python -m harness.environments.local.supervisor     (its standard input is a socket to the controller)

It lives exactly as long as its controller: when the socket ends or its parent changes (a `kill -9` ends both), it kills
every process of the run, paused ones too, and ends. Were it killed itself, the kernel would kill its children
(PR_SET_PDEATHSIG). So nothing outlives a run, whoever dies first.

Commands and answers are JSON, one a line: {"do": name, ...} and {"ok": value} or {"error": text}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from harness.environments.linux.agent import forget_faketime
from harness.environments.local.link_proxies import Network
from harness.environments.real import labelled_processes
from harness.environments.real.fork_server import LIBC, PR_SET_PDEATHSIG, Forked, ForkServer, Spawn, is_ours
from harness.environments.real.labelled_processes import Ended
from targets.target import Address

PR_SET_CHILD_SUBREAPER = 36

COMMAND_BYTES_MAX = 16 * 2**20
WATCH_S = 0.05
"""How often the parent and the children are looked at."""
SIGNAL_WAIT_S = 5.0

_log = logging.getLogger("themis.supervisor")

Child = subprocess.Popen[bytes] | Forked


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line on the socket. ports: node -> the port it shall listen on, 0 for a free one. has_links: whether nodes
    reach each other through proxies here."""

    run_id: str
    seed: str
    host: str
    ports: dict[str, int]
    has_links: bool = True


class Supervisor:
    """Carries out the controller's commands."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.children: dict[str, Child] = {}
        self.ended: list[Ended] = []
        self.network: Network | None = None
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._fork_server = ForkServer(os.environ, die_with(os.getpid()))
        self._expected: set[int] = set()
        """Pids whose end is wanted, or noted."""
        self._reservations: dict[str, socket.socket] = {}

    async def open(self) -> dict[str, Any]:
        """Reserve the nodes' ports and open the links: {"ports": node -> port, "links": [[source, destination, port]]}."""
        for node, port in self.plan.ports.items():
            self._reservations[node] = reserve(self.plan.host, port)
        ports = {node: held.getsockname()[1] for node, held in self._reservations.items()}
        links: list[tuple[str, str, int]] = []
        if self.plan.has_links:
            targets = {node: Address(self.plan.host, port) for node, port in ports.items()}
            self.network = Network(targets, self.plan.seed)
            addresses = await self.network.open(self.plan.host)
            links = [(*link, address.port) for link, address in addresses.items()]
        return {"ports": ports, "links": links}

    def spawn(self, spawn: Spawn) -> int:
        """Start a node's process; its pid."""
        child = self.children.get(spawn.node)
        if child is not None:
            if child.poll() is None:
                return child.pid
            forget_faketime(child.pid)
        self.look()
        Path(spawn.output).parent.mkdir(parents=True, exist_ok=True)
        child = self._fork_server.spawn(spawn) if is_ours(spawn.argv) else _start(spawn)
        self.children[spawn.node] = child
        self._expected.discard(child.pid)
        return child.pid

    async def signal(self, nodes: list[str], name: str) -> dict[str, tuple[int, int]]:
        """Send SIGKILL, SIGSTOP, SIGCONT or SIGTERM to these nodes' process groups; returns when it has had its effect, with
        the monotonic times in ns of sending it and of seeing its effect, for each node that had a process.

        Raises TimeoutError when it has not in SIGNAL_WAIT_S.
        """
        number = signal.Signals[name]
        asked: dict[str, Child] = {}
        sent_ns: dict[str, int] = {}
        spans: dict[str, tuple[int, int]] = {}
        for node in nodes:
            child = self.children.get(node)
            if child is None or child.poll() is not None:
                continue
            if number in (signal.SIGKILL, signal.SIGTERM):
                self._expected.add(child.pid)
            sent_ns[node] = time.monotonic_ns()
            os.killpg(child.pid, number)
            asked[node] = child
        deadline_s = asyncio.get_running_loop().time() + SIGNAL_WAIT_S
        while True:
            for node in [node for node, child in asked.items() if _has_taken(child, number)]:
                spans[node] = (sent_ns[node], time.monotonic_ns())
                del asked[node]
            if not asked:
                return spans
            if asyncio.get_running_loop().time() > deadline_s:
                child = next(iter(asked.values()))
                raise TimeoutError(f"{name} had no effect on pid {child.pid} within {SIGNAL_WAIT_S:g} s")
            await asyncio.sleep(0.001)

    def states(self) -> dict[str, str]:
        """Node -> running, paused or dead, as the kernel says now."""
        self.look()
        return {node: _state(child) for node, child in self.children.items()}

    def look(self) -> None:
        """Note every child that ended."""
        for node, child in self.children.items():
            status = child.poll()
            if status is not None and child.pid not in self._expected:
                self._expected.add(child.pid)
                self.ended.append(Ended(node, child.pid, status))
                _log.error("%s (pid %d) ended by itself with status %d", node, child.pid, status)

    def kill_all(self) -> None:
        """Kill every process of the run, children's children included."""
        for child in self.children.values():
            if child.poll() is None:
                self._expected.add(child.pid)
                os.killpg(child.pid, signal.SIGKILL)
        for child in self.children.values():
            child.wait()
            forget_faketime(child.pid)
        self._fork_server.end()
        left = labelled_processes.end([process.pid for process in labelled_processes.labelled(self.plan.run_id)])
        if left:
            _log.error("could not kill %s", left)

    async def do(self, name: str, command: Mapping[str, Any]) -> Any:
        """Carry out one command. Raises OSError for one that failed, KeyError for an unknown one."""
        match name:
            case "spawn":
                return self.spawn(msgspec.convert(command["spawn"], Spawn))
            case "signal":
                return await self.signal(command["nodes"], command["signal"])
            case "states":
                return self.states()
            case "ended":
                self.look()
                return msgspec.to_builtins(self.ended)
        if self.network is None:
            raise KeyError(name)
        match name:
            case "cut":
                return self.network.cut([(source, destination) for source, destination in command["links"]])
            case "disturb":
                links = [(source, destination) for source, destination in command["links"]]
                return self.network.disturb(command["kind"], links, command["parameters"])
            case "calm":
                return self.network.calm()
            case "network":
                return self.network.state()
            case "probe":
                return await self.network.probe()
        raise KeyError(name)


def die_with(supervisor_pid: int) -> Callable[[], None]:
    """For a child, before its exec: the kernel kills it when the supervisor ends."""

    def ask() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor_pid:  # It ended before the prctl.
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def _start(spawn: Spawn) -> subprocess.Popen[bytes]:
    with open(spawn.output, "ab") as output:
        return subprocess.Popen(
            spawn.argv,
            env=spawn.environment,
            cwd=spawn.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )


def _state(child: Child) -> str:
    """Dead is what can be waited for. A process whose first thread has ended looks like a zombie while another thread still
    ends its system call, and holds its sockets and its lock on the disk until then."""
    if child.poll() is not None:
        return "dead"
    return "paused" if labelled_processes.state(child.pid) == "paused" else "running"


def _has_taken(child: Child, number: signal.Signals) -> bool:
    """The signal has had its effect."""
    state = _state(child)
    match number:
        case signal.SIGSTOP:
            return state != "running"
        case signal.SIGCONT:
            return state != "paused"
        case _:
            return state == "dead"


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port without listening on it, so that it stays ours while its node is dead: neither an outgoing connection nor
    `bind(0)` of anyone takes it, and a node that sets SO_REUSEADDR can listen on it.

    Raises OSError when the port is in use.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held


async def serve(controller: socket.socket) -> None:
    """Obey the controller until it is gone or says so."""
    reader, writer = await asyncio.open_connection(sock=controller, limit=COMMAND_BYTES_MAX)
    first = await reader.readline()
    if not first:
        return
    supervisor = Supervisor(msgspec.json.decode(first, type=Plan))
    watch = asyncio.create_task(_watch(supervisor, os.getppid()))
    obey = asyncio.create_task(_obey(supervisor, reader, writer))
    try:
        await asyncio.wait((watch, obey), return_when=asyncio.FIRST_COMPLETED)
    finally:
        supervisor.kill_all()
        watch.cancel()
        obey.cancel()


async def _watch(supervisor: Supervisor, parent_pid: int) -> None:
    """Until the controller's process is gone: a copy of its socket may live on in a child that it forked."""
    while os.getppid() == parent_pid:
        supervisor.look()
        await asyncio.sleep(WATCH_S)


async def _obey(supervisor: Supervisor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(json.dumps({"ok": await supervisor.open()}).encode() + b"\n")
    except OSError as error:
        writer.write(json.dumps({"error": str(error)}).encode() + b"\n")
        await writer.drain()
        return
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "end":
            supervisor.kill_all()
            writer.write(b'{"ok": null}\n')
            await writer.drain()
            return
        try:
            answer = {"ok": await supervisor.do(command["do"], command)}
        except (OSError, subprocess.SubprocessError) as error:
            answer = {"error": str(error) or type(error).__name__}
        writer.write(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Run the supervisor of one run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Only its controller's end ends it: it has to clean up after it.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(socket.socket(fileno=os.dup(0))))


if __name__ == "__main__":
    main()
