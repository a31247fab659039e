"""What a compact form of a model's states offers to the search."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol


class Compact(Protocol):
    """The states of a model in another form, for operations known by number. Equal exactly where the model's own are."""

    def initial(self) -> Hashable:
        """As Model.initial."""
        ...

    def step(self, state: Any, op: int) -> tuple[Hashable, ...]:
        """As Model.step, for the operation of that number."""
        ...

    def can_reach(self, state: Any, op: int) -> bool:
        """As Model.can_reach."""
        ...

    def plain(self, state: Any) -> Hashable:
        """The model's own state."""
        ...
