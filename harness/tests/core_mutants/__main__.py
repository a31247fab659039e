"""Hunts every mutant of the cores by the standard campaign in the simulation, each in a process of its own.

    python -m harness.tests.core_mutants all STATE [--cpu-s 60] [--hunts 1] [--only TARGET:NAME] [--write docs/mutants.md]

STATE is a file of lines, one for each hunt that has ended; whoever starts the command again with the same file goes on where it
ended. --write puts the table of what the file holds into that page.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import msgspec

from harness.tests.core_mutants import mutant as core_mutant
from harness.tests.core_mutants.table import ALL

SEEDS_APART = 100_000
"""Between the first seeds of two hunts for one mutant."""


@click.group(invoke_without_command=False)
def commands() -> None:
    """The hunts, and one of them."""


@commands.command("hunt", hidden=True)
@click.argument("id")
@click.argument("first_seed", type=int)
@click.argument("cpu_s_max", type=float)
def hunt_one(id: str, first_seed: int, cpu_s_max: float) -> None:
    """One hunt in this process; prints its end as JSON."""
    mutant = next(mutant for mutant in ALL if mutant.id == id)
    core_mutant.install(mutant)
    from harness.tests.core_mutants.hunt import hunt  # Only now: it imports the targets.

    click.echo(msgspec.json.encode(hunt(id, mutant.target, first_seed, cpu_s_max)))


@commands.command("all")
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--cpu-s", type=float, default=60.0, show_default=True, help="A hunt ends after so many CPU seconds.")
@click.option("--hunts", type=click.IntRange(1), default=1, show_default=True, help="For each mutant.")
@click.option("--only", multiple=True, help="Only this one, such as raft:votes-for-everyone; repeatable.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this page.")
def hunt_all(state: Path, cpu_s: float, hunts: int, only: tuple[str, ...], write: Path | None) -> None:
    """Hunt what is left; ends with 1 when a mutant that can do harm was not found."""
    from harness.tests.core_mutants import page

    if unknown := set(only) - {mutant.id for mutant in ALL}:
        raise click.UsageError(f"no mutant is called {sorted(unknown)[0]}")
    chosen = [mutant for mutant in ALL if not only or mutant.id in only]
    for number in range(hunts):
        for mutant in chosen:
            if sum(each.id == mutant.id for each in page.read(state)) > number:
                continue
            words = ["hunt", mutant.id, str(1 + number * SEEDS_APART), str(cpu_s)]
            command = [sys.executable, "-m", "harness.tests.core_mutants", *words]
            done = subprocess.run(command, cwd=core_mutant.ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{mutant.id}: the hunt failed\n{done.stderr[-2000:]}")
            with state.open("a") as file:
                file.write(done.stdout)
            one = msgspec.json.decode(done.stdout, type=page.Ended)
            end = f"found by {one.by}" if one.is_found else "NOT FOUND"
            click.echo(f"{mutant.id}: {end}, {one.runs_count} runs, {one.cpu_s:.1f} CPU s")
    ended = page.read(state)
    click.echo(page.summary(ended))
    if write is not None:
        page.write(write, ended)
    found = {each.id for each in ended if each.is_found}
    sys.exit(0 if all(mutant.id in found or mutant.harmless for mutant in chosen) else 1)


if __name__ == "__main__":
    commands()
