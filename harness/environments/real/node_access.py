"""How the harness reaches the nodes of one target: what differs between cores and programs outside the project.

An environment starts processes and breaks things; whom its nodes answer, and how, it leaves to a NodeAccess. Nodes of a CoreTarget
speak HTTP and are told when the run began; a Program brings its own protocol and is told nothing.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from checkers.verdict import Verdict
from harness.clients import driver, node_http
from harness.clients.driver import NemesisWorker
from harness.environments.base import Deployment
from harness.environments.real import ended_nodes
from harness.environments.real.labelled_processes import Ended
from harness.errors import HarnessError
from nemesis.capabilities import FaultError, NodeId, ProcessState
from targets.session import Call, Outcome, Session
from targets.target import Address, CoreTarget, Place, Program, ProgramClient
from targets.timekeeping import Reading

STATUS_TIMEOUT_S = 0.5
CLOCK_READINGS = 3
CLOCK_TIMEOUT_S = 1.0

States = Callable[[], Mapping[NodeId, ProcessState]]
LogEnd = Callable[[NodeId], str]


class NodeAccess(ABC):
    """With the nodes of one deployment. Its methods block, and may be called from any thread without a running loop.

    addresses: where the controller reaches each node; may be filled in later. log_end: the end of a node's log, for messages.
    """

    def __init__(
        self,
        deployment: Deployment,
        origin: Reading,
        addresses: Mapping[NodeId, Address],
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
    def ask(self, nodes: Collection[NodeId]) -> dict[NodeId, dict[str, Any]]:
        """The status of each of these that answers in time."""

    @abstractmethod
    def variables(self, place: Place) -> dict[str, str]:
        """What to add to the environment of a node's process, beside the clock's."""

    @abstractmethod
    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        """The run begins now. Raises HarnessError when a node cannot be told."""

    @abstractmethod
    def _caller(self) -> driver.Caller:
        """What carries the clients' calls; made in the running loop."""

    @abstractmethod
    def findings(self, ended: Sequence[Ended]) -> Mapping[str, Verdict]:
        """nodes: what those make of the run that ended by themselves; see ended_nodes.verdict."""

    @abstractmethod
    def argv(self, place: Place) -> list[str]:
        """The command line of a node's process."""

    # --- what does not --------------------------------------------------------------------------------------------------

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
        """The node that leads now, asked of the nodes."""
        return self.deployment.target.primary(self.statuses())

    def await_answers(self, nodes: Collection[NodeId], timeout_s: float) -> None:
        """Each of these, which were just started, answers or has ended by itself. Raises FaultError when neither happens."""
        waiting = set(nodes)
        deadline_s = time.monotonic() + timeout_s
        while waiting:
            answering = self.ask(sorted(waiting))
            states = self._states()
            waiting -= {node for node in waiting if node in answering or states[node] == "dead"}
            if waiting and time.monotonic() > deadline_s:
                node = min(waiting)
                raise FaultError(f"{node} does not answer after {timeout_s:g} s; its log ends:\n{self._log_end(node)}")
            if waiting:
                time.sleep(0.01)

    def drive(self, interpreter: driver.Driven, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end; its time zero is now."""
        self._began_ns = began_ns = time.monotonic_ns()
        self._begin(began_ns, self._running())
        driver.drive(interpreter, nemesis, self._caller, self.deployment.nodes, began_ns)

    def _running(self) -> list[NodeId]:
        return [node for node, state in self._states().items() if state == "running"]

    def _reached(self, nodes: Collection[NodeId]) -> dict[NodeId, Address]:
        return {node: self._addresses[node] for node in nodes}


def access_to(
    deployment: Deployment, origin: Reading, addresses: Mapping[NodeId, Address], states: States, log_end: LogEnd
) -> CoreAccess | ProgramAccess:
    """With the nodes of this deployment's target."""
    kind = CoreAccess if isinstance(deployment.target, CoreTarget) else ProgramAccess
    return kind(deployment, origin, addresses, states, log_end)


class CoreAccess(NodeAccess):
    """HTTP, and the run's beginning, which the nodes' traces count their times from."""

    _epoch_ns: int | None = None

    @property
    def target(self) -> CoreTarget:
        """The deployment's target."""
        target = self.deployment.target
        assert isinstance(target, CoreTarget)
        return target

    def argv(self, place: Place) -> list[str]:
        """See NodeAccess."""
        deployment = self.deployment
        return list(self.target.argv(place, deployment.options, deployment.bugs, deployment.interface))

    def ask(self, nodes: Collection[NodeId]) -> dict[NodeId, dict[str, Any]]:
        """See NodeAccess."""
        return node_http.ask_statuses(self._reached(nodes), STATUS_TIMEOUT_S)

    def variables(self, place: Place) -> dict[str, str]:
        """See NodeAccess."""
        return {"THEMIS_EPOCH_NS": "pending" if self._epoch_ns is None else str(self._epoch_ns)}

    def findings(self, ended: Sequence[Ended]) -> Mapping[str, Verdict]:
        """See NodeAccess."""
        return {ended_nodes.CHECKER: ended_nodes.verdict(ended, self._log_end, has_cores=True)}

    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        self._epoch_ns = self._origin.wall_ns + began_ns - self._origin.monotonic_ns
        # A node that is dead now is given it when it starts.
        told = node_http.tell(self._addresses, "/epoch", {node: {"epoch_ns": self._epoch_ns} for node in running})
        silent = sorted(node for node, answer in told.items() if answer is None)
        if silent:
            raise HarnessError(f"{silent[0]} does not answer; its log ends:\n{self._log_end(silent[0])}")

    def _caller(self) -> driver.Caller:
        deployment, target = self.deployment, self.target

        def open_session(process: int) -> Session:
            return target.session(deployment.interface, process, deployment.topology)

        formats = target.formats(deployment.interface)
        return node_http.Clients(
            deployment.interface, formats, open_session, self._addresses, deployment.client_timeout_s
        )


class ProgramAccess(NodeAccess):
    """The program's own protocol."""

    @property
    def program(self) -> Program:
        """The deployment's target."""
        target = self.deployment.target
        assert isinstance(target, Program)
        return target

    def ask(self, nodes: Collection[NodeId]) -> dict[NodeId, dict[str, Any]]:
        """See NodeAccess."""
        return {node: answer.status for node, answer in self._answers(nodes).items()}

    def argv(self, place: Place) -> list[str]:
        """See NodeAccess."""
        return list(self.program.argv(place, self.deployment.options, self.deployment.bugs))

    def variables(self, place: Place) -> dict[str, str]:
        """See NodeAccess."""
        return dict(self.program.environment(place, self.deployment.options, self.deployment.bugs))

    def clocks(self, nodes: Collection[NodeId]) -> dict[NodeId, tuple[int, int]]:
        """Node -> (its clock minus true time, when that was so on the monotonic clock), in ns, for each of these whose status
        has its clock. Of several readings the one with the shortest round trip counts; it is off by at most half of that."""
        best: dict[NodeId, tuple[int, int, int]] = {}
        asked = set(nodes)
        for _ in range(CLOCK_READINGS):
            answers = self._answers(sorted(asked), CLOCK_TIMEOUT_S)
            asked = {node for node, answer in answers.items() if isinstance(answer.status.get("clock_ns"), int)}
            for node in asked:
                answer = answers[node]
                middle_ns = (answer.asked_ns + answer.answered_ns) // 2
                true_ns = self._origin.wall_ns + middle_ns - self._origin.monotonic_ns
                reading = (answer.answered_ns - answer.asked_ns, answer.status["clock_ns"] - true_ns, middle_ns)
                best[node] = min(best.get(node, reading), reading)
        return {node: reading[1:] for node, reading in best.items()}

    def findings(self, ended: Sequence[Ended]) -> Mapping[str, Verdict]:
        """See NodeAccess."""
        return {ended_nodes.CHECKER: ended_nodes.verdict(ended, self._log_end, has_cores=False)}

    def _begin(self, began_ns: int, running: Collection[NodeId]) -> None:
        """There is nobody to tell."""

    def _caller(self) -> driver.Caller:
        connect = self.program.client(self.deployment.interface)
        return ProgramCaller(self.program, connect(dict(self._addresses)), self.deployment.client_timeout_s)

    def _answers(self, nodes: Collection[NodeId], timeout_s: float = STATUS_TIMEOUT_S) -> dict[NodeId, _Answer]:
        async def all_of_them() -> list[_Answer | None]:
            return await asyncio.gather(
                *(self._answer(address, timeout_s) for address in self._reached(nodes).values())
            )

        return {
            node: answer for node, answer in zip(nodes, asyncio.run(all_of_them()), strict=True) if answer is not None
        }

    async def _answer(self, address: Address, timeout_s: float) -> _Answer | None:
        asked_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                status = dict(await self.program.status(address))
        except (OSError, EOFError, ValueError):  # TimeoutError is an OSError.
            return None
        return _Answer(status, asked_ns, time.monotonic_ns())


class _Answer(msgspec.Struct, frozen=True):
    """A status and the monotonic times between which it was given."""

    status: dict[str, Any]
    asked_ns: int
    answered_ns: int


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
