"""Checks that a run could have failed: a green verdict on a history that tested nothing is worth nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import Any

import msgspec

from checkers.evidence import Vacuity
from checkers.verdict import Verdict
from checkers.windows import Window, fault_results, fault_windows
from histories.history import History
from histories.op import NEMESIS, Process, freeze

CHECKER = "vacuity"


class VacuityThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run must reach to mean something; 0 switches a rule off.

    ok_min: client ops that ended `ok`.
    attempts_min: an f tried that often, and never once `ok`, makes the run vacuous.
    overlap_min: client ops that met a fault while it was certainly in force on some node; asked for only when faults were
        planned, and not of histories whose recorder did not measure its faults.
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


def vacuity(history: History, thresholds: VacuityThresholds = DEFAULT, *, were_planned: bool = False) -> Verdict:
    """VALID when the history reaches the thresholds, else UNKNOWN with each one that it misses; never INVALID."""
    ended = Counter((op.type, op.f) for op in history if op.process != NEMESIS)
    tried = {f: ended["invoke", f] for _, f in ended}
    succeeded = Counter({f: count for (type_, f), count in ended.items() if type_ == "ok"})
    ok_count = succeeded.total()
    concurrent_count = _concurrent_count(history)
    stats: dict[str, Any] = {
        "ok_count": ok_count,
        "tried_by_f": dict(sorted(tried.items())),
        "ok_by_f": {f: succeeded[f] for f in sorted(tried)},
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
    reasons += _faults(history, thresholds, stats, were_planned=were_planned)
    if reasons:
        return Verdict.unknown("vacuous: " + "; ".join(reasons), CHECKER, evidence=Vacuity(tuple(reasons)), stats=stats)
    return Verdict.valid(CHECKER, stats=stats)


def _faults(history: History, thresholds: VacuityThresholds, stats: dict[str, Any], *, were_planned: bool) -> list[str]:
    """The thresholds that the faults miss, in words; none when no fault was planned, or when another tool recorded the
    history."""
    if not thresholds.overlap_min:
        return []
    windows = fault_windows(history)
    statuses = Counter(window.status for window in windows)
    # An op that begins nothing and ends nothing was skipped, or failed before it did anything; a heal with nothing to
    # heal is neither.
    idle = Counter(result.status for _, result in fault_results(history) if not (result.begins or result.ends))
    idle.pop("installed", None)
    unfinished_count = sum(completion is None for invocation, completion in history.nemesis().pairs())
    if not (windows or idle or unfinished_count):
        return ["faults were asked for, and none was begun"] if were_planned else []
    stats["faults_by_status"] = dict(sorted((statuses + idle).items()))
    if never := _never_done(history):
        stats["never_done"] = never
    overlap_count = _overlap_count(history, windows)
    stats["overlap_count"] = overlap_count
    if not any(window.status == "installed" for window in windows):
        told = [f"{count} {status}" for status, count in sorted((statuses + idle).items())]
        told += [f"{unfinished_count} never completed"] if unfinished_count else []
        return [f"faults were planned, but none was installed ({', '.join(told)})"]
    if overlap_count < thresholds.overlap_min:
        return [f"{overlap_count} client ops met an installed fault, fewer than {thresholds.overlap_min}"]
    return []


def _never_done(history: History) -> dict[str, Any]:
    """The f of fault ops of which none did anything -> how often each was tried, and the reason that was given most often."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    done: set[str] = set()
    for op, result in fault_results(history):
        if result.status == "installed" or result.begins or result.ends:
            done.add(op.f)
        else:
            reasons[op.f][result.why or result.status] += 1
    return {
        f: {"tried": why.total(), "why": why.most_common(1)[0][0]}
        for f, why in sorted(reasons.items())
        if f not in done
    }


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
    """The times at which a fault was certainly in force on some node, as disjoint intervals in order; None: to the end."""
    merged: list[tuple[int, int | None]] = []
    for begin, end in sorted((span for window in windows for span in window.spans()), key=lambda span: span[0]):
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
