"""How the harness reaches the nodes of one target: what differs between cores and programs outside the project.

An environment starts processes and breaks things; a NodeAccess talks to the nodes. Nodes of a CoreTarget speak HTTP and are told
when the run began. A Program brings its own protocol and is told nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec

from checkers.verdict import Verdict
from harness.clients import driver, node_http
from harness.clients.driver import NemesisWorker
from harness.clients.node_http import TimedStatus
from harness.environments.base import Deployment
from harness.environments.real import ended_nodes
from harness.environments.real.clock_offsets import ClockReading, Exchange, shortest_of_each
from harness.environments.real.labelled_processes import Ended
from harness.environments.real.node_clocks import Tell
from harness.errors import HarnessError
from nemesis.capabilities import NodeId, ProcessState
from targets import gateway, secret
from targets.node import HALTED, REFUSED
from targets.session import Call, Outcome, Session
from targets.target import (
    CORE_PORT,
    Address,
    Client,
    CoreTarget,
    Place,
    Ports,
    Program,
    ProgramClient,
    nodes_from_home,
    session_for,
)
from targets.timekeeping import Reading

STATUS_TIMEOUT_S = 0.5
CLOCK_TIMEOUT_S = 1.0
EPOCH_TIMEOUT_S = 30.0
"""A node that has started and does not take the run's beginning ends the run: a machine that is busy must not be taken for that."""
SHOWN_MAX = 200
"""How many characters of a value an error shows."""

States = Callable[[], Mapping[NodeId, ProcessState]]
LogEnd = Callable[[NodeId], str]


