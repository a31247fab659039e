"""Findings: the failing runs of a campaign, grouped so that one bug is one finding with many seeds."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import networkx

from checkers import Validity
from harness.campaign.campaign_file import Campaign
from harness.campaign.outcome import Outcome
from harness.campaign.yaml_file import YamlFile
from harness.report.anomaly import bug_class
from harness.spec import RunSpec

UNNAMED = "unnamed"
"""The class of a failing run that names none: a checker of the user's own may say INVALID and nothing else."""


class KnownFinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that is expected. target, anomaly: of the finding, with `*` for anything. reason: why it is let pass. expires: the
    last day on which it is, as 2027-01-31."""

    target: str
    anomaly: str
    reason: str
    expires: datetime.date

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("a known finding needs a reason")

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is this one."""
        return fnmatchcase(finding.target, self.target) and any(map(self.names, finding.outcomes))

    def names(self, outcome: Outcome) -> bool:
        """Whether the run, which is of this target, shows the anomaly."""
        return any(fnmatchcase(class_, self.anomaly) for class_ in outcome.classes or (UNNAMED,))


class KnownFindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of known findings."""

    known: tuple[KnownFinding, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Failing runs that show one thing: the same target with the same planted bugs, and anomalies that occur together.

    target: its name, and the bugs planted in it. classes: of the anomalies, the most frequent first. outcomes: its runs, in the
    order in which they ended. expected: why it is let pass; "" when it is not. shrunk: the folder of its shrunk run; size: how
    large that is.
    """

    target: str
    classes: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    expected: str = ""
    shrunk: str = ""
    size: str = ""

    @property
    def title(self) -> str:
        return f"{self.target}: {self.classes[0]}"


def read_known(path: str | None) -> tuple[KnownFinding, ...]:
    """The known findings of the file. Raises UsageError with the line of what is wrong."""
    return YamlFile(Path(path)).convert(KnownFindings).known if path else ()


def target_of(spec: RunSpec) -> str:
    """The target's name with the bugs planted in it."""
    return "+".join((spec.target, *spec.bugs))


def findings_of(campaign: Campaign, outcomes: Iterable[Outcome]) -> list[Finding]:
    """The findings, those with the most runs first.

    Two failing runs of one target are one finding when they have an anomaly of one class in common (anomaly.bug_class), or when a
    chain of such runs links them: a bug that breaks two rules shows both in some run.
    """
    failed = [outcome for outcome in outcomes if outcome.validity is Validity.INVALID]
    shown: networkx.Graph[tuple[str, str]] = networkx.Graph()
    nodes = []
    for outcome in failed:
        target = target_of(campaign.cells[outcome.cell].spec)
        its_nodes = [(target, bug_class(class_)) for class_ in outcome.classes or (UNNAMED,)]
        shown.add_edges_from((its_nodes[0], node) for node in its_nodes)
        nodes.append(its_nodes[0])
    findings = []
    for linked in networkx.connected_components(shown):
        its = tuple(outcome for outcome, node in zip(failed, nodes, strict=True) if node in linked)
        classes = _classes(its)
        target = next(iter(linked))[0]
        findings.append(Finding(target=target, classes=classes, outcomes=its))
    return sorted(findings, key=lambda finding: (-len(finding.outcomes), finding.title))


def with_known(
    findings: Sequence[Finding], known: Sequence[KnownFinding], today: datetime.date
) -> tuple[list[Finding], list[str]]:
    """The findings, those that are expected marked so; and what is to be said of known findings that expired or did not occur."""
    remarks = []
    valid = [each for each in known if each.expires >= today]
    marked = [part for finding in findings for part in _parted(finding, valid)]
    for each in known:
        name = f"{each.target}: {each.anomaly}"
        covered = [number for number, finding in enumerate(marked) if each.covers(finding)]
        if not covered:
            remarks.append(f"known finding {name} did not occur: remove it if it is mended ({each.reason})")
        elif each.expires < today:
            remarks.append(f"known finding {name} expired on {each.expires} and still occurs ({each.reason})")
        else:
            for number in covered:
                expected = f"{each.reason} (until {each.expires})"
                marked[number] = msgspec.structs.replace(marked[number], expected=expected)
    return marked, remarks


def _parted(finding: Finding, known: Sequence[KnownFinding]) -> list[Finding]:
    """The finding; or, where only some of its runs show what is known, those and the others as two: a chain of runs that links
    them makes no run expected that shows nothing of what is."""
    its = [each for each in known if fnmatchcase(finding.target, each.target)]
    seen = tuple(outcome for outcome in finding.outcomes if any(each.names(outcome) for each in its))
    if not seen or len(seen) == len(finding.outcomes):
        return [finding]
    rest = tuple(outcome for outcome in finding.outcomes if outcome not in seen)
    return [msgspec.structs.replace(finding, outcomes=part, classes=_classes(part)) for part in (seen, rest)]


def _classes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Of the anomalies, the most frequent first."""
    counts = Counter(class_ for outcome in outcomes for class_ in outcome.classes or (UNNAMED,))
    return tuple(sorted(counts, key=lambda class_: (-counts[class_], class_)))
