"""What must not be in a log is found with its node, file and line; what only looks like it is not."""

from __future__ import annotations

import re

import pytest

from checkers.evidence import Findings
from checkers.log_alarms import LogLine, log_alarms
from checkers.verdict import Validity

ALARMS = (r"^panic: ", r"assertion .* failed")


def lines(*texts: str) -> list[LogLine]:
    return [LogLine("n2", "node.log", number, text) for number, text in enumerate(texts, 1)]


def test_a_panic_is_told_with_its_place() -> None:
    verdict = log_alarms(lines("started", "panic: index out of range", "goroutine 1"), ALARMS)
    assert verdict.validity is Validity.INVALID
    assert verdict.reason == "n2 logged: panic: index out of range"
    (finding,) = verdict.evidence_of(Findings).findings
    assert finding.nodes == ("n2",)
    assert finding.tables[0].rows == (("node.log", 2, "panic: index out of range"),)


def test_a_core_dump_is_a_finding_and_findings_are_counted() -> None:
    verdict = log_alarms(lines(*["assertion x failed"] * 30), ALARMS, [("n1", "core.17")])
    assert verdict.reason == "n1 left a core dump: core.17 (31 such findings in all)"
    assert len(verdict.evidence_of(Findings).findings) == 20


@pytest.mark.parametrize("patterns", [ALARMS, ()])
def test_nothing_found_is_valid(patterns: tuple[str, ...]) -> None:
    assert log_alarms(lines("do not panic: all is well"), patterns).validity is Validity.VALID


def test_a_pattern_that_is_none_is_an_error() -> None:
    with pytest.raises(re.error):
        log_alarms(lines("x"), ["("])
