"""The rules on a cluster of groups that is restored from a backup: each group's begin anew, and so do those over all groups."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from checkers.invariants import check_traces
from checkers.invariants.observers import SHARD_NODES
from checkers.tests.test_invariants import records, violation_of
from checkers.verdict import Validity, Verdict
from histories.tracing import Custom, TraceRecord

GROUPS = {"n1": "s1", "n2": "s1", "n3": "s2", "n4": "s2"}
OF_GROUPS = ("election-safety", "log-matching", "leader-completeness", "state-machine-safety", "durable-decisions")


def cluster_of_groups(first: str, second: str, restored: int) -> list[TraceRecord]:
    """All nodes start, `first` and `second` lead their groups in term 1 and commit an entry of their name; the group of `first`
    votes for a transaction of the other one."""
    starts = "".join(f"{node} started {restored}\n" for node in GROUPS)
    told = records(
        starts
        + "".join(f"{node} role leader 1\n{node} append 1 1 {node}\n{node} commit 1\n" for node in (first, second))
    )
    none: dict[str, list[str]] = {name: [] for name in ("in_doubt", "committed", "aborted", "unfinished", "ended")}
    by = {"by": GROUPS[first], "term": 1}
    recovered = Custom("recovered-transactions", {**none, "low": {}, **by})
    vote = Custom("voted", {"txn": f"s2:{restored}", "vote": "yes", "participants": ["s1"], **by})
    return [*told, TraceRecord(len(told), first, recovered), TraceRecord(len(told), first, vote)]


def in_groups(*parts: list[TraceRecord]) -> Verdict:
    told = [record for part in parts for record in part]
    return check_traces(OF_GROUPS, [replace(record, time=at) for at, record in enumerate(told)], 4, GROUPS)


def test_groups_that_were_restored_owe_nothing_to_what_was_before() -> None:
    """In the restored cluster other nodes lead term 1 of the same groups, and commit other entries at the same index."""
    before, after = cluster_of_groups("n1", "n3", 0), cluster_of_groups("n2", "n4", 1)
    assert in_groups(before, after).validity is Validity.VALID
    assert in_groups(before, after, cluster_of_groups("n1", "n3", 2)).validity is Validity.VALID, "and once more"
    assert in_groups(before, cluster_of_groups("n2", "n4", 0)).validity is Validity.INVALID
    for one, other in (
        ("n2", "n3"),
        ("n1", "n4"),
    ):  # The rules of each group begin anew, not only those of the node that starts first.
        assert in_groups(before, cluster_of_groups(one, other, 1)).validity is Validity.VALID
        assert in_groups(before, cluster_of_groups(one, other, 0)).validity is Validity.INVALID


def test_what_spans_the_groups_begins_anew_with_them() -> None:
    """s1 had voted; its leader after the restore does not know of it. Without a restore that is a lost vote."""
    lost = replace_term(cluster_of_groups("n1", "n3", 1), 2)
    assert in_groups(cluster_of_groups("n1", "n3", 0), lost).validity is Validity.VALID
    verdict = in_groups(cluster_of_groups("n1", "n3", 1), lost)
    assert verdict.reason.startswith(
        "durable-decisions: s1 voted yes for s2:1, and its leader of term 2 does not know it"
    )


def replace_term(told: list[TraceRecord], term: int) -> list[TraceRecord]:
    """The same of which the Custom events were told in another term."""
    return [
        replace(record, event=replace(record.event, fields={**record.event.fields, "term": term}))
        if isinstance(record.event, Custom)
        else record
        for record in told
    ]


@pytest.mark.parametrize(("leader", "second", "shard"), [("n2", "n1", "s1"), ("n4", "n3", "s2")])
def test_a_group_that_was_restored_is_watched_on(leader: str, second: str, shard: str) -> None:
    """Also where the second leader's node starts after the first one led: a restore is one beginning, not one of each node."""
    before, after = cluster_of_groups("n1", "n3", 0), cluster_of_groups("n2", "n4", 1)
    verdict = in_groups(before, after, records(f"{second} started 1\n{second} role leader 1"))
    violation = violation_of(verdict)
    assert (violation.rule, violation.details["shard"]) == ("election-safety", shard)
    assert violation.details[SHARD_NODES] == sorted({leader, second})


def test_rules_that_were_told_enough_before_a_restore_are_not_blind_after_it() -> None:
    restored = records("".join(f"{node} started 1\n" for node in GROUPS))
    assert in_groups(cluster_of_groups("n1", "n3", 0), restored).validity is Validity.VALID
    assert in_groups(restored).validity is Validity.UNKNOWN
