"""What a campaign found: as text, as Markdown for a CI's summary, as JUnit XML, and as an exit code."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec

from checkers import Validity
from harness.campaign.campaign_file import Campaign
from harness.campaign.findings import Finding, KnownFinding, findings_of, with_known
from harness.campaign.outcome import Outcome
from harness.campaign.state import Shrunk
from harness.errors import HARNESS, INVALID, UNKNOWN, VALID, exit_code
from histories.printing import harmless, line

SEEDS_SHOWN = 5
WORDS_MAX = 300


class CellCounts(msgspec.Struct, frozen=True):
    """How the runs of one cell ended. ok_share: of its client ops, those that succeeded."""

    title: str
    runs: int
    valid: int
    invalid: int
    unknown: int
    harness: int
    ok_share: float


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is told of a campaign.

    runs, planned: how many were done, and how many there would be. shortcomings: why it is no success although nothing invalid was
    found, in sentences. remarks: what else is to be said. ended_early: a signal or a failure of the harness ended it before its
    budget did.
    """

    name: str
    runs: int
    planned: int
    elapsed_s: float
    cpu_s: float
    cells: tuple[CellCounts, ...]
    findings: tuple[Finding, ...]
    shortcomings: tuple[str, ...]
    remarks: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    ended_early: bool = False

    @property
    def code(self) -> int:
        """The exit code: a finding that nobody expected dominates a failed harness, which dominates too little being tested."""
        codes = [VALID]
        if any(not finding.expected for finding in self.findings):
            codes.append(INVALID)
        if any(outcome.harness for outcome in self.outcomes):
            codes.append(HARNESS)
        if self.shortcomings:
            codes.append(UNKNOWN)
        return exit_code(codes)

    @property
    def verdict(self) -> str:
        """One word for the exit code."""
        return {VALID: "VALID", INVALID: "INVALID", HARNESS: "HARNESS FAILURE"}.get(self.code, "UNKNOWN")


def report_of(
    campaign: Campaign,
    outcomes: Sequence[Outcome],
    shrunk: Sequence[Shrunk],
    known: Sequence[KnownFinding],
    today: datetime.date,
    *,
    ended_early: bool = False,
) -> CampaignReport:
    """The report on the outcomes so far."""
    by_run = {(each.cell, each.seed): each for each in shrunk}
    found, remarks = with_known(findings_of(campaign, outcomes), known, today)
    for number, finding in enumerate(found):
        small = next((by_run[key] for each in finding.outcomes if (key := (each.cell, each.seed)) in by_run), None)
        if small is not None:
            found[number] = msgspec.structs.replace(finding, shrunk=small.run, size=small.size)
    cells = tuple(
        _counts(cell.title, [outcome for outcome in outcomes if outcome.cell == number])
        for number, cell in enumerate(campaign.cells)
    )
    if resting := sum(campaign.rests(cell.invalid) for cell in cells):
        remarks.append(
            f"{resting} of {len(cells)} combinations failed {campaign.enough} times, which is enough: they rest"
        )
    return CampaignReport(
        name=campaign.name,
        runs=len(outcomes),
        planned=campaign.tasks_count,
        elapsed_s=max((outcome.elapsed_s for outcome in outcomes), default=0.0),
        cpu_s=sum(outcome.cpu_s for outcome in outcomes),
        cells=cells,
        findings=tuple(found),
        shortcomings=tuple(_shortcomings(campaign, outcomes)),
        remarks=tuple(remarks),
        outcomes=tuple(outcomes),
        ended_early=ended_early,
    )


def _counts(title: str, outcomes: Sequence[Outcome]) -> CellCounts:
    counted = Counter(outcome.validity for outcome in outcomes)
    return CellCounts(
        title,
        len(outcomes),
        counted[Validity.VALID],
        counted[Validity.INVALID],
        counted[Validity.UNKNOWN],
        sum(1 for outcome in outcomes if outcome.harness),
        _ok_share(outcomes),
    )


