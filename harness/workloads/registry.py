"""Workloads by name: the built-in ones, those of entry point group `themis.workloads`, and `package.module:Name`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from importlib import metadata

from harness.workloads.base import Workload
from harness.workloads.claims import ClaimChecker
from targets import declared

BUILT_IN = {
    "register": "harness.workloads.register:RegisterWorkload",
    "counter": "harness.workloads.counter:CounterWorkload",
    "set": "harness.workloads.sets:SetWorkload",
    "queue": "harness.workloads.fifo_queue:QueueWorkload",
    "stack": "harness.workloads.stack:StackWorkload",
    "priority-queue": "harness.workloads.priority_queue:PriorityQueueWorkload",
    "lock": "harness.workloads.lock:LockWorkload",
    "append": "harness.workloads.append:AppendWorkload",
    "txn-append": "harness.workloads.transactions:AppendTransactions",
    "txn-register": "harness.workloads.transactions:RegisterTransactions",
    "bank": "harness.workloads.bank:BankWorkload",
    "long-fork": "harness.workloads.isolation:LongFork",
    "write-skew": "harness.workloads.isolation:WriteSkew",
    "causal-reverse": "harness.workloads.isolation:CausalReverse",
    "dirty-reads": "harness.workloads.isolation:DirtyReads",
    "monotonic": "harness.workloads.isolation:Monotonic",
    "consensus": "harness.workloads.consensus:ConsensusWorkload",
    "shared-registers": "harness.workloads.shared:SharedRegisters",
    "shared-counters": "harness.workloads.shared:SharedCounters",
    "shared-sets": "harness.workloads.shared:SharedSets",
    "unique-ids": "harness.workloads.ids:UniqueIds",
}

OPTIONAL = {"checkers": Sequence[ClaimChecker], "commands": Callable}
"""The types of the members that a workload may have beside those that it must have."""


def _known() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group="themis.workloads")} | BUILT_IN


def names() -> list[str]:
    """Every name that `find` knows without a module path, sorted."""
    return sorted(_known())


def find(name: str) -> Workload:
    """The workload called `name`, or at `package.module:Name`; a class is instantiated.

    Raises LookupError when there is no such workload; ImportError or AttributeError when its module cannot be loaded; ValueError,
    naming the member that is missing or does not fit, when that object is no workload.
    """
    path = _known().get(name, name)
    module, colon, attribute = path.partition(":")
    if not (module and colon and attribute):
        raise LookupError(name)
    found = getattr(importlib.import_module(module), attribute)
    if inspect.isclass(found):
        found = found()
    declared.require(found, Workload, OPTIONAL)
    assert isinstance(found, Workload), "it has every member"
    return found
