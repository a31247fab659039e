"""The nemesis of one run: routes each op to its fault, gives up on one that is stuck, and heals everything at the end.

With a time-out each op runs in a thread of its own; a stuck op keeps its thread. The next ops are done all the same: the stuck op
may wait for one of them. Where both concern one node, the later op's measurement proves nothing, because the stuck op may yet take
effect: then the later op is indeterminate. Without a time-out (the simulation) everything runs in the caller's thread.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from histories.faults import FaultResult
from histories.op import Op
from nemesis.book import FaultBook
from nemesis.capabilities import Cluster, FaultError, NodeId
from nemesis.family import Family
from nemesis.fault import Fault


class _Stuck(msgspec.Struct, frozen=True):
    """An op that was given up: its thread, what it was, and the nodes it was asked to act on."""

    thread: threading.Thread
    what: str
    nodes: frozenset[NodeId]


class Nemesis:
    """The faults of one run, made by its families. `invoke` is for one caller at a time."""

    def __init__(self, cluster: Cluster, families: Iterable[Family], *, timeout_s: float | None = None) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s: {timeout_s} is not positive")
        self.cluster = cluster
        self.timeout_s = timeout_s
        self.book = FaultBook(cluster.now_ns)
        self.faults = _built(families, cluster, self.book)
        self._is_busy = threading.RLock()
        """Held by who does an op. A driver that failed leaves the op that it had begun to its thread."""
        self._asked: set[str] = set()
        self._stuck: dict[str, list[_Stuck]] = {}
        names = [fault.name for fault in self.faults]
        if len(set(names)) != len(names):
            raise ValueError(f"faults: {', '.join(names)} has one name twice")

    def invoke(self, op: Op) -> FaultResult:
        """Do what `op` asks. After an operating error or a time-out the result is `indeterminate` and says why.

        Raises ValueError for an op that none of the faults takes: that is a mistake of the program, not of the cluster.
        """
        for fault in self.faults:
            if op.f in fault.fs:
                self._asked.add(fault.name)
                nodes = _named(op.value, self.cluster.nodes)
                with self._is_busy:
                    result = self._run(
                        fault, partial(fault.invoke, op), f"{op.f} {' '.join(sorted(nodes))}", nodes, op.value
                    )
                stuck = [late.what for late in self._still_stuck(fault) if not late.nodes.isdisjoint(nodes)]
                return _doubted(result, stuck) if stuck and not result.why.startswith(GIVEN_UP) else result
        known = sorted(f for fault in self.faults for f in fault.fs)
        raise ValueError(f"no fault takes the op {op.f!r} (ops: {', '.join(known)})")

    def heal_all(self) -> dict[str, FaultResult]:
        """Heal every fault, in order, even when another one failed to heal. Returns fault name -> what was measured.

        A fault that did no op is skipped: a run that ended before its first fault changes nothing here. Waits for an op that is
        being done, which would else break again what is healed. Never raises: a mistake of the program in one heal must not leave
        another fault in force.
        """
        with self._is_busy:
            return self._healed()

    def _healed(self) -> dict[str, FaultResult]:
        healed: dict[str, FaultResult] = {}
        for fault in self.faults:
            if fault.name in self._asked:
                healed[fault.name] = self._healed_one(fault)
            else:
                healed[fault.name] = FaultResult("skipped", why="no op of this fault was run")
        for fault in self.faults:
            # What was to be measured on a node that only a later heal has started.
            if self.book.open(fault.name) and healed[fault.name].status != "indeterminate":
                healed[fault.name] = self._healed_one(fault)
        return healed

    def _healed_one(self, fault: Fault) -> FaultResult:
        try:
            return self._heal(fault)
        except Exception:  # noqa: BLE001 - the other faults must be healed whatever this one does
            return FaultResult("indeterminate", why=f"the heal crashed: {traceback.format_exc()}")

    def _heal(self, fault: Fault) -> FaultResult:
        for late in self._still_stuck(fault):
            late.thread.join(self.timeout_s)
        before = self._still_stuck(fault)
        # The heal undoes what it can all the same. But when the stuck op comes back it may break things again: hence the doubt.
        result = self._run(fault, fault.heal, "the heal", frozenset(self.cluster.nodes), None)
        return _doubted(result, [late.what for late in before]) if before else result

    def _still_stuck(self, fault: Fault) -> list[_Stuck]:
        """The ops of this fault that were given up and have not come back."""
        alive = [late for late in self._stuck.get(fault.name, []) if late.thread.is_alive()]
        self._stuck[fault.name] = alive
        return alive

    def _run(
        self, fault: Fault, act: Callable[[], FaultResult], what: str, nodes: frozenset[NodeId], did: object
    ) -> FaultResult:
        if self.timeout_s is None:
            result = _guarded(act, did)
        else:
            result = self._timed(fault, act, _Asked(what, nodes, did), self.timeout_s)
        begins, ends = self.book.taken()
        return msgspec.structs.replace(result, begins=begins, ends=ends)

    def _timed(self, fault: Fault, act: Callable[[], FaultResult], asked: _Asked, timeout_s: float) -> FaultResult:
        ended: list[FaultResult | Exception] = []

        def work() -> None:
            try:
                ended.append(_guarded(act, asked.did))
            # Carried to the caller's thread, which raises it.
            except Exception as error:  # noqa: BLE001
                ended.append(error)

        thread = threading.Thread(target=work, name=f"nemesis-{fault.name}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if not ended:
            self._stuck.setdefault(fault.name, []).append(_Stuck(thread, asked.what, asked.nodes))
            return FaultResult("indeterminate", did=asked.did, why=f"{GIVEN_UP} {timeout_s:g} s")
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]


GIVEN_UP = "given up after"


class _Asked(msgspec.Struct, frozen=True):
    """An op in words, the nodes it is to act on, and its value."""

    what: str
    nodes: frozenset[NodeId]
    did: Any


def _built(families: Iterable[Family], cluster: Cluster, book: FaultBook) -> tuple[Fault, ...]:
    """The fault of each family, in order; families share one fault when it takes the ops of both."""
    faults: list[Fault] = []
    for family in families:
        if not any(family.fs <= fault.fs for fault in faults):
            faults.append(family.build(cluster, book))
    return tuple(faults)


def _named(value: Any, nodes: Sequence[NodeId]) -> frozenset[NodeId]:
    """The nodes of the cluster that an op's value names; all of them where it names none."""
    named = value.get("nodes") if isinstance(value, dict) else value
    found = frozenset(named) & frozenset(nodes) if isinstance(named, list | tuple) else frozenset()
    return found or frozenset(nodes)


def _doubted(result: FaultResult, stuck: Sequence[str]) -> FaultResult:
    """The result of an op on nodes that an op which was given up may yet act on."""
    why = f"an earlier op ({', '.join(stuck)}) is still stuck and may yet take effect"
    return msgspec.structs.replace(result, status="indeterminate", why=f"{why}; {result.why}" if result.why else why)


def _guarded(act: Callable[[], FaultResult], did: object) -> FaultResult:
    """What `act` returns; indeterminate when the environment could not do it."""
    try:
        return act()
    except (FaultError, OSError) as error:
        why = f"{type(error).__name__}: {error}" if str(error) else traceback.format_exception_only(error)[-1].strip()
        return FaultResult("indeterminate", did=did, why=why)