def _ok_share(outcomes: Sequence[Outcome]) -> float:
    asked = sum(outcome.ops for outcome in outcomes)
    return sum(outcome.ok for outcome in outcomes) / asked if asked else 0.0


def _shortcomings(campaign: Campaign, outcomes: Sequence[Outcome]) -> list[str]:
    """Why the campaign would prove too little even if nothing was found."""
    if not outcomes:
        return ["nothing was run"]
    unknown = [outcome for outcome in outcomes if outcome.validity is Validity.UNKNOWN and not outcome.harness]
    reasons = []
    if len(unknown) == len(outcomes):
        reasons.append(f"every run is UNKNOWN; the first: {unknown[0].words[:WORDS_MAX]}")
    elif len(unknown) > campaign.require.unknown_share * len(outcomes):
        reasons.append(
            f"{len(unknown)} of {len(outcomes)} runs are UNKNOWN, more than the share {campaign.require.unknown_share:g} that "
            f"require.unknown-share lets pass; the first: seed {unknown[0].seed}, {unknown[0].words[:WORDS_MAX]}"
        )
    if (share := _ok_share(outcomes)) < campaign.require.ok_share:
        reasons.append(
            f"{share:.0%} of the client ops succeeded, less than the {campaign.require.ok_share:.0%} of require.ok-share"
        )
    idle = [cell.title for number, cell in enumerate(campaign.cells) if all(each.cell != number for each in outcomes)]
    if idle:
        reasons.append(
            f"{len(idle)} of {len(campaign.cells)} combinations were never run; the first: {idle[0]}. Give a longer budget"
        )
    return reasons


def as_text(report: CampaignReport) -> str:
    """For a terminal."""
    lines = [f"{report.verdict}  campaign {report.name}: {_runs(report)}"]
    for finding in report.findings:
        first = finding.outcomes[0]
        lines += [
            f"  {'expected' if finding.expected else 'FINDING'}  {line(finding.title)}: {_seeds(finding)}",
            f"    {line(first.words, WORDS_MAX)}",
        ]
        lines += [f"    expected: {line(finding.expected)}"] if finding.expected else []
        lines += [f"    shrunk: {finding.size}: {line(finding.shrunk)}"] if finding.shrunk else []
        lines += [f"    kept: {line(first.run)}"] if first.run and not finding.shrunk else []
        lines.append(f"    again: {line(first.command)}")
    lines += [f"  harness failure  {words}" for words in _harness(report)]
    lines += [f"  too little: {line(reason)}" for reason in report.shortcomings]
    lines += [f"  {line(remark)}" for remark in report.remarks]
    return "\n".join(lines)


def as_markdown(report: CampaignReport) -> str:
    """For the summary page of a CI."""
    lines = [f"# {report.verdict}: campaign {_cell(report.name)}", "", f"{_runs(report)}.", ""]
    if report.findings:
        lines += ["| finding | seeds | what happened | smallest run |", "| --- | --- | --- | --- |"]
        for finding in report.findings:
            title = f"{finding.title} (expected: {finding.expected})" if finding.expected else finding.title
            row = (title, _seeds(finding), line(finding.outcomes[0].words, WORDS_MAX), finding.size or "not shrunk")
            lines.append(f"| {' | '.join(map(_cell, row))} |")
        lines += ["", "Run the first seed of each again:", "", "```"]
        lines += [*(line(finding.outcomes[0].command) for finding in report.findings), "```", ""]
    for title, sentences in (
        ("Failures of the harness", _harness(report)),
        ("Too little was tested", list(report.shortcomings)),
        ("Remarks", list(report.remarks)),
    ):
        if sentences:
            lines += [f"## {title}", "", *(f"- {_cell(sentence)}" for sentence in sentences), ""]
    lines += [
        "| combination | runs | valid | invalid | unknown | harness failed | ops that succeeded |",
        f"|{' --- |' * 7}",
    ]
    for cell in report.cells:
        numbers = (cell.runs, cell.valid, cell.invalid, cell.unknown, cell.harness)
        lines.append(f"| {_cell(cell.title)} | {' | '.join(map(str, numbers))} | {cell.ok_share:.0%} |")
    return "\n".join(lines) + "\n"


