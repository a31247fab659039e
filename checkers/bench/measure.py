"""One row, measured in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import gc
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from checkers.bench.generate import cas_register
from checkers.bench.grid import Row
from checkers.linearizability import linearizable
from checkers.models.register import CasRegister
from histories.history import History

TIME_LIMIT_S = 120.0
_ENOUGH_S = 20.0
_KB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


class Measurement(msgspec.Struct, frozen=True):
    """What a row took.

    check_s: the median from History in memory to verdict, without explain_s, what putting a refutation into words took.
    peak_mb: of the whole process, the history and how it was made included: history_mb before the first check.
    porcupine_s: measured here, None where it was not.
    """

    verdict: str
    decided_by: str
    core: str
    configurations: int
    check_s: float
    explain_s: float
    runs_s: list[float]
    history_mb: float
    peak_mb: float
    porcupine_s: float | None = None


def in_child(row: Row, runs: int, seed: int) -> Measurement:
    """Measure the row in a new process."""
    request = msgspec.json.encode((row, runs, seed))
    done = subprocess.run(
        [sys.executable, "-m", "checkers.bench.measure"], input=request, stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Measurement)


def measure(row: Row, runs: int, seed: int) -> Measurement:
    """Measure the row here; fewer runs when they take more than some seconds together."""
    history, _ = cas_register(
        operations=row.operations,
        processes=row.processes,
        crashed=row.crashed,
        variant=row.variant,
        seed=seed,
        spare=row.spare,
    )
    gc.collect()
    history_mb = peak_mb()
    taken: list[float] = []
    explained: list[float] = []
    while len(taken) < runs and sum(taken) + sum(explained) < _ENOUGH_S:
        began_s = time.perf_counter()
        # A failed cas is an observation, as Porcupine takes it.
        verdict = linearizable(history, CasRegister(), refused=True, time_limit_s=TIME_LIMIT_S)
        explained.append(verdict.stats.get("explain_ns", 0) / 1e9)
        taken.append(time.perf_counter() - began_s - explained[-1])
    peak = peak_mb()
    return Measurement(
        verdict.validity.value,
        ", ".join(verdict.stats.get("decided_by", {})),
        verdict.stats["core"],
        verdict.stats["configurations"],
        statistics.median(taken),
        statistics.median(explained),
        taken,
        history_mb,
        peak,
        _porcupine_s(history),
    )


def peak_mb() -> float:
    """Of this process, until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KB_PER_UNIT / 1024


def _porcupine_s(history: History) -> float | None:
    """Seconds that `porcupine FILE` takes for the history as a jepsen.log; None where the command is missing or fails."""
    command = shutil.which("porcupine")
    if command is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "jepsen.log")
        log.write_text("\n".join(_log_lines(history)) + "\n", encoding="utf-8")
        began_s = time.perf_counter()
        try:
            subprocess.run([command, str(log)], capture_output=True, check=True, timeout=TIME_LIMIT_S)
        except (subprocess.SubprocessError, OSError):
            return None
        return time.perf_counter() - began_s


def _log_lines(history: History) -> list[str]:
    """The lines that Porcupine's etcd test reads."""
    lines = []
    for op in history:
        value = "nil" if op.value is None else op.value
        if isinstance(value, list):
            value = "[" + " ".join(map(str, value)) + "]"
        if op.type == "info":
            value = ":timed-out"
        lines.append(f"INFO  jepsen.util - {op.process}\t:{op.type}\t:{op.f}\t{value}")
    return lines


if __name__ == "__main__":
    asked, times, number = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Row, int, int])
    sys.stdout.buffer.write(msgspec.json.encode(measure(asked, times, number)))
