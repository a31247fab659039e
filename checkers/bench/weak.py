"""The checkers of what is weaker than linearizable, all of them one after another on one history, as a run has them.

Registers: causal, the four session guarantees, convergence, durability and staleness. Sets: convergence and set-full. CPU seconds
from History in memory to verdict. Each row runs in a process of its own: `python -m checkers.bench.weak [--quick] [--json]`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

import msgspec

from checkers.causal import causal
from checkers.eventual import convergence, registers_kept
from checkers.sessions import GUARANTEES, session_guarantee
from checkers.sets import set_full
from checkers.staleness import staleness
from checkers.verdict import Verdict
from histories.history import History
from histories.op import Op

CLIENTS = 10
NODES = 5
KEYS = 50
ELEMENTS_MAX = 20
"""A read of a set returns so many elements at most: older ones are removed."""
_KB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1

REGISTERS: Mapping[str, Callable[[History], Verdict]] = {
    "causal": causal,
    **{guarantee: partial(session_guarantee, guarantee=guarantee) for guarantee in GUARANTEES},
    "convergence": convergence,
    "durability": registers_kept,
    "staleness": staleness,
}
SETS: Mapping[str, Callable[[History], Verdict]] = {
    "convergence": partial(convergence, is_set=True),
    "set-full": set_full,
}


class Row(msgspec.Struct, frozen=True):
    kind: str
    operations: int


class Measured(msgspec.Struct, frozen=True):
    """seconds: CPU, by checker. peak_mb: of the whole process; history_mb: before the first check."""

    verdicts: dict[str, str]
    seconds: dict[str, float]
    history_mb: float
    peak_mb: float


def history(row: Row, seed: int = 1) -> History:
    """One client after another, on one copy: what a store that works answers. In the end each client reads each key."""
    rng = Random(seed)
    ops: list[Op] = []
    held: dict[int, Any] = {}

    def do(process: int, f: str, key: int, value: Any, result: Any) -> None:
        node = f"n{process % NODES}"
        for type_, shown in (("invoke", value), ("ok", result)):
            ops.append(Op(len(ops), len(ops) * 1000, type_, process, f, key, shown, node=node))  # type: ignore[arg-type]

    def read(process: int, key: int) -> None:
        found = held.get(key)
        do(process, "read", key, None, list(found or ()) if row.kind == "set" else found)

    for number in range(row.operations - CLIENTS * KEYS):
        process, key = rng.randrange(CLIENTS), rng.randrange(KEYS)
        if rng.random() < 0.5:
            read(process, key)
        elif row.kind == "register":
            held[key] = number
            do(process, "write", key, number, number)
        else:
            elements = held.setdefault(key, [])
            if len(elements) < ELEMENTS_MAX:
                elements.append(number)
                do(process, "add", key, number, number)
            else:
                gone = elements.pop(0)
                do(process, "remove", key, gone, gone)
    for key in range(KEYS):
        for process in range(CLIENTS):
            read(process, key)
    return History(ops)


def measure(row: Row) -> Measured:
    """Every checker of the kind, once each: they share what they read."""
    made = history(row)
    history_mb = _peak_mb()
    seconds, verdicts = {}, {}
    for name, check in (REGISTERS if row.kind == "register" else SETS).items():
        began_s = time.process_time()
        verdict = check(made)
        seconds[name] = time.process_time() - began_s
        verdicts[name] = verdict.validity.value
    return Measured(verdicts, seconds, history_mb, _peak_mb())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 * _KB_PER_UNIT


def table(*, quick: bool, as_json: bool) -> bool:
    """Measure and print every row. Whether all were decided."""
    is_decided = True
    largest = 100_000 if quick else 1_000_000
    for kind in ("register", "set"):
        before_s = 0.0
        for row in (Row(kind, largest // 10), Row(kind, largest)):
            command = [sys.executable, "-m", "checkers.bench.weak", "--row", msgspec.json.encode(row).decode()]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            measured = msgspec.json.decode(done.stdout, type=Measured)
            is_decided = is_decided and "unknown" not in measured.verdicts.values()
            total_s = sum(measured.seconds.values())
            if as_json:
                line = msgspec.json.encode({"row": row, "measured": measured}).decode()
            else:
                each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in measured.seconds.items())
                growth = f", {total_s / before_s:.1f} times a tenth of it" if before_s else ""
                line = (
                    f"{row.kind}s, {row.operations:,} ops: {total_s:.2f} CPU s{growth}; peak {measured.peak_mb:.0f} MB, history "
                    f"{measured.history_mb:.0f} MB ({each})"
                )
            before_s = total_s
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return is_decided


def main(arguments: list[str]) -> int:
    """Print the table, or JSON lines. 0 when every row was decided, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench.weak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="nothing beyond 100,000 operations")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        sys.stdout.buffer.write(msgspec.json.encode(measure(msgspec.json.decode(options.row, type=Row))))
        return 0
    return 0 if table(quick=options.quick, as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
