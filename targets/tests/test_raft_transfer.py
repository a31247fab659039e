"""Leadership is handed over (Ongaro's dissertation, section 3.10)."""

from __future__ import annotations

import pytest

from histories.tracing import Custom
from targets.core import TimerFired
from targets.raft.configuration import RemoveNode, TransferLeadership
from targets.raft.core import HEARTBEAT
from targets.raft.messages import AppendEntries, PreVote, RequestVote, RequestVoteReply, TimeoutNow
from targets.tests.raft_node import READ, Subject, entry, leader, write

TO_N2 = TransferLeadership(value="n2")


def test_a_heir_that_holds_the_whole_log_is_asked_at_once() -> None:
    subject = leader()
    number = subject.request(TO_N2)
    assert subject.sent(TimeoutNow) == [("n2", TimeoutNow(1, "n1"))]
    assert number not in subject.answers
    subject.hear("n2", RequestVote(2, "n2", 1, 1, 0, True))
    assert (subject.role, subject.answers[number].status) == ("follower", "ok")


def test_a_heir_that_lacks_entries_is_asked_when_it_has_them() -> None:
    """Step 2: the prior leader brings the target's log up to date."""
    subject = leader()
    subject.ask(write(1))
    subject.request(TO_N2)
    assert subject.sent(TimeoutNow) == []
    subject.acknowledge("n3")
    assert subject.sent(TimeoutNow) == []
    subject.acknowledge("n2")
    subject.step(TimerFired(HEARTBEAT))
    assert [to for to, _ in subject.sent(TimeoutNow)] == ["n2"]


def test_under_the_planted_bug_a_heir_that_lacks_entries_is_asked_at_once() -> None:
    subject = leader(bugs=["transfer-without-catch-up"])
    subject.ask(write(1))
    subject.request(TO_N2)
    assert [to for to, _ in subject.sent(TimeoutNow)] == ["n2"]
    (event,) = [event for event in subject.traced(Custom) if event.name == "handing-over"]
    assert event.fields["match_index"] < event.fields["last_index"]


def test_no_write_is_taken_meanwhile_and_the_leader_goes_on_when_the_heir_does_not_stand() -> None:
    subject = leader()
    number = subject.request(TO_N2)
    assert subject.answers[subject.request(write(1))].status == "not-leader"
    assert subject.answers[subject.request(RemoveNode(value="n5"))].status == "not-leader"
    for _ in range(subject.options.election_ms_max // subject.options.heartbeat_ms):
        assert number not in subject.answers
        subject.step(TimerFired(HEARTBEAT))
    assert subject.answers[number].reason == "n2 did not take over in time"
    write_number = subject.ask(write(1))
    subject.acknowledge("n2", "n3")
    assert subject.answers[write_number].status == "ok"


@pytest.mark.parametrize(
    ("node", "words"), [("n1", "n1 leads already"), ("n4", "'n4' has no vote"), ("n9", "'n9' has no vote")]
)
def test_a_transfer_that_cannot_be_is_refused(node: str, words: str) -> None:
    subject = leader(voters=3)
    assert subject.answers[subject.request(TransferLeadership(value=node))].reason == words
    subject.request(TO_N2)
    again = subject.request(TransferLeadership(value="n3"))
    assert subject.answers[again].reason == "leadership is being transferred to n2"


def test_who_is_asked_stands_at_once_and_without_a_pre_vote() -> None:
    subject = Subject()
    subject.follow([entry(1)])
    subject.hear("n2", TimeoutNow(1, "n2"))
    assert (subject.role, subject.term) == ("candidate", 2)
    assert subject.sent(PreVote) == []
    assert {message.is_transfer for _, message in subject.sent(RequestVote)} == {True}


def test_a_request_of_another_term_or_for_another_member_is_too_late() -> None:
    subject = Subject()
    subject.follow([entry(1)], term=3)
    subject.hear("n2", TimeoutNow(2, "n2"))
    subject.hear("n2", TimeoutNow(3, "n2", 77))
    assert (subject.role, subject.term) == ("follower", 3)


def test_a_vote_in_a_transfer_is_given_though_a_leader_was_just_heard_and_only_to_a_complete_log() -> None:
    """§4.2.3, §6.4.1: the leader itself asked for it."""
    subject = Subject(reads="lease")
    subject.follow([entry(1)])
    subject.hear("n3", RequestVote(2, "n3", 1, 1))
    assert not subject.answer(RequestVoteReply).vote_granted
    subject.hear("n3", RequestVote(2, "n3", 0, 0, 0, True))
    assert not subject.answer(RequestVoteReply).vote_granted
    subject.hear("n4", RequestVote(3, "n4", 1, 1, 0, True))
    assert subject.answer(RequestVoteReply).vote_granted


def test_after_the_request_no_read_rests_on_a_lease_even_when_the_leader_goes_on() -> None:
    """The request may be late: the votes that follow it do not wait for the lease to end."""
    subject = leader(reads="lease")
    subject.ask(READ)
    subject.acknowledge("n2", "n3", "n4", "n5")
    leased = subject.request(READ)
    assert subject.answers[leased].status == "ok"
    subject.request(TO_N2)
    by_round = subject.request(READ)
    assert by_round not in subject.answers
    assert subject.sent(AppendEntries)
    subject.acknowledge("n3", "n4")
    assert subject.answers[by_round].status == "ok"
