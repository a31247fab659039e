"""`python -m checkers.bench [--quick] [--full] [--json] [--seed N]`: everything that is measured of the checker, in one run.

The grid of registers and their growth in wall seconds; then, in CPU seconds, which do not change when others use the machine,
objects of every type before and after the monitors, the monitors of collections, and those of registers and append-only values,
transactions, and what is weaker than linearizable. Medians everywhere.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator

import msgspec

from checkers.bench import monitors, object_table, registers, transactions, weak
from checkers.bench.grid import GRID, GROWTH, Row
from checkers.bench.measure import Measurement, in_child


def main(arguments: list[str]) -> int:
    """Measure and print. 0 when every row was decided, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run a row, nothing beyond 100,000 operations")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--seed", type=int, default=0, help="of the histories (default 0)")
    parser.add_argument(
        "--full", action="store_true", help="1,000,000 operations of every kind as well, which takes long"
    )
    options = parser.parse_args(arguments)
    rows_max, runs = (100_000, 1) if options.quick else (10**6, 3)
    is_decided = True
    if not options.json:
        _print(_HEADER)
    for title, rows in (("", GRID), ("Growth at fixed concurrency:", GROWTH)):
        if title and not options.json:
            _print("\n" + title)
        for row in rows:
            if row.operations > rows_max:
                continue
            measured = in_child(row, runs, options.seed)
            is_decided = is_decided and measured.verdict != "unknown"
            _print(_as_json(row, measured) if options.json else " ".join(_cells(row, measured)))
    if not options.json:
        _print("\nObjects of every type, before and after, CPU seconds:")
    is_decided = object_table.table(runs=runs, as_json=options.json) and is_decided
    if not options.json:
        _print("\nCollections, distinct values, CPU seconds:")
    is_decided = (
        monitors.table(quick=options.quick, as_json=options.json, seed=options.seed, full=options.full) and is_decided
    )
    if not options.json:
        _print("\nRegisters and append-only values, distinct values:")
    is_decided = registers.table(quick=options.quick, as_json=options.json, full=options.full) and is_decided
    if not options.json:
        _print("\nTransactions:")
    is_decided = transactions.table(quick=options.quick, as_json=options.json, seed=options.seed) and is_decided
    if not options.json:
        _print("\nWeaker than linearizable, all checkers of a run together:")
    is_decided = weak.table(quick=options.quick, as_json=options.json) and is_decided
    if not options.json and shutil.which("porcupine") is None:
        _print("\nNo `porcupine` on the PATH: its column is what its newest version took elsewhere.")
    return 0 if is_decided else 1


_HEADER = (
    f"{'history':62} {'verdict':8} {'by':12} {'median s':>9} {'explain s':>9} {'ops/s':>11} {'peak MB':>8} {'check MB':>8} "
    f"{'prototype':>10} {'ratio':>6} {'Porcupine':>10} {'ratio':>7}"
)


def _cells(row: Row, measured: Measurement) -> Iterator[str]:
    yield f"{row.name:62} {measured.verdict:8} {measured.decided_by:12} {measured.check_s:9.4f} {measured.explain_s:9.4f}"
    yield f"{row.operations / measured.check_s:11,.0f}"
    yield f"{measured.peak_mb:8.0f} {measured.peak_mb - measured.history_mb:8.0f}"
    yield from _compared(measured.check_s, row.prototype_s, 10, 6)
    yield from _compared(measured.check_s, measured.porcupine_s or row.porcupine_s, 10, 7)


def _compared(ours_s: float, theirs_s: float | None, width: int, ratio_width: int) -> Iterator[str]:
    if theirs_s is None:
        yield f"{'-':>{width}} {'-':>{ratio_width}}"
    else:
        yield f"{theirs_s:{width}.3f} {ours_s / theirs_s:{ratio_width}.2f}"


def _as_json(row: Row, measured: Measurement) -> str:
    return msgspec.json.encode({"row": row, "measured": measured}).decode()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
