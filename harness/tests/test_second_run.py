"""What a broken rule of the protocol leads to, in a second run that goes on past it; and what led to it, from the traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkers.custody import entry_custody, holders
from checkers.evidence import Invariants
from checkers.evidence.invariants import Violation
from checkers.invariants import names
from checkers.invariants.registry import statement
from checkers.verdict import Validity, Verdict
from harness.environments.sim import world as worlds
from harness.environments.sim.world import InvariantViolated, World
from harness.report.explanation import explain
from harness.report.failure import Failure, failures_of
from harness.report.inspection import read_history
from harness.report.node_lives import lives
from harness.report.page import report
from harness.report.page.report import run_page
from harness.report.page.second_run import NoSecondRun, second_run
from harness.run import execute, plan
from harness.store.runs import RunDirectory, Store
from harness.tests.test_report_page import data_of
from harness.zoo import raft
from histories.history import History
from histories.tracing import Accepted, Appended, Chosen, Committed, Custom, Promised, Role, Started, TraceRecord, Voted


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that ended as a leader lacked a committed entry; clients see it only later."""
    planted = next(planted for planted in raft.PLANTED if planted.bug == "vote-for-stale-log")
    run, result = execute.run_into(Store(tmp_path_factory.mktemp("runs")), plan.prepare(planted.spec()))
    evidence = result.verdict.parts["invariants"].evidence
    assert isinstance(evidence, Invariants)
    assert evidence.violation is not None
    assert evidence.violation.rule == "leader-completeness"
    assert result.verdict.parts["linearizable"].validity is Validity.VALID
    return run


@pytest.mark.long
def test_the_page_goes_on_past_a_broken_rule_to_the_damage(broken: RunDirectory) -> None:
    data = data_of(run_page(broken))
    rule, *others = data["failures"]
    assert data["own_count"] < len(data["failures"])
    assert data["end"] > data["ended"] == max(op.time for op in read_history(broken))
    assert rule["promise"].startswith("leader-completeness: An entry committed in a term is in the log of the leader")
    assert rule["cards"][-1]["question"] == "What clients saw of it"
    assert "although" in rule["cards"][-1]["answer"]
    assert rule["moments"][-1]["tag"] == "damage"
    assert others[-1]["checker"] == "linearizable"
    assert any(card["question"] == "Where the data was lost" for card in others[-1]["cards"])
    heads = [moment["head"] for moment in rule["moments"]]
    assert any("calls entry" in head for head in heads)
    votes = [moment for moment in rule["moments"] if "vote" in moment["head"]]
    assert any("has entry" in vote["words"] for vote in votes)
    assert any("not have" in vote["words"] for vote in votes)
    assert rule["custody"]
    assert rule["held"].startswith("entry ")
    assert data["windows"]


def test_a_second_run_that_uses_too_much_or_differs_leaves_a_page_without_it(
    broken: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = broken.read_spec()
    with pytest.raises(NoSecondRun, match=r"more than 0\.05 s of processor time"), second_run(broken, spec, 0.05):
        pass

    def fails(*_: Any) -> Any:
        raise NoSecondRun("it did not begin as the first run")

    monkeypatch.setattr(report, "second_run", fails)
    data = data_of(run_page(broken))
    assert data["ended"] is None
    assert data["windows"], "the messages up to the violation are there"
    assert any("did not begin as the first run" in note for note in data["notes"])


def test_what_never_ends_after_a_violation_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "PAST_EVENTS_MAX", 100)
    world = World(1, None, None)
    world.past_violation_ns = 10**12
    world._violated(Violation("a-rule", "it is broken", 0, (), {}))
    count = 0

    def again(_: Any) -> None:
        nonlocal count
        count += 1
        world.at(world.now_ns, again, None)

    again(None)
    with pytest.raises(InvariantViolated):
        world.advance(10**12, lambda: count > 10_000)
    assert 90 < count <= 101
    assert world.is_over


# --- what led to it, from any target's traces -------------------------------------------------------------------------

MS = 1_000_000


def traced(*events: tuple[int, str, Any]) -> list[TraceRecord]:
    return [TraceRecord(time * MS, node, event) for time, node, event in events]


def story(
    rule: str, details: dict[str, Any], nodes: tuple[str, ...], records: list[TraceRecord]
) -> tuple[Failure, Any]:
    end_ns = records[-1].time
    violation = Violation(rule, "the rule's own words", end_ns, nodes, details)
    verdict = Verdict.invalid("broken", "invariants", evidence=Invariants((rule,), violation))
    (failure,) = failures_of(verdict, History(()), "", ("n1", "n2", "n3"))
    return failure, explain(failure, records, lives(records, ("n1", "n2", "n3")))


