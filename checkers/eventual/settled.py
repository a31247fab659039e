"""The end of a run: what each node answered when all updates were over and all faults were healed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import Any

import msgspec

from checkers.relaxed.identity import identity
from checkers.windows import fault_windows
from histories.history import History
from histories.op import NEMESIS, Op

READ = "read"
LOOKS = frozenset({READ, "contains"})
"""Operations that change nothing."""
Compared = Callable[[Any], Hashable]


class FinalReads(msgspec.Struct, frozen=True):
    """The reads of one key that count. last: node -> its last one. first_ns: when the first of all was invoked. agreed_ns: when the
    first was invoked from which on all returned the same; None where they never did. is_torn: the last reads of clients differ, and
    do not say which node answered."""

    key: Any
    last: dict[str, Op]
    first_ns: int
    agreed_ns: int | None
    is_torn: bool = False


class Settled(msgspec.Struct, frozen=True):
    """quiet_ns: when the last fault op ended. finals: by key, of those that were read in the end. unread: keys with updates and
    without such a read. nodes: all that answered a client at any time, sorted. readers_count: how many processes made final
    reads. standing: the titles of faults that were not seen to end; then no read is final, for nodes may still be cut off."""

    quiet_ns: int
    finals: dict[Hashable, FinalReads]
    unread: tuple[Any, ...]
    nodes: tuple[str, ...]
    readers_count: int
    standing: tuple[str, ...] = ()


def settled(history: History, compared: Compared = identity) -> Settled:
    """The final reads: those that ended ok, and were invoked when the last fault op and the last update of any key had ended, where
    each fault was seen to end. The order of the history counts, which tells apart what a coarse clock does not.

    An update of unknown outcome has ended when its client gave it up. Values are compared as `compared` gives them. Read once for
    all checkers that ask.
    """
    return history.remembered(("settled", compared), lambda: _settled(history, compared))


def _settled(history: History, compared: Compared) -> Settled:
    quiet_ns, begin = 0, 0
    updated: dict[Hashable, None] = {}
    names: dict[Hashable, Any] = {}
    nodes: set[str] = set()
    pending: dict[Any, tuple[int, Op]] = {}
    reads: list[tuple[int, Op, Op]] = []
    for position, op in enumerate(history):
        if op.process == NEMESIS:
            quiet_ns, begin = max(quiet_ns, op.time), position
            continue
        if op.type == "invoke":
            at, invoked = pending[op.process] = position, op
        else:
            at, invoked = pending.pop(op.process)
            if op.type == "ok":
                if op.node is not None:
                    nodes.add(op.node)
                if invoked.f == READ:
                    reads.append((at, invoked, op))
        if invoked.f not in LOOKS:
            key = identity(invoked.key)
            names.setdefault(key, invoked.key)
            updated[key], begin = None, position
    standing = tuple(window.title for window in fault_windows(history) if window.lifted_ns is None)
    of_key: dict[Hashable, list[tuple[Op, Op]]] = {}
    for at, invoked, done in sorted(reads, key=itemgetter(0)):
        if at >= begin and not standing:
            key = identity(invoked.key)
            names.setdefault(key, invoked.key)
            of_key.setdefault(key, []).append((invoked, done))
    finals = {key: _final(names[key], pairs, compared) for key, pairs in of_key.items()}
    readers = {done.process for pairs in of_key.values() for _, done in pairs}
    unread = tuple(names[key] for key in updated if key not in finals)
    return Settled(quiet_ns, finals, unread, tuple(sorted(nodes)), len(readers), standing)


def _final(key: Any, pairs: list[tuple[Op, Op]], compared: Compared) -> FinalReads:
    last = {done.node or "": done for _, done in pairs}
    if len(last) > 1:
        last.pop("", None)  # Another read may be the later one of the same node.
    agreed_ns: int | None = None
    value = compared(pairs[-1][1].value)
    for invoked, done in reversed(pairs):
        if compared(done.value) != value:
            break
        agreed_ns = invoked.time
    if len({compared(done.value) for done in last.values()}) > 1:
        agreed_ns = None
    unplaced = {compared(done.value) for done in {d.process: d for _, d in pairs if d.node is None}.values()}
    placed = {compared(done.value) for node, done in last.items() if node} if unplaced else set()
    return FinalReads(key, last, pairs[0][0].time, agreed_ns, len(unplaced | placed) > 1)


def unordered(value: Any) -> Hashable:
    """A set's elements, in whatever order they were returned."""
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset(map(identity, value))
    return identity(value)
