"""Whether a run could have failed at all: a green verdict on a history that tested nothing is worth nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

import msgspec

from checkers.evidence import Vacuity
from checkers.verdict import Verdict
from checkers.windows import Window, fault_windows, is_closing, nemesis_ops, status_of
from histories.history import History
from histories.op import NEMESIS, Process, freeze

CHECKER = "vacuity"


class VacuityThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run must reach to mean something; 0 switches a rule off.

    ok_min: client ops that ended `ok`.
    attempts_min: an f tried that often, and never once `ok`, makes the run vacuous.
    overlap_min: client ops that met an installed fault while it was in force; asked for only when faults were planned.
    concurrent_min: client ops invoked on a key while another op on it was outstanding.
    """

    ok_min: int = 10
    attempts_min: int = 1
    overlap_min: int = 1
    concurrent_min: int = 1

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative; 0 switches the rule off")


DEFAULT = VacuityThresholds()


def vacuity(history: History, thresholds: VacuityThresholds = DEFAULT) -> Verdict:
    """VALID when the history reaches the thresholds, else UNKNOWN with each one that it misses; never INVALID."""
    tried: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    for op in history:
        if op.process != NEMESIS:
            tried[op.f] += op.type == "invoke"
            succeeded[op.f] += op.type == "ok"
    ok_count = succeeded.total()
    concurrent_count = _concurrent_count(history)
    stats: dict[str, Any] = {
        "ok_count": ok_count,
        "tried_by_f": dict(sorted(tried.items())),
        "ok_by_f": dict(sorted(succeeded.items())),
        "concurrent_count": concurrent_count,
    }
    reasons: list[str] = []
    if ok_count < thresholds.ok_min:
        reasons.append(f"{ok_count} client ops succeeded, fewer than {thresholds.ok_min}")
    for f in sorted(tried):
        if thresholds.attempts_min and not succeeded[f] and tried[f] >= thresholds.attempts_min:
            reasons.append(f"{f} was tried {tried[f]} times and never succeeded")
    if concurrent_count < thresholds.concurrent_min:
        reasons.append(f"{concurrent_count} ops met another op on their key, fewer than {thresholds.concurrent_min}")
    reasons += _faults(history, thresholds, stats)
    if reasons:
        return Verdict.unknown("vacuous: " + "; ".join(reasons), CHECKER, evidence=Vacuity(tuple(reasons)), stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _faults(history: History, thresholds: VacuityThresholds, stats: dict[str, Any]) -> list[str]:
    """What is wrong with the faults; nothing when none was planned."""
    planned = [completion for _, completion in nemesis_ops(history) if not is_closing(completion.f)]
    unfinished = [op for op in history.nemesis().select("invoke") if not is_closing(op.f)]
    if not thresholds.overlap_min or not (planned or unfinished):
        return []
    windows = [window for window in fault_windows(history) if window.status != "indeterminate"]
    statuses = Counter(status_of(completion) for completion in planned)
    overlap_count = _overlap_count(history, windows)
    stats["faults_by_status"] = dict(sorted(statuses.items()))
    stats["overlap_count"] = overlap_count
    if not windows:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none completed"
        return [f"faults were planned, but none was installed ({counts})"]
    if overlap_count < thresholds.overlap_min:
        return [f"{overlap_count} client ops met an installed fault, fewer than {thresholds.overlap_min}"]
    return []


def _overlap_count(history: History, windows: list[Window]) -> int:
    """How many client ops met at least one of the windows."""
    merged = _merged(windows)
    count = 0
    first = 0
    for invocation, completion in history.pairs():
        if not invocation.is_client:
            continue
        # Invocations come in order of time: what was lifted before this one began is over for all later ones.
        while first < len(merged) and (lifted := merged[first][1]) is not None and lifted < invocation.time:
            first += 1
        if first == len(merged):
            break
        count += completion is None or completion.time >= merged[first][0]
    return count


def _merged(windows: list[Window]) -> list[tuple[int, int | None]]:
    """The times at which any window was in force, as disjoint intervals in order; None: to the end."""
    merged: list[tuple[int, int | None]] = []
    for begin, end in sorted(((w.installed_ns, w.lifting_ns) for w in windows), key=lambda times: times[0]):
        if merged and (merged[-1][1] is None or begin <= merged[-1][1]):
            last_begin, last_end = merged.pop()
            merged.append((last_begin, None if last_end is None or end is None else max(last_end, end)))
        else:
            merged.append((begin, end))
    return merged


def _concurrent_count(history: History) -> int:
    """How many client ops were invoked on a key while another op on that key had not completed."""
    open_count: Counter[Hashable] = Counter()
    open_key: dict[Process, Hashable] = {}
    count = 0
    for op in history:
        if op.process == NEMESIS:
            continue
        if op.type == "invoke":
            key = freeze(op.key)
            count += open_count[key] > 0
            open_count[key] += 1
            open_key[op.process] = key
        elif op.process in open_key:
            open_count[open_key.pop(op.process)] -= 1
    return count
