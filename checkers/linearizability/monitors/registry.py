"""Which monitor a model has. Exactly the built-in class: a subclass may behave otherwise, so it goes to the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from checkers.linearizability import native
from checkers.linearizability.encode import Entries
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
    """The pure monitor; its twin has the native order of blocks, and what native.registers decides alone it decides first."""
    if native.registers is None:
        return Twins(name, pure, None)
    alone = {
        register.decide: (native.registers.register,),
        append_list.decide_list: (native.registers.appended,),
        append_list.decide_kv: (native.registers.register, native.registers.appended),
    }
    return Twins(name, pure, partial(_first, alone[pure], partial(pure, arranging=native.registers.arrange)))


def _first(
    alone: Sequence[Callable[[Entries, Model], Decision | None]], rest: Monitor, entries: Entries, model: Model
) -> Decision:
    """What the first of them decides that does, else the rest."""
    for each in alone:
        if (decision := each(entries, model)) is not None:
            return decision
    return rest(entries, model)


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
