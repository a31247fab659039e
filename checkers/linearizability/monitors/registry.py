"""Which monitor a model has. Exactly the built-in class: a subclass may behave otherwise, so it goes to the search."""

from __future__ import annotations

from checkers.linearizability import native
from checkers.linearizability.monitors import fifo, lifo, priority, sets
from checkers.linearizability.monitors.monitor import Monitor, Twins
from checkers.models.containers import FifoQueue, LifoStack, PriorityQueue, SetModel
from checkers.models.model import Model


def _twins(name: str, pure: Monitor) -> Twins:
    """The pure monitor and its twin, which is called as the pure one's module."""
    twin: Monitor | None = getattr(native.monitors, pure.__module__.rpartition(".")[2], None)
    return Twins(name, pure, twin)


MONITORS: dict[type[Model], Twins] = {
    FifoQueue: _twins("queue monitor", fifo.decide),
    LifoStack: _twins("stack monitor", lifo.decide),
    PriorityQueue: _twins("priority queue monitor", priority.decide),
    SetModel: _twins("set monitor", sets.decide),
}
"""Class of the model -> its monitor."""


def monitor_of(model: Model) -> Twins | None:
    """The monitor of the model's own class; None when it has none."""
    return MONITORS.get(type(model))
