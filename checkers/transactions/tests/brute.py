"""Small random histories of transactions, and what holds of them by trying every serial order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from random import Random
from typing import Any

from histories.history import History
from histories.op import Op, OpType

MODELS = ("serializable", "strong-session-serializable", "strict-serializable")


class Txn:
    """What one transaction asked and saw, and when: positions of its begin and end; None: it never ended."""

    def __init__(self, process: int, steps: list[list[Any]], begin: int, end: int | None, type: str) -> None:
        self.process, self.steps, self.begin, self.end, self.type = process, steps, begin, end, type


def transactions_of(history: History) -> list[Txn]:
    """The transactions, from the ops alone."""
    found = []
    for begin, end in history.pairs():
        ended = end is not None and end.type == "ok"
        value = end.value if ended and end is not None else begin.value
        found.append(Txn(begin.process, value, begin.index, end.index if end else None, end.type if end else "info"))  # type: ignore[arg-type]
    return found


def holding(history: History, workload: str) -> set[str]:
    """Which of MODELS some serial order shows to hold. What ended info may have happened, or not."""
    txns = transactions_of(history)
    sure = [txn for txn in txns if txn.type == "ok"]
    doubtful = [txn for txn in txns if txn.type == "info"]
    found: set[str] = set()
    for count in range(len(doubtful) + 1):
        for chosen in combinations(doubtful, count):
            for order in permutations([*sure, *chosen]):
                new = {model for model in MODELS if model not in found and _respects(order, model)}
                if new and _is_legal(order, workload):
                    found |= new
    return found


def _respects(order: tuple[Txn, ...], model: str) -> bool:
    if model == "serializable":
        return True
    for i, later in enumerate(order):
        for earlier in order[:i]:
            # Wrong where the one that comes later in the order had ended before the other began.
            is_wrong_in_time = later.type == "ok" and later.end is not None and later.end < earlier.begin
            if is_wrong_in_time and (model == "strict-serializable" or later.process == earlier.process):
                return False
    return True


def _is_legal(order: tuple[Txn, ...], workload: str) -> bool:
    state: dict[Any, Any] = {}
    for txn in order:
        for f, key, value in txn.steps:
            if f == "append":
                state[key] = [*(state.get(key) or []), value]
            elif f == "w":
                state[key] = value
            elif txn.type == "ok" and (state.get(key) or None) != (value or None):
                return False
    return True


def histories(rng: Random, workload: str) -> Iterator[History]:
    """Random ones, without end: runs of a store that is sometimes careless."""
    while True:
        yield _run(rng, workload)


def _run(rng: Random, workload: str) -> History:
    write = "append" if workload == "list-append" else "w"
    count, keys, processes = rng.randint(2, 5), rng.randint(1, 3), rng.randint(1, 4)
    asked = [[(rng.choice(("r", write)), rng.randrange(keys)) for _ in range(rng.randint(1, 3))] for _ in range(count)]
    numbers = [0] * keys
    state: list[list[int]] = [[] for _ in range(keys)]
    past: list[list[list[int]]] = [[list(each) for each in state]]
    ops: list[Op] = []
    running: dict[int, tuple[int, list[Any], list[list[Any]], list[list[int]] | None]] = {}
    names = {process: process for process in range(processes)}
    careless = rng.choice((0.0, 0.2, 0.5, 0.8))

    def add(type: OpType, process: int, value: list[list[Any]]) -> None:
        ops.append(Op(len(ops), len(ops), type, process, "txn", None, value))

    while asked or running:
        process = rng.randrange(processes)
        if process not in running:
            if not asked:
                process = rng.choice(list(running))
            else:
                steps: list[Any] = []
                for f, key in asked.pop():
                    if f != "r":
                        numbers[key] += 1
                    steps.append([f, key, numbers[key] if f != "r" else None])
                add("invoke", names[process], steps)
                snapshot = [list(each) for each in rng.choice(past[-3:])] if rng.random() < careless else None
                running[process] = (0, steps, [], snapshot)
                continue
        done, steps, seen, snapshot = running[process]
        span = 1 if rng.random() < careless else len(steps) - done
        for f, key, value in steps[done : done + span]:
            view = state if snapshot is None else snapshot
            if f == "r":
                whole = view[key]
                shown: Any = list(whole) if workload == "list-append" else whole[-1] if whole else None
                seen.append([f, key, shown or None])
            else:
                seen.append([f, key, value])
                state[key].append(value)
                if snapshot is not None:
                    snapshot[key].append(value)
        past.append([list(each) for each in state])
        done += span
        running[process] = (done, steps, seen, snapshot)
        if done < len(steps):
            continue
        del running[process]
        chance = rng.random()
        if chance < 0.8:
            add("ok", names[process], seen)
        elif chance < 0.9:
            add("info", names[process], steps)
            names[process] += processes
        elif chance < 0.95 and len(asked) > 0:
            add("fail", names[process], steps)
        else:
            names[process] += processes  # It never ends.
    return History(ops)


SNAPSHOT_MODELS = ("snapshot-isolation", "strong-session-snapshot-isolation", "strong-snapshot-isolation")


def holding_snapshots(history: History) -> set[str]:
    """Which of SNAPSHOT_MODELS some order of begins and commits shows to hold, of registers. All orders are tried."""
    txns = transactions_of(history)
    sure = [txn for txn in txns if txn.type == "ok"]
    doubtful = [txn for txn in txns if txn.type == "info"]
    return {
        model
        for model in SNAPSHOT_MODELS
        if any(
            _snapshots([*sure, *chosen], model, [], [], {}, {})
            for count in range(len(doubtful) + 1)
            for chosen in combinations(doubtful, count)
        )
    }


def _snapshots(
    txns: list[Txn], model: str, begun: list[Txn], done: list[Txn], state: dict[Any, Any], since: dict[int, set[Any]]
) -> bool:
    """since: for each running transaction, by its begin, the keys that others committed since it began."""
    if len(done) == len(txns):
        return True
    for txn in txns:
        if txn not in begun:
            if any(_must_precede(other, txn, model) for other in txns if other not in done):
                continue
            own: dict[Any, Any] = {}
            fits = True
            for f, key, value in txn.steps:
                if f == "w":
                    own[key] = value
                elif txn.type == "ok":
                    fits = fits and own.get(key, state.get(key)) == value
            if fits and _snapshots(txns, model, [*begun, txn], done, state, {**since, txn.begin: set()}):
                return True
        elif txn not in done:
            writes = {key: value for f, key, value in txn.steps if f == "w"}
            if since[txn.begin] & writes.keys():
                continue
            later = {begin: keys | writes.keys() for begin, keys in since.items()}
            if _snapshots(txns, model, begun, [*done, txn], {**state, **writes}, later):
                return True
    return False


def _must_precede(earlier: Txn, later: Txn, model: str) -> bool:
    if model == "snapshot-isolation" or earlier.type != "ok" or earlier.end is None or earlier.end >= later.begin:
        return False
    return model == "strong-snapshot-isolation" or earlier.process == later.process
