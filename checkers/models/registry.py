"""Models by name: the built-in ones, those of entry point group `themis.models`, and `package.module:Name`."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from importlib import metadata
from typing import Any, get_type_hints

import msgspec

from checkers.models.compact_form import Compact
from checkers.models.model import Model, Operation, State
from histories.op import freeze

BUILT_IN = {
    "register": "checkers.models.register:Register",
    "cas-register": "checkers.models.register:CasRegister",
    "kv": "checkers.models.register:KeyValue",
    "kv-map": "checkers.models.maps:KeyValueMap",
    "consensus": "checkers.models.consensus:Consensus",
    "multi-register": "checkers.models.maps:MultiRegister",
    "counter": "checkers.models.counter:Counter",
    "counter-returning": "checkers.models.counter:ReturningCounter",
    "mutex": "checkers.models.locks:Mutex",
    "reentrant-mutex": "checkers.models.locks:ReentrantMutex",
    "fenced-lock": "checkers.models.locks:FencedLock",
    "semaphore": "checkers.models.locks:Semaphore",
    "set": "checkers.models.containers:SetModel",
    "fifo-queue": "checkers.models.containers:FifoQueue",
    "lifo-stack": "checkers.models.containers:LifoStack",
    "priority-queue": "checkers.models.containers:PriorityQueue",
    "list-append": "checkers.models.containers:ListAppend",
    "register-unknown-initial": "checkers.models.weak:UnknownInitialRegister",
    "lossy-queue": "checkers.models.weak:LossyQueue",
}

_PARAMETERS = re.compile(r"(?P<name>[^()]+)\((?P<inside>.*)\)")
_WORD = re.compile(r"([^=,\s]+)\s*=\s*(.*)", re.DOTALL)
_JSON = json.JSONDecoder()


def names() -> list[str]:
    """Every name that `find` knows without a module path, sorted."""
    return sorted(BUILT_IN.keys() | _entry_points().keys())


def find(name: str, **more: Any) -> Model:
    """The model called `name`, or at `package.module:Name`; parameters in brackets, as JSON: `cas-register(initial=0)`.

    more: parameters beside those in brackets. A class is instantiated; what a user's own class lacks beyond `name`, `fs`,
    `initial` and `step` is filled in.

    Raises LookupError when there is no such model; ValueError when it has no such parameter; TypeError when what is
    there lacks `name`, `fs`, `initial` or `step`; ImportError or AttributeError when its module cannot be loaded.
    """
    bare, parameters = _parse(name)
    if twice := sorted(parameters.keys() & more.keys()):
        raise ValueError(f"{twice[0]} is given twice: in {name!r} and beside it")
    parameters |= more
    path = BUILT_IN.get(bare) or (bare if ":" in bare else _entry_points().get(bare, ""))
    if not path:
        raise LookupError(f"no model is called {bare!r}; known: {', '.join(names())}")
    module, _, attribute = path.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if inspect.isclass(found):
        accepted = [] if found.__init__ is object.__init__ else list(inspect.signature(found).parameters)
        if unknown := sorted(set(parameters) - set(accepted)):
            raise ValueError(f"model {bare!r} has no parameter {unknown[0]!r}; it has: {', '.join(accepted) or 'none'}")
        found = found(**_typed(bare, found, parameters))
    elif parameters:
        raise ValueError(f"{path} is an object, not a class: it takes no parameters")
    return complete(found)


def complete(candidate: Any) -> Model:
    """The candidate itself when it has every member of Model; else the candidate with the defaults of what is optional.

    Raises TypeError when a member that has no default is missing.
    """
    if isinstance(candidate, Model):
        return candidate
    if missing := [member for member in ("name", "fs", "initial", "step") if not hasattr(candidate, member)]:
        raise TypeError(f"{candidate!r} is not a model: it lacks {', '.join(missing)}")
    return _Completed(candidate)


class _Completed(Model):
    """A user's model with the defaults of Model where it has none of its own."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name = str(inner.name)
        self.fs = frozenset(inner.fs)

    def initial(self) -> State:
        state: State = self.inner.initial()
        return state

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        states: Iterable[State] = self.inner.step(state, operation)
        return states

    def check(self, operation: Operation) -> str | None:
        own = getattr(self.inner, "check", None)
        return own(operation) if own else super().check(operation)

    def describe(self, state: State) -> str:
        own = getattr(self.inner, "describe", None)
        return own(state) if own else super().describe(state)

    def is_pure(self, operation: Operation) -> bool:
        own = getattr(self.inner, "is_pure", None)
        return own(operation) if own else super().is_pure(operation)

    def is_reset(self, operation: Operation) -> bool:
        own = getattr(self.inner, "is_reset", None)
        return own(operation) if own else super().is_reset(operation)

    def component(self, operation: Operation) -> Hashable:
        own = getattr(self.inner, "component", None)
        return own(operation) if own else super().component(operation)

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        own = getattr(self.inner, "leads_to", None)
        return own(operation) if own else super().leads_to(operation)

    def can_reach(self, state: State, operation: Operation) -> bool:
        own = getattr(self.inner, "can_reach", None)
        return own(state, operation) if own else super().can_reach(state, operation)

    def touches(self, operation: Operation) -> frozenset[Hashable] | None:
        own = getattr(self.inner, "touches", None)
        return own(operation) if own else super().touches(operation)

    def of_one(self, name: Hashable) -> Model | None:
        own = getattr(self.inner, "of_one", None)
        return own(name) if own else super().of_one(name)

    def within(self, operation: Operation) -> Operation:
        own = getattr(self.inner, "within", None)
        return own(operation) if own else super().within(operation)

    def compact(self, operations: Sequence[Operation]) -> Compact | None:
        own = getattr(self.inner, "compact", None)
        return own(operations) if own else super().compact(operations)


def _typed(name: str, model: type, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, hashable, of the types that the model's constructor asks for. Raises ValueError."""
    if not parameters:
        return {}
    constructors = (vars(each)["__init__"] for each in model.__mro__ if "__init__" in vars(each))
    hints = get_type_hints(next(constructors))
    typed: dict[str, Any] = {}
    for word, value in parameters.items():
        try:
            typed[word] = freeze(msgspec.convert(value, hints.get(word, Any)))
        except msgspec.ValidationError as error:
            raise ValueError(f"model {name!r}: {word}: {error}") from error
    return typed


def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group="themis.models")}


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """`name(a=1,b="x")` as the name and its parameters.

    Raises ValueError when a parameter is not `word=JSON`.
    """
    match = _PARAMETERS.fullmatch(name.strip())
    if match is None:
        return name, {}
    parameters: dict[str, Any] = {}
    left = match["inside"].strip()
    while left:
        try:
            word, text = _WORD.match(left).group(1, 2)  # type: ignore[union-attr]  # None has no group: caught below.
            parameters[word], end = _JSON.raw_decode(text)
            left = text[end:].lstrip()
            if left and not left.startswith(","):
                raise ValueError(left)
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{name!r}: a parameter is word=JSON, such as initial=0, not {left!r}") from error
        left = left[1:].lstrip()
    return match["name"].strip(), parameters
