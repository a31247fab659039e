"""The track record of the bug zoo: how soon the simulation finds each planted bug, and by what. One command writes
its section of docs/zoo.md.

    python -m harness.bench.zoo [--seeds 20] [--hunts 7] [--healthy 300] [--bug NAME] [--write docs/zoo.md]

A hunt sweeps seeds until one is INVALID; UNKNOWN ends no hunt. Each hunt begins at seeds of its own, so that hunts are independent.
What a row says of seeds and of checkers is the same on every machine; CPU times are this machine's.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import msgspec

from checkers.evidence import Invariants
from checkers.verdict import Validity, Verdict
from harness.campaign import sweep
from harness.zoo import raft
from harness.zoo.scenario import Planted, Scenario

HUNT_SEEDS = 1000
"""Seeds between the beginnings of two hunts."""


BUGS = {planted.bug: planted for planted in raft.PLANTED}


class Row(msgspec.Struct, frozen=True):
    """One bug's record. found: of `seeds` seeds. hunts_cpu_s: the CPU seconds of each hunt, inf for one that found
    nothing. by: who found it, and how often."""

    bug: str
    scenario: str
    seed: int
    found: int
    seeds: int
    hunts_cpu_s: tuple[float, ...]
    by: tuple[tuple[str, int], ...]


def found_by(verdict: Verdict) -> str:
    """The invariant or the checker that says INVALID."""
    for name, part in sorted(verdict.parts.items()):
        if part.validity is Validity.INVALID:
            evidence = part.evidence
            if isinstance(evidence, Invariants) and evidence.violation is not None:
                return evidence.violation.rule
            return name
    return verdict.checker


def _results(scenario: Scenario, seeds: Iterable[int], bugs: Sequence[str] = ()) -> Iterator[sweep.SeedResult]:
    for seed in seeds:
        yield sweep.run_seed(scenario.spec(seed, *bugs))


def measure(planted: Planted, seeds: int, hunts: int, hunt_seeds: int = HUNT_SEEDS) -> Row:
    """The record of one bug: the share of the first `seeds` seeds, and `hunts` hunts of up to `hunt_seeds` seeds behind them."""
    bug, scenario = planted.bug, planted.scenario
    by: Counter[str] = Counter()
    for result in _results(scenario, range(1, seeds + 1), (bug,)):
        if result.validity is Validity.INVALID:
            by[found_by(result.result.verdict)] += 1
    costs = []
    for number in range(1, hunts + 1):
        cpu_s = 0.0
        first = number * HUNT_SEEDS + 1
        for result in _results(scenario, range(first, first + hunt_seeds), (bug,)):
            cpu_s += result.cpu_s
            if result.validity is Validity.INVALID:
                break
        else:
            cpu_s = math.inf
        costs.append(cpu_s)
    return Row(bug, scenario.name, planted.seed, by.total(), seeds, tuple(costs), tuple(by.most_common()))


def healthy(scenario: Scenario, seeds: int) -> tuple[int, int]:
    """(seeds that were not VALID without a bug, of how many)."""
    results = _results(scenario, range(1, seeds + 1))
    return sum(result.validity is not Validity.VALID for result in results), seeds


def row_text(row: Row) -> str:
    """The row of the table."""
    by = ", ".join(f"{name} {count}" for name, count in row.by) or "-"
    median = _seconds(statistics.median(row.hunts_cpu_s)) if row.hunts_cpu_s else "-"
    slowest = _seconds(max(row.hunts_cpu_s)) if row.hunts_cpu_s else "-"
    return f"| `{row.bug}` | {row.scenario} {row.seed} | {row.found} of {row.seeds} | {median} | {slowest} | {by} |"


def _seconds(cpu_s: float) -> str:
    return f"{cpu_s:.1f}" if math.isfinite(cpu_s) else "nothing found"


TITLE = "## raft"

HOW = """\
`python -m harness.bench.zoo {arguments} --write docs/zoo.md` wrote this section.
`targets/raft/bugs.py` says what is wrong with each bug, which rule of which paper it breaks, and which faults expose it. *Seed* is
the scenario and the fixed seed, which is a test. *Found* counts, of the first seeds of the scenario, those that are INVALID; *by*
says which invariant or checker said so. A *hunt* sweeps seeds until one is INVALID, from other seeds each time, and has found
nothing after so many (`--hunt-seeds`); its cost is in CPU seconds of the machine that wrote this (hunts for each bug: {hunts}).
An invariant ends a run at the step that violates it, which is why most bugs cost so little.
"""


def section(rows: Sequence[Row], healthies: Sequence[tuple[Scenario, int, int]], arguments: str) -> str:
    """The section of raft."""
    hunts = len(rows[0].hunts_cpu_s) if rows else 0
    lines = [TITLE, "", HOW.format(arguments=arguments, hunts=hunts)]
    lines += ["| bug | seed | found | median hunt | slowest hunt | by |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [row_text(row) for row in rows]
    lines += [
        "",
        "Without a bug:",
        "",
        "| scenario | seeds | not VALID | what it is for |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {scenario.name} | {seeds} | {wrong} | {scenario.why} |" for scenario, wrong, seeds in healthies]
    return "\n".join(lines) + "\n"


def with_section(page: str, text: str) -> str:
    """The page with this section in the place of the one that it had, or at its end."""
    head, found, rest = page.partition(TITLE + "\n")
    if not found:
        return page.rstrip("\n") + "\n\n" + text
    _, following, behind = rest.partition("\n## ")
    return head + text + (following + behind if following else "")


@click.command()
@click.option("--seeds", default=20, show_default=True, help="Seeds of each bug that are counted.")
@click.option("--hunts", default=7, show_default=True, help="Hunts for each bug.")
@click.option("--hunt-seeds", default=HUNT_SEEDS, show_default=True, help="The most seeds that a hunt may take.")
@click.option(
    "--healthy", "healthy_seeds", default=300, show_default=True, help="Seeds of each scenario without a bug."
)
@click.option("--bug", "bugs", multiple=True, type=click.Choice(sorted(BUGS)), help="Only these; repeatable.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Put the section into this page."
)
def main(
    seeds: int, hunts: int, hunt_seeds: int, healthy_seeds: int, bugs: tuple[str, ...], write: Path | None
) -> None:
    """Measure the bugs of raft in the simulation."""
    rows = []
    for bug in bugs or BUGS:
        rows.append(measure(BUGS[bug], seeds, hunts, hunt_seeds))
        click.echo(row_text(rows[-1]))
    healthies = []
    for scenario in raft.SCENARIOS if healthy_seeds else ():
        wrong, count = healthy(scenario, healthy_seeds)
        healthies.append((scenario, wrong, count))
        click.echo(f"{scenario.name}: {wrong} of {count} seeds are not VALID")
    if write is not None:
        arguments = f"--seeds {seeds} --hunts {hunts} --hunt-seeds {hunt_seeds} --healthy {healthy_seeds}"
        write.write_text(with_section(write.read_text(), section(rows, healthies, arguments)))


if __name__ == "__main__":
    main()
