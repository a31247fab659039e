"""How faults change the membership of a program outside the project: implements nemesis.capabilities.Members.

A member is removed by the program's own API. Its process is then ended, if it does not end by itself, and its data is wiped:
whoever starts the node again, a fault that restarts nodes too, starts a new member. To add a node is to start it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from harness.environments.real.capabilities import Control, NodeDisks, NodeProcesses
from nemesis.capabilities import ChangeResult, MembersView, NodeId
from targets.target import ChangeOutcome, Membership, Ports, ReconfigurableProgram

ADD, REMOVE = "add-node", "remove-node"
ANSWERED_WITHIN_S = 1.0
CHANGED_WITHIN_S = 8.0
"""How long a change may take. The program answers when it is done."""

ENDS_WITHIN_S = 1.0
"""How long the process of a removed member has to end by itself."""


class ProgramMembers:
    """addresses: where the controller reaches each node's ports."""

    settles_within_s = 20.0
    """etcd takes one change after the other, each some five seconds after the last: members must have been connected so long."""

    def __init__(
        self,
        target: ReconfigurableProgram,
        addresses: Mapping[NodeId, Ports],
        control: Callable[[], Control],
        processes: NodeProcesses,
        disks: NodeDisks,
    ) -> None:
        self._target = target
        self._addresses = addresses
        self._control = control
        self._processes = processes
        self._disks = disks

    def view(self) -> MembersView | None:
        """Asked of the nodes that run; None when nobody leads, or the leader does not answer."""
        return self._membership()

    def _membership(self) -> Membership | None:
        states = self._processes.states()
        running = {node: ports for node, ports in self._addresses.items() if states.get(node) == "running"}

        async def ask() -> Membership | None:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                return await self._target.members(running)

        try:
            return asyncio.run(ask())
        except (OSError, EOFError, ValueError):  # TimeoutError is an OSError.
            return None

    def change(self, changes: Sequence[tuple[str, NodeId]]) -> list[ChangeResult]:
        """Ask the leader for these changes at once, and start the nodes that are to be added; how each ended, in their order."""
        membership = self._membership()
        if membership is None:
            return [ChangeResult(False, "no node leads") for _ in changes]
        # A removed member ends by itself. That is no finding, and neither is it where the removal comes to be known too late.
        self._control().excuse([node for name, node in changes if name == REMOVE])
        asked = [change for change in changes if change[0] != ADD]
        outcomes = dict(zip(asked, asyncio.run(self._ask(asked, membership.leader)), strict=True))
        results = []
        for name, node in changes:
            if name == ADD:
                members = (*membership.voters, *membership.learners)
                if membership.is_settled and node not in members and self._processes.states()[node] == "dead":
                    self._wipe(node)  # Also where its removal came to be known only now.
                self._processes.start([node])
                results.append(ChangeResult(True, ""))
                continue
            outcome = outcomes[name, node]
            if isinstance(outcome, ChangeOutcome):
                results.append(ChangeResult(outcome.is_done, outcome.why))
                if outcome.is_done and name == REMOVE:
                    self._retire(node)
            else:
                results.append(ChangeResult(False, f"nobody knows: {outcome}", is_known=False))
        return results

    def wait(self, seconds: float, /) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)

    async def _ask(self, changes: Sequence[tuple[str, NodeId]], leader: NodeId) -> list[ChangeOutcome | str]:
        """How each change ended; a text where nobody knows."""

        async def ask(name: str, node: NodeId) -> ChangeOutcome | str:
            try:
                async with asyncio.timeout(CHANGED_WITHIN_S):
                    return await self._target.change_members(name, node, self._addresses[leader])
            except (OSError, EOFError, ValueError) as error:
                return str(error) or type(error).__name__

        return list(await asyncio.gather(*(ask(*change) for change in changes)))

    def _retire(self, node: NodeId) -> None:
        """The node's process is dead and its data is wiped."""
        deadline_s = time.monotonic() + ENDS_WITHIN_S
        while self._processes.states()[node] != "dead":
            if time.monotonic() > deadline_s:
                self._processes.kill([node])
                break
            time.sleep(0.02)
        self._wipe(node)

    def _wipe(self, node: NodeId) -> None:
        self._disks.damage("wipe", [node], {"rejoins": 1})
