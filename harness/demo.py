"""`make demo`: the main job on this machine, twice. A healthy Raft must pass, and one with a planted bug must be caught.

Ends with status 0 only when both went as they should.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.cli import run_command
from harness.errors import INVALID, UNKNOWN, VALID

FAULTS = "partition,kill,pause"
COMMON = ("--target", "raft", "--workload", "register", "--env", "local", "--nodes", "5", "--nemesis", FAULTS)
HEALTHY = (("--seed", "7"), ("--seed", "8", "--nemesis-interval", "6"), ("--seed", "9", "--nemesis-interval", "12"))
"""The first is the one shown; where a machine is so slow that too little succeeded between the faults, fewer faults follow."""
BUG_SEEDS = (7, 8, 9)
"""The first seed is the one shown; a machine that is slow enough to hide the bug in it gets two more tries."""


def test_command(store: Path, *more: str) -> int:
    """Run `themis test` with the demo's flags; its exit code."""
    arguments = ("test", *COMMON, "--rate", "200", "--time-limit", "20", "--store", str(store), *more)
    click.secho(f"\n$ themis {' '.join(arguments)}", bold=True)
    return run_command(arguments)


@click.command(context_settings={"color": False if os.environ.get("NO_COLOR") else None})
@click.option("--store", type=click.Path(path_type=Path), default=Path("store"), show_default=True)
def demo(store: Path) -> None:
    """Run the healthy cluster, then the one with a stale-read bug, and say whether both went as they should."""
    click.secho(
        "1. Five Raft nodes under partitions, kills and pauses: every read and write must be explained.", bold=True
    )
    for number, flags in enumerate(HEALTHY):
        if number:
            click.secho(
                "\nToo little succeeded to prove anything: this machine is busy. Again, with fewer faults:", bold=True
            )
        healthy = test_command(store, *flags)
        if healthy != UNKNOWN:
            break
    click.secho("\n2. The same cluster with a planted bug: reads answered from a node's own memory.", bold=True)
    for seed in BUG_SEEDS:
        buggy = test_command(store, "--seed", str(seed), "--bug", "stale-read")
        if buggy == INVALID:
            break
    click.secho("\nThe failure, in words (themis inspect latest):", bold=True)
    run_command(("inspect", "latest", "--store", str(store)))
    as_expected = healthy == VALID and buggy == INVALID
    click.secho(
        f"\nhealthy cluster: exit {healthy} (0 is VALID); with the bug: exit {buggy} (1 is INVALID): "
        + ("both as they should be" if as_expected else "NOT as they should be"),
        fg="green" if as_expected else "red",
        bold=True,
    )
    sys.exit(0 if as_expected else 1)


if __name__ == "__main__":
    demo()
