"""Each rule on traces of a few lines: what breaks it is found, and what looks like it but is legal is not."""

from __future__ import annotations

import pytest

from checkers.evidence import Invariants, Violation
from checkers.invariants import Observers, check_traces
from checkers.verdict import Validity, Verdict
from histories.tracing import TraceRecord


def records(text: str) -> list[TraceRecord]:
    """Lines of `node kind field=value ...`, one ns apart: `n1 append 3 2 x` is index 3, term 2, digest x."""
    found = []
    for time, line in enumerate(line.split() for line in text.strip().splitlines()):
        node, kind, *rest = line
        match kind:
            case "role":
                fields: dict[str, object] = {"role": rest[0], "term": int(rest[1])}
            case "append" | "apply":
                fields = {"index": int(rest[0]), "term": int(rest[1]), "digest": rest[2]}
            case "truncate":
                fields = {"from_index": int(rest[0])}
            case "commit":
                fields = {"index": int(rest[0])}
            case "vote":
                fields = {"term": int(rest[0]), "for": rest[1]}
            case _:
                fields = {}
        found.append(TraceRecord(time, node, kind, fields))
    return found


def check(text: str, node_count: int = 3) -> Verdict:
    return check_traces(records(text), node_count)


BROKEN = {
    "election-safety": """
        n1 role leader 3
        n2 role follower 3
        n2 role leader 3
    """,
    "log-matching: another command at one place": """
        n1 append 1 1 a
        n2 append 1 1 b
    """,
    "log-matching: another past at one place": """
        n1 append 1 1 a
        n1 append 2 3 c
        n2 append 1 2 b
        n2 append 2 3 c
    """,
    "leader-completeness: the log is too short": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n3 role leader 2
    """,
    "leader-completeness: another entry stands there": """
        n1 role leader 2
        n1 append 1 2 a
        n2 append 1 2 a
        n1 commit 1
        n3 append 1 1 b
        n3 role leader 3
    """,
    "state-machine-safety: two commits": """
        n1 append 1 1 a
        n2 append 1 2 b
        n1 commit 1
        n2 commit 1
    """,
    "state-machine-safety: two applied": """
        n1 apply 1 1 a
        n2 apply 1 1 b
    """,
    "state-machine-safety: the same command of another term": """
        n1 apply 1 1 a
        n2 apply 1 2 a
    """,
    "persistent-state: a term that was shown is forgotten": """
        n1 role follower 3
        n1 shown
        n1 started
        n1 role follower 2
    """,
    "persistent-state: a vote that was shown is forgotten": """
        n1 role follower 3
        n1 vote 3 n2
        n1 shown
        n1 started
        n1 role follower 3
        n1 vote 3 n3
    """,
    "durability: a majority comes back without it": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n2 started
        n1 role candidate 2
        n2 vote 2 n1
    """,
}


def violation_of(verdict: Verdict) -> Violation:
    violation = verdict.evidence_of(Invariants).violation
    assert violation is not None
    return violation


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    verdict = check(BROKEN[name])
    assert verdict.validity is Validity.INVALID
    assert violation_of(verdict).rule == name.partition(":")[0], verdict.reason
    assert verdict.reason.startswith(name.partition(":")[0])


def test_the_step_and_the_nodes_are_in_the_evidence() -> None:
    verdict = check(BROKEN["election-safety"])
    assert violation_of(verdict).nodes == ("n1", "n2")
    assert violation_of(verdict).time == 2
    assert violation_of(verdict).details["term"] == 3


LEGAL = {
    "one leader after another": """
        n1 role leader 1
        n2 role leader 2
        n1 role leader 3
    """,
    "the same leader says it twice": """
        n1 role leader 1
        n1 role leader 1
    """,
    "an uncommitted entry is replaced": """
        n1 append 1 1 a
        n2 append 1 2 b
        n1 truncate 1
        n1 append 1 2 b
        n1 commit 1
        n2 commit 1
    """,
    "a late leader of an old term lacks what a newer one committed": """
        n1 role leader 5
        n1 append 1 5 a
        n2 append 1 5 a
        n1 commit 1
        n3 role leader 4
    """,
    "recovery tells the log anew": """
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 role follower 1
        n1 truncate 1
        n1 append 1 1 a
        n1 role candidate 2
        n1 role leader 2
        n1 commit 1
    """,
    "an unsynced entry did not survive, and another took its place": """
        n1 append 1 1 a
        n1 append 2 1 b
        n1 started
        n1 role follower 1
        n1 truncate 1
        n1 append 1 1 a
        n1 append 2 2 c
        n1 commit 2
        n2 append 1 1 a
        n2 append 2 2 c
    """,
    "an unsynced truncation did not survive": """
        n2 append 1 1 a
        n2 append 2 1 b
        n2 append 3 1 d
        n1 append 1 1 a
        n1 append 2 1 b
        n1 truncate 2
        n1 append 2 2 c
        n1 started
        n1 truncate 1
        n1 append 1 1 a
        n1 append 2 1 b
        n1 append 3 1 d
    """,
    "a minority lost it": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n1 commit 1
        n1 started
        n1 role candidate 2
        n1 role follower 3
    """,
    "all restart at once, and are seen half-way": """
        n1 role leader 1
        n1 append 1 1 a
        n2 append 1 1 a
        n3 append 1 1 a
        n1 commit 1
        n1 started
        n2 started
        n3 started
        n1 truncate 1
        n2 truncate 1
        n3 truncate 1
        n1 append 1 1 a
        n2 append 1 1 a
        n3 append 1 1 a
        n1 role candidate 2
        n2 vote 2 n1
        n3 vote 2 n1
        n1 role leader 2
    """,
    "everything is applied again after a restart": """
        n1 append 1 1 a
        n1 commit 1
        n1 apply 1 1 a
        n1 started
        n1 truncate 1
        n1 append 1 1 a
        n1 commit 1
        n1 apply 1 1 a
    """,
    "a term and a vote that no one saw may be forgotten": """
        n1 role follower 2
        n1 shown
        n1 role follower 3
        n1 vote 3 n2
        n1 started
        n1 role follower 2
        n1 role follower 3
        n1 vote 3 n3
        n1 shown
    """,
    "a vote is said again": """
        n1 role follower 3
        n1 vote 3 n2
        n1 shown
        n1 started
        n1 role follower 3
        n1 vote 3 n2
        n1 role follower 4
        n1 vote 4 n3
    """,
    "an unknown kind is passed over": """
        n1 role leader 1
        n1 gossip 1
    """,
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_valid(name: str) -> None:
    verdict = check(LEGAL[name])
    assert verdict.validity is Validity.VALID, verdict.reason


def test_a_trace_without_anything_to_check_is_unknown() -> None:
    assert check_traces([]).validity is Validity.UNKNOWN
    assert check("n1 gossip").validity is Validity.UNKNOWN


def test_records_may_come_node_by_node() -> None:
    ordered = records(BROKEN["durability: a majority comes back without it"])
    by_node = sorted(ordered, key=lambda record: record.node)
    assert check_traces(by_node, 3) == check_traces(ordered, 3)


def test_watching_online_stops_at_the_record_that_shows_it() -> None:
    observers = Observers(3)
    seen = [observers.observe(record) for record in records(BROKEN["log-matching: another command at one place"])]
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].time == 1
    assert seen[1].nodes == ("n1", "n2")