def test_two_votes_of_a_node_that_restarted_between_them_are_told() -> None:
    records = traced(
        (0, "n1", Started(1, 0)),
        (10, "n1", Voted(2, "n2")),
        (11, "n3", Voted(2, "n2")),
        (12, "n2", Role("leader", 2)),
        (20, "n1", Started(2, 0)),
        (30, "n1", Voted(2, "n3")),
        (31, "n3", Role("leader", 2)),
    )
    failure, told = story("election-safety", {"term": 2, "first_ns": 12 * MS}, ("n2", "n3"), records)
    assert failure.promise == "election-safety: At most one node leads in a term (Raft §5.2, figure 3)"
    heads = [moment.head for moment in told.moments if moment.kind == "role"]
    assert heads == [
        "n1 and n3 vote for n2 in term 2",
        "n2 is leader of term 2",
        "n1 starts again",
        "n1 votes for n3 in term 2",
        "n3 is leader of term 2",
    ]
    assert told.moments[-1].head == "election-safety is broken"


def test_what_was_accepted_in_a_slot_is_told() -> None:
    records = traced(
        (1, "n1", Promised((1, "n1"))),
        (2, "n1", Accepted(4, (1, "n1"), "a")),
        (3, "n2", Accepted(4, (1, "n1"), "a")),
        (4, "n3", Accepted(5, (1, "n1"), "other", ("another",))),
        (5, "n3", Accepted(2, (2, "n3"), "x", ("y", "b", "z"))),
        (6, "n1", Chosen(4, "a")),
        (7, "n3", Chosen(3, "y", ("b",))),
    )
    _, told = story("one-value-per-slot", {"slot": 4, "values": ["a", "b"]}, ("n1", "n3"), records)
    assert [moment.head for moment in told.moments] == [
        "n1 promises ballot 1 of n1",
        'n1 and n2 accept "a" under ballot 1 of n1',
        'n3 accepts "b" under ballot 2 of n3',
        'n1 learns that "a" is chosen',
        'n3 learns that "b" is chosen',
        "one-value-per-slot is broken",
    ]


def test_a_targets_own_events_about_what_the_rule_names_are_told() -> None:
    records = traced(
        (1, "n1", Custom("voted", {"transaction": "t1", "vote": "yes"})),
        (2, "n2", Custom("voted", {"transaction": "t2", "vote": "no"})),
        (3, "n2", Custom("decided", {"transaction": "t1", "decision": "abort"})),
        (4, "n1", Custom("decided", {"transaction": "t1", "decision": "commit"})),
    )
    failure, told = story("package.module:Mine", {"transaction": "t1"}, ("n1", "n2"), records)
    assert failure.promise == "package.module:Mine (an invariant of the protocol)"
    assert [moment.head for moment in told.moments][:-1] == [
        'n1 voted {"vote":"yes"}',
        'n2 decided {"decision":"abort"}',
        'n1 decided {"decision":"commit"}',
    ]


def test_who_held_the_entry_as_it_was_decided_and_who_lost_it_is_told() -> None:
    records = traced(
        (1, "n1", Appended(1, 1, ("x",))),
        (2, "n2", Appended(1, 1, ("x",))),
        (3, "n1", Committed(1)),
        (4, "n2", Appended(1, 2, ("y",))),
        (5, "n2", Committed(1)),
    )
    _, told = story("state-machine-safety", {"index": 1, "first": [1, "x"], "second": [2, "y"]}, ("n1", "n2"), records)
    card = told.cards[1]
    assert card.question == "How it came to that"
    assert card.answer == "0.003 s: n1 calls entry 1 decided; n1 and n2 have it then"
    assert card.detail == "n2 overwrote it at 0.004 s. As the rule breaks, n1 has it."
    assert any(moment.is_grave and moment.head == "n2 overwrites entry 1" for moment in told.moments)
    held = entry_custody(records, 1, 1)
    assert (holders(held, 3 * MS), holders(held, 5 * MS)) == (["n1", "n2"], ["n1"])


@pytest.mark.parametrize("name", names())
def test_every_rule_says_in_a_sentence_what_it_asks_for(name: str) -> None:
    assert 20 < len(statement(name)) < 300
    assert not statement(name).startswith("Watches")


def test_a_rule_that_nobody_knows_says_nothing(tmp_path: Path) -> None:
    assert statement("no-such-rule") == statement("no.such.module:Rule") == ""
