"""Whether a virtual second costs the same late in a long run as early: CPU time and peak memory of one seed of each length.

    python -m harness.bench.long_runs [60 120 300 600]

500 ops a second under partitions and kills, checks included. Each length has a process of its own, since memory is its peak.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import click

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.spec import RunSpec

LENGTHS_S = (60, 120, 300, 600)


def measure(length_s: int) -> str:
    """One row, of this process. Raises AssertionError when the run is not VALID."""
    spec = RunSpec(
        env="sim", nemesis=("partition", "kill"), concurrency=10, rate_hz=500.0, time_limit_s=float(length_s), seed=1
    )
    began_s = time.process_time()
    result = sweep.run_seed(spec)
    cpu_s = time.process_time() - began_s
    assert result.validity is Validity.VALID, result.reason
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{length_s:6d} s {cpu_s:8.1f} CPU s {result.virtual_s / cpu_s:8.1f} virtual s a CPU s {peak_mb:8.0f} MB "
        f"{result.result.counts['ok']:9d} ok"
    )


@click.command()
@click.argument("lengths_s", type=int, nargs=-1)
@click.option("--here", is_flag=True, hidden=True, help="Measure in this process.")
def long_runs(lengths_s: tuple[int, ...], here: bool) -> None:
    """Measure runs of LENGTHS_S virtual seconds."""
    for length_s in lengths_s or LENGTHS_S:
        if here:
            click.echo(measure(length_s))
        else:
            command = [sys.executable, "-m", "harness.bench.long_runs", "--here", str(length_s)]
            status = subprocess.call(command)
            if status:
                sys.exit(status)


if __name__ == "__main__":
    long_runs()
