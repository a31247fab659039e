"""Healthy Raft, Multi-Paxos and single-decree Paxos over many seeds, in the simulation, each seed with a scenario that it draws.

    python -m harness.soak.consensus STATE [--target TARGET] [--seeds N]

Every seed draws its nodes, faults, pace, mix, transport, time-outs and the target's own options (harness.campaign.swarm); late
packets and clocks that jump are among the faults. STATE is a file of lines, one for each run that has ended, with its verdict, its
reason (also that it was vacuous) and its CPU seconds. Whoever starts the command again with the same file goes on where it ended.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from harness.campaign import sweep
from harness.soak import seeds as many
from harness.spec import RunSpec

WORKLOADS: Mapping[str, str] = {"raft": "register", "paxos": "register", "paxos-single": "consensus"}


def spec_of(target: str, seed: int) -> RunSpec:
    """The run of this seed: a virtual 12 seconds."""
    base = RunSpec(env="sim", swarm=True, target=target, workload=WORKLOADS[target], time_limit_s=12.0)
    return sweep.spec_of_seed(base, seed)


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--target", "targets", type=click.Choice([*WORKLOADS]), multiple=True, help="Only this one; repeatable.")
@click.option("--seeds", type=click.IntRange(1), default=5_000, show_default=True, help="Of each target, from 1 on.")
def main(state: Path, targets: tuple[str, ...], seeds: int) -> None:
    """Run what is left of the seeds; ends with 1 when a run was not VALID."""
    sys.exit(0 if many.soak(state, dict.fromkeys(targets or WORKLOADS, seeds), spec_of) else 1)


if __name__ == "__main__":
    main()
