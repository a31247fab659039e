"""What a well-shaped operation looks like, in the words of an error message."""

from __future__ import annotations

from typing import Any, TypeGuard

from checkers.models.model import Operation
from histories.op import freeze


def is_pair(value: object) -> TypeGuard[tuple[Any, Any]]:
    """Whether it is a list of two (frozen to a tuple)."""
    return isinstance(value, tuple) and len(value) == 2


def is_integer(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_observed(operation: Operation) -> bool:
    """Whether the operation ended `ok`, so that its result is known."""
    return operation.is_known and not operation.is_refused


def no_argument(operation: Operation) -> str | None:
    """A complaint when the operation was invoked with a value."""
    return None if operation.argument is None else f"{operation.f} takes no argument, not {operation.argument!r}"


def items(value: object, what: str) -> tuple[Any, ...]:
    """The elements of a list or set that was given as an initial value, frozen. Raises ValueError."""
    frozen = freeze(value)
    if isinstance(frozen, frozenset):
        return tuple(sorted(frozen, key=repr))
    if not isinstance(frozen, tuple):
        raise ValueError(f"initial: {what} begins as a list, not {value!r}")
    return frozen


def pairs(value: object, what: str) -> tuple[tuple[Any, Any], ...]:
    """The pairs of a map, or of a list of pairs, that was given as an initial value, frozen. Raises ValueError."""
    frozen = freeze(value)
    if not isinstance(frozen, tuple) or not all(map(is_pair, frozen)):
        raise ValueError(f"initial: {what} begins as a map or a list of pairs, not {value!r}")
    if len({name for name, _ in frozen}) < len(frozen):
        raise ValueError(f"initial: {what} has a name twice: {value!r}")
    return frozen


def list_result(operation: Operation) -> str | None:
    """A complaint when an operation that ended `ok` returned anything but a list or a set."""
    if is_observed(operation) and not isinstance(operation.result, tuple | frozenset):
        return f"{operation.f} returns a list, not {operation.result!r}"
    return None
