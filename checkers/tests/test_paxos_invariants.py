"""The rules about chosen values and promises, each on traces of a few lines."""

from __future__ import annotations

import pytest

from checkers.evidence import Invariants
from checkers.invariants import check_traces
from checkers.verdict import Validity, Verdict
from histories.tracing import Accepted, Chosen, Custom, Promised, Role, Shown, Started, TraceEvent, TraceRecord

ALL = (
    "one-value-per-slot",
    "one-value-per-ballot",
    "chosen-stays-chosen",
    "learned-was-chosen",
    "promises-kept",
    "elected-ballots",
)


def records(text: str) -> list[TraceRecord]:
    """Lines of `node kind fields...`, one ns apart: `n1 accepts 7 3.n2 x` holds x in slot 7 under ballot (3, n2), and with `x y` y
    in slot 8."""
    return [
        TraceRecord(time, line.split()[0], event(*line.split()[1:]))
        for time, line in enumerate(text.strip().splitlines())
    ]


def ballot(text: str) -> tuple[int, str]:
    number, _, node = text.partition(".")
    return int(number), node


def event(kind: str, *rest: str) -> TraceEvent:
    match kind:
        case "promises":
            return Promised(ballot(rest[0]), int(rest[1]) if rest[1:] else None)
        case "accepts":
            return Accepted(int(rest[0]), ballot(rest[1]), rest[2], rest[3:])
        case "learns":
            return Chosen(int(rest[0]), rest[1], rest[2:])
        case "shown":
            return Shown()
        case "started":
            return Started(1, 0)
        case "stands":
            return Role("candidate", int(rest[0]))
        case "leads":
            return Role("leader", int(rest[0]))
        case "quorums":
            return Custom("quorums", {"phase_1": int(rest[0]), "phase_2": int(rest[1])})
    raise AssertionError(kind)


def verdict(text: str, rules: tuple[str, ...] = ALL, nodes: int = 3) -> Verdict:
    return check_traces(rules, records(text), nodes)


def broken(text: str, nodes: int = 3) -> str:
    """The rule that the traces break."""
    found = verdict(text, nodes=nodes)
    assert found.validity is Validity.INVALID, found
    violation = found.evidence_of(Invariants).violation
    assert violation is not None
    return violation.rule


SOUND = """
n1 quorums 2 2
n1 promises 1.n1
n2 promises 1.n1
n1 accepts 1 1.n1 x
n1 shown
n2 accepts 1 1.n1 x
n2 shown
n1 learns 1 x
n3 promises 2.n3
n2 promises 2.n3
n2 shown
n3 accepts 1 2.n3 x
n2 accepts 1 2.n3 x
n3 learns 1 x
"""


def test_a_sound_run_is_valid() -> None:
    assert verdict(SOUND).validity is Validity.VALID


def test_traces_in_which_nothing_happens_say_nothing() -> None:
    assert verdict("n1 started").validity is Validity.UNKNOWN


def test_two_values_for_one_slot() -> None:
    """PMS §2.1."""
    assert broken(SOUND + "n2 learns 1 y") == "one-value-per-slot"


def test_two_values_under_one_ballot() -> None:
    """PMS §2.2: each proposal has a number of its own."""
    assert broken(SOUND + "n1 accepts 1 2.n3 y") == "one-value-per-ballot"


def test_another_value_above_the_chosen_one() -> None:
    """PMS §2.2, P2: before anybody learns the second one."""
    assert broken(SOUND + "n1 accepts 1 3.n2 y") == "chosen-stays-chosen"


def test_another_value_above_the_chosen_one_that_was_accepted_before_the_first_was_learned() -> None:
    text = "n1 accepts 1 1.n1 x\nn2 accepts 1 1.n1 x\nn2 shown\nn3 accepts 1 2.n3 y\nn1 learns 1 x"
    assert broken(text) == "chosen-stays-chosen"


def test_an_old_proposal_may_have_another_value() -> None:
    """An acceptor that was away may accept what a later ballot has overtaken, as long as it promised nothing."""
    text = "n1 accepts 1 3.n1 x\nn2 accepts 1 3.n1 x\nn2 shown\nn1 learns 1 x\nn3 accepts 1 2.n3 y"
    assert verdict(text).validity is not Validity.INVALID


@pytest.mark.parametrize(
    "accepted", ["n1 accepts 1 1.n1 x", "n1 accepts 1 1.n1 x\nn2 accepts 1 2.n2 x", "n1 accepts 2 1.n1 x"]
)
def test_a_value_that_no_quorum_accepted_under_one_ballot(accepted: str) -> None:
    """PMS §2.1: a process never learns that a value has been chosen unless it actually has been."""
    assert broken(f"{accepted}\nn1 shown\nn3 learns 1 x") == "learned-was-chosen"


@pytest.mark.parametrize(("quorums", "is_sound"), [("4 2", True), ("3 3", False), (None, False)])
def test_how_many_acceptors_choose_is_what_the_nodes_say_or_a_majority(quorums: str | None, is_sound: bool) -> None:
    told = "" if quorums is None else f"n1 quorums {quorums}\n"
    text = f"{told}n1 accepts 1 1.n1 x\nn2 accepts 1 1.n1 x\nn2 shown\nn1 learns 1 x"
    assert (verdict(text, nodes=5).validity is not Validity.INVALID) == is_sound


