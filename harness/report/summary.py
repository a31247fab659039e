"""Verdicts and results as text for a terminal, and as exit codes."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from checkers import Validity, Verdict
from harness.errors import HARNESS, INVALID, UNKNOWN, VALID, code_of_signal
from harness.spec import RunSpec
from harness.store.runs import Result, RunDirectory
from histories.printing import block, line
from histories.units import NS_PER_MS, NS_PER_S

REASON_MAX = 2_000
"""Characters of a reason that a summary shows; verdict.json has it whole."""

NAME_MAX = 80
"""Characters of a name that a summary shows."""

CODES = {Validity.VALID: VALID, Validity.INVALID: INVALID, Validity.UNKNOWN: UNKNOWN}


def code(result: Result) -> int:
    """The exit code of one run: a violation dominates a signal, which dominates a failed harness, which dominates the rest."""
    if result.verdict.validity is Validity.INVALID:
        return INVALID
    if result.signal:
        return code_of_signal(result.signal)
    return HARNESS if result.harness else CODES[result.verdict.validity]


def first_reason(result: Result) -> str:
    """Why the verdict is not VALID, or why the harness failed: one line."""
    if result.verdict.reason:
        return line(result.verdict.reason.splitlines()[0])
    return (
        f"harness failed in {line(result.harness[0].phase, NAME_MAX)}: {line(result.harness[0].error)}"
        if result.harness
        else ""
    )


def verdict_text(verdict: Verdict, subject: str) -> str:
    """A verdict and its parts, the worst first."""
    lines = [f"{verdict.validity.name}  {line(subject)}"]
    parts = sorted(verdict.parts.items(), key=lambda item: -item[1].validity.badness)
    if not parts and verdict.reason:
        lines.append(f"  {block(verdict.reason, REASON_MAX)}")
    for name, part in parts:
        lines.append(
            f"  {part.validity.name:<8} {line(name, NAME_MAX)}"
            + (f": {block(part.reason, REASON_MAX)}" if part.reason else "")
        )
    return "\n".join(lines)


def counted(count: int, noun: str) -> str:
    """The number with its noun, as in "1 fault" and "2 faults"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def summary(run: RunDirectory, result: Result, spec: RunSpec, *, with_hint: bool = True) -> str:
    """How a run ended, for the end of `themis test`. with_hint: also how to look closer."""
    counts = result.counts
    headline, *parts = verdict_text(result.verdict, str(run.path)).splitlines()
    lines = [headline]
    for failure in result.harness:  # First of all: a VALID above it is not the whole truth.
        first, *rest = (block(failure.error) or "(no reason)").splitlines()
        lines.append(f"  harness failure in {line(failure.phase, NAME_MAX)} (themis.log has the traceback): {first}")
        lines += [f"    {each}" for each in rest]
    lines += parts
    if counts:
        told = ", ".join(f"{counts[name]} {name}" for name in ("ok", "fail", "info") if name in counts)
        lines.append(
            f"  {counts.get('invoke', 0)} operations ({told}), {counted(counts.get('faults', 0), 'fault')} installed"
        )
    lines += _blocking(result.verdict)
    lines += restores(result.verdict)
    lines += _recoveries(result.verdict)
    lines += _never_done(result.verdict)
    if (count := counts.get("faults_missed", 0)) and not result.interrupted:
        lines.append(
            f"  {counted(count, 'planned fault op')} {'was' if count == 1 else 'were'} not done: the nemesis could not keep up. "
            "Use fewer kinds of faults at once or a longer --nemesis-interval on this machine; --schedule does them all, however "
            "long that takes"
        )
    if result.claim != result.target_claims:
        lines.append(
            f"  checked for {line(result.claim, NAME_MAX)} (--consistency); {line(spec.target, NAME_MAX)} claims "
            f"{line(result.target_claims, NAME_MAX)}"
        )
    if result.interrupted:
        by = f" by {line(result.signal, NAME_MAX)}" if result.signal else ""
        lines.append(f"  interrupted{by}: the verdict is on what was recorded until then")
    if with_hint and (result.harness or result.verdict.validity is not Validity.VALID):
        lines.append(f"  look closer: themis inspect {line(shlex.quote(str(run.path)))}")
        if (page := run.path / "report.html").is_file():
            lines.append(f"  or open {line(page)}")
    lines.append(f"  seed {spec.seed}")
    return "\n".join(lines)


def _blocking(verdict: Verdict) -> list[str]:
    """How long participants of an atomic commitment protocol were in doubt (checkers.invariants.blocking), where that was told."""
    invariants = verdict.parts.get("invariants")
    told = None if invariants is None else invariants.stats.get("blocking")
    if not told:
        return []
    if not told["blocked"]:
        return [f"  no transaction was blocked, of {counted(told['votes'], 'yes vote')}"]
    unresolved = f", {told['unresolved']} of them to the end" if told["unresolved"] else ""
    return [
        f"  blocked: {told['blocked']} of {counted(told['votes'], 'yes vote')} waited too long for the decision{unresolved}; "
        f"{told['longest_ns'] / NS_PER_S:.1f} s at most, {told['blocked_ns'] / NS_PER_S:.1f} s of all participants' time"
    ]


def _recoveries(verdict: Verdict) -> list[str]:
    """How soon an op succeeded after a fault was lifted, on average, by kinds of faults (checkers.availability)."""
    part = verdict.parts.get("availability")
    told = {} if part is None else part.stats.get("mttr_ns_by_fault") or {}
    if not told:
        return []
    each = ", ".join(f"{line(str(name), NAME_MAX)} {ns / NS_PER_MS:.0f} ms" for name, ns in told.items())
    return [f"  mean time to recovery: {each}"]


def _never_done(verdict: Verdict) -> list[str]:
    """The kinds of faults that were tried and never done: a green verdict says nothing of them (checkers.vacuity)."""
    part = verdict.parts.get("vacuity")
    told = {} if part is None else part.stats.get("never_done") or {}
    return [
        f"  {line(str(f), NAME_MAX)} was tried {counted(each['tried'], 'time')} and never done: {line(str(each['why']))}"
        for f, each in told.items()
    ]


def restores(verdict: Verdict) -> list[str]:
    """What each restore from a backup took back (checkers.timelines)."""
    part = verdict.parts.get("restore")
    return [] if part is None else [f"  {line(str(each['words']))}" for each in part.stats.get("restores", ())]


def tally(results: Sequence[Result]) -> str:
    """How many of several runs ended in each way."""
    endings = Counter(result.verdict.validity.name for result in results)
    text = ", ".join(f"{endings[name]} {name}" for name in ("INVALID", "UNKNOWN", "VALID") if endings[name])
    for what, number in (
        ("with a harness failure", sum(1 for result in results if result.harness)),
        ("interrupted", sum(1 for result in results if result.signal)),
    ):
        text += f"; {number} {what}" if number else ""
    return f"{counted(len(results), 'run')}: {text}"
