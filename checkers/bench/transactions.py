"""What checking transactions costs: list-append and rw-register, valid and with one G-single in the middle, and the growth; and
the exact checks.

`python -m checkers.bench.transactions [--quick] [--json] [--seed N] [--only TEXT]`. CPU seconds of this process, History
in memory, medians.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Sequence
from random import Random
from statistics import median
from typing import Any

import msgspec

from checkers import Validity
from checkers.bench.measure import peak_mb
from checkers.transactions import Inference, Wanted, Workload, transactions
from checkers.transactions.exact import exact
from histories.history import History
from histories.op import Op

PROCESSES = 10
ACTIVE_KEYS = 10
WRITES_A_KEY_MAX = 32


class Row(msgspec.Struct, frozen=True):
    """A history to measure. is_broken: one transaction in the middle reads half of another. exact: the model that the exact check
    decides; "" for the check by inference."""

    workload: Workload
    transactions: int
    is_broken: bool = False
    runs: int = 5
    exact: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        broken, exactly = ", one G-single" if self.is_broken else "", f", {self.exact} exactly" if self.exact else ""
        return f"{self.workload} {self.transactions:,}{broken}{exactly}"

    @property
    def smaller(self) -> Row:
        """The same with a tenth of the transactions."""
        return msgspec.structs.replace(self, transactions=self.transactions // 10, runs=0)


ROWS: tuple[Row, ...] = (
    Row("list-append", 10_000),
    Row("list-append", 100_000),
    Row("list-append", 100_000, is_broken=True),
    Row("list-append", 1_000_000, runs=1),
    Row("list-append", 1_000_000, is_broken=True, runs=1),
    Row("rw-register", 10_000),
    Row("rw-register", 100_000),
    Row("rw-register", 1_000_000, runs=1),
    Row("rw-register", 1_000, exact="serializable"),
    Row("rw-register", 5_000, exact="serializable", runs=3),
    Row("rw-register", 1_000, exact="snapshot-isolation"),
    Row("rw-register", 5_000, exact="snapshot-isolation", runs=3),
)


class Measured(msgspec.Struct, frozen=True):
    """check_s: CPU seconds of the check, the median. history_mb, peak_mb: memory before the check, and at most."""

    validity: str
    anomalies: dict[str, int]
    check_s: float
    history_mb: float
    peak_mb: float


def generate(workload: Workload, count: int, seed: int, *, is_broken: bool = False) -> History:
    """A strict-serializable history of `count` transactions of 1 to 4 micro-operations by PROCESSES clients.

    As many keys as ACTIVE_KEYS are in use at a time; one that was written WRITES_A_KEY_MAX times gives way to the next.
    is_broken: at the middle, a transaction writes two fresh keys, and another one reads the first as written and the second as
    it was before.
    """
    rng = Random(seed)
    write = "append" if workload == "list-append" else "w"
    ops: list[Op] = []
    active, fresh = list(range(ACTIVE_KEYS)), ACTIVE_KEYS
    written: dict[int, list[int]] = {key: [] for key in active}
    open_txns: dict[int, tuple[list[list[Any]], list[list[Any]]]] = {}
    begun, broken_at = 0, count // 2 if is_broken else -1

    def add(type: str, process: int, value: list[list[Any]]) -> None:
        ops.append(Op(len(ops), len(ops) * 1_000, type, process, "txn", None, value))  # type: ignore[arg-type]

    def run(steps: list[list[Any]]) -> list[list[Any]]:
        done = []
        for f, key, value in steps:
            if f == "r":
                versions = written.get(key, [])
                done.append([f, key, versions[:] if write == "append" else versions[-1] if versions else None])
            else:
                written.setdefault(key, []).append(value)
                done.append([f, key, value])
        return done

    while begun < count or open_txns:
        process = rng.randrange(PROCESSES)
        if process in open_txns:
            asked, done = open_txns.pop(process)
            add("ok", process, done or run(asked))
            continue
        if begun >= count:
            continue
        begun += 1
        steps: list[list[Any]] = []
        if begun == broken_at:
            _break(add, write, fresh, range(PROCESSES, PROCESSES + 3))
            fresh += 2
            continue
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(ACTIVE_KEYS)
            key = active[at]
            if rng.random() < 0.5:
                steps.append(["r", key, None])
                continue
            steps.append([write, key, begun * 4 + len(steps)])
        add("invoke", process, steps)
        # Half of them take effect at once, half when they end: so that what overlaps comes in either order.
        done = run(steps) if rng.random() < 0.5 else []
        open_txns[process] = (steps, done)
        for at, key in enumerate(active):
            if len(written[key]) >= WRITES_A_KEY_MAX:
                active[at] = fresh
                written[fresh] = []
                fresh += 1
    return History(ops)


def _break(add: Any, write: str, fresh: int, processes: Sequence[int]) -> None:
    first, second = fresh, fresh + 1
    writer, reader, last = processes
    both = [[write, first, 1], [write, second, 1]]
    value: Any = [1] if write == "append" else 1
    add("invoke", writer, both)
    add("invoke", reader, [["r", first, None], ["r", second, None]])
    add("ok", writer, both)
    add("ok", reader, [["r", first, value], ["r", second, None]])
    add("invoke", last, [["r", first, None], ["r", second, None]])
    add("ok", last, [["r", first, value], ["r", second, value]])


def measure(row: Row, seed: int) -> Measured:
    """The row's check, in this process."""
    history = generate(row.workload, row.transactions, seed, is_broken=row.is_broken)
    inference = Inference(linearizable_keys=True, wfr_keys=True) if row.workload == "rw-register" else Inference()
    before_mb = peak_mb()
    times: list[float] = []
    for _ in range(row.runs):
        gc.collect()
        began = time.process_time()
        if row.exact:
            verdict = exact(history, row.exact)
        else:
            verdict = transactions(history, row.workload, Wanted(inference=inference))
        times.append(time.process_time() - began)
    expected = Validity.INVALID if row.is_broken else Validity.VALID
    assert verdict.validity is expected, f"{row.name}: {verdict.validity}, {verdict.reason}"
    return Measured(verdict.validity.value, verdict.stats.get("anomalies", {}), median(times), before_mb, peak_mb())


