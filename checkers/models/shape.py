"""What a well-shaped operation looks like, in the words of an error message."""

from __future__ import annotations

from typing import Any, TypeGuard

from checkers.models.model import Operation


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


def list_result(operation: Operation) -> str | None:
    """A complaint when an operation that ended `ok` returned anything but a list or a set."""
    if is_observed(operation) and not isinstance(operation.result, tuple | frozenset):
        return f"{operation.f} returns a list, not {operation.result!r}"
    return None
