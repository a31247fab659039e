"""Fuzz one reader or route for so much CPU time: python -m harness.tests.fuzzing NAME CPU_SECONDS [FIRST_SEED].

Prints how many inputs it took, and how much memory and time the worst of them. Ends with status 1 at the first input that
raised, that took longer than 10 s of CPU time, or that made the process larger than MEMORY_BYTES_MAX; the input is in the file
that it names.
"""

from __future__ import annotations

import faulthandler
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from harness.tests.fuzzing.mutation import mutated
from harness.tests.fuzzing.readers import readers

HANG_S = 10
MEMORY_BYTES_MAX = 1 << 30


def main(name: str, cpu_seconds: float = 0, first_seed: int = 0) -> int:
    """Fuzz the reader of this name; returns the exit status."""
    if name == "--names":
        from harness.tests.fuzzing.route_kinds import kinds

        print("\n".join([*(f"route:{kind}" for kind in kinds()), *readers()]))
        return 0
    if name.startswith("route:"):
        from harness.tests.fuzzing.routes import main as fuzz_routes

        return fuzz_routes(name.removeprefix("route:"), cpu_seconds, first_seed)
    faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX,) * 2)
    reader = readers()[name]
    seed = first_seed
    slowest_s = 0.0
    until_s = time.process_time() + cpu_seconds
    with tempfile.TemporaryDirectory() as directory:
        while time.process_time() < until_s:
            text = mutated(Random(f"{name}/{seed}"), reader.examples)
            signal.setitimer(signal.ITIMER_PROF, HANG_S)  # Of CPU time: the machine may be busy.
            began_s = time.process_time()
            try:
                reader.read(Path(directory), text)
            except BaseException:  # noqa: BLE001 (each is a finding)
                signal.setitimer(signal.ITIMER_PROF, 0)
                kept = Path(tempfile.gettempdir(), f"fuzz-{name}-{seed}")
                kept.write_bytes(text)
                traceback.print_exc()
                print(f"{name}: seed {seed} raised; the input is {kept}")
                return 1
            signal.setitimer(signal.ITIMER_PROF, 0)
            slowest_s = max(slowest_s, time.process_time() - began_s)
            seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{name}: {seed - first_seed:,} inputs, peak {peak} MiB, slowest {slowest_s:.2f} s CPU, {cpu_seconds:g} s CPU: nothing"
    )
    return 0


if __name__ == "__main__":
    sys.exit(
        main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    )