class NodeAccess(ABC):
    """Talks to the nodes of one deployment. Its methods block, and may be called from any thread without a running loop.

    addresses: where the controller reaches each node's ports; may be filled in later. log_end: the end of a node's log, for
    messages.
    """

    def __init__(
        self,
        deployment: Deployment,
        origin: Reading,
        addresses: Mapping[NodeId, Ports],
        states: States,
        log_end: LogEnd,
    ) -> None:
        self.deployment = deployment
        self._origin = origin
        self._addresses = addresses
        self._states = states
        self._log_end = log_end
        self._began_ns: int | None = None

    # --- what differs ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _ask(self, nodes: Collection[NodeId], timeout_s: float) -> dict[NodeId, TimedStatus]:
        """The status of each of these that answers in time. Raises HarnessError for one of a wrong shape."""

    @abstractmethod
    def variables(self, place: Place) -> dict[str, str]:
        """What to add to the environment of a node's process, beside the clock's."""

    @abstractmethod
    def files(self, place: Place) -> dict[str, str]:
        """Path -> text of each file that the node reads when it starts. Raises HarnessError for one that is not allowed."""

    @abstractmethod
    def after_up(self, places: Mapping[NodeId, Place]) -> None:
        """Do the target's step that follows once every node answers. Raises HarnessError when it fails."""

    @abstractmethod
    def why_silent(self, node: NodeId, timeout_s: float) -> str:
        """The message about a node that runs and did not answer in this time."""

    @abstractmethod
    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        """The run begins now. Raises HarnessError when a node cannot be told."""

    @abstractmethod
    def _caller(self) -> driver.Caller:
        """A new object that carries the clients' calls; made in the running loop."""

    @abstractmethod
    def findings(self, ended: Sequence[Ended], harmed: Collection[NodeId]) -> Mapping[str, Verdict]:
        """nodes: INVALID where a core raised, or took its disk for damaged; UNKNOWN where one of these exited for another reason.

        harmed: the nodes to whose data something was done that no crash may do.
        """

    @abstractmethod
    def argv(self, place: Place) -> list[str]:
        """The command line of a node's process."""

    def why_refused(self, ended: Ended) -> str | None:
        """Why this process, the last of its node, refused to run; None when it ended otherwise, or nobody can tell."""
        return None

    @property
    def teller(self) -> Tell | None:
        """Posts to the nodes' routes for the harness; None where the nodes have none."""
        return None

    def put(
        self, requests: Mapping[int, tuple[NodeId, msgspec.Struct]], timeout_s: float
    ) -> Mapping[int, msgspec.Struct]:
        """Put requests, by number, to the client routes of their nodes, all at once, and return the replies that came in time.
        Only a CoreTarget takes any."""
        raise HarnessError(f"{self.deployment.target.name} takes no requests but those of its clients")

    # --- what does not --------------------------------------------------------------------------------------------------

    def ask(self, nodes: Collection[NodeId]) -> dict[NodeId, dict[str, Any]]:
        """The status of each of these that answers in time."""
        return {node: answer.status for node, answer in self._ask(nodes, STATUS_TIMEOUT_S).items()}

    def clocks(self, nodes: Collection[NodeId]) -> dict[NodeId, ClockReading]:
        """The clock of each of these whose status tells it (clock_ns)."""

        def ask(nodes: Collection[NodeId]) -> dict[NodeId, Exchange]:
            return {
                node: Exchange(clock_ns, answer.asked_ns, answer.answered_ns)
                for node, answer in self._ask(nodes, CLOCK_TIMEOUT_S).items()
                if isinstance(clock_ns := answer.status.get("clock_ns"), int)
            }

        return {node: read.reading(self._origin) for node, read in shortest_of_each(ask, nodes).items()}

    def statuses(self) -> dict[NodeId, dict[str, Any]]:
        """The status of each node that answers. Paused ones are not waited for."""
        return self.ask(self._running())

    def run_ns(self, monotonic_ns: int) -> int:
        """A time of the monotonic clock as ns since the run began; 0 before that."""
        return 0 if self._began_ns is None else max(0, monotonic_ns - self._began_ns)

    def answering(self, nodes: Collection[NodeId], timeout_s: float) -> frozenset[NodeId]:
        """Those of these nodes that answered within that time; returns as soon as all that run have."""
        found: set[NodeId] = set()
        deadline_s = time.monotonic() + timeout_s
        while True:
            states = self._states()
            waiting = sorted(node for node in nodes if node not in found and states[node] == "running")
            found |= self.ask(waiting).keys()
            if found.issuperset(waiting) or time.monotonic() > deadline_s:
                return frozenset(found)
            time.sleep(0.01)

    def primary(self) -> NodeId | None:
        """The node that leads now, asked of the nodes. Raises HarnessError when the target cannot tell."""
        target, statuses = self.deployment.target, self.statuses()
        try:
            return target.primary(statuses)
        except Exception as error:
            raise HarnessError(
                f"primary of {target.name} raised {type(error).__name__}: {error}, given the statuses {_short(statuses)}"
            ) from error

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end; its time zero is now."""
        self._began_ns = began_ns = time.monotonic_ns()
        self._begin(began_ns, self._running())
        driver.drive(interpreter, nemesis, self._caller, self.deployment.nodes, began_ns)

    def _running(self) -> list[NodeId]:
        return [node for node, state in self._states().items() if state == "running"]


def access_to(
    deployment: Deployment, origin: Reading, addresses: Mapping[NodeId, Ports], states: States, log_end: LogEnd
) -> CoreAccess | ProgramAccess:
    """The NodeAccess for the kind of this deployment's target."""
    kind = CoreAccess if isinstance(deployment.target, CoreTarget) else ProgramAccess
    return kind(deployment, origin, addresses, states, log_end)


