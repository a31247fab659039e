"""One value, read and replaced as a whole: register, cas register, and one key of a key-value store.

Conventions: `read` has argument None, and its result is the value (None: never written); `write` has argument v;
`cas` has argument [old, new], `ok` when it swapped; a refused one saw another value than old.
A refused read or write says nothing. Source of the specification: Herlihy and Wing 1990, §2.
A read that was invoked with the value that its client expected is what its completion says, as Knossos completes such
a history (knossos.history/complete: the completion's value replaces the invocation's).
"""

from __future__ import annotations

from typing import Any

from checkers.models.model import Model, Operation, State
from checkers.models.shape import is_observed, is_pair, no_argument


class Register(Model):
    """A read/write register. Ops: `read`, `write`."""

    name = "register"
    fs = frozenset({"read", "write"})

    def __init__(self, initial: Any = None) -> None:
        self._initial = initial

    def initial(self) -> State:
        state: State = self._initial
        return state

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        match operation.f:
            case "read":
                return (state,) if not is_observed(operation) or operation.result == state else ()
            case "write":
                return (state,) if operation.is_refused else (operation.argument,)
            case _:
                return ()

    def check(self, operation: Operation) -> str | None:
        return None

    def describe(self, state: State) -> str:
        return "the register holds nothing (None)" if state is None else f"the register holds {state!r}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.is_refused or operation.f == "read"

    def is_reset(self, operation: Operation) -> bool:
        return operation.f == "write" and not operation.is_refused

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        return (operation.argument,) if operation.f == "write" and not operation.is_refused else None

    def can_reach(self, state: State, operation: Operation) -> bool:
        """Nothing but what `leads_to` names changes a register."""
        return operation.f != "read" or not is_observed(operation) or operation.result == state


class CasRegister(Register):
    """A register with compare-and-set. Ops: `read`, `write`, `cas`."""

    name = "cas-register"
    fs = frozenset({"read", "write", "cas"})

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        if operation.f != "cas":
            return super().step(state, operation)
        old, new = operation.argument
        if operation.is_refused:
            return (state,) if state != old else ()
        return (new,) if state == old else ()

    def check(self, operation: Operation) -> str | None:
        if operation.f == "cas" and not is_pair(operation.argument):
            return f"cas takes [old, new], not {operation.argument!r}"
        return super().check(operation)

    def is_pure(self, operation: Operation) -> bool:
        if operation.f == "cas" and operation.argument[0] == operation.argument[1]:
            return True
        return super().is_pure(operation)

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        if operation.f == "cas" and not operation.is_refused:
            return (operation.argument[1],)
        return super().leads_to(operation)

    def can_reach(self, state: State, operation: Operation) -> bool:
        return super().can_reach(state, operation)


_ALIASES = {"get": "read", "put": "write"}


class KeyValue(CasRegister):
    """One key of a key-value store: what a history whose ops carry their `key` is split into.

    Ops: `get` (or `read`), `put` (or `write`), `append` (a string, to the end of the value), `delete`, `cas`.
    An absent key reads as None or as the empty string (Porcupine's logs), and appending to it makes it exist.
    Keys inside the arguments, for histories that cannot be split: KeyValueMap.
    """

    name = "kv"
    fs = frozenset({"get", "read", "put", "write", "append", "delete", "cas"})

    def step(self, state: State, operation: Operation) -> tuple[State, ...]:
        match _ALIASES.get(operation.f, operation.f):
            case "read":
                seen = operation.result
                return (state,) if not is_observed(operation) or seen == state or (state is None and seen == "") else ()
            case "write":
                return (state,) if operation.is_refused else (operation.argument,)
            case "append":
                if operation.is_refused:
                    return (state,)
                if state is None:
                    return (operation.argument,)
                return (state + operation.argument,) if isinstance(state, str) else ()
            case "delete":
                return (state,) if operation.is_refused else (None,)
            case _:
                return super().step(state, operation)

    def check(self, operation: Operation) -> str | None:
        match _ALIASES.get(operation.f, operation.f):
            case "read" | "delete" if operation.argument is not None and operation.argument != operation.result:
                return f"{no_argument(operation)}: the key is the op's own field; keys inside values need kv-map"
            case "append" if not isinstance(operation.argument, str):
                return f"append takes a string, not {operation.argument!r}"
            case _:
                return super().check(operation)

    def describe(self, state: State) -> str:
        return "the key is absent" if state is None else f"the key holds {state!r}"

    def is_pure(self, operation: Operation) -> bool:
        return operation.f == "get" or super().is_pure(operation)

    def is_reset(self, operation: Operation) -> bool:
        return operation.f in ("put", "write", "delete") and not operation.is_refused

    def leads_to(self, operation: Operation) -> tuple[State] | None:
        if operation.f in ("put", "delete") and not operation.is_refused:
            return (operation.argument,) if operation.f == "put" else (None,)
        return super().leads_to(operation)

    def can_reach(self, state: State, operation: Operation) -> bool:
        """Appends alone lead to a value that begins with the state."""
        if _ALIASES.get(operation.f, operation.f) != "read" or not is_observed(operation):
            return True
        seen = operation.result
        if isinstance(state, str) and isinstance(seen, str):
            return seen.startswith(state)
        return state is None or seen == state
