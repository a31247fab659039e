"""Operations, states and times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import isfinite
from typing import Any

from checkers.evidence import Witness
from checkers.linearizability.encode import Entry
from checkers.linearizability.typed import Typed
from checkers.models.model import Model, Operation
from histories.op import FrozenMap, Op


def plain(value: Any) -> Any:
    """The value as JSON has it: tuples as lists, sets as lists in order of repr; what JSON has no word for as its repr."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else repr(value)
        case float():
            return value if isfinite(value) else repr(value)
        case Typed():
            return plain(value.value)
        case FrozenMap():
            return plain(dict(value))
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=repr)
        case dict():
            return {key if isinstance(key, str) else repr(key): plain(item) for key, item in value.items()}
        case _:
            return repr(value)


WORDS_MAX = 160
"""Characters of a value in a sentence; the evidence has more of it."""

ITEMS_MAX = 1_000
"""Elements of a value in the evidence; the history has it whole."""

CHARACTERS_MAX = 10_000
"""Characters of a text in the evidence."""


def brief(text: str) -> str:
    """The text, cut off where it is too long for a sentence."""
    return text if len(text) <= WORDS_MAX else f"{text[: WORDS_MAX - 20]}… ({len(text):,} characters)"


def shortened(value: Any, items_max: int = ITEMS_MAX, characters_max: int = CHARACTERS_MAX) -> Any:
    """The value itself, or where it is long one with the middle of its lists and texts left out; nothing long is copied
    on the way.
    """
    match value:
        case str() if len(value) > characters_max:
            half = characters_max // 2
            return f"{value[:half]}… {len(value) - 2 * half:,} more characters …{value[len(value) - half :]}"
        case FrozenMap() if len(value) > items_max:
            kept = shortened(tuple(islice(value, items_max)), items_max, characters_max)
            return FrozenMap((*kept, ("…", f"{len(value) - items_max:,} more")))
        case list() | tuple() if len(value) > items_max:
            half = items_max // 2
            ends = [shortened(item, items_max, characters_max) for item in (*value[:half], *value[len(value) - half :])]
            return [*ends[:half], f"… {len(value) - 2 * half:,} more …", *ends[half:]]
        case FrozenMap():
            return FrozenMap(shortened(tuple(value), items_max, characters_max))
        case list() | tuple():
            items = (shortened(item, items_max, characters_max) for item in value)
            return list(items) if isinstance(value, list) else tuple(items)
        case set() | frozenset() if len(value) > items_max:
            return [*(shortened(item, items_max, characters_max) for item in islice(value, items_max)), "…"]
        case _:
            return value


def in_words(value: Any) -> str:
    """A value in a sentence."""
    return brief(repr(plain(shortened(value, WORDS_MAX, 2 * WORDS_MAX))))


def seconds(time_ns: int, digits: int = 3) -> str:
    """A time since the run began: `12.345 s`."""
    return f"{time_ns / 1e9:.{digits}f} s"


def asked(operation: Operation) -> str:
    """What was asked: `write 9`, `read`."""
    return operation.f if operation.argument is None else f"{operation.f} {in_words(operation.argument)}"


def answered(operation: Operation, model: Model) -> str:
    """What was answered: `returned 7`, `succeeded`, `was refused`.

    Clients that have nothing to report return nothing, or the argument again; nothing is an answer only where the
    operation changes nothing, as a read does.
    """
    if operation.is_refused:
        return "was refused"
    repeats = operation.argument is not None and operation.result == operation.argument
    says_nothing = operation.result is None and not model.is_pure(operation)
    return "succeeded" if repeats or says_nothing else f"returned {in_words(operation.result)}"


class Teller:
    """Tells of entries in terms of the ops behind them: `ops`, where an op's index is mostly its position."""

    def __init__(self, ops: Sequence[Op], digits: int = 3) -> None:
        self.digits = digits
        """Decimals of a time in seconds."""
        self._ops = ops
        self._by_index: dict[int, Op] | None = None

    def op(self, index: int | None) -> Op | None:
        """The op of that index; None when there is none."""
        if index is None:
            return None
        if index < len(self._ops) and self._ops[index].index == index:
            return self._ops[index]
        if self._by_index is None:
            self._by_index = {op.index: op for op in self._ops}
        return self._by_index.get(index)

    def key(self, entry: Entry) -> Any:
        """The key that the entry's operation was on."""
        op = self.op(entry.invoke_index)
        return None if op is None else op.key

    def who(self, entry: Entry) -> str:
        """`process 4 (n2)`."""
        node = self._node(entry)
        return f"process {entry.process}" + (f" ({node})" if node else "")

    def told(self, entry: Entry) -> str:
        """`write 9 by process 1 (n1), acknowledged at 12.301 s`."""
        completion = self.op(entry.complete_index)
        if completion is None:
            ended = "whose outcome nobody learned"
        elif completion.type == "ok":
            ended = f"acknowledged at {seconds(completion.time, self.digits)}"
        else:
            ended = f"of unknown outcome since {seconds(completion.time, self.digits)}"
        return f"{asked(entry.operation)} by {self.who(entry)}, {ended}"

    def witness(self, entry: Entry) -> Witness:
        """The operation as evidence."""
        invocation, completion = self.op(entry.invoke_index), self.op(entry.complete_index)
        operation = entry.operation
        return Witness(
            invoke=entry.invoke_index,
            complete=entry.complete_index,
            process=entry.process,
            f=operation.f,
            argument=plain(shortened(operation.argument)),
            result=plain(shortened(operation.result)),
            type=None if completion is None else completion.type,
            node=self._node(entry),
            invoked_ns=None if invocation is None else invocation.time,
            completed_ns=None if completion is None else completion.time,
        )

    def _node(self, entry: Entry) -> str | None:
        for op in (self.op(entry.complete_index), self.op(entry.invoke_index)):
            if op is not None and op.node is not None:
                return op.node
        return None
