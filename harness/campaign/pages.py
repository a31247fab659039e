"""The campaigns of a store for `themis serve`: a row of its table each, and what one of them found. Read again only when its files
changed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from harness.campaign.campaign_file import Campaign
from harness.campaign.campaign_report import CampaignReport, report_of
from harness.campaign.findings import read_known, target_of
from harness.campaign.outcome import Outcome
from harness.campaign.state import CAMPAIGNS, CampaignFolder
from harness.errors import UsageError
from harness.report.serve.listing import REASON_MAX, Row
from harness.store.runs import RunDirectory
from histories.printing import line

RUNS_MAX = 30
"""Failing runs that are told of each finding: the kept ones first."""


class CampaignPages:
    """All campaigns of one store. Implements harness.report.serve.listing.Campaigns."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[Path, tuple[Any, Campaign, CampaignReport]] = {}

    def rows(self) -> list[Row]:
        """A row for each campaign, in no order; also for one whose files cannot be read."""
        paths = [path.parent for path in (self._store / CAMPAIGNS).glob("*/*/campaign.json") if not path.is_symlink()]
        self._known = {path: self._known[path] for path in paths if path in self._known}
        return [self._row(path) for path in paths]

    def details(self, name: str, time: str) -> dict[str, Any] | None:
        """What the campaign found, as JSON-like data whose texts are harmless; None when there is no such campaign, or it cannot
        be read. name, time: folders, checked by the caller."""
        path = self._store / CAMPAIGNS / name / time
        if any(each.is_symlink() for each in (path, path.parent, path / "campaign.json")):
            return None
        try:
            campaign, report = self._report(path)
        except UsageError:
            return None
        return {
            "row": self._row(path),
            "cells": [
                [
                    line(cell.title, 200),
                    cell.runs,
                    cell.invalid,
                    cell.unknown,
                    cell.valid,
                    cell.harness,
                    f"{cell.ok_share:.0%}",
                ]
                for cell in report.cells
            ],
            "findings": [
                {
                    "title": line(finding.title, 200),
                    "classes": [line(each, 200) for each in finding.classes],
                    "expected": line(finding.expected, 300),
                    "count": len(finding.outcomes),
                    "size": line(finding.size, 100),
                    "shrunk": self._place(path, finding.shrunk),
                    "runs": [
                        self._run(path, campaign, outcome)
                        for outcome in sorted(finding.outcomes, key=lambda each: not each.run)[:RUNS_MAX]
                    ],
                }
                for finding in report.findings
            ],
            "notes": [line(text, 400) for text in (*report.shortcomings, *report.remarks)],
            "harness": [
                [outcome.seed, line(outcome.harness, 300), line(outcome.command, 600)]
                for outcome in report.outcomes
                if outcome.harness
            ][:RUNS_MAX],
        }

    def _run(self, folder: Path, campaign: Campaign, outcome: Outcome) -> dict[str, Any]:
        return {
            "seed": outcome.seed,
            "cell": line(campaign.cells[outcome.cell].title, 200),
            "words": line(outcome.words, 400),
            "command": line(outcome.command, 600),
            "run": self._place(folder, outcome.run),
        }

    def _place(self, folder: Path, run: str) -> str:
        """name/time of a run of the campaign in `folder` that is kept in this store; "" for any other."""
        path = CampaignFolder(folder).place_of(run).resolve()
        is_here = run and path.parent.parent == self._store.resolve() and (path / "spec.json").is_file()
        return f"{path.parent.name}/{path.name}" if is_here else ""

    def _report(self, path: Path) -> tuple[Campaign, CampaignReport]:
        """Raises UsageError when the campaign cannot be read."""
        folder = CampaignFolder(path)
        today = datetime.datetime.now(datetime.UTC).date()
        files = (folder.plan, folder.results, folder.shrunk)
        known = self._known.get(path)
        if known is None or known[0] != (today, *map(_stamp, files), _stamp_of_known(known[1])):
            campaign = folder.read()
            stamp = (today, *map(_stamp, files), _stamp_of_known(campaign))
            report = report_of(
                campaign, folder.outcomes(campaign), folder.shrunk_runs(), read_known(campaign.known), today
            )
            known = self._known[path] = (stamp, campaign, report)
        return known[1], known[2]

    def _row(self, path: Path) -> Row:
        name, time = line(path.parent.name, 200), line(path.name, 60)
        try:
            campaign, report = self._report(path)
        except UsageError as error:
            return Row(name, time, verdict="unreadable", anomaly=line(error, REASON_MAX), kind="campaign")
        specs = [cell.spec for cell in campaign.cells]
        ok = sum(outcome.ok for outcome in report.outcomes)
        is_running = RunDirectory(path).is_held()
        told = [
            f"{finding.title} ({len(finding.outcomes)} {'run' if len(finding.outcomes) == 1 else 'runs'})"
            for finding in report.findings
        ]
        return Row(
            name,
            time,
            target=_listed(target_of(spec) for spec in specs),
            workload=_listed(spec.workload for spec in specs),
            env=_listed(spec.env for spec in specs),
            faults=_listed(", ".join(spec.nemesis) or "none" for spec in specs),
            seed=campaign.seeds[0],
            verdict="running"
            if is_running
            else report.verdict.lower()
            if report.verdict != "HARNESS FAILURE"
            else "unknown",
            anomaly=line("; ".join(told or report.shortcomings), REASON_MAX),
            ok=ok,
            fail=sum(outcome.ops for outcome in report.outcomes) - ok,
            duration_s=report.elapsed_s,
            has_report=True,
            kind="campaign",
            runs=report.runs,
            planned=report.planned,
        )


def _listed(words: Any) -> str:
    return line(" | ".join(dict.fromkeys(words)), 120)


def _stamp_of_known(campaign: Campaign) -> tuple[int, int] | None:
    return None if campaign.known is None else _stamp(Path(campaign.known))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
