"""A whole history: fit for the model or refused, split by key, each key decided, one verdict.

Keys are independent objects, so a history is linearizable exactly when each key's part is (locality: Herlihy and Wing
1990, §3.1). With the native core they are searched in parallel threads; the first that is refuted ends the search of
the others, which are then undecided, and the verdict is INVALID all the same.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from checkers.evidence import Linearizability, Order, Refutation, Undecided
from checkers.linearizability import native
from checkers.linearizability.deadline import Deadline
from checkers.linearizability.encode import Entries, entries_by_key
from checkers.linearizability.explain import explain, explanation_s
from checkers.linearizability.locality import split
from checkers.linearizability.monitors.portfolio import decide
from checkers.linearizability.monitors.registry import monitor_of
from checkers.linearizability.operations import ODD, Operations
from checkers.linearizability.result import SearchResult
from checkers.linearizability.search import Cancellation, Core
from checkers.linearizability.spread import decide_spread
from checkers.linearizability.table import Table, steps_for
from checkers.linearizability.typed import alike_keys, told_apart
from checkers.linearizability.wording import in_words, plain
from checkers.models.maps import MultiRegister
from checkers.models.model import Model, Operation
from checkers.verdict import Validity, Verdict
from histories.history import History

CHECKER = "linearizable"

CERTIFICATE_MAX = 10_000
"""A verdict carries its linearization up to so many operations in all; beyond, `search_keys` has it as an array."""

_SHOWN = 20


class Misfit(msgspec.Struct, frozen=True):
    """An op that the model cannot take. index: of the op in the history. detail: why, in words."""

    index: int
    detail: str


class UnfitHistory(ValueError):
    """The history holds operations that the model does not know, or values of another shape. `misfits`: the first of
    each.
    """

    def __init__(self, model: str, misfits: list[Misfit]) -> None:
        self.model = model
        self.misfits = tuple(misfits)
        lines = [f"  op {misfit.index}: {misfit.detail}" for misfit in misfits[:_SHOWN]]
        if len(misfits) > _SHOWN:
            lines.append(f"  ... and {len(misfits) - _SHOWN} more")
        super().__init__("\n".join([f"the history does not fit the model {model}:", *lines]))


class KeyResult(msgspec.Struct, frozen=True):
    """One key's operations, and what the search found. model: of this key; None: the history's."""

    entries: Entries
    result: SearchResult
    model: Model | None = None


def linearizable(
    history: History,
    model: Model,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
    jobs: int | None = None,
    refused: bool = False,
    nil_reads: bool = False,
    core: Core = "auto",
    executor: Executor | None = None,
) -> Verdict:
    """Every operation took effect at one instant between its invocation and its completion (Herlihy and Wing 1990).

    states_max: configurations to explore for each key. time_limit_s: for all keys together. jobs: threads; None: one
    for each processor. refused: a `fail` is an observation (a failed cas saw another value); by default it is left out.
    nil_reads: an `ok` read of nothing is compatible with every state. executor: its `jobs` workers decide the keys, and not
    threads of this process (spread.py); `core` is theirs to choose then.

    The evidence (Linearizability) has for VALID a legal order of each key (left out beyond CERTIFICATE_MAX operations),
    for INVALID each refuted key with the operation that does not fit and the states still possible before it, and each
    key that was not decided, with its reason. UNKNOWN where two keys differ in their types alone (1 and true).
    Raises UnfitHistory and MalformedHistory when it is no history of the model.
    """
    began_ns = time.perf_counter_ns()
    if alike := alike_keys(history):
        one, other = map(in_words, alike)
        why = f"keys {one} and {other} are not told apart: give each object a key of another name"
        return Verdict.unknown(why, CHECKER, evidence=Linearizability(model.name))
    results = search_keys(
        history,
        model,
        states_max=states_max,
        time_limit_s=time_limit_s,
        jobs=jobs,
        refused=refused,
        nil_reads=nil_reads,
        core=core,
        executor=executor,
    )
    decision_s = (time.perf_counter_ns() - began_ns) / 1e9
    verdict = summarize(results, model, history, explanation_s(decision_s, time_limit_s))
    verdict.stats["ns"] = time.perf_counter_ns() - began_ns
    return verdict


def search_keys(
    history: History,
    model: Model,
    *,
    states_max: int | None = None,
    time_limit_s: float | None = None,
    jobs: int | None = None,
    refused: bool = False,
    nil_reads: bool = False,
    core: Core = "auto",
    executor: Executor | None = None,
) -> dict[Any, KeyResult]:
    """Key -> its entries and the raw result; options and errors as `linearizable`."""
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    by_key, model = fitting_entries(history, model, refused=refused, nil_reads=nil_reads)
    parts = split(by_key, model)
    if executor is not None:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        results = decide_spread(parts, executor, jobs or 1, states_max=states_max, time_limit_s=left_s)
        return {key: KeyResult(parts[key].entries, results[key], parts[key].model) for key in parts}
    table = _SharedTable(by_key, model)
    stop = Cancellation()

    def search_one(key: Any) -> KeyResult:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        entries, own = parts[key]
        result = decide(
            entries,
            own,
            states_max=states_max,
            time_limit_s=left_s,
            stop=stop,
            core=core,
            table=table.get if entries is by_key.get(key) else _no_table,
        )
        if result.validity is Validity.INVALID:
            stop.cancel(f"key {in_words(key)} was refuted")
        return KeyResult(entries, result, own)

    threads = min(len(parts), jobs or os.cpu_count() or 1)
    if threads <= 1 or core == "pure" or native.core is None or native.is_pure_forced():
        return {key: search_one(key) for key in parts}
    with ThreadPoolExecutor(threads, thread_name_prefix="linearizable") as executor:
        try:
            return dict(zip(parts, executor.map(search_one, parts), strict=True))
        except KeyboardInterrupt:
            stop.cancel("interrupted")  # The pool waits for its threads on the way out.
            raise


def fitting_entries(
    history: History, model: Model, *, refused: bool = False, nil_reads: bool = False
) -> tuple[dict[Any, Entries], Model]:
    """Key -> its operations, all of which the model knows, and no two values of different types in them that are equal. The model:
    the same, told apart in what its object held at first as well.

    Raises UnfitHistory and MalformedHistory.
    """
    by_key = entries_by_key(history, refused=refused, nil_reads=nil_reads)
    _require_fit(by_key, model)
    if nil_reads and isinstance(model, MultiRegister) and by_key:
        shared = [model.without_nil_reads(each) for each in next(iter(by_key.values())).operations]
        by_key = {key: _with(part, shared) for key, part in by_key.items()}
    return _told_apart(by_key, model)


def _with(part: Entries, operations: Sequence[Operation]) -> Entries:
    """The same entries with these operations in place of theirs, number by number."""
    return Entries(part.ops, operations, part.op, part.call, part.end, part.returns)


def summarize(
    results: Mapping[Any, KeyResult], model: Model, history: History, explain_limit_s: float | None = None
) -> Verdict:
    """The keys' results as one verdict: INVALID when one is refuted, else UNKNOWN when one is undecided. No key: VALID.

    Each refuted key is explained (explain.py), with the ops of `history` that it came from; all
    explanations together take explain_limit_s at most, and each has an equal share of what is left.
    """
    refuted = {key: part for key, part in results.items() if part.result.validity is Validity.INVALID}
    undecided = {key: part for key, part in results.items() if part.result.validity is Validity.UNKNOWN}
    stats = _stats(results, len(undecided))
    left_open = tuple(
        Undecided(plain(key), part.result.reason, part.result.linearizable_up_to, part.result.traceback)
        for key, part in undecided.items()
    )
    if refuted:
        began_ns = time.perf_counter_ns()
        deadline = Deadline(explain_limit_s)
        explained = tuple(
            _explained(history, key, refuted[key], model, deadline.share(1 / to_go).left_s())
            for to_go, key in zip(range(len(refuted), 0, -1), refuted, strict=True)
        )
        stats["explain_ns"] = time.perf_counter_ns() - began_ns
        reason = "; ".join(each.reason for each in explained)
        evidence = Linearizability(model.name, refuted=explained, undecided=left_open)
        return Verdict.invalid(reason, CHECKER, evidence=evidence, stats=stats)
    if undecided:
        key, part = next(iter(undecided.items()))
        more = f" (and {len(undecided) - 1} more keys undecided)" if len(undecided) > 1 else ""
        evidence = Linearizability(model.name, undecided=left_open)
        return Verdict.unknown(f"{_on(key)}{part.result.reason}{more}", CHECKER, evidence=evidence, stats=stats)
    is_short = stats["operations"] <= CERTIFICATE_MAX
    orders = (_order(key, part) for key, part in results.items()) if is_short else ()
    return Verdict.valid(CHECKER, evidence=Linearizability(model.name, orders=tuple(orders)), stats=stats)


def _explained(history: History, key: Any, part: KeyResult, model: Model, time_limit_s: float | None) -> Refutation:
    explained = explain(history, part.entries, part.model or model, part.result, time_limit_s=time_limit_s)
    if explained.key == plain(key):
        return explained
    # The key is a part of one object: no op carries it as its own.
    return replace(explained, key=plain(key), reason=f"key {in_words(key)}: {explained.reason}")


def _order(key: Any, part: KeyResult) -> Order:
    return Order(plain(key), tuple(map(part.entries.invoke_index, part.result.linearization or ())))


def _require_fit(parts: Mapping[Any, Entries], model: Model) -> None:
    """Raises UnfitHistory unless the model knows every operation and the shape of its values."""
    complaints: dict[int, str] = {}
    operations: Sequence[Operation] = next(iter(parts.values())).operations if parts else []
    if isinstance(operations, Operations) and monitor_of(model) is not None:
        # What a built-in model with a monitor says of an operation depends on its shape alone.
        shapes = [operations[number] for number in (*operations.examples, *_odd(operations))]
        if all(operation.f in model.fs and model.check(operation) is None for operation in shapes):
            return
    for number, operation in enumerate(operations):
        if operation.f not in model.fs:
            complaints[number] = f"it knows no {operation.f!r}, only {', '.join(sorted(model.fs))}"
        elif complaint := model.check(operation):
            complaints[number] = complaint
    if complaints:
        first: dict[int, int] = {}
        for part in parts.values():
            for position, number in enumerate(part.op):
                if number in complaints and number not in first:
                    first[number] = part[position].invoke_index
        raise UnfitHistory(model.name, sorted((Misfit(first[n], complaints[n]) for n in complaints), key=_index))


def _odd(operations: Operations) -> list[int]:
    """The operations with values of which their kind does not say everything: true, 2.5 and [2.5] are of one kind. What
    `contains` answered is passed over where it is true or false.
    """
    is_odd = np.asarray(operations.kind) == ODD
    if not is_odd.any():
        return []
    argument, result = np.asarray(operations.argument), np.asarray(operations.result)
    is_answer = np.array([value is True or value is False for value in operations.values])[result]
    is_look = np.array([f == "contains" for f in operations.fs])[np.asarray(operations.sort) // 4]
    return np.flatnonzero(is_odd[argument] | (is_odd[result] & ~(is_answer & is_look))).tolist()


def _told_apart(parts: dict[Any, Entries], model: Model) -> tuple[dict[Any, Entries], Model]:
    """The same entries and model, with no two values of different types that are equal (typed.py)."""
    if not parts:
        return parts, model
    first = next(iter(parts.values()))  # All keys share the list of operations.
    operations = first.operations
    apart, model = told_apart(operations, model, is_plain=first.is_plain)
    if apart is operations:
        return parts, model
    return {key: _with(part, apart) for key, part in parts.items()}, model


def _index(misfit: Misfit) -> int:
    return misfit.index


def _no_table() -> None:
    """A part of an object that was split makes its own."""


class _SharedTable:
    """A complete table of all keys' operations where that is cheap, so that keys need not make their own.

    Made when the first key is searched: what monitors decide needs none. Safe to ask from several threads.
    """

    def __init__(self, parts: Mapping[Any, Entries], model: Model) -> None:
        self._parts = parts
        self._model = model
        self._lock = threading.Lock()
        self._is_made = False
        self._table: Table | None = None

    def get(self) -> Table | None:
        """The table; None where it would cost too much."""
        with self._lock:
            if not self._is_made:
                self._is_made = True
                self._table = self._make()
            return self._table

    def _make(self) -> Table | None:
        try:
            total = sum(map(len, self._parts.values()))
            table = Table(self._model, next(iter(self._parts.values())).operations, steps_for(total))
        except Exception:  # noqa: BLE001 - each key meets it again and reports it as its own
            return None
        return table if table.is_complete or len(self._parts) == 1 else None


def _stats(results: Mapping[Any, KeyResult], undecided: int) -> dict[str, Any]:
    stats: dict[str, Any] = {
        "keys": len(results),
        "keys_decided": len(results) - undecided,
        "operations": sum(len(part.entries) for part in results.values()),
        "crashed": sum(len(part.entries) - len(part.entries.returns) for part in results.values()),
        "configurations": sum(part.result.stats.get("configurations", 0) for part in results.values()),
        "core": next((part.result.stats["core"] for part in results.values()), "none"),
        "search_ns": sum(part.result.stats.get("ns", 0) for part in results.values()),
    }
    for part in results.values():
        if by := part.result.stats.get("decided_by"):
            decided_by = stats.setdefault("decided_by", {})
            decided_by[by] = decided_by.get(by, 0) + 1
        if confirmed_by := part.result.stats.get("core_confirmed_by"):
            cores = stats.setdefault("core_confirmed_by", {})
            cores[confirmed_by] = cores.get(confirmed_by, 0) + 1
        if why := part.result.stats.get("monitor"):
            undecided_by = stats.setdefault("monitor_undecided", {})
            undecided_by[why] = undecided_by.get(why, 0) + 1
    return stats


def _on(key: Any) -> str:
    return "" if key is None else f"key {in_words(key)}: "
