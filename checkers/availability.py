"""Measures what the system served while a fault was in force, and how soon it served again: the CAP trade-off as numbers.

The verdict is always VALID: an unavailable system breaks no consistency model. The time is near-linear: the checker sorts the ops
once, and finds those of each window by bisection.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.evidence import Availability, Served, SideServed, WindowServed
from checkers.verdict import Verdict
from checkers.windows import Window, fault_windows
from histories.history import History
from histories.op import Op, OpType

CHECKER = "availability"
WAITED_NS = 100_000_000
"""An op that was answered only when the fault was being lifted was not served under it, if it had waited for so long: a multiple
of what an op takes on a healthy cluster. One that was asked later tells nothing of the side."""
ENDS: tuple[OpType, ...] = ("ok", "fail", "info")
"""How an op may end; one that never completed counts as info."""
BLOCK = 1024
"""The checker keeps the greatest gap of each block of so many gaps: a window reads the blocks inside it, and single gaps only at
its ends."""

Times = NDArray[np.int64]


def availability(history: History) -> Verdict:
    """VALID, with the shares of ok, fail and info over the whole run and in every fault window, and the recovery after
    it.

    A window counts the ops invoked while its fault was certainly in force on all its nodes (of one that was not measured,
    from when it may have been). Of the sides of a partition, each counts what it answered while it was cut off (WAITED_NS).
    `recovery_ns` is the time from the heal to the first ok of an op invoked after it.
    stats: the whole run's shares, and `mttr_ns`, the mean recovery over the windows that were healed and recovered
        from; `mttr_ns_by_fault` the same for each kind of fault, such as "kill".
    """
    ops = _Ops(history)
    windows = _windows(fault_windows(history), ops)
    recoveries = [window.recovery_ns for window in windows if window.recovery_ns is not None]
    by_fault: dict[str, list[int]] = {}
    for window in windows:
        if window.recovery_ns is not None:
            by_fault.setdefault(window.name.partition(":")[0], []).append(window.recovery_ns)
    overall = Served(*(sum(len(ops.starts[node][end]) for node in ops.starts) for end in ENDS))
    stats: dict[str, Any] = {
        "ok_share": overall.ok_share,
        "window_count": len(windows),
        "mttr_ns": sum(recoveries) // len(recoveries) if recoveries else None,
        "mttr_ns_by_fault": {name: sum(each) // len(each) for name, each in sorted(by_fault.items())},
        "recovery_ns_max": max(recoveries, default=None),
        "unrecovered_count": sum(w.lifted_ns is not None and w.recovery_ns is None for w in windows),
    }
    return Verdict.valid(CHECKER, evidence=Availability(overall, tuple(windows)), stats=stats)


class _Ops:
    """The clients' ops by node ("" where the op names none) and by how they ended.

    starts[node][end]: when they were invoked, sorted. ok_ends[node]: beside starts[node]["ok"], when each completed.
    first_ok[node]: beside it as well, the earliest completion of that op and of those invoked after it. oks: when any op ended
    ok, sorted. end_ns: of the last op.
    """

    def __init__(self, history: History) -> None:
        rows: dict[str, dict[OpType, tuple[array[int], array[int]]]] = {}
        for invocation, completion in history.pairs():
            if invocation.is_client:
                node = _node(invocation, completion) or ""
                end: OpType = "info" if completion is None else completion.type
                by_end = rows.get(node)
                if by_end is None:
                    by_end = rows[node] = {end: (array("q"), array("q")) for end in ENDS}
                begun, ended = by_end[end]
                begun.append(invocation.time)
                ended.append(-1 if completion is None else completion.time)
        self.starts: dict[str, dict[OpType, Times]] = {}
        self.first_ok: dict[str, Times] = {}
        self.ok_ends: dict[str, Times] = {}
        for node in sorted(rows):
            self.starts[node] = {}
            for end in ENDS:
                begun_ns, ended_ns = (np.array(column, dtype=np.int64) for column in rows[node][end])
                # A merged history can be slightly out of order; bisecting needs order.
                order = np.argsort(begun_ns, kind="stable")
                self.starts[node][end] = begun_ns[order]
                if end == "ok":
                    self.ok_ends[node] = ended_ns[order]
                    self.first_ok[node] = np.minimum.accumulate(ended_ns[order][::-1])[::-1]
        self.oks = np.sort(np.concatenate([np.array(rows[node]["ok"][1], dtype=np.int64) for node in rows] or [_NONE]))
        self.gaps = np.diff(self.oks)
        self.block_gaps = np.maximum.reduceat(self.gaps, range(0, len(self.gaps), BLOCK)) if len(self.gaps) else _NONE
        self.end_ns = max((op.time for op in history), default=0)

    def under(self, node: str, row: Sequence[int], begin_ns: int, end_ns: int) -> tuple[int, int, int]:
        """`row`, how the ops ended that were invoked at the node in the interval, without the ok ones that were answered only
        behind it: of these, those that had waited for long count as info."""
        ok, fail, info = row
        begins, ends = self.starts[node]["ok"], self.ok_ends[node]
        first, last = np.searchsorted(begins, begin_ns, "left"), np.searchsorted(begins, end_ns, "right")
        is_late = ends[first:last] > end_ns
        waited_count = int((is_late & (begins[first:last] <= end_ns - WAITED_NS)).sum())
        return ok - int(is_late.sum()), fail, info + waited_count

    def longest_gap_ns(self, begin_ns: int, end_ns: int) -> int:
        """The longest time within the interval in which no op ended ok."""
        if end_ns <= begin_ns:
            return 0
        first = int(np.searchsorted(self.oks, begin_ns, "left"))
        last = int(np.searchsorted(self.oks, end_ns, "right")) - 1
        if last < first:
            return end_ns - begin_ns
        edges = max(int(self.oks[first]) - begin_ns, end_ns - int(self.oks[last]))
        return max(edges, self._greatest_gap(first, last))

    def _greatest_gap(self, first: int, last: int) -> int:
        """The greatest of the gaps from position `first` up to `last`, that one excluded."""
        first_block, last_block = -(-first // BLOCK), last // BLOCK
        if first_block >= last_block:
            return int(self.gaps[first:last].max(initial=0))
        return max(
            int(self.gaps[first : first_block * BLOCK].max(initial=0)),
            int(self.block_gaps[first_block:last_block].max(initial=0)),
            int(self.gaps[last_block * BLOCK : last].max(initial=0)),
        )


_NONE: Times = np.array([], dtype=np.int64)


def sides(did: Any, nodes: Iterable[str]) -> list[list[str]]:
    """The groups of nodes that a recorded grudge leaves connected: in both directions, directly or through others of the group.

    The largest first. Empty when `did` holds no grudge. A bridge leaves all together: the node that joins the halves is in no
    grudge, and perhaps answered no op.
    """
    grudge = did.get("grudge") if isinstance(did, Mapping) else None
    if not isinstance(grudge, Mapping):
        return []
    members = set(nodes) | set(grudge) | {node for refused in grudge.values() for node in refused}
    if did.get("shape") == "bridge":
        return [sorted(members)]
    groups: list[list[str]] = []
    unseen = sorted(members)
    while unseen:
        side = [unseen.pop(0)]
        for node in side:  # It grows while it is walked through.
            side += [
                other for other in unseen if other not in grudge.get(node, ()) and node not in grudge.get(other, ())
            ]
            unseen = [other for other in unseen if other not in side]
        groups.append(sorted(side))
    return sorted(groups, key=lambda side: (-len(side), side))


def _windows(windows: Sequence[Window], ops: _Ops) -> list[WindowServed]:
    """What was served in each window, and the recovery after it."""
    begins = [window.began_ns if window.in_force_ns is None else window.in_force_ns for window in windows]
    ends = [ops.end_ns if window.lifting_ns is None else window.lifting_ns for window in windows]
    lifted = np.array([-1 if window.lifted_ns is None else window.lifted_ns for window in windows], dtype=np.int64)
    counts = {node: _counts(ops.starts[node], begins, ends) for node in ops.starts}
    recoveries = {node: _recoveries(ops.starts[node]["ok"], ops.first_ok[node], lifted) for node in ops.starts}
    nodes = [node for node in ops.starts if node]
    found: list[WindowServed] = []
    for i, window in enumerate(windows):
        by_node = {node: counts[node][i] for node in nodes if any(counts[node][i])}
        recovered = {node: recoveries[node][i] for node in ops.starts if recoveries[node][i] >= 0}
        found.append(
            WindowServed(
                id=window.id,
                name=window.name,
                what=window.what,
                nodes=window.nodes,
                did=window.did,
                index=window.index,
                status=window.status,
                began_ns=window.began_ns,
                in_force_ns=window.in_force_ns,
                lifting_ns=window.lifting_ns,
                lifted_ns=window.lifted_ns,
                served=_total(rows[i] for rows in counts.values()),
                by_node={node: Served(*row) for node, row in by_node.items()},
                sides=tuple(
                    SideServed(
                        tuple(side),
                        _total(ops.under(node, by_node[node], begins[i], ends[i]) for node in side if node in by_node),
                    )
                    for side in sides(window.did, nodes)
                ),
                longest_gap_ns=ops.longest_gap_ns(begins[i], ends[i]),
                recovery_ns=min(recovered.values(), default=None),
                recovery_ns_by_node={node: ns for node, ns in recovered.items() if node},
            )
        )
    return found


def _counts(starts: Mapping[OpType, Times], begins: Sequence[int], ends: Sequence[int]) -> list[list[int]]:
    """For each interval, both ends included, how many ops of one node were invoked in it, in the order of ENDS."""
    columns = [
        np.maximum(0, np.searchsorted(starts[end], ends, "right") - np.searchsorted(starts[end], begins, "left"))
        for end in ENDS
    ]
    rows: list[list[int]] = np.stack(columns, axis=1).tolist()
    return rows


def _recoveries(starts: Times, first_ok: Times, lifted: Times) -> list[int]:
    """For each heal, the ns until the first ok of an op of this node that was invoked after it; -1 when there was none."""
    at = np.searchsorted(starts, lifted, "left")
    has_one = (lifted >= 0) & (at < len(starts))
    found = np.full(len(lifted), -1, dtype=np.int64)
    found[has_one] = first_ok[at[has_one]] - lifted[has_one]
    ns: list[int] = found.tolist()
    return ns


def _total(rows: Iterable[Sequence[int]]) -> Served:
    return Served(*(sum(column) for column in zip(*rows, strict=True))) if (rows := list(rows)) else Served(0, 0, 0)


def _node(invocation: Op, completion: Op | None) -> str | None:
    return invocation.node if completion is None or completion.node is None else completion.node
