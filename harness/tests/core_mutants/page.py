"""The table of what the hunts found, as a section of a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.tests.core_mutants.table import ALL

BEGIN = "<!-- hunted: python -m harness.tests.core_mutants all -->"
END = "<!-- end of what was hunted -->"


class Ended(msgspec.Struct, frozen=True):
    """A hunt, as harness.tests.core_mutants.hunt.Hunted, which cannot be imported where targets are not to be."""

    id: str
    is_found: bool
    runs_count: int
    cpu_s: float
    by: str = ""
    reason: str = ""
    command: str = ""


def read(path: Path) -> list[Ended]:
    """The hunts that have ended."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Ended) for line in lines]


def summary(ended: Sequence[Ended]) -> str:
    """How many mutants were found, and how soon."""
    harmful = {mutant.id for mutant in ALL if not mutant.harmless}
    hunted = {each.id for each in ended} & harmful
    found = {each.id for each in ended if each.is_found} & harmful
    costs = [each.cpu_s for each in ended if each.is_found and each.id in harmful]
    median = f"; the median find took {statistics.median(costs):.1f} CPU s" if costs else ""
    return f"{len(found)} of {len(hunted)} mutants that can do harm were found{median}"


def rows(ended: Sequence[Ended]) -> list[str]:
    """A line for each mutant, in the order of the table."""
    lines = [
        "| mutant | the rule that it breaks | found | runs | CPU s | by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for mutant in ALL:
        hunts = [each for each in ended if each.id == mutant.id]
        finds = [each for each in hunts if each.is_found]
        if mutant.harmless:
            lines.append(f"| `{mutant.id}` | {mutant.why} | harmless: {mutant.harmless} | | | |")
        elif not hunts:
            lines.append(f"| `{mutant.id}` | {mutant.why} | not hunted | | | |")
        else:
            told = "yes" if len(hunts) == 1 and finds else f"{len(finds)} of {len(hunts)}" if finds else "no"
            runs_count = statistics.median_low([each.runs_count for each in finds or hunts])
            cpu_s = statistics.median([each.cpu_s for each in finds or hunts])
            by = ", ".join(sorted({f"`{each.by}`" for each in finds}))
            lines.append(f"| `{mutant.id}` | {mutant.why} | {told} | {runs_count} | {cpu_s:.1f} | {by} |")
    return lines


def write(path: Path, ended: Sequence[Ended]) -> None:
    """Put summary and table between the two marks of the page."""
    text = path.read_text()
    before, mark, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    assert mark, f"{path} has no line {BEGIN}"
    path.write_text("\n".join([f"{before}{BEGIN}\n", f"{summary(ended)}.\n", *rows(ended), f"\n{END}{after}"]))
