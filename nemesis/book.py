"""Records for each node which faults have begun on it, are in force, are being lifted, and are over.

All faults of a run share one book: a `start` ends whatever holds a node dead, whichever fault killed it. A fault writes down what
it is about to do before it does it, so that after a crash or a time-out in the middle the book still says that it may be in
force. `Nemesis` copies what an op wrote into the op's result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping

from histories.faults import Begun, Ended, Lift, Onset
from nemesis.capabilities import NodeId, ProcessState, Spans


class FaultBook:
    """The faults of one run. now_ns: the run's clock (`Cluster.now_ns`). Safe to use from several threads."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.lock = threading.RLock()
        self._count = 0
        self._open: dict[str, OpenFault] = {}
        self._begun: dict[str, OpenFault] = {}
        self._ended: dict[str, dict[NodeId, Lift]] = {}

    def begin(
        self,
        name: str,
        nodes: Iterable[NodeId],
        *,
        what: str = "",
        holds: ProcessState | None = None,
        damages: bool = False,
    ) -> OpenFault:
        """A new fault that may be in force on these nodes from now on. Call it just before the fault is done.

        name: what the command line calls it, such as "kill" or "disk:truncate". what: a few words for a person where name and nodes
        do not say it all. holds: the state that it keeps the nodes' processes in. damages: it changes the nodes' data for good.
        """
        began_ns = self.now_ns()
        with self.lock:
            self._count += 1
            fault = OpenFault(
                self,
                f"{name.partition(':')[0]}-{self._count}",
                name,
                {node: Onset(began_ns) for node in sorted(nodes)},
                what,
                holds,
                damages,
            )
            if fault.onsets:
                self._open[fault.id] = self._begun[fault.id] = fault
            return fault

    def open(self, name: str) -> list[OpenFault]:
        """The faults of this name, with any variant or none, that are not over; in the order in which they began."""
        with self.lock:
            return [fault for fault in self._open.values() if name in (fault.name, fault.name.partition(":")[0])]

    def has_others(self, name: str) -> bool:
        """Whether a fault of another name is not over."""
        with self.lock:
            return any(fault.name.partition(":")[0] != name for fault in self._open.values())

    def holding(self, state: ProcessState, nodes: Collection[NodeId]) -> list[OpenFault]:
        """The faults that hold one of these nodes in this state, whoever began them."""
        with self.lock:
            return [f for f in self._open.values() if f.holds == state and not f.nodes.isdisjoint(nodes)]

    def taken(self) -> tuple[tuple[Begun, ...], tuple[Ended, ...]]:
        """What began and what ended since the last call."""
        with self.lock:
            begins = tuple(
                Begun(fault.id, fault.name, dict(fault.onsets), fault.what, fault.damages)
                for fault in self._begun.values()
                if fault.onsets
            )
            ends = tuple(Ended(id, {n: lifts[n] for n in sorted(lifts)}) for id, lifts in self._ended.items())
            self._begun.clear()
            self._ended.clear()
            return begins, ends

    def _note(self, fault: OpenFault, *, begun: bool = False, lifts: Mapping[NodeId, Lift] | None = None) -> None:
        if begun:
            self._begun[fault.id] = fault
        if lifts:
            self._ended.setdefault(fault.id, {}).update(lifts)
            if not fault.nodes:
                self._open.pop(fault.id, None)


class OpenFault:
    """A fault from its beginning to its end. Each method is about the nodes that it is given (None: all that are left). The time
    that it writes down for a node is the one of its span, where the environment measured one; else at_ns; else now."""

    def __init__(
        self,
        book: FaultBook,
        id: str,
        name: str,
        onsets: dict[NodeId, Onset],
        what: str,
        holds: ProcessState | None,
        damages: bool,
    ) -> None:
        self.id, self.name, self.what, self.holds, self.damages = id, name, what, holds, damages
        self.onsets = onsets
        self._book = book
        self._lifting_ns: dict[NodeId, int] = {}
        self._left = set(onsets)

    @property
    def nodes(self) -> frozenset[NodeId]:
        """The nodes from which it is not yet lifted."""
        return frozenset(self._left)

    def in_force(
        self, nodes: Collection[NodeId] | None = None, spans: Spans | None = None, at_ns: int | None = None
    ) -> None:
        """These nodes were seen to be under the fault."""
        now_ns = self._book.now_ns() if at_ns is None else at_ns
        with self._book.lock:
            for node in self._named(nodes):
                span = None if spans is None else spans.get(node)
                began_ns = self.onsets[node].began_ns
                if span is None:
                    self.onsets[node] = Onset(began_ns, now_ns)
                else:
                    self.onsets[node] = Onset(max(began_ns, span.begin_ns), max(began_ns, span.end_ns))
            self._book._note(self, begun=True)

    def lifting(self, nodes: Collection[NodeId] | None = None) -> None:
        """It is about to be lifted from these nodes. Call it just before that is done."""
        now_ns = self._book.now_ns()
        with self._book.lock:
            named = self._named(nodes)
            self._lifting_ns.update(dict.fromkeys(named, now_ns))
            self._book._note(self, lifts={node: Lift(now_ns) for node in named})

    def lifted(
        self, nodes: Collection[NodeId] | None = None, spans: Spans | None = None, at_ns: int | None = None
    ) -> None:
        """These nodes were seen to be free of it."""
        now_ns = self._book.now_ns() if at_ns is None else at_ns
        with self._book.lock:
            lifts: dict[NodeId, Lift] = {}
            for node in self._named(nodes):
                span = None if spans is None else spans.get(node)
                if span is None:
                    lifts[node] = Lift(self._lifting_ns.get(node, now_ns), now_ns)
                else:
                    lifts[node] = Lift(span.begin_ns, span.end_ns)
            self._left -= lifts.keys()
            self._book._note(self, lifts=lifts)

    def spared(self, nodes: Collection[NodeId] | None = None) -> None:
        """It is known that these nodes never came under it, as where what was asked for was refused."""
        with self._book.lock:
            if self.id not in self._book._begun:  # A result has told that it may be in force there.
                self.lifted(nodes)
                return
            for node in self._named(nodes):
                del self.onsets[node]
            self._left &= self.onsets.keys()
            self._book._note(self, begun=True)
            if not self._left:
                self._book._open.pop(self.id, None)

    def _named(self, nodes: Collection[NodeId] | None) -> list[NodeId]:
        return sorted(self._left if nodes is None else self._left.intersection(nodes))
