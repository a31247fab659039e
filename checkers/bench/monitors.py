"""The monitors' rows: queue, stack, priority queue and set with distinct values, valid and wrong in four ways, some with crashes.

From History in memory to result, CPU time of the process (all threads), without what putting a refutation into words takes.
Each row runs in a process of its own: `python -m checkers.bench.monitors [--quick] [--json]`.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from checkers.bench.objects import KINDS, Apply, Kind, history
from checkers.linearizability import search_keys
from checkers.models.registry import find
from histories.history import History
from histories.op import Op

TIME_LIMIT_S = 60.0
MIDDLE = 20
"""Processes of the histories of 1,000,000 operations in a run that is not full: making them takes longest."""
_KB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


class MonitorRow(msgspec.Struct, frozen=True):
    """One type of object, and its histories. crashed: share of operations that end `info`, though they happened."""

    kind: str
    operations: int
    processes: int
    crashed: float = 0.0

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.kind}, {self.operations:,} ops, {self.processes} processes, {self.crashed:.1%} crashed"


class Timing(msgspec.Struct, frozen=True):
    """One history of a row. check_s: median CPU seconds. decided_by: as in the stats."""

    variant: str
    verdict: str
    decided_by: str
    check_s: float


class MonitorMeasurement(msgspec.Struct, frozen=True):
    """What a row took. peak_mb: of the whole process, the history included."""

    timings: list[Timing]
    peak_mb: float

    @property
    def worst_s(self) -> float:
        """The slowest history."""
        return max(timing.check_s for timing in self.timings)

    @property
    def is_decided(self) -> bool:
        """Whether every history was."""
        return all(timing.verdict != "unknown" for timing in self.timings)


def _set_ops(rng: Random, number: int) -> tuple[str, Any, Any]:
    """Adds, looks, and removes at most once for each value; no whole reads, which are as long as the set."""
    chance = rng.random()
    if chance < 0.45:
        return "add", None, number
    return ("contains", None, rng.randrange(number + 1)) if chance < 0.9 else ("remove", None, number - 101)


def _set() -> Apply:
    held: set[Any] = set()

    def apply(f: str, key: Any, argument: Any) -> Any:
        match f:
            case "add":
                return held.add(argument)
            case "remove":
                return held.discard(argument)
        return argument in held

    return apply


SETS = Kind("set", _set_ops, _set, frozenset({"contains"}))

_KINDS = {
    **{name: KINDS[name] for name in ("queue", "stack", "priority queue")},
    "set": SETS,
    "set, whole reads": KINDS["set"],
}
_TYPES = ("queue", "stack", "priority queue", "set")

ROWS = tuple(
    MonitorRow(kind, operations, processes)
    for kind in _TYPES
    for processes in (5, 20, 100)
    for operations in (1_000, 10_000, 100_000, 1_000_000)
) + tuple(MonitorRow(kind, 10_000, 20, crashed) for kind in _TYPES for crashed in (0.001, 0.01, 0.3))
ROWS += (MonitorRow("set, whole reads", 1_000, 20), MonitorRow("set, whole reads", 10_000, 20))


def crashing(ops: list[Op], share: float, rng: Random) -> list[Op]:
    """The same, where the client never heard of some operations; each goes on as another process."""
    successors: dict[object, int] = {}
    fresh = 1 + max((op.process for op in ops if isinstance(op.process, int)), default=0)
    found: list[Op] = []
    for op in ops:
        process = successors.get(op.process, op.process)
        changed = msgspec.structs.replace(op, process=process)
        if op.type == "ok" and rng.random() < share:
            changed = msgspec.structs.replace(changed, type="info", value=None)
            successors[op.process] = fresh
            fresh += 1
        found.append(changed)
    return found


def variants(kind: str, ops: list[Op]) -> Iterator[tuple[str, list[Op]]]:
    """The history, and four that are wrong two thirds on: two observations swapped, one lost, one twice, one out of order."""
    yield "valid", ops
    seen = [i for i, op in enumerate(ops) if op.type == "ok" and op.f in _KINDS[kind].observations]
    if kind.startswith("set"):
        seen = [i for i in seen if isinstance(ops[i].value, bool)]
        call = _calls(ops)
        later = seen[2 * len(seen) // 3 :]
        asked = next((i for i in later if ops[i].value and _is_old(ops, call[i])), later[0])
        missing = next((i for i in later if not ops[i].value), later[0])
        yield "lost", _with(ops, {asked: False})
        yield "from nowhere", _with(ops, {missing: True})
        return
    taken = [i for i in seen if ops[i].value is not None]
    at = 2 * len(taken) // 3
    first, near, far = taken[at], taken[at + 1], taken[min(at + 40, len(taken) - 1)]
    yield "swapped 40 apart", _with(ops, {first: ops[far].value, far: ops[first].value})
    yield "twice", _with(ops, {far: ops[first].value})
    calls = _calls(ops)
    near = next(i for i in taken[at + 1 :] if calls[i] > first)
    yield "out of order", _with(ops, {first: ops[near].value, near: ops[first].value})
    yield "lost", _renumbered([op for i, op in enumerate(ops) if i not in (first, calls[first])])


def _calls(ops: list[Op]) -> dict[int, int]:
    """Position of each completion -> position of its invocation."""
    open_: dict[object, int] = {}
    found: dict[int, int] = {}
    for i, op in enumerate(ops):
        if op.type == "invoke":
            open_[op.process] = i
        else:
            found[i] = open_[op.process]
    return found


def _is_old(ops: list[Op], call: int) -> bool:
    """Whether what a `contains` asked for was added, for certain, well before it."""
    return any(
        op.type == "invoke" and op.f == "add" and op.value == ops[call].value for op in ops[: max(0, call - 400)]
    )


def _with(ops: list[Op], values: dict[int, object]) -> list[Op]:
    changed = list(ops)
    for i, value in values.items():
        changed[i] = msgspec.structs.replace(ops[i], value=value)
    return changed


def _renumbered(ops: list[Op]) -> list[Op]:
    return [op if op.index == i else msgspec.structs.replace(op, index=i) for i, op in enumerate(ops)]


def measure(row: MonitorRow, runs: int, seed: int) -> MonitorMeasurement:
    """Measure the row here."""
    made = history(_KINDS[row.kind], operations=row.operations, processes=row.processes, seed=seed)
    ops = list(made)
    if row.crashed:
        ops = crashing(ops, row.crashed, Random(seed))
    model = find(_KINDS[row.kind].model)
    timings: list[Timing] = []
    del made
    for variant, changed in variants(row.kind, ops):
        checked = History(changed)
        del changed
        gc.collect()
        taken: list[float] = []
        for _ in range(runs):
            began_s = time.process_time()
            found = search_keys(checked, model, time_limit_s=TIME_LIMIT_S)[None].result
            taken.append(time.process_time() - began_s)
        decided_by = found.stats.get("decided_by", "")
        timings.append(Timing(variant, found.validity.value, decided_by, statistics.median(taken)))
    return MonitorMeasurement(timings, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KB_PER_UNIT / 1024)


def in_child(row: MonitorRow, runs: int, seed: int) -> MonitorMeasurement:
    """Measure the row in a new process."""
    request = msgspec.json.encode((row, runs, seed))
    done = subprocess.run(
        [sys.executable, "-m", "checkers.bench.monitors", "--child"], input=request, stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=MonitorMeasurement)


def table(*, quick: bool, as_json: bool, seed: int, full: bool = False) -> bool:
    """Measure and print every row; 1,000,000 operations only where `full`, or at MIDDLE processes unless `quick`.

    Whether all were decided.
    """
    is_decided = True
    before: dict[tuple[str, int, int], float] = {}
    if not as_json:
        _print(f"{'history':58} {'valid s':>9} {'invalid s':>9} {'growth':>7} {'peak MB':>8}  decided by")
    for row in ROWS:
        if row.operations > 100_000 and (quick or not (full or row.processes == MIDDLE)):
            continue
        measured = in_child(row, 1 if quick else 5, seed)
        is_decided = is_decided and measured.is_decided
        if as_json:
            _print(msgspec.json.encode({"row": row, "measured": measured}).decode())
            continue
        wrong = max(timing.check_s for timing in measured.timings if timing.variant != "valid")
        smaller = before.get((row.kind, row.operations // 10, row.processes)) if not row.crashed else None
        before[row.kind, row.operations, row.processes] = measured.worst_s
        growth = f"{measured.worst_s / smaller:7.1f}" if smaller else f"{'-':>7}"
        by = sorted({f"{timing.verdict} by {timing.decided_by or 'nothing'}" for timing in measured.timings})
        _print(
            f"{row.name:58} {measured.timings[0].check_s:9.4f} {wrong:9.4f} {growth} {measured.peak_mb:8.0f}  {'; '.join(by)}"
        )
    return is_decided


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """0 when every row was decided, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench.monitors", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run a row, nothing beyond 100,000 operations")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--seed", type=int, default=0, help="of the histories (default 0)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help="1,000,000 operations with 5 and 100 processes as well")
    options = parser.parse_args(arguments)
    if options.child:
        row, runs, seed = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[MonitorRow, int, int])
        sys.stdout.buffer.write(msgspec.json.encode(measure(row, runs, seed)))
        return 0
    return 0 if table(quick=options.quick, as_json=options.json, seed=options.seed, full=options.full) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
