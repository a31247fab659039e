"""Which monitor a model has. Exactly the built-in class: a subclass may behave otherwise, so it goes to the search."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from checkers.linearizability import native
from checkers.linearizability.monitors import append_list, copies, fifo, lifo, priority, register, sets
from checkers.linearizability.monitors.monitor import Copies, Decision, Monitor, Parts, Twins
from checkers.models.containers import FifoQueue, LifoStack, ListAppend, PriorityQueue, SetModel
from checkers.models.model import Model
from checkers.models.register import CasRegister, KeyValue, Register


def _twins(name: str, pure: Monitor, parts: Parts | None = None, copying: Copies | None = None) -> Twins:
    """The pure monitor and its twin, which is called as the pure one's module."""
    twin: Monitor | None = getattr(native.monitors, pure.__module__.rpartition(".")[2], None)
    return Twins(name, pure, twin, parts, copying)


def _arranging(name: str, pure: Callable[..., Decision]) -> Twins:
    """The monitor with the pure and with the native order of blocks."""
    twin = None if native.registers is None else partial(pure, arranging=native.registers.arrange)
    return Twins(name, pure, twin)


MONITORS: dict[type[Model], Twins] = {
    FifoQueue: _twins("queue monitor", fifo.decide, copying=copies.decide),
    LifoStack: _twins("stack monitor", lifo.decide),
    PriorityQueue: _twins("priority queue monitor", priority.decide, copying=copies.decide),
    SetModel: _twins("set monitor", sets.decide, sets.parts),
    Register: _arranging("register monitor", register.decide),
    CasRegister: _arranging("register monitor", register.decide),
    KeyValue: _arranging("key-value monitor", append_list.decide_kv),
    ListAppend: _arranging("list monitor", append_list.decide_list),
}
"""Class of the model -> its monitor."""


def monitor_of(model: Model) -> Twins | None:
    """The monitor of the model's own class; None when it has none."""
    return MONITORS.get(type(model))
