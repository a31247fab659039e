"""The rules of atomic commitment on traces of a few lines."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.evidence import Invariants
from checkers.invariants import check_traces
from checkers.verdict import Validity, Verdict
from histories.tracing import Custom, TraceRecord

RULES = ("atomic-commitment", "durable-decisions", "blocking")


def yes(txn: str) -> Custom:
    return Custom("voted", {"txn": txn, "vote": "yes", "participants": ["n2", "n3"]})


def decided(txn: str, decision: str) -> Custom:
    return Custom("decided", {"txn": txn, "decision": decision, "as": "participant"})


def commits(txn: str, *votes: str) -> Custom:
    fields: dict[str, Any] = {"decision": "commit", "as": "coordinator", "participants": ["n2", "n3"]}
    return Custom("decided", {"txn": txn, **fields, "votes": list(votes)})


def recovered(**fields: Any) -> Custom:
    empty: dict[str, Any] = {name: [] for name in ("in_doubt", "committed", "aborted", "unfinished", "ended")}
    return Custom("recovered-transactions", {**empty, "low": {}, **fields})


def check(*events: tuple[str, Custom]) -> Verdict:
    """One record each 100 ms."""
    return check_traces(RULES, [TraceRecord(at * 100_000_000, *event) for at, event in enumerate(events)])


def violation(verdict: Verdict) -> tuple[str, str]:
    assert verdict.validity is Validity.INVALID
    assert isinstance(verdict.evidence, Invariants)
    assert verdict.evidence.violation is not None
    return verdict.evidence.violation.rule, verdict.evidence.violation.words


HEALTHY = (
    ("n2", yes("n1:1")),
    ("n3", yes("n1:1")),
    ("n1", commits("n1:1", "n2", "n3")),
    ("n2", decided("n1:1", "commit")),
    ("n3", decided("n1:1", "commit")),
    ("n1", Custom("ended", {"txn": "n1:1"})),
)


def test_a_transaction_that_commits_everywhere_is_valid() -> None:
    verdict = check(*HEALTHY)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["blocking"] == {"votes": 2, "blocked": 0, "longest_ns": 0, "blocked_ns": 0, "unresolved": 0}


def test_two_that_decide_differently_break_atomic_commitment() -> None:
    rule, words = violation(check(*HEALTHY[:4], ("n3", decided("n1:1", "abort"))))
    assert rule == "atomic-commitment"
    assert words == "n3 decides to abort n1:1, and n1 had decided to commit it"


def test_one_that_decides_twice_breaks_it_alone() -> None:
    events = (("n2", yes("n1:1")), ("n2", decided("n1:1", "abort")), ("n2", decided("n1:1", "commit")))
    assert violation(check(*events))[1] == "n2 decides to commit n1:1, and it had decided to abort it"


def test_a_commit_without_a_vote_breaks_it() -> None:
    rule, words = violation(check(HEALTHY[0], ("n1", commits("n1:1", "n2"))))
    assert (rule, words) == ("atomic-commitment", "n1 commits n1:1 without the vote of n3")


def test_a_vote_has_to_outlive_a_restart() -> None:
    words = "n2 voted yes for n1:1, restarted, and does not know it any more"
    assert violation(check(("n2", yes("n1:1")), ("n2", recovered()))) == ("durable-decisions", words)


@pytest.mark.parametrize(
    "known",
    [{"in_doubt": ["n1:1"]}, {"committed": ["n1:1"]}, {"aborted": ["n1:1"]}, {"low": {"n1": 2}}],
    ids=["in-doubt", "committed", "aborted", "forgotten-by-all"],
)
def test_a_vote_whose_end_was_on_disk_and_not_traced_is_kept(known: dict[str, Any]) -> None:
    assert check(("n2", yes("n1:1")), ("n2", recovered(**known))).validity is Validity.VALID


def test_the_low_of_one_coordinator_says_nothing_of_another() -> None:
    assert violation(check(("n2", yes("n4:1")), ("n2", recovered(low={"n1": 2}))))[0] == "durable-decisions"


def test_a_coordinator_has_to_remember_whom_it_has_to_tell() -> None:
    rule, words = violation(check(*HEALTHY[:4], ("n1", recovered())))
    assert rule == "durable-decisions"
    assert "n1 decided to commit n1:1" in words
    assert check(*HEALTHY[:4], ("n1", recovered(unfinished=["n1:1"]))).validity is Validity.VALID
    assert check(*HEALTHY[:4], ("n1", recovered(ended=["n1:1"]))).validity is Validity.VALID
    assert check(*HEALTHY, ("n1", recovered())).validity is Validity.VALID


def test_a_coordinator_may_forget_what_all_know_also_where_the_crash_cut_off_the_trace_of_that() -> None:
    assert check(*HEALTHY[:5], ("n1", recovered())).validity is Validity.VALID
    untraced = ("n3", recovered(committed=["n1:1"]))
    assert check(*HEALTHY[:4], untraced, ("n1", recovered())).validity is Validity.VALID


def test_blocking_counts_only_what_waited_longer_than_it_should() -> None:
    doubted = Custom("doubted", {"txn": "n1:1"})
    events = (("n2", yes("n1:1")), ("n3", yes("n1:1")), ("n2", doubted), ("n2", decided("n1:1", "commit")))
    stats = check(*events, ("n3", decided("n1:1", "commit"))).stats["blocking"]
    assert stats == {"votes": 2, "blocked": 1, "longest_ns": 300_000_000, "blocked_ns": 300_000_000, "unresolved": 0}


def test_what_is_blocked_to_the_end_is_counted_too() -> None:
    doubted = Custom("doubted", {"txn": "n1:1"})
    stats = check(("n2", yes("n1:1")), ("n2", doubted), ("n3", yes("n1:2"))).stats["blocking"]
    assert stats == {"votes": 2, "blocked": 1, "longest_ns": 200_000_000, "blocked_ns": 200_000_000, "unresolved": 1}


def test_blocked_at_once_counts_once_in_the_time_of_the_node() -> None:
    first, second = Custom("doubted", {"txn": "n1:1"}), Custom("doubted", {"txn": "n1:2"})
    events = [("n2", yes("n1:1")), ("n2", yes("n1:2")), ("n2", first), ("n2", second)]
    events += [("n2", decided("n1:1", "abort")), ("n2", decided("n1:2", "abort"))]
    stats = check(*events).stats["blocking"]
    assert (stats["blocked"], stats["longest_ns"], stats["blocked_ns"]) == (2, 400_000_000, 500_000_000)


def of_group(event: Custom, term: int, group: str = "s1") -> Custom:
    """The same, told by the leader of a group."""
    return Custom(event.name, {**event.fields, "by": group, "term": term})


def test_a_group_remembers_what_its_leader_promised() -> None:
    lost = (("n1", of_group(yes("s2:1"), 1)), ("n2", of_group(recovered(), 2)))
    rule, words = violation(check(*lost))
    assert rule == "durable-decisions"
    assert words == "s1 voted yes for s2:1, and its leader of term 2 does not know it"
    kept = (lost[0], ("n2", of_group(recovered(in_doubt=["s2:1"]), 2)), ("n2", of_group(decided("s2:1", "commit"), 2)))
    assert check(*kept).validity is Validity.VALID


def test_what_a_leader_tells_late_is_not_held_against_the_next_one() -> None:
    """n1 learns, when n2 leads already, that its commit had been committed in the group; all know it and n2 has forgotten it."""
    late = of_group(commits("s1:1", "n2", "n3"), 1)
    events = (("n2", of_group(recovered(), 2)), ("n1", late), ("n3", of_group(recovered(), 3)))
    assert check(*events).validity is Validity.VALID
    in_time = (("n1", late), *events[::2])
    words = "s1 decided to commit s1:1, and its leader of term 2 does not know it"
    assert violation(check(*in_time)) == ("durable-decisions", words)


def test_what_a_leader_tells_late_must_agree_all_the_same() -> None:
    events = (
        ("n2", of_group(recovered(), 2)),
        ("n2", of_group(decided("s1:1", "abort"), 2)),
        ("n1", of_group(commits("s1:1", "n2", "n3"), 1)),
    )
    assert violation(check(*events))[0] == "atomic-commitment"


def test_a_violation_names_nodes_and_not_groups() -> None:
    verdict = check(("n1", of_group(yes("s2:1"), 1)), ("n2", of_group(recovered(), 2)))
    assert isinstance(verdict.evidence, Invariants)
    assert verdict.evidence.violation is not None
    assert verdict.evidence.violation.nodes == ("n2",)
