"""How transactions ended at one participant, for as long as anybody may ask.

A coordinator tells with every Prepare below which number all its transactions are finished; what is below is forgotten, and refused
should it arrive once more. In three-phase commit a coordinator cannot say so, since participants may finish without it: there the
last KEPT_MAX of each coordinator are kept.
"""

from __future__ import annotations

from targets.core import NodeId
from targets.twopc.transactions import TxnId, name_of

KEPT_MAX = 4096

ABORTED = 0
"""In place of the timestamp of a commit, which is positive."""


class Outcomes:
    """forgets_by_low: whether a coordinator's word is enough to forget. low: by coordinator, see above."""

    __slots__ = ("_ended", "_forgets_by_low", "low")

    def __init__(self, *, forgets_by_low: bool) -> None:
        self._ended: dict[NodeId, dict[int, int]] = {}
        """By coordinator and number: ABORTED, or the timestamp of the commit."""
        self._forgets_by_low = forgets_by_low
        self.low: dict[NodeId, int] = {}

    def add(self, txn: TxnId, timestamp: int) -> None:
        """It committed at this time, or ABORTED."""
        of_coordinator = self._ended.setdefault(txn[1], {})
        of_coordinator[txn[0]] = timestamp
        if not self._forgets_by_low and len(of_coordinator) > KEPT_MAX:
            del of_coordinator[next(iter(of_coordinator))]

    def of(self, txn: TxnId) -> int | None:
        """When it committed, or ABORTED; None when neither is known here."""
        return self._ended.get(txn[1], {}).get(txn[0])

    def is_finished(self, txn: TxnId) -> bool:
        """Its coordinator has said that it is finished: who has not committed it by now never will."""
        return txn[0] < self.low.get(txn[1], 0)

    def raise_low(self, coordinator: NodeId, number: int) -> None:
        """All transactions of the coordinator below this number are finished."""
        if not self._forgets_by_low or number <= self.low.get(coordinator, 0):
            return
        self.low[coordinator] = number
        ended = self._ended.get(coordinator)
        if ended:
            self._ended[coordinator] = {at: how for at, how in ended.items() if at >= number}

    def names(self, *, committed: bool) -> list[str]:
        """Those that ended so, as traces have them."""
        return [name_of(txn) for txn, how in self.all() if (how != ABORTED) is committed]

    def all(self) -> tuple[tuple[TxnId, int], ...]:
        """Every one that is known."""
        return tuple(
            ((number, coordinator), how)
            for coordinator, ended in sorted(self._ended.items())
            for number, how in ended.items()
        )
