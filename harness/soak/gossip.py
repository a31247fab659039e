"""Healthy gossip over many seeds: every mode under partition, kill, loss and clock, in the simulation.

    python -m harness.soak.gossip STATE [--seeds 2000] [--mode MODE]

STATE is a file of lines, one for each run that has ended. Whoever starts the command again with the same file goes on where it
ended. In each mode the seeds go round its cases: the three workloads, and in mode quorum the five kinds of quorums.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.soak import seeds as many
from harness.spec import RunSpec

WORKLOADS = ("shared-registers", "shared-counters", "shared-sets")
QUORUMS: tuple[Mapping[str, Any], ...] = (
    {},
    {"read_repair": "before-answer"},
    {"quorums": "sloppy"},
    {"quorums": "sloppy", "read_quorum": 1, "write_quorum": 1},
    {"read_quorum": 1, "write_quorum": 3},
)
MODES = ("eventual", "causal", "session", "quorum")


def spec_of(mode: str, seed: int) -> RunSpec:
    """The run of this seed in this mode."""
    more = QUORUMS[seed % len(QUORUMS)] if mode == "quorum" else {}
    return RunSpec(
        target="gossip",
        env="sim",
        nemesis=("partition", "kill", "loss", "clock"),
        workload="shared-registers" if mode == "quorum" else WORKLOADS[seed % len(WORKLOADS)],
        target_options={"mode": mode, **more},
        time_limit_s=10.0,
        rate_hz=100.0,
        seed=seed,
    )


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seeds", type=click.IntRange(1), default=2_000, show_default=True, help="Of each mode, from 1 on.")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="Only this one; repeatable.")
def main(state: Path, seeds: int, modes: tuple[str, ...]) -> None:
    """Run what is left of the seeds; ends with 1 when a run was not VALID."""
    wanted = dict.fromkeys(modes or MODES, seeds)
    sys.exit(0 if many.soak(state, wanted, spec_of) else 1)


if __name__ == "__main__":
    main()
