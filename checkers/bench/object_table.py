"""`python -m checkers.bench.object_table [--time-limit S] [--runs N] [NAME ...]`: objects of every type, valid and not.

An invalid history has two observations swapped; in the register of crashed writes, a value is read again. CPU seconds from
History in memory to verdict, and of the explanation, medians; and how many times that is what a CAS register of 10,000
operations and 5 clients takes in the same process, which is what to compare between machines. Beside them stands what the
checker took before it had monitors (BEFORE). What is not decided within the time limit is printed as undecided, and the exit
code is 1 then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from checkers.bench.generate import cas_register
from checkers.bench.objects import KINDS, history, unknown_writes
from checkers.linearizability.check import search_keys, summarize
from checkers.models.registry import find
from checkers.verdict import Validity, Verdict
from histories.history import History


class Row(NamedTuple):
    """kind: of KINDS."""

    kind: str
    operations: int
    processes: int


UNKNOWN_WRITES = "register, 3,000 crashed"

ROWS = (
    Row("queue", 1_000, 5),
    Row("stack", 1_000, 5),
    Row("stack with peeks", 1_000, 20),
    Row("stack with peeks", 10_000, 20),
    Row("priority queue", 1_000, 20),
    Row("set", 10_000, 20),
    Row("kv", 1_000, 20),
    Row("list-append", 1_000, 5),
    Row("counter", 100_000, 5),
    Row("kv log", 1_800, 50),
    Row(UNKNOWN_WRITES, 5_000, 1),
    Row("queue, 50 values", 300, 5),
    Row("queue, 50 values", 300, 20),
    Row("priority queue, 50 values", 1_000, 20),
)


BEFORE = {
    ("queue", 1_000, 5): ("undecided", "undecided"),
    ("stack", 1_000, 5): ("undecided", "undecided"),
    ("priority queue", 1_000, 20): ("2.4", "46"),
    ("set", 10_000, 20): ("undecided", "undecided"),
    ("kv", 1_000, 20): ("undecided", "undecided"),
    ("list-append", 1_000, 5): ("1.0", "165"),
    ("counter", 100_000, 5): ("0.4", "0.7"),
    ("kv log", 1_800, 50): ("1.0", "6.7"),
    (UNKNOWN_WRITES, 5_000, 1): ("undecided", "undecided"),
}
"""Seconds of such a history, valid and swapped, explanation included, with the general search alone and a time limit of 20 s (the
register: 100 s); on another machine, and the kv log had 1,712 and 2,024 operations."""

_EXPLAIN_LIMIT_S = 2.0
"""As `linearizable` gives an explanation beyond what the decision took."""


def main(arguments: list[str]) -> int:
    """Measure and print. 0 when every row was decided, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench.object_table", description=__doc__)
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for one check (default 20)")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is taken (default 3)")
    parser.add_argument("names", nargs="*", help="of types, such as 'queue' and 'kv log' (default: all)")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - KINDS.keys() - {UNKNOWN_WRITES}):
        parser.error(f"no type is called {unknown[0]!r}; there are: {', '.join(KINDS)}")
    return 0 if table(options.names, runs=options.runs, time_limit_s=options.time_limit) else 1


def table(names: Sequence[str] = (), *, runs: int = 3, time_limit_s: float = 20.0, as_json: bool = False) -> bool:
    """Measure and print the rows of these types, all when there are none. Whether all were decided."""
    yardstick, _ = cas_register(operations=10_000, processes=5)
    unit_s, _, _ = _measured(yardstick, "cas-register", runs, time_limit_s)
    if not as_json:
        sys.stdout.write(
            f"{'type':28} {'ops':>8} {'clients':>7} {'history':8} {'before s':>9} {'verdict':9} {'CPU s':>8} {'ratio':>8} "
            f"{'explain s':>9}  by\n"
        )
    is_decided = True
    for row in ROWS:
        if names and row.kind not in names:
            continue
        for is_valid in (True, False):
            made, model = _made(row, is_valid=is_valid)
            cpu_s, explain_s, verdict = _measured(made, model, runs, time_limit_s)
            is_undecided = verdict.validity is Validity.UNKNOWN
            is_decided = is_decided and not is_undecided
            by = ", ".join(Counter(verdict.stats.get("decided_by", {})))
            answer = "undecided" if is_undecided else verdict.validity.value
            before = BEFORE.get((row.kind, row.operations, row.processes), ("-", "-"))[0 if is_valid else 1]
            changed = "valid" if is_valid else "swapped"
            if as_json:
                measured = {
                    "cpu_s": cpu_s,
                    "ratio": cpu_s / unit_s,
                    "explain_s": explain_s,
                    "verdict": answer,
                    "by": by,
                }
                line = msgspec.json.encode(
                    {"row": row._asdict(), "history": changed, "before": before, "measured": measured}
                ).decode()
            else:
                line = (
                    f"{row.kind:28} {row.operations:8,} {row.processes:7} {changed:8} {before:>9} {answer:9} {cpu_s:8.3f} "
                    f"{cpu_s / unit_s:8.1f} {explain_s:9.3f}  {by}"
                )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return is_decided


def _made(row: Row, *, is_valid: bool) -> tuple[History, str]:
    """The history, and the name of its model."""
    if row.kind == UNKNOWN_WRITES:
        return unknown_writes(is_valid=is_valid), "register"
    kind = KINDS[row.kind]
    return history(kind, operations=row.operations, processes=row.processes, is_valid=is_valid), kind.model


def _measured(made: History, model_name: str, runs: int, time_limit_s: float) -> tuple[float, float, Verdict]:
    """CPU seconds of the decision and of the explanation, medians, and the last verdict. An undecided one is run once."""
    decided_s: list[float] = []
    explained_s: list[float] = []
    model = find(model_name)
    while True:
        began_s = time.process_time()
        results = search_keys(made, model, refused=True, time_limit_s=time_limit_s, jobs=1)
        decided_s.append(time.process_time() - began_s)
        verdict = summarize(results, model, made, explain_limit_s=_EXPLAIN_LIMIT_S)
        explained_s.append(time.process_time() - began_s - decided_s[-1])
        if len(decided_s) >= runs or verdict.validity is Validity.UNKNOWN:
            return statistics.median(decided_s), statistics.median(explained_s), verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
