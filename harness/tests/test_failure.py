"""One Failure for every kind of evidence, and its story: the ops that show it, every fault between them, nothing unbounded."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from checkers.evidence import (
    CheckerCrash,
    Edge,
    EndedNode,
    EndedNodes,
    Evidence,
    Finding,
    Findings,
    Invariants,
    LastAnswer,
    Linearizability,
    Liveness,
    NodeState,
    OpNote,
    Recovery,
    Table,
    Undecided,
    Vacuity,
    Violation,
)
from checkers.linearizability import linearizable
from checkers.models.registry import find
from checkers.verdict import Validity, Verdict, merge
from harness.report.explanation import explain
from harness.report.failure import FAULTS_MAX, Failure, failures
from harness.report.node_lives import lives
from harness.report.story import around, story
from harness.spec import RunSpec
from harness.store.runs import Result
from histories.faults import Begun, Ended, FaultResult, Lift, Onset
from histories.history import History
from histories.op import NEMESIS, Op, OpType, Process
from histories.tracing import Appended, Crashed, Recovered, Role, Served, Started, TraceEvent, TraceRecord

S = 1_000_000_000
MS = 1_000_000
SPEC = RunSpec(nodes=("n1", "n2", "n3"))


def numbered(*events: tuple[int, OpType, Process, str, Any, Any, str | None]) -> History:
    """Events (time, type, process, f, value, error, node) on key 5, in order of time."""
    events = tuple(sorted(events, key=lambda event: event[0]))
    return History(
        Op(i, time, type, process, f, 5 if process != NEMESIS else None, value, error, node)
        for i, (time, type, process, f, value, error, node) in enumerate(events)
    )


def done(start_ns: int, process: int, f: str, value: Any, node: str, *, result: Any = None) -> list[Any]:
    return [
        (start_ns, "invoke", process, f, value, None, node),
        (start_ns + 5 * MS, "ok", process, f, value if result is None else result, None, node),
    ]


def refused(start_ns: int, process: int) -> list[Any]:
    return [
        (start_ns, "invoke", process, "read", None, None, "n1"),
        (start_ns + MS, "fail", process, "read", None, ["not-sent", "connection refused"], "n1"),
    ]


def kill(number: int, from_ns: int, to_ns: int | None, node: str = "n1") -> list[Any]:
    begun = Begun(f"kill-{number}", "kill", {node: Onset(from_ns, from_ns + MS)})
    events: list[Any] = [
        (from_ns, "invoke", NEMESIS, "kill", [node], None, None),
        (from_ns + MS, "info", NEMESIS, "kill", FaultResult("installed", begins=(begun,)), None, None),
    ]
    if to_ns is not None:
        ended = Ended(f"kill-{number}", {node: Lift(to_ns, to_ns + MS)})
        events += [
            (to_ns, "invoke", NEMESIS, "start", [node], None, None),
            (to_ns + MS, "info", NEMESIS, "start", FaultResult("installed", ends=(ended,)), None, None),
        ]
    return events


LOST = numbered(
    *done(500 * MS, 1, "write", 7, "n1"),
    *done(800 * MS, 1, "write", 9, "n1"),
    *kill(1, 3 * S, 6 * S),
    *(event for i in range(40) for event in refused(7 * S + i * 10 * MS, 10 + i)),
    *kill(2, 18 * S, None, "n2"),
    *done(20 * S, 2, "read", None, "n3", result=7),
)
"""An acknowledged write at 0.8 s, a read at 20 s that sees the one before it, a kill and forty refused reads between them."""


def result_of(name: str, verdict: Verdict) -> Result:
    return Result(
        merge({name: verdict, "vacuity": Verdict.valid()}), claim="linearizable", target_claims="linearizable"
    )


def explained(history: History) -> tuple[Failure, list[str]]:
    verdict = linearizable(history, find("cas-register"))
    (failure,) = failures(result_of("linearizable", verdict), history, SPEC)
    return failure, story(failure, history, 12)


def test_a_lost_write_is_told_with_the_kill_between_it_and_the_read() -> None:
    failure, lines = explained(LOST)
    assert failure.promise == "linearizable (raft claims it)"
    assert failure.time_ns == 20 * S + 5 * MS
    assert [(op.f, "failed" in op.roles, "core" in op.roles, "would fit" in op.roles) for op in failure.ops] == [
        ("write", False, False, True),
        ("write", False, True, False),
        ("read", True, True, False),
    ]
    assert [(fault.title, fault.is_in_force) for fault in failure.faults] == [("kill n1", False), ("kill n2", True)]
    text = "\n".join(lines)
    order = ["write 9 ok", "kill n1 begins", "kill n1 is over", "kill n2 begins", "read -> 7"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "40 other ops: 40 fail" in text
    assert '40 ops refused until 7.391000 s: 40 [["not-sent","connection refused"]]' in text
    assert "in force at the failure: kill n2" in text
    assert text.count("connection refused") == 1


def test_the_order_that_cannot_be_changed_is_told_without_what_follows_from_it() -> None:
    history = numbered(
        *done(1 * S, 1, "write", 1, "n1"),
        *done(2 * S, 1, "cas", [1, 2], "n1"),
        *done(3 * S, 2, "read", None, "n2", result=1),
    )
    failure, lines = explained(history)
    invokes = [op.invoke for op in failure.ops]
    assert [(edge.before, edge.after) for edge in failure.edges] == list(itertools.pairwise(invokes))
    assert "it was answered 995.000 ms before" in "\n".join(lines)


def test_of_many_faults_those_in_force_and_the_latest_are_told() -> None:
    kills = [event for i in range(FAULTS_MAX + 10) for event in kill(i, S + i * 20 * MS, S + i * 20 * MS + 5 * MS)]
    lasting = kill(99, S + MS, None, "n3")
    history = numbered(
        *done(500 * MS, 1, "write", 7, "n1"),
        *done(800 * MS, 1, "write", 9, "n1"),
        *lasting,
        *kills,
        *done(20 * S, 2, "read", None, "n3", result=7),
    )
    failure, lines = explained(history)
    assert len(failure.faults) == FAULTS_MAX
    assert failure.faults_left_out == 11
    assert "kill n3" in {fault.title for fault in failure.faults if fault.is_in_force}
    assert any("11 earlier faults are left out" in row for row in lines)
    (row,) = [row for row in story(replace(failure, faults_left_out=1), history, 12) if "left out" in row]
    assert row.strip() == ".. 1 earlier fault is left out"


def test_the_story_fits_80_columns_and_is_bounded_and_harmless() -> None:
    huge = "\x1b[31m" + "x" * 1_000_000
    history = numbered(
        *done(1 * S, 1, "write", huge, "n1"), *kill(1, 2 * S, 3 * S), *done(4 * S, 2, "read", None, "n2", result="y")
    )
    _, lines = explained(history)
    assert len("\n".join(lines)) < 5_000
    assert not any("\x1b" in row for row in lines)
    _, plain = explained(LOST)
    assert [row for row in plain if len(row) > 100] == []


def found(evidence: Evidence | None, validity: Validity = Validity.INVALID) -> tuple[list[Failure], str]:
    verdict = Verdict(validity, "mine", "what the verdict says", evidence)
    told = failures(result_of("mine", verdict), LOST, SPEC)
    assert msgspec.json.encode(told)
    return told, "\n".join(row for failure in told for row in story(failure, LOST, 12))


KINDS: list[tuple[Evidence | None, str]] = [
    (None, "what the verdict says"),
    (Invariants(("r",), Violation("r", "two led", 4 * S, ("n1", "n2"), {"term": 3})), "term: 3"),
    (EndedNodes((EndedNode("n2", "crashed", "Traceback: n2 cannot count", time_ns=4 * S),)), "n2 cannot count"),
    (Liveness(S, (NodeState("n1", "running", {"term": 7}),), LastAnswer("fail", "n1", "no-leader")), '{"term":7}'),
    (Recovery(("n1 stayed silent",), (), {"n1": 40}), "of the last ops without an answer"),
    (Vacuity(("0 ops succeeded",)), "0 ops succeeded"),
    (CheckerCrash("Traceback: by zero"), "by zero"),
    (Linearizability("m", undecided=(Undecided("k", "too wide", 3, "Traceback: thirteen"),)), "thirteen"),
    (Findings(()), "what the verdict says"),
    (Findings((Finding("odd", tables=(Table(("node", "seen"), (("n1", [1, 2]),), "the nodes"),)),)), "[1,2]"),
]


@pytest.mark.parametrize(("evidence", "words"), KINDS, ids=[type(kind[0]).__name__ for kind in KINDS])
def test_every_kind_of_evidence_is_told(evidence: Evidence | None, words: str) -> None:
    told, text = found(evidence)
    assert told
    assert words in text


def test_a_violation_is_told_with_the_faults_in_force_when_it_showed() -> None:
    _, text = found(Invariants(("r",), Violation("r", "two led", 4 * S, ("n1", "n2"), {})))
    assert "kill n1 begins" in text
    assert "kill n2" not in text


def test_a_users_finding_shows_its_ops_edges_and_the_circle_they_make() -> None:
    write, read = LOST[0], LOST[len(LOST) - 1]
    finding = Finding(
        "a read before its write",
        key=5,
        ops=(OpNote(read.index, "too old"), OpNote(10**9, "no such op")),
        edges=(Edge(write.index, read.index, "real time"), Edge(read.index, write.index, "it read what was before")),
    )
    (failure,), text = found(Findings((finding,)))
    assert [op.f for op in failure.ops] == ["write", "read"]
    assert sorted(failure.cycle) == sorted(op.invoke for op in failure.ops)
    assert "too old" in text
    assert "it read what was before" in text
    assert "in a circle:" in text
    assert "kill n1 begins" in text


def test_violations_come_first_and_what_is_valid_is_not_told() -> None:
    parts = {"a": Verdict.unknown("vacuous"), "b": Verdict.invalid("lost"), "c": Verdict.valid()}
    told = failures(Result(merge(parts), claim="eventual", target_claims="linearizable"), LOST, SPEC)
    assert [(failure.checker, failure.validity) for failure in told] == [
        ("b", Validity.INVALID),
        ("a", Validity.UNKNOWN),
    ]
    assert told[0].promise == "eventual (--consistency asks for it)"


def test_a_story_with_traces_tells_where_the_data_was_lost_and_which_role_answered() -> None:
    failure, _ = explained(LOST)
    _, write, read = failure.ops
    command = {"f": "write", "value": 9}
    events: list[tuple[int, str, TraceEvent]] = [
        (1 * MS, "n1", Started(1, 0)),
        (2 * MS, "n1", Role("leader", 1)),
        (801 * MS, "n1", Appended(1, 1, (command,))),
        (802 * MS, "n1", Served(write.invoke, 1)),
        (3 * S, "n1", Crashed(1)),
        (6 * S, "n1", Started(2, 0)),
        (6 * S, "n1", Recovered(0)),
        (7 * S, "n3", Role("follower", 1)),
        (20 * S + MS, "n3", Served(read.invoke, 0)),
    ]
    traces = [TraceRecord(*event) for event in events]
    its_lives = lives(traces, SPEC.nodes)
    told = explain(failure, traces, its_lives)
    assert told.headline == "A read of key 5 returned 7, although write 9 had been acknowledged 19.2 s earlier."
    assert told.is_lost
    _, cause, faults = told.cards
    assert cause.answer == "3.000 s: n1, the only node that had it, crashed without it on disk"
    assert faults.question == "Which fault did it"
    assert "took it from n1" in faults.detail
    assert [moment.tag for moment in told.moments if moment.tag] == ["data lost", "wrong"]
    text = "\n".join(story(failure, LOST, 12, told, its_lives))
    assert "(n1, leader) write 9 ok" in text
    assert "(n3, follower) read -> 7" in text
    assert "<> n1 crashes, and its disk does not return write 9 (data lost)" in text
    assert text.index("!! kill n1 begins") < text.index("<> n1 crashes")
    assert all(len(row) <= 80 for row in text.partition("the last ops")[0].splitlines()), text


def test_without_traces_the_cause_is_said_not_to_be_seen() -> None:
    failure, _ = explained(LOST)
    told = explain(failure, [], {})
    assert not told.is_lost
    assert [card.answer for card in told.cards if card.question == "Where the data was lost"] == [
        "Not seen in the traces"
    ]


def test_without_traces_every_fault_since_the_acknowledgement_is_named_the_latest_last() -> None:
    """Programs leave no traces: which of them took the data nobody knows."""
    failure, _ = explained(LOST)
    told = explain(failure, [], {})
    (card,) = [card for card in told.cards if card.question == "Faults since the acknowledgement"]
    assert card.answer == "kill n1; kill n2"
    assert card.detail == (
        "kill n1: 3.000 s to 6.001 s, after the acknowledgement. "
        "kill n2: 18.000 s to the end, in force when the failure showed."
    )
    assert [moment.head for moment in told.moments if moment.kind == "fault"] == ["kill n1", "kill n2"]


def test_of_many_faults_since_the_acknowledgement_the_latest_are_named_and_the_others_counted() -> None:
    kills = [event for i in range(9) for event in kill(i, (i + 1) * S, (i + 1) * S + 5 * MS, f"n{i % 3 + 1}")]
    history = numbered(
        *done(500 * MS, 1, "write", 7, "n1"),
        *done(800 * MS, 1, "write", 9, "n1"),
        *kills,
        *done(20 * S, 2, "read", None, "n3", result=7),
    )
    failure, _ = explained(history)
    told = explain(failure, [], {})
    (card,) = [card for card in told.cards if card.question == "Faults since the acknowledgement"]
    assert card.answer == "kill n1; kill n2; kill n3"
    assert card.detail.startswith("kill n3: 6.000 s to ")
    assert "kill n3: 9.000 s to " in card.detail
    assert card.detail.endswith(" And 5 more.")
    begun = [moment.time_ns for moment in told.moments if moment.kind == "fault"]
    assert begun == [6 * S, 7 * S, 8 * S, 9 * S]


@pytest.mark.parametrize(
    ("count", "said"), [(1, ".. 1 other op: fail, on the key"), (2, ".. 2 other ops: 2 fail, 2 of them on the key")]
)
def test_the_ops_between_are_counted_in_words_that_fit_the_number(count: int, said: str) -> None:
    history = numbered(
        *done(500 * MS, 1, "write", 7, "n1"),
        *done(800 * MS, 1, "write", 9, "n1"),
        *(event for number in range(count) for event in refused(7 * S + number * 10 * MS, 10 + number)),
        *done(20 * S, 2, "read", None, "n3", result=7),
    )
    _, lines = explained(history)
    assert said in [row.strip() for row in lines]


def test_what_happened_around_a_time_is_bounded_and_refused_runs_are_one_line() -> None:
    rows = around(LOST, 7 * S + 200 * MS, 300 * MS, "5", 50)
    assert any("40 ops refused until" in row for row in rows)
    assert around(LOST, 4 * S, MS, None, 50)[1].strip().startswith("3.000000  !! kill n1, until 6.001")
    assert around(LOST, 4 * S, MS, None, 50)[-1] == "  no operation was open then"
    assert len(around(LOST, 10 * S, 20 * S, None, 2)) <= 6
