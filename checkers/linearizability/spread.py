"""Keys decided by the workers of an executor, on this machine or on others.

The keys go out in lots of about the same number of operations, a few lots for each worker: each is sent the columns of its keys and
the distinct operations in them, and nothing of the rest of the history. The first key that is refuted ends the others, as it does
within one process: what has not begun is taken back.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Executor, Future, TimeoutError
from typing import overload

import msgspec

from checkers.linearizability.encode import Entries, part
from checkers.linearizability.locality import Part
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import Cancellation
from checkers.linearizability.wording import in_words
from checkers.models.model import Model, Operation
from checkers.verdict import Validity
from histories.op import Op

LOTS_PER_WORKER = 4
"""Enough that a slow lot holds up little at the end."""

ANSWER_S = 2.0
"""How much later than the time limit an answer may come from afar."""


class Sent(msgspec.Struct, frozen=True):
    """One key's part as it is sent. key: in words. The columns are those of Entries."""

    key: str
    model: Model
    operations: list[Operation]
    op: array[int]
    call: array[int]
    end: array[int]
    returns: array[int]
    is_plain: bool


class _Elsewhere(Sequence[Op]):
    """The history's ops at the one who sent: here each has its index, and nothing else is asked of it."""

    def __len__(self) -> int:
        return sys.maxsize

    @overload
    def __getitem__(self, position: int) -> Op: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Op]: ...
    def __getitem__(self, position: int | slice) -> Op | Sequence[Op]:
        assert isinstance(position, int)
        return Op(position, position, "invoke", position, "", None, None)


def decide_lot(lot: Sequence[Sent], states_max: int | None, time_limit_s: float | None) -> list[SearchResult]:
    """In a worker: the result of each key; once one is refuted the others are UNKNOWN. time_limit_s: for all of them."""
    deadline_s = None if time_limit_s is None else time.monotonic() + time_limit_s
    stop = Cancellation()
    results = []
    for each in lot:
        entries = Entries(_Elsewhere(), each.operations, each.op, each.call, each.end, each.returns, each.is_plain)
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        result = decide(entries, each.model, states_max=states_max, time_limit_s=left_s, stop=stop)
        if result.validity is Validity.INVALID:
            stop.cancel(_refuted(each.key))
        results.append(result)
    return results


def decide_spread(
    parts: Mapping[Hashable, Part],
    executor: Executor,
    workers: int,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
) -> dict[Hashable, SearchResult]:
    """Key -> its result, from the `workers` workers of the executor. Options as check.search_keys.

    Raises what the executor raises when a worker cannot load the model or is lost for good.
    """
    deadline_s = None if time_limit_s is None else time.monotonic() + time_limit_s
    sent = {
        executor.submit(decide_lot, [_sent(key, *parts[key]) for key in keys], states_max, time_limit_s): keys
        for keys in lots(parts, workers * LOTS_PER_WORKER)
    }
    found: dict[Hashable, SearchResult] = {}
    reason = ""
    try:
        for future, keys in sent.items():
            if reason and future.cancel():
                results = _undecided(keys, reason)
            else:
                results = _answer(future, keys, deadline_s)
            found.update(zip(keys, results, strict=True))
            if not reason:
                refuted = next((key for key in keys if found[key].validity is Validity.INVALID), _NONE)
                reason = "" if refuted is _NONE else _refuted(in_words(refuted))
    finally:
        for future in sent:
            future.cancel()
    return {key: found[key] for key in parts}


_NONE = object()


def lots(parts: Mapping[Hashable, Part], count: int) -> list[list[Hashable]]:
    """At most `count` lots of keys, of about as many operations each: the largest key first, to the smallest lot."""
    count = min(count, len(parts))
    found: list[list[Hashable]] = [[] for _ in range(count)]
    sizes = [0] * count
    for key in sorted(parts, key=lambda key: -len(parts[key].entries)):
        least = sizes.index(min(sizes))
        found[least].append(key)
        sizes[least] += max(1, len(parts[key].entries))
    return found


def _sent(key: Hashable, entries: Entries, model: Model) -> Sent:
    own = part(entries, range(len(entries)))
    return Sent(in_words(key), model, list(own.operations), own.op, own.call, own.end, own.returns, entries.is_plain)


def _answer(
    future: Future[list[SearchResult]], keys: Sequence[Hashable], deadline_s: float | None
) -> list[SearchResult]:
    """What the worker says, or that it has not said anything in time."""
    try:
        return future.result(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()) + ANSWER_S)
    except TimeoutError:
        return _undecided(keys, "the time limit passed before a worker had decided it")


def _undecided(keys: Sequence[Hashable], reason: str) -> list[SearchResult]:
    return [SearchResult(Validity.UNKNOWN, reason=reason, stats={"core": "none", "ns": 0}) for _ in keys]


def _refuted(key: str) -> str:
    return f"key {key} was refuted"
