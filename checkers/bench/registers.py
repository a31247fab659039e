"""`python -m checkers.bench.registers [--quick] [--full] [--json]`: registers and append-only values with distinct values.

From History in memory to verdict, without the explanation. CPU seconds beside wall seconds, because the first do not change when
others use the machine; peak memory of the process, and what of it the history took.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec

from checkers.bench.distinct import MODELS, Change, Kind, distinct
from checkers.bench.measure import TIME_LIMIT_S, peak_mb
from checkers.bench.monitors import MIDDLE
from checkers.linearizability import linearizable, search_keys
from checkers.models.registry import find

_ENOUGH_S = 5.0
_CHANGES: tuple[Change, ...] = ("valid", "swapped", "lost", "out of order")
_KINDS: tuple[Kind, ...] = ("register", "cas-register", "list-append", "kv-append")


class Row(msgspec.Struct, frozen=True):
    """One history, as distinct.distinct makes it."""

    kind: Kind
    operations: int
    processes: int
    change: Change
    crashed: float = 0.0
    appends_max: int = 500

    @property
    def name(self) -> str:
        """What the table calls it."""
        one_key = ", one key" if self.appends_max >= self.operations and "append" in self.kind else ""
        shares = f", {self.crashed:.1%} crashed" if self.crashed else ""
        return f"{self.kind}{one_key}, {self.operations:,} ops, {self.processes} processes{shares}, {self.change}"


class Measured(msgspec.Struct, frozen=True):
    """wall_s, cpu_s: of the decision, medians over the runs. explain_s: of one explanation."""

    verdict: str
    decided_by: str
    wall_s: float
    cpu_s: float
    explain_s: float
    history_mb: float
    peak_mb: float


def rows(operations_max: int, *, full: bool = True) -> Iterator[Row]:
    """The table's rows; not full: all changes only with MIDDLE processes, and 1,000,000 operations valid and swapped."""
    for kind in _KINDS:
        for operations in (1_000, 100_000, 1_000_000):
            for processes in (5, 20, 100):
                changes = _CHANGES
                if operations == 1_000 and processes == 100 and "append" not in kind:
                    changes = tuple(
                        each for each in changes if each != "lost"
                    )  # No read of so few is certain to miss a write.
                if operations > 100_000 and not full:
                    changes = _CHANGES[:2] if processes == MIDDLE else ()
                elif processes != MIDDLE and not full:
                    changes = changes[:2]
                yield from (
                    Row(kind, operations, processes, change) for change in changes if operations <= operations_max
                )
        for crashed in (0.001, 0.01, 0.3):
            yield from (Row(kind, 10_000, 20, change, crashed) for change in ("valid", "swapped"))
        if "append" in kind:
            yield from (Row(kind, 10_000, 5, change, appends_max=10_000) for change in ("valid", "swapped"))


def measure(row: Row, runs: int) -> Measured:
    """Measure the row in this process."""
    history = distinct(
        row.kind,
        operations=row.operations,
        processes=row.processes,
        crashed=row.crashed,
        change=row.change,
        appends_max=row.appends_max,
    )
    gc.collect()
    history_mb = peak_mb()
    model = find(MODELS[row.kind])
    wall: list[float] = []
    cpu: list[float] = []
    while not wall or (len(wall) < runs and sum(wall) < _ENOUGH_S):
        began_s, cpu_began_s = time.perf_counter(), time.process_time()
        search_keys(history, model, refused=True, time_limit_s=TIME_LIMIT_S)
        wall.append(time.perf_counter() - began_s)
        cpu.append(time.process_time() - cpu_began_s)
    verdict = linearizable(history, model, refused=True, time_limit_s=TIME_LIMIT_S)
    return Measured(
        verdict.validity.value,
        ", ".join(verdict.stats.get("decided_by", {})),
        statistics.median(wall),
        statistics.median(cpu),
        verdict.stats.get("explain_ns", 0) / 1e9,
        history_mb,
        peak_mb(),
    )


def main(arguments: list[str]) -> int:
    """Print the table, or JSON lines. 0 when every row was decided, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench.registers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run a row, nothing beyond 100,000 operations")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help="1,000,000 operations with 5 and 100 processes as well")
    options = parser.parse_args(arguments)
    if options.row:
        runs = 1 if options.quick else 3
        sys.stdout.buffer.write(msgspec.json.encode(measure(msgspec.json.decode(options.row, type=Row), runs)))
        return 0
    return 0 if table(quick=options.quick, as_json=options.json, full=options.full) else 1


def table(*, quick: bool, as_json: bool, full: bool = False) -> bool:
    """Measure and print every row. Whether all were decided."""
    is_decided = True
    for row in rows(100_000 if quick else 1_000_000, full=full):
        measured = _in_child(row, quick=quick)
        is_decided = is_decided and measured.verdict != "unknown"
        line = msgspec.json.encode({"row": row, "measured": measured}).decode() if as_json else _line(row, measured)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return is_decided


def _in_child(row: Row, *, quick: bool) -> Measured:
    """In a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "checkers.bench.registers", "--row", msgspec.json.encode(row).decode()]
    done = subprocess.run([*command, *(["--quick"] if quick else [])], stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Measured)


def _line(row: Row, measured: Measured) -> str:
    return (
        f"{row.name:72} {measured.verdict:8} {measured.decided_by:18} wall {measured.wall_s:8.4f} s  cpu {measured.cpu_s:8.4f} s  "
        f"explained in {measured.explain_s:6.3f} s  peak {measured.peak_mb:6.0f} MB, history {measured.history_mb:6.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
