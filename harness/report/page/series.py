"""What the page plots over time beside the operations: how old reads were, how far clocks were off, when replicas agreed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers import Verdict
from checkers.evidence import ClockSeries
from checkers.relaxed.identity import Misfit
from checkers.staleness.check import read_ages
from checkers.windows import Window
from histories.faults import fault_result
from histories.history import History

CLOCK_SAMPLES_MAX = 2_000
AGES_MAX = 3_000
"""Stale reads of the plot: the oldest of each slice of time."""

OPS_MAX = 500_000
"""Events of a history whose reads are looked at; a million take ten seconds more."""

Points = list[tuple[int, int]]


def clock_offsets(history: History, parts: Sequence[Verdict]) -> dict[str, Points]:
    """node -> (ns, how far its clock was off, in ns): as it was sampled, or else as the results of clock faults tell."""
    found: dict[str, Points] = {}
    for part in parts:
        if isinstance(part.evidence, ClockSeries):
            samples = part.evidence.samples
            for sample in samples[:: max(1, len(samples) // CLOCK_SAMPLES_MAX)]:
                for node, offset in sample.offset_ns.items():
                    if offset is not None:
                        found.setdefault(node, []).append((sample.time, offset))
    if found:
        return found
    for op in history.nemesis():
        result = fault_result(op)
        offsets = (
            result.evidence.get("offsets_ns") if result is not None and isinstance(result.evidence, dict) else None
        )
        for node, offset in offsets.items() if isinstance(offsets, dict) else ():
            if isinstance(offset, int):
                mine = found.setdefault(str(node), [])
                if mine:
                    mine.append((op.time, mine[-1][1]))  # It stood there until now.
                mine.append((op.time, offset))
    is_moved = any(offset for points in found.values() for _, offset in points)
    return {node: points[-CLOCK_SAMPLES_MAX:] for node, points in found.items()} if is_moved else {}


def stale_reads(history: History) -> Points | None:
    """(ns, age in ns) of reads that returned what had certainly been overwritten, the oldest of each slice of time; None where that
    cannot be told: other data types, values that were written twice, or a history that is very long."""
    if len(history) > OPS_MAX:
        return None
    try:
        ages = read_ages(history)
    except Misfit:
        return None
    if ages is None:
        return None
    stale = [(time_ns, age_ns) for time_ns, age_ns in ages if age_ns]
    if len(stale) <= AGES_MAX:
        return sorted(stale)
    width = max(1, max(time_ns for time_ns, _ in stale) // AGES_MAX + 1)
    oldest: dict[int, tuple[int, int]] = {}
    for time_ns, age_ns in stale:
        slot = time_ns // width
        if slot not in oldest or age_ns > oldest[slot][1]:
            oldest[slot] = (time_ns, age_ns)
    return sorted(oldest.values())


def agreed_ns(windows: Sequence[Window], parts: Sequence[Verdict]) -> int | None:
    """When all replicas agreed again after the last fault, where a checker measured it."""
    for part in parts:
        after: Any = part.stats.get("converged_ns")
        if isinstance(after, int):
            return max((window.lifted_ns or window.began_ns for window in windows), default=0) + after
    return None
