"""Which monitor a model has. Exactly the built-in class: a subclass may behave otherwise, so it goes to the search."""

from __future__ import annotations

from checkers.linearizability.monitors.monitor import Twins
from checkers.models.model import Model

MONITORS: dict[type[Model], Twins] = {}
"""Class of the model -> its monitor."""


def monitor_of(model: Model) -> Twins | None:
    """The monitor of the model's own class; None when it has none."""
    return MONITORS.get(type(model))
