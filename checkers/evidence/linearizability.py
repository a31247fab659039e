"""Evidence of the linearizability checker: an order that is legal, or what fits none."""

from __future__ import annotations

from typing import Any

from checkers.evidence.kind import Kind, Part
from checkers.evidence.witness import Witness


class PossibleState(Part, frozen=True):
    """A state that was still possible just before the failed operation returned.

    because: why it does not allow that operation. after: the operation that brought it about; None where none did.
    linearized, pending, crashed: `invoke` indices of the operations that were open and had taken effect, had not yet,
    and of those of unknown outcome that had.
    """

    state: Any
    in_words: str
    because: str
    after: Witness | None = None
    linearized: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    crashed: tuple[int, ...] = ()


class MinimalCore(Part, frozen=True):
    """A few operations that cannot be explained even alone.

    cut_count, projected_count, dropped_count, removed_count, weakened_count: how many operations each step of the
    reduction took away (checkers/linearizability/reduce.py). is_minimal: without any of them the rest is legal.
    limit: why it may be longer than it need be, where it is not minimal. confirmed_by: the algorithm that did not find
    it, and refutes it as well; "nothing else: ..." with the reason where none could in time.
    """

    operations: tuple[Witness, ...]
    confirmed_by: str
    is_minimal: bool
    limit: str = ""
    cut_count: int = 0
    projected_count: int = 0
    dropped_count: int = 0
    removed_count: int = 0
    weakened_count: int = 0


class Refutation(Part, frozen=True):
    """One key whose history no order explains.

    reason: one sentence. failed: the operation that does not fit; every order died at its return. is_shortest: no
    shorter prefix fails. linearizable_up_to: how many completed operations can be explained together.
    possible_is_complete: `possible` are all states. fits_after: the last operation after which the failed one would
    have fitted. fits_initially: it would have fitted in the initial state. minimal: None when nothing short could be
    refuted; `unfinished` says why. error: the traceback when the explanation itself failed; the refutation stands all
    the same.
    """

    key: Any
    reason: str
    failed: Witness
    is_shortest: bool
    linearizable_up_to: int
    possible: tuple[PossibleState, ...] = ()
    possible_is_complete: bool = False
    fits_after: Witness | None = None
    fits_initially: bool = False
    minimal: MinimalCore | None = None
    unfinished: str = ""
    error: str = ""


class Undecided(Part, frozen=True):
    """One key that was not decided, why, and how far it can be explained. traceback: where the model raised."""

    key: Any
    reason: str
    linearizable_up_to: int = 0
    traceback: str = ""


class Order(Part, frozen=True):
    """One key's certificate: the indices of its invocations in an order that the model allows."""

    key: Any
    order: tuple[int, ...]


class Linearizability(Kind, frozen=True, tag="linearizability"):
    """What the search found for each key. orders: for VALID, where the history is not too long for them."""

    model: str
    refuted: tuple[Refutation, ...] = ()
    undecided: tuple[Undecided, ...] = ()
    orders: tuple[Order, ...] = ()
