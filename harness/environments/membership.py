"""How faults change the membership of a target in any environment: implements nemesis.capabilities.Members.

A change is a client's request to the node that leads. The environment says how a request reaches a node, and what the nodes say of
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from nemesis.capabilities import ChangeResult, MembersView, NodeId
from targets.target import Reconfigurable

ANSWERED_WITHIN_S = 1.0
"""How long a node has to answer a change: it does so when the change is committed."""

Ask = Callable[[Mapping[int, tuple[NodeId, msgspec.Struct]], float], Mapping[int, msgspec.Struct]]
"""Puts the requests, by number, to their nodes, all at once, and returns the replies that came within so many seconds."""


class TargetMembers:
    """statuses: what each node that answers says of itself. ask: see Ask. wait: returns after so many seconds of the run."""

    settles_within_s = 3.0

    def __init__(
        self,
        target: Reconfigurable,
        statuses: Callable[[], Mapping[NodeId, Mapping[str, Any]]],
        ask: Ask,
        wait: Callable[[float], None],
    ) -> None:
        self._target = target
        self._statuses = statuses
        self._ask = ask
        self.wait = wait

    def view(self) -> MembersView | None:
        """Who belongs to the cluster now, as its leader sees it; None when nobody leads."""
        return self._target.membership(self._statuses())

    def change(self, changes: Sequence[tuple[str, NodeId]]) -> list[ChangeResult]:
        """Ask the leader for these changes at once; how each ended, in their order."""
        view = self.view()
        if view is None:
            return [ChangeResult(False, "no node leads") for _ in changes]
        asked = {number: (view.leader, self._target.change(*change)) for number, change in enumerate(changes)}
        replies = self._ask(asked, ANSWERED_WITHIN_S)
        results = []
        for number in asked:
            if number in replies:
                outcome = self._target.outcome(replies[number])
                results.append(ChangeResult(outcome.is_done, outcome.why))
            else:
                results.append(
                    ChangeResult(False, f"{view.leader} did not answer within {ANSWERED_WITHIN_S:g} s", is_known=False)
                )
        return results