class CoreAccess(NodeAccess):
    """Talks HTTP, and tells the nodes when the run began: their traces count time from there."""

    _epoch_ns: int | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._secret = secrets.token_hex(32)
        """The run's: nobody else may move the nodes' clocks or speak for a node. It goes into the environment of the nodes'
        processes, and into no file, command line or log."""

    @property
    def target(self) -> CoreTarget:
        """The deployment's target."""
        target = self.deployment.target
        assert isinstance(target, CoreTarget)
        return target

    def argv(self, place: Place) -> list[str]:
        """The command line of a node's process."""
        deployment = self.deployment
        return list(self.target.argv(place, deployment.options, deployment.bugs, deployment.interface))

    def _ask(self, nodes: Collection[NodeId], timeout_s: float) -> dict[NodeId, TimedStatus]:
        """The status of each of these that answers in time."""
        return node_http.ask_statuses(http_addresses(self._addresses, nodes), timeout_s)

    def variables(self, place: Place) -> dict[str, str]:
        """The variables that say when the run began (traces count time from there), and by what the nodes know each other."""
        epoch = "pending" if self._epoch_ns is None else str(self._epoch_ns)
        is_open = {gateway.VARIABLE: "1"} if self.deployment.is_gateway else {}
        return {"THEMIS_EPOCH_NS": epoch, secret.VARIABLE: self._secret, **is_open}

    @property
    def teller(self) -> Tell:
        """Posts to the nodes' routes for the harness."""
        return self.tell

    def tell(self, path: str, bodies: Mapping[NodeId, Mapping[str, Any]]) -> dict[NodeId, dict[str, Any] | None]:
        """POST a JSON body to each of these nodes; its answer, None for one that does not answer 200 in time."""
        return node_http.tell(http_addresses(self._addresses, bodies), path, bodies, self._secret)

    def put(
        self, requests: Mapping[int, tuple[NodeId, msgspec.Struct]], timeout_s: float
    ) -> Mapping[int, msgspec.Struct]:
        """Put requests, by number, to the client routes of their nodes, all at once; the replies that came in time."""
        interface = self.deployment.interface
        addresses = http_addresses(self._addresses)
        asked = {number: (addresses[node], body) for number, (node, body) in requests.items()}
        return node_http.put(asked, f"/{interface}", self.target.formats(interface).reply, timeout_s, self._secret)

    def findings(self, ended: Sequence[Ended], harmed: Collection[NodeId]) -> Mapping[str, Verdict]:
        """nodes: the verdict on the exit statuses of our own nodes."""
        return {ended_nodes.CHECKER: ended_nodes.verdict(ended, self._log_end, has_cores=True, harmed=harmed)}

    def why_refused(self, ended: Ended) -> str | None:
        """What a node said last whose core halted."""
        return ended_nodes.last_line(ended.node, self._log_end) if ended.status in (HALTED, REFUSED) else None

    def files(self, place: Place) -> dict[str, str]:
        """No files: the command line says everything."""
        return {}

    def after_up(self, places: Mapping[NodeId, Place]) -> None:
        """There is nothing to do."""

    def why_silent(self, node: NodeId, timeout_s: float) -> str:
        """That the node is silent, and the end of its log."""
        return f"{node} does not answer after {timeout_s:g} s; its log ends:\n{self._log_end(node)}"

    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        self._epoch_ns = self._origin.wall_ns + began_ns - self._origin.monotonic_ns
        # A node that is dead now is given it when it starts.
        bodies = {node: {"epoch_ns": self._epoch_ns} for node in running}
        told = node_http.tell(http_addresses(self._addresses, bodies), "/epoch", bodies, self._secret, EPOCH_TIMEOUT_S)
        silent = sorted(node for node, answer in told.items() if answer is None)
        if silent:
            raise HarnessError(f"{silent[0]} does not answer; its log ends:\n{self._log_end(silent[0])}")

    def _caller(self) -> driver.Caller:
        deployment, target = self.deployment, self.target

        def open_session(process: int) -> Session:
            home_first = nodes_from_home(deployment.nodes, process)
            client = Client(process, home_first, deployment.topology, deployment.options)
            return session_for(target, deployment.interface, client)

        formats = target.formats(deployment.interface)
        return node_http.Clients(
            deployment.interface,
            formats,
            open_session,
            http_addresses(self._addresses),
            deployment.client_timeout_s,
            self._secret,
        )


def http_addresses(addresses: Mapping[NodeId, Ports], nodes: Collection[NodeId] | None = None) -> dict[NodeId, Address]:
    """The addresses of the nodes of a CoreTarget, of these or of all."""
    return {node: addresses[node][CORE_PORT] for node in (addresses if nodes is None else nodes)}


