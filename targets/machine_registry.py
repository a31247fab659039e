"""Machines by the name of their interface: the built-in ones, and those of entry point group `themis.machines`."""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata

from targets.machines.machine import Machine

BUILT_IN = {
    "kv": "targets.machines.kv:KvMachine",
    "bank": "targets.machines.bank:BankMachine",
    "counter": "targets.machines.counter:CounterMachine",
    "set": "targets.machines.sets:SetMachine",
    "queue": "targets.machines.fifo_queue:QueueMachine",
    "stack": "targets.machines.stack:StackMachine",
    "priority-queue": "targets.machines.priority_queue:PriorityQueueMachine",
    "lock": "targets.machines.lock:LockMachine",
    "consensus": "targets.machines.consensus:ConsensusMachine",
}

MEMBERS = ("name", "command_type", "result_type", "apply", "query", "snapshot", "restore")


def names() -> frozenset[str]:
    """Every interface that there is a machine for."""
    return frozenset(BUILT_IN.keys() | _entry_points().keys())


def find(interface: str) -> type[Machine]:
    """The class of the machine with this interface.

    Raises ValueError when no machine has this interface, or when the object that has is no machine; ImportError or AttributeError
    when it cannot be loaded.
    """
    path = BUILT_IN.get(interface) or _entry_points().get(interface)
    if path is None:
        raise ValueError(f"no machine has the interface {interface!r}; there are {', '.join(sorted(names()))}")
    module, _, attribute = path.partition(":")
    machine: type[Machine] = getattr(importlib.import_module(module), attribute)
    if lacking := [member for member in MEMBERS if not hasattr(machine, member)]:
        raise ValueError(f"{path} is no machine (targets.machines.machine): it lacks {', '.join(lacking)}")
    return machine


@cache
def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group="themis.machines")}
