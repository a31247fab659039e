"""A minimal set of transactions that cannot be ordered: each part of a history that can be ordered can be so without the rest."""

from __future__ import annotations

from collections.abc import Sequence

from checkers.linearizability.deadline import Deadline, OutOfTime
from checkers.transactions.exact.problem import Timing, Txn, polygraph
from checkers.transactions.exact.prune import Refuted, prune
from checkers.transactions.exact.search import NoSolver, Progress, order


def minimal(txns: Sequence[Txn], timing: Timing, deadline: Deadline, *, is_snapshot: bool) -> tuple[list[Txn], bool]:
    """(transactions that cannot be ordered, whether any of them can be ordered without any one). txns: some that cannot.

    First the shortest beginning by the ends of transactions that cannot be ordered, then its shortest ending; from what is left,
    parts are taken away, in halves and smaller, as long as the rest cannot be ordered.
    """

    def is_refuted(some: Sequence[Txn]) -> bool:
        try:
            graph = polygraph(some, timing, is_snapshot=is_snapshot)
            prune(graph, deadline)
            order(graph, Progress(), deadline)
        except Refuted:
            return True
        except NoSolver:
            return False
        return False

    left = sorted(txns, key=lambda txn: (txn.end < 0, txn.end, txn.begin))
    try:
        low, high = 0, len(left)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_refuted(left[:middle]) else (middle, high)
        left = left[:high]
        low, high = 0, len(left)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_refuted(left[middle:]) else (low, middle)
        left = left[low:]
        size = len(left) // 2
        while size:
            before = len(left)
            at = 0
            while at < len(left):
                rest = left[:at] + left[at + size :]
                if is_refuted(rest):
                    left = rest
                else:
                    at += size
            if size > 1 or len(left) == before:
                size //= 2
    except OutOfTime:
        return left, False
    return left, True
