"""Two checkouts side by side: the virtual seconds a CPU second of each on the standard scenario, in turn, on one core.

    python -m harness.bench.compare ../old . [--pairs 7] [--seeds 6] [--core 0]

Each is run by the `.venv/bin/python` of its folder, or by the one behind an `=`: ../old=/usr/bin/python3. Only CPU time counts, and
the ratio is the median over pairs of neighbours, so that other work on the machine falls on both alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import click

from harness.campaign.command_line import command_line
from harness.zoo.raft import STANDARD


def speed(checkout: str, seeds: int, core: int | None) -> float:
    """Virtual seconds a CPU second of one sweep in this checkout. Raises click.ClickException when it is not all VALID."""
    folder, _, python = checkout.partition("=")
    command = command_line(STANDARD).split()[1:]
    command = command[: command.index("--seed")]
    command = [python or str(Path(folder, ".venv/bin/python").absolute()), "-m", "harness", *command]
    command += ["--seeds", f"1..{seeds}", "--json"]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    environment = os.environ | {"PYTHONPATH": str(Path(folder).absolute())}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if "No such option: --fault-share" in ended.stderr or "No such option '--fault-share'" in ended.stderr:
        # Before there was such an option, half of the time was what it is in the standard scenario.
        at = command.index("--fault-share")
        command = command[:at] + command[at + 2 :]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise click.ClickException(f"{folder}: exit status {ended.returncode}: {ended.stderr.strip()[-500:]}")
    told = json.loads(ended.stdout)
    return float(told["virtual_s"] / told["cpu_s"])


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--pairs", default=7, show_default=True, help="How often each is run, in turn.")
@click.option("--seeds", default=6, show_default=True, help="Seeds in each run.")
@click.option("--core", type=int, help="Pin every run to this core.")
def compare(old: str, new: str, pairs: int, seeds: int, core: int | None) -> None:
    """Measure the checkouts OLD and NEW in turn."""
    ratios = []
    speeds: dict[str, list[float]] = {old: [], new: []}
    for number in range(1, pairs + 1):
        for checkout in (old, new):
            speeds[checkout].append(speed(checkout, seeds, core))
        ratios.append(speeds[new][-1] / speeds[old][-1])
        click.echo(f"pair {number}: {speeds[old][-1]:6.1f} {speeds[new][-1]:6.1f}  {ratios[-1]:.2f}")
    for name, found in speeds.items():
        click.echo(f"{statistics.median(found):6.1f} virtual s a CPU s  {name}")
    click.echo(f"{statistics.median(ratios):6.2f} times as fast (median of {pairs} pairs)")


if __name__ == "__main__":
    sys.exit(compare())
