"""The track record of the bug zoo as text: lines for a terminal, and sections of a page in Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.campaign.real_nodes import OnRealNodes
from harness.campaign.strategy import StrategyName
from harness.campaign.track_record import Healthy, Row, ratios

HOW = """\
`{command}` wrote this section. *Seed* is the scenario and the fixed seed that finds the bug, which is a test. *Found* counts,
of the first seeds of the scenario, those that are INVALID; *by* says which invariant or checker said so. A *hunt* makes runs
until one is INVALID, from other seeds each time; its median runs and CPU seconds (of the machine that wrote this) stand under
each strategy, of {hunts} hunts a bug. *Shrunk* is what `themis shrink` leaves of the run of the seed: client ops / fault ops /
nodes. *Real nodes*: which run of `--env local` showed it, and after how many simulated runs `themis lift` had it.
"""


def row_text(row: Row, strategies: Sequence[StrategyName]) -> str:
    """The row as a line of a table in Markdown."""
    by = ", ".join(f"{name} {count}" for name, count in row.by) or "-"
    hunts = [_hunts_text(row, name) for name in strategies]
    small = row.shrinking
    shrunk = "-" if small is None else f"{small.client_ops} / {small.fault_ops} / {small.nodes}, {small.cpu_s:.0f} s"
    planted = row.planted
    cells = [
        f"`{planted.bug}`",
        f"{planted.scenario.name} {planted.seed}",
        f"{row.found} of {row.seeds}",
        by,
        *hunts,
        shrunk,
        _real_text(row.real),
    ]
    return f"| {' | '.join(cells)} |"


def _hunts_text(row: Row, strategy: StrategyName) -> str:
    if not row.of(strategy):
        return "-"
    if math.isinf(row.runs(strategy)):
        return "nothing found"
    return f"{row.runs(strategy):.0f} runs, {row.cpu_s(strategy):.1f} s"


def _real_text(real: OnRealNodes | None) -> str:
    if real is None:
        return "-"
    if not real.is_found:
        return f"not in {real.runs_count} runs"
    lifted = f"lifted in {real.lift_tries} tries" if real.lift_tries is not None else "not lifted"
    other = ", fails in another way" if real.other and real.lift_tries is None else ""
    return f"run {real.runs_count}, {lifted}{other}"


def heading(strategies: Sequence[StrategyName]) -> str:
    """The head of the table."""
    names = ["bug", "seed", "found", "by", *(f"hunt, {name}" for name in strategies), "shrunk", "real nodes"]
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def summary(rows: Sequence[Row]) -> list[str]:
    """What the rows come to, a sentence each."""
    said = [f"{sum(row.is_found for row in rows)} of {len(rows)} bugs were found."]
    costs = sorted(row.cpu_s("random") for row in rows if row.of("random"))
    if costs:
        said.append(
            f"The median bug takes {_number(statistics.median(costs), 1)} CPU s of random runs, the slowest "
            f"{_number(costs[-1], 1)}."
        )
    if found := ratios(rows):
        said.append(
            f"Of the {len(found)} bugs that random runs find in a median of more than 10 runs, the median one takes "
            f"{statistics.median(found):.2f} times as many random runs as runs under coverage."
        )
    if small := [row.shrinking for row in rows if row.shrinking is not None]:
        ops, faults, nodes, cpu_s = (
            statistics.median(getattr(one, field) for one in small)
            for field in ("client_ops", "fault_ops", "nodes", "cpu_s")
        )
        said.append(
            f"Shrunk, the median run has {ops:g} client ops, {faults:g} fault ops and {nodes:g} nodes, after {cpu_s:.0f} CPU s."
        )
    if real := [row.real for row in rows if row.real is not None and row.real.is_found]:
        lifted = sum(one.lift_tries is not None for one in real)
        said.append(f"Real nodes showed {len(real)} bugs, of which {lifted} were lifted into the simulation.")
    return said


def section(
    target: str, rows: Sequence[Row], healthies: Sequence[Healthy], strategies: Sequence[StrategyName], command: str
) -> str:
    """The section of one target."""
    hunts = max((len(row.of(name)) for row in rows for name in strategies), default=0)
    lines = [title(target), "", HOW.format(command=command, hunts=hunts), heading(strategies)]
    lines += [row_text(row, strategies) for row in rows]
    lines += ["", " ".join(summary(rows))]
    if healthies:
        lines += [
            "",
            "Without a bug:",
            "",
            "| scenario | seeds | not VALID | what it is for |",
            "| --- | --- | --- | --- |",
        ]
        lines += [f"| {one.scenario.name} | {one.seeds} | {one.not_valid} | {one.scenario.why} |" for one in healthies]
    return "\n".join(lines) + "\n"


def title(target: str) -> str:
    """The title of a target's section."""
    return f"## Track record of {target}"


def with_section(page: str, target: str, text: str) -> str:
    """The page with this section in the place of the target's old one, or at its end."""
    head, found, rest = page.partition(title(target) + "\n")
    if not found:
        return page.rstrip("\n") + "\n\n" + text
    _, following, behind = rest.partition("\n## ")
    return head + text + (following + behind if following else "")


def _number(value: float, digits: int) -> str:
    return "nothing found" if math.isinf(value) else "-" if math.isnan(value) else f"{value:.{digits}f}"
