"""Fuzz every reader and every kind of route in turn, in rounds: python -m harness.tests.fuzzing.rounds STATE [CPU_SECONDS] [SLICE].

Each turn gives the next SLICE of CPU seconds (60) to the one that had least so far, in a process of its own, until each had
CPU_SECONDS (600). What each had is in the file STATE, written after every turn: started again, it goes on from there, with the
seeds that come next. One that found something is left out from then on, until its entry is taken out of STATE.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec

FIRST_SEED = 2_000_000
"""The short fuzz of `make test` and the runs by hand had the seeds below."""

_RESULT = re.compile(r"([\d,]+) inputs, peak (\d+) MiB, slowest ([\d.]+) s")


class Turns(msgspec.Struct):
    """What one reader or kind of route had so far."""

    cpu_seconds: float = 0.0
    inputs: int = 0
    peak_mib: int = 0
    slowest_s: float = 0.0
    found: str = ""


def names() -> list[str]:
    """Everything under fuzz, asked of a new process: what was added meanwhile takes part from the next turn on."""
    asked = subprocess.run(
        [sys.executable, "-m", "harness.tests.fuzzing", "--names"], capture_output=True, text=True, check=True
    )
    return asked.stdout.split()


def turn(name: str, had: Turns, slice_s: float) -> Turns:
    """What it had after one more slice."""
    command = [sys.executable, "-m", "harness.tests.fuzzing", name, str(slice_s), str(FIRST_SEED + had.inputs)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    told = _RESULT.search(ended.stdout)
    if ended.returncode != 0 or told is None:
        return msgspec.structs.replace(had, found=(ended.stdout + ended.stderr)[-8000:] or f"status {ended.returncode}")
    return Turns(
        cpu_seconds=had.cpu_seconds + slice_s,
        inputs=had.inputs + int(told[1].replace(",", "")),
        peak_mib=max(had.peak_mib, int(told[2])),
        slowest_s=max(had.slowest_s, float(told[3])),
    )


def main(state: Path, cpu_seconds: float = 600, slice_s: float = 60) -> int:
    """Go on until each had its time; returns 1 when one found something."""
    had = msgspec.json.decode(state.read_bytes(), type=dict[str, Turns]) if state.exists() else {}
    while True:
        for name in names():
            had.setdefault(name, Turns())
        left = {name: turns for name, turns in had.items() if not turns.found and turns.cpu_seconds < cpu_seconds}
        if not left:
            break
        name = min(left, key=lambda name: left[name].cpu_seconds)
        had[name] = turn(name, had[name], slice_s)
        new = state.with_name(f"{state.name}.new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(had), indent=1))
        new.replace(state)
        print(time.strftime("%H:%M:%S"), name, had[name], flush=True)
    return int(any(turns.found for turns in had.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(float, sys.argv[2:4])))
