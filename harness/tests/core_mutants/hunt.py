"""The standard campaign: every other run is a swarm's, the others go round the scenarios of the target's zoo.

Import it only after the mutant is installed: it imports the targets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, cycle

import msgspec

from harness.campaign import sweep
from harness.spec import RunSpec
from harness.zoo import paxos, raft

SWARM_S = 12.0
"""Virtual seconds of a swarm's run."""
SCENARIOS = {
    "raft": (*raft.SCENARIOS, raft.SURE_LEASES, raft.PAUSED_LEASES),  # What breaks a lease shows seldom: these twice.
    "paxos": (paxos.MULTI, paxos.SNAPSHOTS, paxos.LEASES, paxos.SURE_LEASES, paxos.SLOW_LEARNERS, paxos.DUELS),
    "paxos-single": (paxos.SINGLE, paxos.SINGLE_DUELS),
}


class Hunted(msgspec.Struct, frozen=True):
    """How one hunt ended. by: the checkers that are not VALID; "" where nothing was found. command: runs the find again."""

    id: str
    is_found: bool
    runs_count: int
    cpu_s: float
    by: str = ""
    reason: str = ""
    command: str = ""


def campaign(target: str, first_seed: int) -> Iterator[RunSpec]:
    """The runs of the campaign, without an end."""
    workload = "consensus" if target == "paxos-single" else "register"
    swarm = RunSpec(env="sim", swarm=True, target=target, workload=workload, time_limit_s=SWARM_S)
    for seed, scenario in zip(count(first_seed), cycle(SCENARIOS[target]), strict=False):
        yield sweep.spec_of_seed(swarm, seed)
        yield sweep.spec_of_seed(scenario.base, seed)


def hunt(id: str, target: str, first_seed: int, cpu_s_max: float) -> Hunted:
    """Runs of the campaign until one is a finding, or so many CPU seconds of this process are over."""
    began_s = time.process_time()
    runs_count = 0
    for spec in campaign(target, first_seed):
        result = sweep.run_seed(spec)
        runs_count += 1
        cpu_s = time.process_time() - began_s
        if sweep.is_finding(result):
            parts = result.result.verdict.parts
            worst = result.validity
            by = (
                ", ".join(name for name, part in parts.items() if part.validity is worst and name != "vacuity")
                or "harness"
            )
            rule = parts["invariants"].reason.partition(":")[0] if by == "invariants" else ""
            return Hunted(id, True, runs_count, cpu_s, rule or by, result.reason[:300], result.command)
        if cpu_s >= cpu_s_max:
            break
    return Hunted(id, False, runs_count, time.process_time() - began_s)
