"""Lines that must not be in a node's log: a panic, a failed assertion, data that the system itself calls corrupt.

Pure: whoever has the logs gives their lines. Source: Jepsen's log-file-pattern checker (jepsen.checker/log-file-pattern).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from checkers.evidence import Finding, Findings, Table
from checkers.verdict import Verdict

CHECKER = "logs"
SHOWN_MAX = 20
"""Findings in the evidence; `reason` has the count of all."""
LINE_CHARS_MAX = 500


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """A line of a file of a node. number: from 1."""

    node: str
    file: str
    number: int
    text: str


def log_alarms(
    lines: Iterable[LogLine], patterns: Sequence[str], core_dumps: Sequence[tuple[str, str]] = ()
) -> Verdict:
    """INVALID when a line matches one of the regular expressions, or a node left a core dump.

    core_dumps: (node, file). Raises re.error for a pattern that is none.
    """
    alarm = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
    found: list[Finding] = []
    count = 0
    for node, file in core_dumps:
        count += 1
        found.append(Finding(f"{node} left a core dump: {file}", nodes=(node,)))
    for line in lines:
        if alarm is None or alarm.search(line.text) is None:
            continue
        count += 1
        if len(found) < SHOWN_MAX:
            text = line.text[:LINE_CHARS_MAX]
            where = Table(("file", "line", "text"), ((line.file, line.number, text),))
            found.append(Finding(f"{line.node} logged: {text}", nodes=(line.node,), tables=(where,)))
    if not count:
        return Verdict.valid(CHECKER)
    more = f" ({count} such findings in all)" if count > 1 else ""
    return Verdict.invalid(f"{found[0].words}{more}", CHECKER, evidence=Findings(tuple(found)))
