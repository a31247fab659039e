"""A model is a sequential specification: which results an object may give when its operations happen one after another.

Writing your own takes one class with `name`, `fs`, `initial` and `step`; `--model package.module:Name` loads it, and
fills in what it leaves out of the other members. docs/models.md shows one from beginning to end.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from checkers.models.compact_form import Compact

State = Hashable


class Operation(msgspec.Struct, frozen=True):
    """One operation as a model sees it; everything is hashable (lists became tuples).

    argument: the invocation's value. result: the completion's value; None when `is_known` is false.
    is_known: the operation ended `ok` and its result constrains it. False for an `info`: it may happen at any later
        time or never.
    is_refused: the operation ended `fail` and the checker was asked to take that as an observation (a failed cas).
    """

    f: str
    argument: Any = None
    result: Any = None
    is_known: bool = True
    is_refused: bool = False


def speaks_for(model: object, hook: str) -> bool:
    """Whether the model's `hook` was written for its `step`: not by a base class whose `step` it has replaced.

    Asked for the hooks that a wrong answer of makes wrong verdicts of, and that users hardly think of when they derive a
    model from another.
    """
    owners = type(getattr(model, "inner", model)).__mro__
    step, own = (next((i for i, each in enumerate(owners) if name in vars(each)), None) for name in ("step", hook))
    return step is not None and own is not None and own <= step and owners[own] is not Model


@runtime_checkable
class Model(Protocol):
    """A sequential specification. Pure: `step` must give the same answer for equal arguments, and change nothing.

    A derived model that has a `step` of its own does not inherit `can_reach`, `leads_to`, `touches` and `compact`: see
    `speaks_for`.

    Laws, which the checkers rely on (checkers/tests/test_models.py tests them for every built-in model):

    1. An operation that is not known can do whatever it could have done with some result: a legal history stays legal
       when an `ok` operation in it is taken for one that may or may not have happened.
    2. A refused operation (`is_refused`) changes nothing: `step` gives the same state, or none where it could not have
       been refused.
    3. An operation for which `is_pure` is true leaves every state as it is, or is impossible there; one for which
       `is_reset` is true leads from every state to one and the same.
    4. Leaving out every operation of one `component` from a legal sequence leaves a legal sequence.
    5. An operation for which `leads_to` names a state leads there from every state in which it is possible. Where
       `can_reach(s, o)` is false, no sequence of other operations from `s` on makes `o` possible.
    6. A sequence is legal exactly when, for every set of parts that no operation connects with the others (`touches`),
       the operations on that set are legal by themselves.
    7. What `compact` gives has equal states exactly where the model has, and the same steps between them.
    """

    name: str
    fs: frozenset[str]
    """The operations it knows; a history with another is refused."""

    def initial(self) -> State:
        """The state before the first operation."""
        ...

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        """The states that may follow; none when the operation cannot happen here as it did.

        Deterministic models give at most one. An operation that is not known and would change nothing here may give
        none: it need never happen.
        """
        ...

    def check(self, operation: Operation) -> str | None:
        """What is wrong with the shape of the operation's values, in words, or None."""
        return None

    def describe(self, state: State) -> str:
        """The state in words, for a person who reads why a history failed: "the register holds 3"."""
        return f"the state is {state!r}"

    def is_pure(self, operation: Operation) -> bool:
        """Whether `step(s, operation)` is either empty or exactly `(s,)`, for EVERY state s: a read, a refused cas.

        The search linearizes such an operation as soon as it is legal, without branching. False is always right, only
        slower; a wrong True makes wrong verdicts.
        """
        return False

    def is_reset(self, operation: Operation) -> bool:
        """Whether `step(s, operation)` is one and the same state for EVERY state s: a write of the whole value.

        What happened before such an operation is forgotten, which makes short counterexamples. False is always right.
        """
        return False

    def component(self, operation: Operation) -> Hashable:
        """What the operation is about, where the object is made of parts that can be left out whole: a value in a queue.

        All operations of one component can be left out of any legal sequence; the rest, those of component None included,
        stays legal. Makes short counterexamples. None is always right.
        """
        return None

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        """The one state that it leads to wherever it is possible, such as a cas's new value; None: it depends.

        What `can_reach` need not think of. It must be exact: None where `can_reach` takes account of the operation.
        """
        return None

    def can_reach(self, state: State, operation: Operation) -> bool:
        """Whether a pure `operation` may still become possible from this state on, by way of operations for which
        `leads_to` names no state.

        The search gives up a path at once when no state that is left can become what an operation saw that still has to
        happen: a list that is not how a read begins can never be what it saw. True is always right, only slower; a wrong
        False makes wrong verdicts.
        """
        return True

    def touches(self, operation: Operation) -> frozenset[Hashable] | None:
        """The independent parts that the operation reads or changes, by name: the keys of a map. None: perhaps all.

        Its effect and its legality depend on nothing else. Parts that no operation connects are searched one by one
        (locality: Herlihy and Wing 1990, §3.1). None is always right.
        """
        return None

    def of_one(self, name: Hashable) -> Model | None:
        """The model of one part alone, whose operations `within` gives; None: this model serves for it as well."""
        return None

    def within(self, operation: Operation) -> Operation:
        """The operation on one part, as the model `of_one` sees it."""
        return operation

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        """Its states in a form that is cheaper to step and to hash, for these operations; None: its own are cheap enough.

        Only the search uses it; whoever explains or verifies asks the model itself.
        """
        return None
