"""The learner: it knows what was chosen, and never forgets it while it runs (PMS §2.3)."""

from __future__ import annotations

from typing import Any

from histories.tracing import Chosen as ChosenEvent
from targets.core import Effect, Persist, Trace
from targets.machines.machine import Key
from targets.paxos.single.records import Learned
from targets.paxos.single.slots import slot_of


class Learner:
    """What is known to be chosen, by key."""

    def __init__(self) -> None:
        self._chosen: dict[Key, Any] = {}

    def __len__(self) -> int:
        return len(self._chosen)

    def __contains__(self, key: Key) -> bool:
        return key in self._chosen

    def value(self, key: Key) -> Any:
        """What is known to be chosen; None: nothing."""
        return self._chosen.get(key)

    def recover(self, record: Learned) -> None:
        """The disk holds this."""
        self._chosen[record.key] = record.value

    def learn(self, key: Key, value: Any, out: list[Effect]) -> None:
        """`value` is chosen. Who knows that already learns nothing, and only a planted bug ever brings another value."""
        if key in self._chosen and self._chosen[key] == value:
            return
        out.append(Trace(ChosenEvent(slot_of(key), value)))
        if key not in self._chosen:
            self._chosen[key] = value
            out.append(Persist(Learned(key, value)))
