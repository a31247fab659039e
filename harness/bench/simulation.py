"""How fast the simulation is: virtual seconds a CPU second on the standard scenario, on one process and on all."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence

import msgspec

from checkers.verdict import Validity
from harness.campaign import sweep
from harness.zoo.raft import STANDARD

SEEDS = 6
LEAST_SPEED = 40.0
"""Virtual seconds a CPU second that the project asks for."""


def measure(seeds: int = SEEDS) -> Mapping[str, float]:
    """The figures by name: virtual s per CPU s (median over seeds), seeds a second with one process and with all, and the
    speed-up. Raises AssertionError when a healthy seed is not VALID: a fast simulation of something else measures nothing."""
    results = list(sweep.sweep(STANDARD, range(1, seeds + 1)))
    wrong = [f"seed {result.seed}: {result.reason}" for result in results if result.validity is not Validity.VALID]
    assert not wrong, "; ".join(wrong)
    figures = {
        "sim_virtual_s_per_cpu_s": statistics.median(result.virtual_s / result.cpu_s for result in results),
        "sim_ok_ops_per_cpu_s": statistics.median(result.result.counts["ok"] / result.cpu_s for result in results),
    }
    figures["sim_paxos_to_raft"] = _paxos_to_raft(results)
    jobs = os.cpu_count() or 1
    one = _seeds_per_s(seeds, 1)
    figures["sim_seeds_per_s_1_process"] = one
    if jobs > 1:
        many = _seeds_per_s(seeds * jobs, jobs)
        figures[f"sim_seeds_per_s_{jobs}_processes"] = many
        figures["sim_speed_up"] = many / one
    return figures


def _paxos_to_raft(of_raft: Sequence[sweep.SeedResult]) -> float:
    """Virtual seconds a CPU second of Multi-Paxos on the same scenario, as a share of Raft's."""
    spec = msgspec.structs.replace(STANDARD, target="paxos", target_options={})
    of_paxos = list(sweep.sweep(spec, [result.seed for result in of_raft]))
    wrong = [f"seed {result.seed}: {result.reason}" for result in of_paxos if result.validity is not Validity.VALID]
    assert not wrong, "; ".join(wrong)
    speeds = [
        statistics.median(result.virtual_s / result.cpu_s for result in results) for results in (of_paxos, of_raft)
    ]
    return speeds[0] / speeds[1]


def _seeds_per_s(seeds: int, jobs: int) -> float:
    """Wall-clock throughput between the first result and the last, so that starting the workers is not in it."""
    results = sweep.sweep(STANDARD, range(1, seeds + jobs + 1), jobs)
    for _ in range(jobs):
        next(results)
    began_s = time.monotonic()
    rest = sum(1 for _ in results)
    return rest / (time.monotonic() - began_s)


def main() -> None:
    """Print the figures, and whether the least speed was reached."""
    figures = measure()
    for name, value in figures.items():
        print(f"{name:<32} {value:10.2f}")  # noqa: T201 - a benchmark's output is what it is for
    speed = figures["sim_virtual_s_per_cpu_s"]
    print(f"{'at least':<32} {LEAST_SPEED:10.2f}  {'reached' if speed >= LEAST_SPEED else 'NOT reached'}")  # noqa: T201


if __name__ == "__main__":
    main()
