"""`python -m checkers.bench.faults [--json]`: the checkers that look at every run, as ops and faults grow. They are near-linear:
ten times as many of both take about ten times as long."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from checkers.availability import availability
from checkers.recovery import recovery
from checkers.vacuity import vacuity
from checkers.windows import fault_windows
from histories.faults import Begun, Ended, FaultResult, Lift, Onset
from histories.history import History
from histories.op import NEMESIS, Op, OpType

SIZES = ((100_000, 200), (1_000_000, 2_000))
"""Ops and faults."""
NODES = ("n1", "n2", "n3", "n4", "n5")
PROCESSES = 50
OP_NS = 1_000_000
CHECKS: dict[str, Callable[[History], object]] = {
    "windows": fault_windows,
    "vacuity": vacuity,
    "availability": availability,
    "recovery": recovery,
}


class FaultRow(msgspec.Struct, frozen=True):
    """What one history took: CPU seconds by checker, and MB of the process before and after them all."""

    operations: int
    faults: int
    seconds: dict[str, float]
    history_mb: float
    peak_mb: float


def history(operations: int, faults: int, seed: int = 0) -> History:
    """`operations` of 50 clients on five nodes, one a ms, and so many partitions, kills and pauses that overlap, each five
    times as long as they are apart."""
    rng = Random(seed)
    ops = [*_clients(operations, rng), *_nemesis(operations, faults, rng)]
    ops.sort(key=lambda op: op.time)
    return History(msgspec.structs.replace(op, index=i) for i, op in enumerate(ops))


def _clients(operations: int, rng: Random) -> Iterator[Op]:
    ends: tuple[OpType, ...] = ("ok", "ok", "ok", "fail")
    for i in range(operations):
        begin_ns, process, node = i * OP_NS, i % PROCESSES, rng.choice(NODES)
        yield Op(0, begin_ns, "invoke", process, "read", i // 1000, node=node)
        took_ns = rng.randrange(1, PROCESSES * OP_NS)
        yield Op(0, begin_ns + took_ns, rng.choice(ends), process, "read", i // 1000, 1, node=node)


def _nemesis(operations: int, faults: int, rng: Random) -> Iterator[Op]:
    apart_ns = operations * OP_NS // (faults + 6)
    for i in range(faults):
        name = ("partition", "kill", "pause")[i % 3]
        nodes = sorted(rng.sample(NODES, 2))
        id, begin_ns, end_ns = f"{name}-{i}", i * apart_ns, (i + 5) * apart_ns + 2
        begun = Begun(id, name, {node: Onset(begin_ns, begin_ns + 1) for node in nodes})
        grudge = {node: sorted(set(NODES) - set(nodes)) for node in nodes}
        did = {"grudge": grudge} if name == "partition" else {"nodes": nodes}
        ended = Ended(id, {node: Lift(end_ns, end_ns + 1) for node in nodes})
        for time_ns, f, result in (
            (begin_ns, f"start-{name}", FaultResult("installed", did, begins=(begun,))),
            (end_ns, f"stop-{name}", FaultResult("installed", ends=(ended,))),
        ):
            yield Op(0, time_ns, "invoke", NEMESIS, f)
            yield Op(0, time_ns + 1, "info", NEMESIS, f, value=msgspec.to_builtins(result))


def measure(operations: int, faults: int) -> FaultRow:
    """Measure here."""
    made = history(operations, faults)
    # Pairing is shared by all checkers of a run, and paid once.
    began_s = time.process_time()
    assert len(made.completions) == operations + 2 * faults
    seconds = {"pairs": time.process_time() - began_s}
    gc.collect()
    history_mb = _peak_mb()
    for name, check in CHECKS.items():
        began_s = time.process_time()
        check(made)
        seconds[name] = time.process_time() - began_s
    return FaultRow(operations, faults, seconds, history_mb, _peak_mb())


def in_child(operations: int, faults: int) -> FaultRow:
    """Measure in a new process, so that its peak memory is its own."""
    command = [sys.executable, "-m", "checkers.bench.faults", "--row", str(operations), str(faults)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=FaultRow)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> int:
    """Measure and print."""
    if arguments[:1] == ["--row"]:
        sys.stdout.buffer.write(msgspec.json.encode(measure(int(arguments[1]), int(arguments[2]))))
        return 0
    if "--json" not in arguments:
        sys.stdout.write(
            "CPU s       ops  faults  " + "".join(f"{name:>14}" for name in ("pairs", *CHECKS)) + "  check MB\n"
        )
    for operations, faults in SIZES:
        row = in_child(operations, faults)
        if "--json" in arguments:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
            continue
        took = "".join(f"{seconds:12.3f} s" for seconds in row.seconds.values())
        sys.stdout.write(f"      {operations:9,} {faults:7,}  {took}  {row.peak_mb - row.history_mb:8.0f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
