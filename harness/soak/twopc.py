"""Strict serializable transactions over many seeds, in the simulation: two-phase commit, its groups, and Raft's own transactions.

    python -m harness.soak.twopc STATE [--mode MODE] [--seeds N]

STATE is a file of lines, one for each run that has ended. Whoever starts the command again with the same file goes on where it
ended.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec.structs import replace

from harness.soak import seeds as many
from harness.spec import RunSpec
from harness.zoo import twopc as zoo

BASES: Mapping[str, RunSpec] = {
    "append": zoo.STANDARD.base,
    "register": zoo.REGISTERS.base,
    "groups": zoo.GROUPS.base,
    "raft-append": replace(zoo.STANDARD.base, target="raft"),
    "raft-register": replace(zoo.REGISTERS.base, target="raft"),
}
"""All under partitions, crashes, pauses, loss and wrong clocks."""
SEEDS: Mapping[str, int] = {"append": 1_000, "register": 1_000, "groups": 300, "raft-append": 300, "raft-register": 300}


def spec_of(mode: str, seed: int) -> RunSpec:
    """The run of this seed in this mode. Seeds change the network, the faults and what clients ask."""
    return replace(BASES[mode], seed=seed)


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--mode", "modes", type=click.Choice([*BASES]), multiple=True, help="Only this one; repeatable.")
@click.option(
    "--seeds", type=click.IntRange(1), help="Of each mode, from 1 on; else 1,000 of 2pc's two, 300 of the others."
)
def main(state: Path, modes: tuple[str, ...], seeds: int | None) -> None:
    """Run what is left of the seeds; ends with 1 when a run was not VALID."""
    wanted = {mode: seeds or SEEDS[mode] for mode in modes or BASES}
    sys.exit(0 if many.soak(state, wanted, spec_of) else 1)


if __name__ == "__main__":
    main()