def as_junit(campaign: Campaign, report: CampaignReport) -> bytes:
    """JUnit XML, one case a run: the anomaly in words is the failure of an INVALID one, a harness failure is an error, an UNKNOWN
    run is skipped; one more case stands for what the campaign as a whole lacks."""
    suite = ElementTree.Element("testsuite", name=f"themis campaign {report.name}")
    expected = {
        (outcome.cell, outcome.seed) for finding in report.findings if finding.expected for outcome in finding.outcomes
    }
    counted: Counter[str] = Counter()
    for outcome in report.outcomes:
        cell = campaign.cells[outcome.cell]
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(cell.title), name=f"seed {outcome.seed}", time=f"{outcome.cpu_s:.3f}"
        )
        kind = ""
        if outcome.harness:
            kind, words = "error", outcome.harness
        elif outcome.validity is Validity.INVALID:
            kind, words = "skipped" if (outcome.cell, outcome.seed) in expected else "failure", outcome.words
        elif outcome.validity is Validity.UNKNOWN:
            kind, words = "skipped", outcome.words
        if kind:
            counted[kind] += 1
            told = ElementTree.SubElement(case, kind, message=_xml(line(words, WORDS_MAX)))
            told.text = _xml(f"{words}\n{outcome.command}\n{outcome.run}")
    if report.shortcomings:
        counted["failure"] += 1
        case = ElementTree.SubElement(suite, "testcase", classname="campaign", name="enough was tested")
        ElementTree.SubElement(case, "failure", message=_xml("; ".join(report.shortcomings)))
    suite.set("tests", str(len(report.outcomes) + bool(report.shortcomings)))
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(counted[kind]))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'.encode()


def as_data(report: CampaignReport) -> dict[str, Any]:
    """For `--json` and report.json; the runs themselves are in results.jsonl."""
    data: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(report, outcomes=()))
    del data["outcomes"]
    return {"verdict": report.verdict, "exit_code": report.code, **data}


def _runs(report: CampaignReport) -> str:
    counts = Counter(outcome.validity.name for outcome in report.outcomes)
    told = ", ".join(f"{counts[name]} {name}" for name in ("INVALID", "UNKNOWN", "VALID") if counts[name])
    end = "; ended early, and `themis campaign resume` goes on" if report.ended_early else ""
    return (
        f"{report.runs} of {report.planned} runs ({told or 'none'}) in {report.elapsed_s:.0f} s, "
        f"{report.cpu_s:.0f} CPU s{end}"
    )


def _seeds(finding: Finding) -> str:
    seeds = list(dict.fromkeys(str(outcome.seed) for outcome in finding.outcomes))
    more = f" and {len(seeds) - SEEDS_SHOWN} more" if len(seeds) > SEEDS_SHOWN else ""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds[:SEEDS_SHOWN])}{more}"


def _harness(report: CampaignReport) -> list[str]:
    failed = [outcome for outcome in report.outcomes if outcome.harness]
    if not failed:
        return []
    first = failed[0]
    runs = "run" if len(failed) == 1 else "runs"
    return [f"{len(failed)} {runs}; the first: {line(first.harness, WORDS_MAX)}", f"again: {line(first.command)}"]


def _cell(text: str) -> str:
    """Text of others inside a Markdown table: on one line, and nothing of it is markup."""
    return "".join(f"\\{char}" if char in "|`*_[]<>#\\" else char for char in line(text, WORDS_MAX))


def _xml(text: str) -> str:
    """Text that XML 1.0 can hold: control characters are shown escaped."""
    return harmless(text)
