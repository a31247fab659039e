"""The checker of transactions: an analysis as a verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from checkers.evidence import Finding, Findings
from checkers.transactions import explain
from checkers.transactions.check import Analysis, Wanted, analyze
from checkers.transactions.models import (
    CYCLES,
    MODELS,
    VARIANTS,
    canonical,
    implied_models,
    ruled_out,
    strongest_possible,
    weakest,
)
from checkers.transactions.reading import Workload
from checkers.verdict import Verdict
from histories.history import History

FINDINGS_OF_A_NAME_MAX = 3
FINDINGS_MAX = 30

_GRAVITY = [
    "duplicate-elements",
    "incompatible-order",
    "thin-air-read",
    "G1a",
    "dirty-update",
    "G1b",
    "future-read",
    "internal",
    *(name + variant for variant in VARIANTS for name in CYCLES),
    "lost-update",
    "cyclic-versions",
]
"""The gravest first: as evidence they come in this order. cyclic-versions may say no more than that an assumption is wrong, and
nothing else rests on that assumption."""

_UNDECIDED_WORDS = {
    "empty-transaction-graph": "no transaction depends on another, so that nothing was tested",
    "cycle-search-timeout": "there are cycles, and whether one of them is forbidden was not decided within the budget",
    "single-anti-dependency": "there is a cycle with one anti-dependency (G-single-item); monotonic-view and "
    "monotonic-snapshot-read forbid some of these, and this check does not tell which",
}


def transactions(history: History, workload: Workload, wanted: Wanted | None = None, *, checker: str = "") -> Verdict:
    """Whether the history keeps the models that are wanted; by default strict serializability.

    history: operations whose values are lists of micro-operations: [append, key, element] and [r, key, list] for list-append,
    [w, key, value] and [r, key, value] for rw-register. Elements of a key, and values of a register, are written once. stats:
    `anomalies` (each with how often it was found), `not` (the weakest models ruled out), `also_not`, `possible` (the strongest
    models that nothing found rules out).
    Anomalies of predicates, such as phantoms, cannot be seen: no micro-operation reads one.
    Raises UnfitTransactions when something is no transaction of the workload, or an element was written twice.
    Source: Kingsbury and Alvaro, Elle, VLDB 2020.
    """
    wanted = wanted or Wanted()
    checker = checker or workload
    analysis = analyze(history, workload, wanted)
    reported = analysis.reported
    findings = _findings(analysis, frozenset(reported))
    stats = {**analysis.stats, **_told(analysis)}
    models = " and ".join(map(canonical, wanted.models)) or "free of " + ", ".join(wanted.anomalies)
    if analysis.is_invalid:
        first = findings[0].words if findings else ""
        reason = "\n".join([f"not {models}: found {', '.join(reported)}", first, *_ruled_out(analysis)])
        return Verdict.invalid(reason, checker, evidence=Findings(findings), stats=stats)
    if analysis.undecided:
        return Verdict.unknown("; ".join(_UNDECIDED_WORDS[each] for each in analysis.undecided), checker, stats=stats)
    return Verdict.valid(checker, stats=stats)


def _told(analysis: Analysis) -> dict[str, Any]:
    """What the stats say of the findings."""
    counts = Counter([each.name for each in analysis.anomalies] + [each.name for each in analysis.cycles])
    impossible = ruled_out(analysis.names)
    weak = weakest(impossible)
    return {
        "workload": analysis.found.workload,
        "models": list(map(canonical, analysis.wanted.models)),
        "assumptions": list(analysis.wanted.inference.names),
        "anomalies": dict(sorted(counts.items())),
        "reported": list(analysis.reported),
        "not": list(weak),
        "also_not": sorted(impossible - set(weak)),
        "possible": list(strongest_possible(impossible)),
    }


_SURE: dict[str, str] = {
    "linearizable-keys": "strict-serializable",
    "sequential-keys": "strong-session-serializable",
    "wfr-keys": "read-committed",
}
"""Assumption -> a model under which it holds, and those below it, too."""


def _ruled_out(analysis: Analysis) -> list[str]:
    """Which models are ruled out, and which are left, in lines.

    Cyclic versions rule out nearly all models where the assumption behind them holds; for sure only those under which it must.
    """
    names, used = analysis.names, analysis.dependencies.assumed
    wrong = [name for name in _SURE if name in analysis.wanted.inference.names and name not in used]
    impossible = ruled_out(names - {"cyclic-versions"})
    if "cyclic-versions" in names:
        impossible |= {model for model in MODELS if _SURE[wrong[-1]] in implied_models((model,))}
    lines = []
    if impossible:
        assuming = f" (assuming {', '.join(used)})" if used else ""
        lines.append(f"ruled out: {', '.join(weakest(impossible))}, and what is stronger{assuming}")
    if "cyclic-versions" in names and (more := ruled_out(("cyclic-versions",)) - impossible):
        lines.append(f"also {', '.join(weakest(more))}, and what is stronger, unless {_wrong(wrong)} wrong here")
    if possible := strongest_possible(impossible):
        lines.append(f"still possible: {', '.join(possible)}, and what is weaker")
    return lines


def _wrong(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _findings(analysis: Analysis, reported: frozenset[str]) -> tuple[Finding, ...]:
    """What was reported, in words: the gravest first, a few of each name. Every cycle is derived again from the history."""
    shown: list[Finding] = []
    for name in sorted(reported, key=lambda each: (_GRAVITY.index(each) if each in _GRAVITY else len(_GRAVITY), each)):
        some = [
            *(explain.of_anomaly(analysis.found, each) for each in _first(analysis.anomalies, name)),
            *(explain.of_cycle(analysis.found, each, analysis.dependencies) for each in _first(analysis.cycles, name)),
        ]
        shown += some[:FINDINGS_OF_A_NAME_MAX]
    return tuple(shown[:FINDINGS_MAX])


def _first(found: tuple[Any, ...], name: str) -> list[Any]:
    return [each for each in found if each.name == name][:FINDINGS_OF_A_NAME_MAX]
