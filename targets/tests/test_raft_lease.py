"""Leases: reads without a round of messages, and what they rest on (thesis §6.4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from targets.core import TimerFired
from targets.raft.core import ELECTION, HEARTBEAT
from targets.raft.lease import Lease
from targets.raft.messages import AppendEntries, PreVote, PreVoteReply, RequestVote, RequestVoteReply
from targets.raft.options import RaftOptions
from targets.raft.target import TARGET
from targets.tests.raft_node import READ, Subject, entry, leader

LEASED: dict[str, Any] = {"reads": "lease", "lease_drift": 2.0}
"""A lease of 75 ms: half of the least election time-out."""


def test_a_read_under_a_lease_is_answered_at_once_and_without_a_message() -> None:
    subject = leader(**LEASED)
    subject.pass_ms(74)
    request_id = subject.request(READ)
    assert subject.answers[request_id].status == "ok"
    assert subject.sent(AppendEntries) == []


def test_when_the_lease_has_run_out_a_majority_is_asked() -> None:
    subject = leader(**LEASED)
    subject.pass_ms(75)
    request_id = subject.request(READ)
    assert request_id not in subject.answers
    assert len(subject.sent(AppendEntries)) == 4
    subject.acknowledge("n2", "n3")
    assert subject.answers[request_id].status == "ok"
    again = subject.request(READ)
    assert again in subject.answers, "the round has renewed the lease"


def test_a_lease_counts_from_when_the_message_was_sent() -> None:
    subject = leader(**LEASED)
    subject.pass_ms(200)
    subject.step(TimerFired(HEARTBEAT))
    subject.pass_ms(60)
    subject.acknowledge("n2", "n3")
    subject.pass_ms(15)
    assert subject.request(READ) not in subject.answers


def test_a_minority_gives_no_lease() -> None:
    subject = leader(**LEASED)
    subject.pass_ms(200)
    subject.step(TimerFired(HEARTBEAT))
    subject.acknowledge("n2")
    assert subject.request(READ) not in subject.answers


def test_a_new_leader_answers_nothing_before_an_entry_of_its_term_is_committed() -> None:
    subject = Subject(pre_vote=False, **LEASED)
    subject.elect()
    subject.acknowledge("n2", "n3", match_index=0)
    assert subject.request(READ) not in subject.answers
    subject.acknowledge("n2", "n3")
    assert subject.answers[1].status == "ok"


def test_the_bug_allows_for_no_drift() -> None:
    subject = leader(bugs=["lease-without-drift-bound"], **LEASED)
    subject.pass_ms(149)
    assert subject.request(READ) in subject.answers
    subject.pass_ms(1)
    assert subject.request(READ) not in subject.answers


@pytest.mark.parametrize("reads", ["lease", "read-index"])
def test_who_has_heard_a_leader_votes_for_nobody_for_the_least_time_out(reads: str) -> None:
    subject = Subject(reads=reads)
    subject.pass_ms(1000)
    subject.follow([entry(1)])
    subject.pass_ms(149)
    subject.hear("n3", RequestVote(5, "n3", 1, 1))
    assert subject.answer(RequestVoteReply).vote_granted is (reads == "read-index")
    if reads == "lease":
        assert subject.term == 1, "it is as if nobody had asked"
        subject.hear("n3", PreVote(5, "n3", 1, 1))
        assert not subject.answer(PreVoteReply).vote_granted
        subject.pass_ms(1)
        subject.hear("n3", RequestVote(5, "n3", 1, 1))
        assert subject.answer(RequestVoteReply).vote_granted


def test_who_has_just_started_may_have_heard_a_leader_before() -> None:
    subject = Subject(**LEASED)
    subject.pass_ms(149)
    subject.hear("n3", RequestVote(5, "n3", 0, 0))
    assert not subject.answer(RequestVoteReply).vote_granted
    subject.pass_ms(1)
    subject.hear("n3", RequestVote(5, "n3", 0, 0))
    assert subject.answer(RequestVoteReply).vote_granted


def test_nobody_stands_for_election_while_a_leader_may_count_on_its_silence() -> None:
    subject = Subject(pre_vote=False, **LEASED)
    subject.pass_ms(1000)
    subject.follow([entry(1)])
    subject.pass_ms(149)
    subject.step(TimerFired(ELECTION))
    assert subject.role == "follower"


def test_a_clock_that_was_set_back_ends_a_lease_and_no_promise() -> None:
    lease = Lease(100)
    lease.now_ns = 1000
    lease.sent(1)
    lease.answered(1)
    held = [lease.is_held]
    lease.now_ns = 999
    held.append(lease.is_held)
    assert held == [True, False]
    subject = Subject(**LEASED)
    subject.pass_ms(1000)
    subject.follow([entry(1)])
    subject.pass_ms(-500)
    subject.hear("n3", RequestVote(5, "n3", 1, 1))
    assert not subject.answer(RequestVoteReply).vote_granted


def test_the_fault_model_has_clocks_that_drift_within_the_bound_and_never_jump() -> None:
    assert "clock" in TARGET.fault_model_under(RaftOptions()).survives
    bounded = TARGET.fault_model_under(RaftOptions(reads="lease")).survives
    assert "clock/drift" in bounded
    assert "clock" not in bounded
    assert not {"clock", "clock/drift"} & TARGET.fault_model_under(RaftOptions(reads="lease", lease_drift=1.5)).survives


@pytest.mark.parametrize("drift", [0.5, 1000.0])
def test_a_bound_that_is_none_is_refused(drift: float) -> None:
    with pytest.raises(ValueError, match="lease_drift"):
        RaftOptions(lease_drift=drift)
