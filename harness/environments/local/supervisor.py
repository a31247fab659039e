"""The supervisor: one process for each run, which holds the links between the nodes and is the parent of the nodes.

    python -m harness.environments.local.supervisor     (its standard input is a socket to the controller)

It lives exactly as long as its controller: when the socket ends or its parent changes (a `kill -9` ends both), it kills
every process of the run, paused ones too, and ends. Were it killed itself, the kernel would kill its children
(PR_SET_PDEATHSIG). So nothing outlives a run, whoever dies first.

Commands and answers are JSON, one a line: {"do": name, "number": n, ...} and {"number": n, "ok": value} or
{"number": n, "error": text}.
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
from collections.abc import Mapping
from typing import Any

import msgspec
import uvloop

from harness.environments.local.link_proxies import Network
from harness.environments.local.socket_owners import SocketOwners
from harness.environments.real import labelled_processes
from harness.environments.real.agent import SIGNAL_WAIT_S, Children, die_with, has_taken, no_effect
from harness.environments.real.fork_server import LIBC, ForkServer, Spawn, is_ours
from harness.environments.real.labelled_processes import MonotonicSpan
from targets.target import Address

PR_SET_CHILD_SUBREAPER = 36

COMMAND_BYTES_MAX = 16 * 2**20
WATCH_S = 0.05
"""How often the parent and the children are looked at."""

_log = logging.getLogger("themis.supervisor")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line on the socket. host: where the nodes listen. ports: node -> name -> the port it shall listen on, 0 for a
    free one. dialled_at: node -> the host where the others dial it. by_node: the layout of the links (see link_proxies)."""

    run_id: str
    seed: str
    host: str
    ports: dict[str, dict[str, int]]
    dialled_at: dict[str, str]
    by_node: bool = False


class Opened(msgspec.Struct, frozen=True):
    """The first answer. listening: node -> where each of its ports is to listen. dialled: source -> destination -> where the
    source is to dial each port of it."""

    listening: dict[str, dict[str, Address]]
    dialled: dict[str, dict[str, dict[str, Address]]]


class Supervisor(Children):
    """Carries out the controller's commands."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.network: Network | None = None
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._fork_server = ForkServer(os.environ, die_with(os.getpid()))
        self._reservations: list[socket.socket] = []
        self._owners = SocketOwners(plan.run_id, self._living)
        self._listening: dict[str, dict[str, Address]] = {}

    async def open(self) -> Opened:
        """The nodes' ports are reserved, and the links open."""
        for node, ports in self.plan.ports.items():
            self._listening[node] = {}
            for name, port in ports.items():
                held = reserve(self.plan.host, port)
                self._reservations.append(held)
                self._listening[node][name] = Address(*held.getsockname())
        find_source = self._owners.find_source if self.plan.by_node else None
        self.network = Network(self._listening, self.plan.seed, find_source)
        await self.network.open(self.plan.dialled_at)
        return Opened(self._listening, self.network.dialled)

    def _living(self) -> dict[str, int]:
        return {node: child.pid for node, child in self.children.items() if child.poll() is None}

    def start(self, node: str, argv: list[str], environment: dict[str, str], directory: str, output: str) -> Any:
        """A new process of this node: forked from a warm interpreter where it is one of ours."""
        if is_ours(argv):
            return self._fork_server.spawn(Spawn(node, argv, environment, directory, output))
        return super().start(node, argv, environment, directory, output)

    async def signal(self, nodes: list[str], name: str) -> dict[str, MonotonicSpan]:
        """The signal was sent to these nodes' process groups and has had its effect: when it was sent and when that was seen,
        for each node that had a process. Raises TimeoutError."""
        asked: dict[str, Any] = {}
        sent_ns: dict[str, int] = {}
        spans: dict[str, MonotonicSpan] = {}
        for node in nodes:
            sent_ns[node] = time.monotonic_ns()
            if (child := self.send_signal(node, name)) is not None:
                asked[node] = child
        deadline_s = asyncio.get_running_loop().time() + SIGNAL_WAIT_S
        while True:
            for node in [node for node, child in asked.items() if has_taken(child, name)]:
                spans[node] = (sent_ns[node], time.monotonic_ns())
                del asked[node]
            if not asked:
                return spans
            if asyncio.get_running_loop().time() > deadline_s:
                raise TimeoutError(no_effect(name, next(iter(asked.values())).pid))
            await asyncio.sleep(0.001)

    def kill_all(self) -> None:
        """Kill every process of the run, children's children included."""
        super().kill_all()
        self._fork_server.end()
        left = labelled_processes.end_found(labelled_processes.labelled(self.plan.run_id))
        if left:
            _log.error("could not kill %s", left)

    async def do(self, name: str, command: Mapping[str, Any]) -> Any:
        """Carry out one command. Raises OSError for one that failed, KeyError for an unknown one."""
        match name:
            case "spawn":
                return self.do_spawn(**command["spawn"])
            case "signal":
                return await self.signal(command["nodes"], command["signal"])
            case "doom":
                return self.do_doom(command["node"])
            case "excuse":
                return self.do_excuse(command["node"])
            case "states":
                return self.do_states()
            case "ended":
                return self.do_ended()
        assert self.network is not None, "open comes before any command"
        match name:
            case "bypasses":
                listening = {node: list(ports.values()) for node, ports in self._listening.items()}
                return msgspec.to_builtins(self._owners.bypasses(listening))
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
        writer.write(json.dumps({"ok": msgspec.to_builtins(await supervisor.open())}).encode() + b"\n")
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
        writer.write(json.dumps({"number": command["number"], **answer}).encode() + b"\n")


def main() -> None:
    """Run the supervisor of one run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Only its controller's end ends it: it has to clean up after it.
    handler, form = logging.StreamHandler(), logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    form.converter = time.gmtime  # As all logs of a run.
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(socket.socket(fileno=os.dup(0))))


if __name__ == "__main__":
    main()
