"""A second look at what the search says, from the recorded operations alone: an order is replayed, and a few transactions that are
said to have none are tried in every order.

Nothing here knows of graphs, pairs or version orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from histories.history import History
from histories.op import Op, freeze

Event = tuple[int, bool]
"""(position of the transaction's invocation, whether it commits; else it begins)."""


class Unproven(Exception):
    """The order does not explain the history; the message says where. It would be an error of this package."""


def steps_of(history: History, begin: int) -> tuple[list[Any], int]:
    """(the micro-operations of a transaction, without reads where it did not end ok; the position of its ok, or -1)."""
    end = history.completions.get(begin)
    if end is not None and history[end].type == "ok":
        return list(history[end].value or ()), end
    asked = history[begin].value
    if asked is None and end is not None:
        asked = history[end].value
    return [step for step in asked or () if step[0] == "w"], -1


def replay(history: History, events: Sequence[Event], timing: str, *, is_snapshot: bool) -> None:
    """The events are an order of all transactions that ended ok, and of some of unknown outcome, in which each reads what was
    committed before it began. Serially each commits right after it began; with snapshots, nobody else commits a write to what it
    writes in between. timing: "-realtime" or "-process": whatever ended before another began commits first. Raises Unproven.
    """
    versions: dict[Any, tuple[int, Any]] = {}
    written_by_some = _written(history)
    initial: dict[Any, Any] = {}
    running: dict[int, tuple[int, dict[Any, Any], int]] = {}
    begun: set[int] = set()
    latest: dict[Any, int] = {}
    for number, (begin, is_commit) in enumerate(events):
        op = history[begin]
        group = op.process if timing == "-process" else None
        if not is_commit:
            if begin in begun or (not is_snapshot and running):
                raise Unproven(f"event {number}: the transaction at {begin} begins twice, or within another")
            begun.add(begin)
            running[begin] = (
                number,
                _read(history, begin, versions, initial, written_by_some),
                steps_of(history, begin)[1],
            )
            latest[group] = max(begin, latest.get(group, -1))
            continue
        since, written, end = running.pop(begin)
        if timing and 0 <= end < latest.get(group, -1):
            raise Unproven(
                f"event {number}: the transaction at {begin} had ended before one began that begins first here"
            )
        for key, value in written.items():
            if key in versions and versions[key][0] > since:
                raise Unproven(
                    f"event {number}: {key!r} was committed by another since the transaction at {begin} began"
                )
            versions[key] = number, value
    ended = {
        begin for begin, end in history.completions.items() if history[begin].is_client and history[end].type == "ok"
    }
    failed = {begin for begin, end in history.completions.items() if history[end].type == "fail"}
    if running or ended - begun or begun & failed:
        raise Unproven("not every transaction that ended ok is in the order once, or one that failed is")


def _written(history: History) -> set[tuple[Any, Any]]:
    """(key, value) of every write that somebody asked for: none of them is an initial value."""
    return {
        (freeze(step[1]), freeze(step[2]))
        for begin, op in enumerate(history)
        if op.type == "invoke" and op.is_client
        for step in steps_of(history, begin)[0]
        if step[0] == "w"
    }


def _read(
    history: History,
    begin: int,
    versions: dict[Any, tuple[int, Any]],
    initial: dict[Any, Any],
    written_by_some: set[tuple[Any, Any]],
) -> dict[Any, Any]:
    """What the transaction writes, once what it read was found to be what is there. Raises Unproven."""
    steps, end = steps_of(history, begin)
    written: dict[Any, Any] = {}
    for step in steps:
        key, value = freeze(step[1]), freeze(step[2]) if len(step) > 2 else None
        if step[0] == "w":
            written[key] = value
            continue
        if end < 0:
            continue
        if key not in written and key not in versions and (key, value) in written_by_some:
            raise Unproven(f"the transaction at {begin} read {value!r} in {key!r}, before anybody wrote it")
        held = (
            written[key] if key in written else versions[key][1] if key in versions else initial.setdefault(key, value)
        )
        if held != value:
            raise Unproven(f"the transaction at {begin} read {value!r} in {key!r}, where {held!r} is")
    return written


def have_no_order(
    history: History, begins: Sequence[int], timing: str, *, is_snapshot: bool, states_max: int
) -> bool | None:
    """Whether no order of these transactions explains what they read from each other and of the initial state: all are tried. None:
    there are more than `states_max` states. What they read from others is left out."""
    search = _EveryOrder(history, begins, timing, is_snapshot, states_max)
    try:
        return not search.finish(0, 0, {})
    except _TooMany:
        return None


class _TooMany(Exception):
    pass


class _EveryOrder:
    def __init__(
        self, history: History, begins: Sequence[int], timing: str, is_snapshot: bool, states_max: int
    ) -> None:
        self.timing, self.is_snapshot, self.states_max = timing, is_snapshot, states_max
        self.begins = list(begins)
        self.ops: list[Op] = [history[begin] for begin in begins]
        self.ends: list[int] = []
        self.reads: list[dict[Any, Any]] = []
        self.writes: list[dict[Any, Any]] = []
        self.seen: set[Any] = set()
        all_writes = _written(history)
        for begin in begins:
            steps, end = steps_of(history, begin)
            reads: dict[Any, Any] = {}
            writes: dict[Any, Any] = {}
            for step in steps:
                key, value = freeze(step[1]), freeze(step[2]) if len(step) > 2 else None
                if step[0] == "w":
                    writes[key] = value
                elif key not in writes:
                    reads.setdefault(key, value if (key, value) in all_writes else None)
            self.ends.append(end)
            self.reads.append(reads)
            self.writes.append(writes)
        inside = {(key, value) for writes in self.writes for key, value in writes.items()}
        for reads in self.reads:
            for key in [key for key, value in reads.items() if value is not None and (key, value) not in inside]:
                del reads[key]

    def finish(self, begun: int, committed: int, state: dict[Any, Any]) -> bool:
        """Whether what is left can be ordered after this."""
        count = len(self.begins)
        if committed == (1 << count) - 1:
            return True
        known = (begun, committed, frozenset(state.items()))
        if known in self.seen:
            return False
        if len(self.seen) >= self.states_max:
            raise _TooMany
        self.seen.add(known)
        for i in range(count):
            if not begun >> i & 1:
                if self._may_begin(i, committed) and all(
                    state.get(key) == value for key, value in self.reads[i].items()
                ):
                    if self.is_snapshot:
                        if self.finish(begun | 1 << i, committed, state):
                            return True
                    elif self.finish(begun | 1 << i, committed | 1 << i, state | self.writes[i]):
                        return True
                continue
            may_commit = not committed >> i & 1 and not self._is_in_the_way(i, begun & ~committed)
            if may_commit and self.finish(begun, committed | 1 << i, state | self.writes[i]):
                return True
        return False

    def _may_begin(self, i: int, committed: int) -> bool:
        """Whether all that has to come first was committed."""
        if not self.timing:
            return True
        return all(
            committed >> j & 1
            or not 0 <= self.ends[j] < self.begins[i]
            or (self.timing == "-process" and self.ops[j].process != self.ops[i].process)
            for j in range(len(self.begins))
        )

    def _is_in_the_way(self, i: int, running: int) -> bool:
        """Whether a commit of i would end another one's hope to commit: it runs and writes the same key."""
        return any(
            running >> j & 1 and not self.writes[j].keys().isdisjoint(self.writes[i])
            for j in range(len(self.begins))
            if j != i
        )
