"""What a search found out about one key's history, raw: positions and states, no prose beyond the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.models.model import State
from checkers.verdict import Validity


class Configuration(msgspec.Struct, frozen=True):
    """One way in which the prefix before a return event can have happened.

    state: the model's state after everything linearized so far.
    linearized: positions (in the entries) of the operations that are open at the event and already took effect.
    pending: positions of those that are open and did not take effect yet, the one that returns at the event among them.
    crashed: positions of the crashed operations that took effect.
    """

    state: State
    linearized: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    crashed: tuple[int, ...] = ()


class SearchResult(msgspec.Struct, frozen=True):
    """The outcome of one search.

    linearization: for VALID, the positions (in the entries) in an order that the model allows; completed operations all
        appear, crashed ones only where their effect was needed. For UNKNOWN and INVALID, None.
    failed_at: for INVALID, the position of the operation that cannot be linearized: every way to explain the history
        died at its return. The prefix that ends there is the shortest that fails when `is_shortest`; otherwise a
        shorter one may fail too.
    core: for INVALID, where a monitor decided: positions of a sub-history that is not linearizable by itself. `failed_at`
        is then the operation of the core that returns last. Empty where a search decided.
    final_configurations: for INVALID, a bounded sample of the configurations that were still possible just before that
    return. stats: configurations explored, ns, `core` ("native" or "pure") and which search decided.
    reason: for UNKNOWN, why it was not decided and how far it got.
    linearizable_up_to: how many return events, in order, were explained together.
    traceback: where the model's `step` raised, for UNKNOWN.
    """

    validity: Validity
    linearization: Sequence[int] | None = None
    failed_at: int | None = None
    is_shortest: bool = True
    core: tuple[int, ...] = ()
    final_configurations: tuple[Configuration, ...] = ()
    stats: dict[str, Any] = {}
    reason: str = ""
    linearizable_up_to: int = 0
    traceback: str = ""