class ProgramAccess(NodeAccess):
    """Talks the program's own protocol."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._last_errors: dict[NodeId, str] = {}
        """Why the latest status of a node that was not had was not."""

    @property
    def program(self) -> Program:
        """The deployment's target."""
        target = self.deployment.target
        assert isinstance(target, Program)
        return target

    def argv(self, place: Place) -> list[str]:
        """The command line of a node's process."""
        return list(self.program.argv(place, self.deployment.options, self.deployment.bugs))

    def variables(self, place: Place) -> dict[str, str]:
        """The environment variables that the program asks for."""
        return dict(self.program.environment(place, self.deployment.options, self.deployment.bugs))

    def files(self, place: Place) -> dict[str, str]:
        """The program's configuration files, each below the node's config_dir."""
        found = {}
        for name, text in self.program.files(place, self.deployment.options, self.deployment.bugs).items():
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or not isinstance(text, str):
                raise HarnessError(
                    f"files of {self.program.name}: {_short(name)} -> {_short(text)} is not a path below config_dir and a text"
                )
            found[f"{place.config_dir}/{name}"] = text
        return found

    def after_up(self, places: Mapping[NodeId, Place]) -> None:
        """Do the program's own step. It has a thread of its own, so that the harness can also give up a step that blocks."""
        program, failure = self.program, []

        def work() -> None:
            try:
                step = program.after_up(places, self.deployment.options)
                if step is not None:
                    asyncio.run(_awaited(step))
            except Exception as error:  # noqa: BLE001 (raised below, where the run can be ended)
                failure.append(error)

        thread = threading.Thread(target=work, name="after_up", daemon=True)
        thread.start()
        thread.join(program.after_up_timeout_s)
        if thread.is_alive():
            raise HarnessError(
                f"after_up of {program.name} did not end within {program.after_up_timeout_s:g} s (its after_up_timeout_s); "
                f"{self._log_ends(places)}"
            )
        if failure:
            error = failure[0]
            raise HarnessError(
                f"after_up of {program.name} raised {type(error).__name__}: {error}; {self._log_ends(places)}"
            ) from error

    def why_silent(self, node: NodeId, timeout_s: float) -> str:
        """That the node is silent, the last answer to the question for its status, and the end of its log."""
        why = self._last_errors.get(node, "no answer")
        return (
            f"{node} runs, but its status was not had within {timeout_s:g} s ({why}). The status of {self.program.name} must be "
            f"answered by one node alone, without a quorum. Its log ends:\n{self._log_end(node)}"
        )

    def _log_ends(self, nodes: Collection[NodeId]) -> str:
        return "\n".join(f"the log of {node} ends:\n{self._log_end(node)}" for node in sorted(nodes))

    def findings(self, ended: Sequence[Ended], harmed: Collection[NodeId]) -> Mapping[str, Verdict]:
        """nodes: UNKNOWN where one of these exited although nobody killed it, with any status."""
        return {ended_nodes.CHECKER: ended_nodes.verdict(ended, self._log_end, has_cores=False)}

    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        """Nothing happens: a program is not told."""

    def _caller(self) -> driver.Caller:
        connect = self.program.client(self.deployment.interface, self.deployment.options)
        return ProgramCaller(self.program, connect(dict(self._addresses)), self.deployment.client_timeout_s)

    def _ask(self, nodes: Collection[NodeId], timeout_s: float) -> dict[NodeId, TimedStatus]:
        """The status of each of these that answers in time. Raises HarnessError for one of a wrong shape."""

        async def all_of_them() -> list[TimedStatus | None]:
            return await asyncio.gather(*(self._answer(node, timeout_s) for node in nodes))

        answers = zip(nodes, asyncio.run(all_of_them()), strict=True)
        return {node: answer for node, answer in answers if answer is not None}

    async def _answer(self, node: NodeId, timeout_s: float) -> TimedStatus | None:
        asked_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                status: object = await self.program.status(self._addresses[node])
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError.
            self._last_errors[node] = _short(error) if str(error) else type(error).__name__
            return None
        except Exception as error:
            raise HarnessError(
                f"the status of {node} raised {type(error).__name__}: {error}; `status` of {self.program.name} may raise OSError, "
                "EOFError or ValueError where the node does not answer, and nothing else"
            ) from error
        if not isinstance(status, Mapping):
            raise HarnessError(
                f"the status of {node} is {_short(status)}, a {type(status).__name__}; `status` of {self.program.name} must "
                "return a mapping"
            )
        return TimedStatus(dict(status), asked_ns, time.monotonic_ns())


async def _awaited(step: Awaitable[None]) -> None:
    await step


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


class ProgramCaller:
    """Implements harness.clients.driver.Caller by a Program's own client."""

    def __init__(self, program: Program, client: ProgramClient, timeout_s: float) -> None:
        self._reads = program.reads
        self._client = client
        self._timeout_s = timeout_s

    async def call(self, call: Call, process: int, home: NodeId, op: int | None = None) -> tuple[Outcome, NodeId]:
        """How the call ended. One without an answer may have happened, unless it is a read."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._client.call(call, home), home
        except (OSError, EOFError) as error:
            why = "timeout" if isinstance(error, TimeoutError) else [type(error).__name__, str(error)]
            return Outcome("fail" if call.f in self._reads else "info", call.value, why), home

    def close(self) -> Awaitable[None]:
        """No connection is left, once awaited."""
        return self._client.close()
