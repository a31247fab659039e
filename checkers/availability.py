"""What the system served while a fault was in force, and how soon it served again: the CAP trade-off as numbers.

Always VALID: being unavailable is no anomaly of consistency.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from checkers.evidence import Availability, Served, SideServed, WindowServed
from checkers.verdict import Verdict
from checkers.windows import Window, fault_windows
from histories.history import History
from histories.op import Op

CHECKER = "availability"

Pair = tuple[Op, Op | None]


def availability(history: History) -> Verdict:
    """VALID, with the shares of ok, fail and info over the whole run and in every fault window, and the recovery after
    it.

    A window counts the ops invoked while its fault was certainly in force. `recovery_ns` is the time from the heal to
    the first ok of an op invoked after it.
    stats: the whole run's shares, and `mttr_ns`, the mean recovery over the windows that were healed and recovered
        from.
    """
    pairs = [(invocation, completion) for invocation, completion in history.pairs() if invocation.is_client]
    # A merged history can be slightly out of order; bisecting needs order.
    pairs.sort(key=lambda pair: pair[0].time)
    starts_ns = [invocation.time for invocation, _ in pairs]
    oks_ns = sorted(completion.time for _, completion in pairs if completion is not None and completion.type == "ok")
    end_ns = max((op.time for op in history), default=0)
    nodes = {node for pair in pairs if (node := _node(pair)) is not None}
    windows = [_window(window, pairs, starts_ns, oks_ns, nodes, end_ns) for window in fault_windows(history)]
    recoveries = [window.recovery_ns for window in windows if window.recovery_ns is not None]
    overall = _served(pairs)
    stats: dict[str, Any] = {
        "ok_share": overall.ok_share,
        "window_count": len(windows),
        "mttr_ns": sum(recoveries) // len(recoveries) if recoveries else None,
        "recovery_ns_max": max(recoveries, default=None),
        "unrecovered_count": sum(w.lifted_ns is not None and w.recovery_ns is None for w in windows),
    }
    return Verdict.valid(CHECKER, evidence=Availability(overall, tuple(windows)), stats=stats)


def sides(did: Any, nodes: Iterable[str]) -> list[list[str]]:
    """The groups of nodes that still reach each other, in both directions and perhaps over others, under a recorded
    grudge.

    The largest first. Empty when `did` holds no grudge.
    """
    grudge = did.get("grudge") if isinstance(did, Mapping) else None
    if not isinstance(grudge, Mapping):
        return []
    members = set(nodes) | set(grudge) | {node for refused in grudge.values() for node in refused}
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


def _window(
    window: Window, pairs: Sequence[Pair], starts_ns: list[int], oks_ns: list[int], nodes: set[str], end_ns: int
) -> WindowServed:
    until_ns = end_ns if window.lifting_ns is None else window.lifting_ns
    inside = pairs[bisect_left(starts_ns, window.installed_ns) : bisect_right(starts_ns, until_ns)]
    by_node: dict[str, list[Pair]] = {}
    for pair in inside:
        if (node := _node(pair)) is not None:
            by_node.setdefault(node, []).append(pair)
    groups = sides(window.did, nodes)
    recovered = {} if window.lifted_ns is None else _recoveries(window.lifted_ns, pairs, starts_ns)
    return WindowServed(
        f=window.f,
        did=window.did,
        index=window.index,
        status=window.status,
        installed_ns=window.installed_ns,
        lifting_ns=window.lifting_ns,
        lifted_ns=window.lifted_ns,
        served=_served(inside),
        by_node={node: _served(by_node[node]) for node in sorted(by_node)},
        sides=tuple(
            SideServed(tuple(side), _served(pair for node in side for pair in by_node.get(node, []))) for side in groups
        ),
        longest_gap_ns=_longest_gap_ns(window.installed_ns, until_ns, oks_ns),
        recovery_ns=min(recovered.values(), default=None),
        recovery_ns_by_node={node: recovered[node] for node in sorted(node for node in recovered if node is not None)},
    )


def _served(pairs: Iterable[Pair]) -> Served:
    """How many ops ended how; one that never completed counts as info."""
    ended = Counter("info" if completion is None else completion.type for _, completion in pairs)
    return Served(ok_count=ended["ok"], fail_count=ended["fail"], info_count=ended["info"])


def _recoveries(lifted_ns: int, pairs: Sequence[Pair], starts_ns: list[int]) -> dict[str | None, int]:
    """Node (None where the op names none) -> ns from the heal to its first ok of an op invoked after it."""
    found: dict[str | None, int] = {}
    for pair in pairs[bisect_left(starts_ns, lifted_ns) :]:
        completion = pair[1]
        if completion is not None and completion.type == "ok":
            recovery_ns = completion.time - lifted_ns
            found[_node(pair)] = min(recovery_ns, found.get(_node(pair), recovery_ns))
    return found


def _longest_gap_ns(begin_ns: int, end_ns: int, oks_ns: list[int]) -> int:
    """The longest time within the interval in which no op ended ok."""
    inside = oks_ns[bisect_left(oks_ns, begin_ns) : bisect_right(oks_ns, end_ns)]
    marks = [begin_ns, *inside, end_ns]
    return max(after - before for before, after in pairwise(marks))


def _node(pair: Pair) -> str | None:
    invocation, completion = pair
    return invocation.node if completion is None or completion.node is None else completion.node
