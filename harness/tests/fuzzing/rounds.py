"""Fuzz every reader and every kind of route in turn, in rounds.

    python -m harness.tests.fuzzing.rounds [--page docs/fuzz.md] [--cpu-s 600] [--slice-s 600] [--workers 2] [--only NAME]

Each turn gives the next slice of CPU time to the one that had least so far, in a process of its own, until each had --cpu-s. What
each had stands in the table of the page, which is written after every turn: whoever starts the command again, on whatever machine,
goes on from there, with the seeds that come next. One that found something is left out until somebody has mended it and taken its
line out of the table.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import click
import msgspec

FIRST_SEED = 2_000_000
"""The short fuzz of the tests and the runs by hand had the seeds below."""

BEGIN = "<!-- fuzzed: python -m harness.tests.fuzzing.rounds -->"
END = "<!-- end of what was fuzzed -->"

NOT_FOUND = ("not fuzzed yet", "nothing")

_RESULT = re.compile(r"([\d,]+) inputs, peak (\d+) MiB, slowest ([\d.]+) s")
_ROW = re.compile(r"\| `(.+?)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) MiB \| ([\d.]+) s \| (.*?) \|")


class Turns(msgspec.Struct, frozen=True):
    """What one reader or kind of route had so far."""

    cpu_seconds: float = 0.0
    inputs: int = 0
    peak_mib: int = 0
    slowest_s: float = 0.0
    found: str = ""
    """The last line of what it printed, where an input failed."""


def read(page: Path) -> dict[str, Turns]:
    """What the table of the page says."""
    had = {}
    for name, *numbers, slowest_s, found in _ROW.findall(page.read_text().partition(BEGIN)[2].partition(END)[0]):
        inputs, cpu_seconds, peak_mib = (int(number.replace(",", "")) for number in numbers)
        had[name] = Turns(cpu_seconds, inputs, peak_mib, float(slowest_s), "" if found in NOT_FOUND else found)
    return had


def write(page: Path, had: Mapping[str, Turns], cpu_s: float) -> None:
    """Put what each had into the page, between its two marks."""
    before, mark, rest = page.read_text().partition(BEGIN)
    assert mark, f"{page} has no line {BEGIN}"
    whole = sum(turns.cpu_seconds >= cpu_s for turns in had.values())
    lines = [
        f"{whole} of {len(had)} had {cpu_s:,.0f} CPU seconds; {sum(turns.inputs for turns in had.values()):,} inputs together.",
        "",
        "| name | inputs | CPU seconds | most memory | slowest | found |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, turns in had.items():
        spent = f"{turns.inputs:,} | {turns.cpu_seconds:,.0f} | {turns.peak_mib:,} MiB | {turns.slowest_s:.2f} s"
        found = turns.found.replace("|", "/") or NOT_FOUND[turns.inputs > 0]
        lines.append(f"| `{name}` | {spent} | {found} |")
    new = page.with_name(f"{page.name}.new")
    new.write_text("\n".join([f"{before}{BEGIN}\n", *lines, f"\n{END}{rest.partition(END)[2]}"]))
    new.replace(page)


def names() -> list[str]:
    """Everything under fuzz, asked of a new process: this one is not to hold what they import."""
    asked = subprocess.run(
        [sys.executable, "-m", "harness.tests.fuzzing", "--names"], capture_output=True, text=True, check=True
    )
    return asked.stdout.split()


def turn(name: str, had: Turns, slice_s: float) -> Turns:
    """What it had after one more slice."""
    command = [sys.executable, "-m", "harness.tests.fuzzing", name, str(slice_s), str(FIRST_SEED + had.inputs)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    told = _RESULT.search(ended.stdout)
    if ended.returncode != 0 or told is None:
        click.echo(ended.stdout + ended.stderr)
        last = (ended.stdout.splitlines() or [f"status {ended.returncode}"])[-1]
        return msgspec.structs.replace(had, found=last)
    return Turns(
        cpu_seconds=had.cpu_seconds + slice_s,
        inputs=had.inputs + int(told[1].replace(",", "")),
        peak_mib=max(had.peak_mib, int(told[2])),
        slowest_s=max(had.slowest_s, float(told[3])),
    )


@click.command()
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False, exists=True), default="docs/fuzz.md", show_default=True
)
@click.option("--cpu-s", type=float, default=600.0, show_default=True, help="What each is to have in the end.")
@click.option("--slice-s", type=float, default=600.0, show_default=True, help="CPU seconds of one turn.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Turns at a time.")
@click.option("--only", multiple=True, help="Only this one; repeatable.")
def main(page: Path, cpu_s: float, slice_s: float, workers: int, only: tuple[str, ...]) -> None:
    """Go on until each had its time; ends with 1 when one found something."""
    had_before = read(page)
    had = {name: had_before.get(name, Turns()) for name in names()}
    running: dict[Future[Turns], str] = {}
    with ThreadPoolExecutor(workers) as threads:
        while True:
            left = {
                name: turns.cpu_seconds
                for name, turns in had.items()
                if (not only or name in only) and not turns.found and turns.cpu_seconds < cpu_s
            }
            for name in sorted(left.keys() - running.values(), key=left.__getitem__):
                if len(running) < workers:
                    running[threads.submit(turn, name, had[name], min(slice_s, cpu_s - left[name]))] = name
            if not running:
                break
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(ended)
                had[name] = ended.result()
                write(page, had, cpu_s)
                click.echo(f"{time.strftime('%H:%M:%S')} {name} {had[name]}")
    sys.exit(int(any(turns.found for turns in had.values())))


if __name__ == "__main__":
    main()
