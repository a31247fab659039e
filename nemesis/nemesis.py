"""The nemesis of one run: routes each op to its fault, gives up on one that is stuck, and heals everything at the end.

With a time-out each op runs in a thread of its own, which a stuck one keeps; that fault then answers nothing but
indeterminate until the call comes back. Without one (the simulation) everything runs in the caller's thread.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from histories.op import Op
from nemesis.capabilities import Cluster, FaultError
from nemesis.fault import Fault, FaultResult


class Nemesis:
    """Faults of one run. `invoke` and `heal_all` are for one caller at a time; `fault_in_force` is for any thread."""

    def __init__(self, cluster: Cluster, faults: Sequence[Fault], *, timeout_s: float | None = None) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s: {timeout_s} is not positive")
        self.cluster = cluster
        self.faults = tuple(faults)
        self.timeout_s = timeout_s
        self._asked: set[str] = set()
        self._stuck: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._in_force: dict[str, str] = {}
        names = [fault.name for fault in faults]
        if len(set(names)) != len(names):
            raise ValueError(f"faults: {', '.join(names)} has one name twice")

    def invoke(self, op: Op) -> FaultResult:
        """Do what `op` asks. An operating error or a time-out is `indeterminate`, with why.

        Raises ValueError for an op that none of the faults takes: that is a mistake of the program, not of the cluster.
        """
        for fault in self.faults:
            if op.f in fault.fs:
                self._asked.add(fault.name)
                return self._run(fault, partial(fault.invoke, op), did=op.value)
        known = sorted(f for fault in self.faults for f in fault.fs)
        raise ValueError(f"no fault takes the op {op.f!r} (ops: {', '.join(known)})")

    def heal_all(self) -> dict[str, FaultResult]:
        """Heal every fault, in order, whatever became of the others: fault name -> what was measured.

        A fault that was never asked anything is skipped: a run that ended before its first fault changes nothing here.
        Never raises: also a mistake of the program in one heal must not leave another fault in force.
        """
        healed: dict[str, FaultResult] = {}
        for fault in self.faults:
            if fault.name not in self._asked:
                healed[fault.name] = FaultResult("skipped", why="no op of this fault was run")
                continue
            try:
                healed[fault.name] = self._heal(fault)
            except Exception:  # noqa: BLE001
                healed[fault.name] = FaultResult("indeterminate", why=f"the heal crashed: {traceback.format_exc()}")
        return healed

    def fault_in_force(self) -> str:
        """What the faults do to the cluster now, in a few words; empty when nothing. For the live line."""
        with self._lock:
            return ", ".join(words for words in self._in_force.values() if words)

    def _heal(self, fault: Fault) -> FaultResult:
        late = self._late(fault)
        if late is None:
            return self._run(fault, fault.heal, did=None)
        # Healed all the same: what can be undone is. But when the stuck call comes back it may break things again.
        del self._stuck[fault.name]
        result = self._run(fault, fault.heal, did=None)
        self._stuck.setdefault(fault.name, late)
        why = "an earlier op of this fault is still stuck and may yet take effect"
        return FaultResult("indeterminate", result.did, result.evidence, f"{why}; {result.why}" if result.why else why)

    def _late(self, fault: Fault) -> threading.Thread | None:
        """The thread that this fault's stuck op holds, given once more the time-out to end; None when there is none."""
        thread = self._stuck.get(fault.name)
        if thread is not None:
            thread.join(self.timeout_s)
            if thread.is_alive():
                return thread
            del self._stuck[fault.name]
        return None

    def _run(self, fault: Fault, act: Callable[[], FaultResult], did: object) -> FaultResult:
        if fault.name in self._stuck and self._stuck[fault.name].is_alive():
            return FaultResult("indeterminate", did=did, why="an earlier op of this fault is still stuck")
        self._stuck.pop(fault.name, None)
        result = _guarded(act, did) if self.timeout_s is None else self._timed(fault, act, did, self.timeout_s)
        with self._lock:
            self._in_force[fault.name] = fault.in_force
        return result

    def _timed(self, fault: Fault, act: Callable[[], FaultResult], did: object, timeout_s: float) -> FaultResult:
        ended: list[FaultResult | Exception] = []

        def work() -> None:
            try:
                ended.append(_guarded(act, did))
            # Carried to the caller's thread, which raises it.
            except Exception as error:  # noqa: BLE001
                ended.append(error)

        thread = threading.Thread(target=work, name=f"nemesis-{fault.name}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if not ended:
            self._stuck[fault.name] = thread
            return FaultResult("indeterminate", did=did, why=f"given up after {timeout_s:g} s")
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]


def _guarded(act: Callable[[], FaultResult], did: object) -> FaultResult:
    """What `act` returns; indeterminate when the environment could not."""
    try:
        return act()
    except (FaultError, OSError) as error:
        why = f"{type(error).__name__}: {error}" if str(error) else traceback.format_exception_only(error)[-1].strip()
        return FaultResult("indeterminate", did=did, why=why)