def test_traces_of_real_nodes_may_lack_their_end_and_prove_no_quorum() -> None:
    """A node that was killed has not written all of its trace: without `Shown` nobody counts acceptances."""
    assert verdict("n1 accepts 1 1.n1 x\nn2 learns 1 x\nn1 accepts 1 2.n2 y").validity is not Validity.INVALID


@pytest.mark.parametrize(
    "text",
    [
        "n1 promises 2.n1\nn1 promises 1.n2",
        "n1 promises 2.n1\nn1 accepts 1 1.n2 x",
        "n1 promises 2.n2\nn1 accepts 1 2.n1 x",
        "n1 promises 2.n1 7\nn1 accepts 7 1.n2 x",
        "n1 accepts 1 2.n1 x\nn1 accepts 1 1.n2 x",
        "n1 promises 2.n1\nn1 shown\nn1 started\nn1 promises 1.n1",
        "n1 accepts 1 2.n1 x\nn1 shown\nn1 started\nn1 promises 1.n1 1",
    ],
)
def test_a_promise_that_is_broken(text: str) -> None:
    """PMS §2.2, P1a, and §2.3."""
    assert broken(text) == "promises-kept"


@pytest.mark.parametrize(
    "text",
    [
        "n1 promises 2.n1\nn1 started\nn1 promises 1.n1",
        "n1 promises 2.n1 7\nn1 accepts 8 1.n2 x",
        "n1 promises 2.n1\nn2 promises 1.n1",
        "n1 promises 2.n1\nn1 accepts 1 2.n1 x\nn1 promises 2.n1",
    ],
)
def test_a_promise_that_is_kept(text: str) -> None:
    """What nobody had heard of may be forgotten; slots and nodes have promises of their own."""
    assert verdict(text).validity is not Validity.INVALID


ROW = """
n1 promises 1.n1
n1 accepts 1 1.n1 a b c
n2 accepts 1 1.n1 a b c
n2 shown
n1 learns 1 a b c
n3 accepts 2 2.n3 b c d
n1 accepts 4 2.n3 d
n1 shown
n3 learns 1 a b c d
"""


def test_slots_in_a_row_are_judged_one_by_one() -> None:
    assert verdict(ROW).validity is Validity.VALID


@pytest.mark.parametrize(
    ("line", "rule", "slot"),
    [
        ("n2 learns 2 b x d", "one-value-per-slot", 3),
        ("n2 accepts 2 2.n3 b c x", "one-value-per-ballot", 4),
        ("n1 accepts 1 3.n1 a b x", "chosen-stays-chosen", 3),
        ("n2 learns 3 c d e", "learned-was-chosen", 5),
        ("n1 promises 9.n1\nn1 accepts 1 8.n1 a b", "promises-kept", None),
        ("n2 accepts 1 1.n1 a", None, None),
    ],
)
def test_a_rule_that_one_slot_of_a_row_breaks(line: str, rule: str | None, slot: int | None) -> None:
    found = verdict(ROW + line)
    if rule is None:
        assert found.validity is Validity.VALID
        return
    violation = found.evidence_of(Invariants).violation
    assert violation is not None
    assert (violation.rule, violation.details["slot"]) == (rule, slot)


def test_promises_by_slot_hold_for_each_slot_of_a_row() -> None:
    assert broken("n1 promises 2.n1 8\nn1 accepts 7 1.n2 x y") == "promises-kept"


ELECTION = "n1 stands 3\nn1 promises 3.n1\nn1 shown\n"


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1 leads 3", 3),
        ("n2 promises 3.n2\nn1 leads 3", 3),
        ("n2 promises 2.n1\nn1 leads 3", 3),
        ("n2 promises 3.n1\nn1 leads 3", 5),
        ("n1 quorums 3 1\nn2 promises 3.n1\nn1 leads 3", 3),
        ("n1 stands 3", 3),
        ("n1 started\nn1 stands 2", 3),
    ],
)
def test_who_leads_without_a_quorum_or_stands_twice_under_one_ballot(text: str, nodes: int) -> None:
    """PMS §2.2, phase 2a; §2.3: different proposers choose their numbers from disjoint sets, and each remembers its highest."""
    assert broken(ELECTION + text, nodes) == "elected-ballots"


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n2 promises 3.n1\nn1 leads 3", 3),
        ("n2 promises 3.n1\nn2 started\nn2 promises 3.n1\nn1 leads 3", 3),
        ("n1 quorums 2 4\nn2 promises 3.n1\nn1 leads 3", 5),
        ("n2 stands 3\nn1 stands 4", 3),
        ("n1 started\nn1 stands 4", 3),
    ],
)
def test_who_leads_with_a_quorum_and_stands_under_a_new_ballot_is_sound(text: str, nodes: int) -> None:
    assert verdict(ELECTION + text, nodes=nodes).validity is not Validity.INVALID


def test_who_promised_is_not_judged_where_traces_may_lack_their_end() -> None:
    assert verdict("n1 stands 3\nn1 promises 3.n1\nn1 leads 3").validity is not Validity.INVALID