def in_child(row: Row, seed: int) -> Measured:
    """Measure the row in a new process, so that its peak memory is its own."""
    command = [sys.executable, "-m", "checkers.bench.transactions", "--child"]
    done = subprocess.run(command, input=msgspec.json.encode((row, seed)), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Measured)


def table(*, quick: bool, as_json: bool, seed: int, only: str = "") -> bool:
    """Measure and print every row whose name has `only`. Whether all were decided as they should be; a wrong verdict raises
    CalledProcessError."""
    took_s: dict[Row, float] = {}
    if not as_json:
        _print(f"{'history':54} {'verdict':8} {'CPU s':>8} {'growth':>7} {'history MB':>11} {'peak MB':>8}")
    for row in ROWS:
        if only not in row.name or (quick and row.transactions > 100_000):
            continue
        measured = in_child(row, seed)
        if as_json:
            _print(msgspec.json.encode({"row": row, "measured": measured}).decode())
            continue
        took_s[msgspec.structs.replace(row, runs=0)] = measured.check_s
        smaller = took_s.get(row.smaller)
        growth = f"{measured.check_s / smaller:7.1f}" if smaller else f"{'-':>7}"
        memory = f"{measured.history_mb:11.0f} {measured.peak_mb:8.0f}"
        _print(f"{row.name:54} {measured.validity:8} {measured.check_s:8.3f} {growth} {memory}")
    return True


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """0 when every row was decided."""
    parser = argparse.ArgumentParser(prog="python -m checkers.bench.transactions", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="nothing beyond 100,000 transactions")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--seed", type=int, default=0, help="of the histories (default 0)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name has it")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        row, seed = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Row, int])
        sys.stdout.buffer.write(msgspec.json.encode(measure(row, seed)))
        return 0
    return 0 if table(quick=options.quick, as_json=options.json, seed=options.seed, only=options.only) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
