"""One test per sentence of Raft §5.1 and §5.2 and of the thesis on elections: named after it, cited."""

from __future__ import annotations

import pytest

from histories.tracing import Applied
from targets.core import Persist, SetTimer, TimerFired
from targets.machines.machine import Answer
from targets.raft.core import ELECTION, HEARTBEAT
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from targets.raft.records import Append, HardState
from targets.tests.raft_node import MS, READ, Subject, entry, leader

# --- figure 2, rules for servers, and §5.1 ----------------------------------------------------------------------------


def test_servers_start_up_as_followers() -> None:
    """§5.2."""
    subject = Subject()
    assert (subject.role, subject.term) == ("follower", 0)
    assert [e.name for e in subject.effects if isinstance(e, SetTimer)] == [ELECTION]


@pytest.mark.parametrize(
    "message",
    [
        RequestVote(7, "n2", 9, 6),
        RequestVote(7, "n2", 0, 0),
        RequestVoteReply(7, False),
        AppendEntries(7, "n2", 0, 0, (), 0, 1),
        AppendEntriesReply(7, False, 1),
        PreVoteReply(7, False),
    ],
)
def test_a_larger_term_in_request_or_response_is_taken_and_makes_a_follower(message: object) -> None:
    """Figure 2, all servers; §5.1 "If a candidate or leader discovers that its term is out of date"."""
    subject = leader()
    subject.hear("n2", message)  # type: ignore[arg-type]
    assert (subject.role, subject.term) == ("follower", 7)
    states = [record for record in subject.records if isinstance(record, HardState)]
    assert states[-1].term == 7


def test_a_request_with_a_stale_term_is_rejected() -> None:
    """§5.1: and the answer tells the newer term."""
    subject = Subject([HardState(5, None)])
    subject.hear("n2", RequestVote(4, "n2", 9, 4))
    assert subject.answer(RequestVoteReply) == RequestVoteReply(5, False)
    subject.hear("n2", AppendEntries(4, "n2", 0, 0, (entry(4, 1),), 1, 3))
    assert subject.answer(AppendEntriesReply) == AppendEntriesReply(5, False, 0)
    assert subject.log_length == 0


def test_committed_entries_are_applied_in_log_order() -> None:
    """Figure 2, all servers: "If commitIndex > lastApplied"."""
    subject = Subject()
    subject.follow([entry(1, 10), entry(1, 20), entry(1, 30)], commit=2)
    assert [(event.first, event.last) for event in subject.traced(Applied)] == [(1, 2)]
    subject.follow([], prev=(3, 1), commit=3)
    assert [(event.first, event.last) for event in subject.traced(Applied)] == [(3, 3)]


def test_term_vote_and_log_are_updated_on_stable_storage_before_responding() -> None:
    """Figure 2, state."""
    subject = Subject()
    subject.hear("n2", RequestVote(3, "n2", 0, 0))
    assert subject.kinds() == ["Persist", "RequestVoteReply"]
    assert subject.records == [HardState(3, "n2")]
    subject.hear("n3", AppendEntries(4, "n3", 0, 0, (entry(4, 1),), 0, 1))
    assert subject.kinds() == ["Persist", "Persist", "AppendEntriesReply"]
    assert subject.records[1:] == [HardState(4, None), Append(1, (entry(4, 1),))]


def test_a_restarted_server_has_its_term_vote_and_log() -> None:
    """Figure 2, persistent state."""
    subject = Subject()
    subject.hear("n2", RequestVote(3, "n2", 0, 0))
    subject.follow([entry(2, 1), entry(2, 2), entry(3, 3)], term=3)
    subject.follow([entry(4, 9)], term=4, prev=(1, 2))
    again = Subject(subject.records)
    assert again.term == 4
    assert again.log() == [entry(2, 1), entry(4, 9)]
    assert again.role == "follower"


# --- §5.2, leader election --------------------------------------------------------------------------------------------


def test_a_follower_that_hears_nothing_for_an_election_timeout_begins_an_election() -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    assert (subject.role, subject.term) == ("candidate", 1)
    assert [to for to, _ in subject.sent(RequestVote)] == ["n2", "n3", "n4", "n5"]


def test_a_server_remains_follower_as_long_as_it_receives_valid_rpcs() -> None:
    """§5.2: and then waits for what is left of its time-out."""
    subject = Subject(pre_vote=False)
    for _ in range(20):
        subject.pass_ms(50)
        subject.follow(term=1)
        subject.step(TimerFired(ELECTION))
        assert subject.role == "follower"
        (timer,) = [e for e in subject.effects if isinstance(e, SetTimer)]
        assert 150 * MS <= timer.delay_ns <= 300 * MS


def test_to_begin_an_election_it_increments_its_term_votes_for_itself_and_asks_all() -> None:
    """Figure 2, candidates; the vote for itself is durable before anyone is asked."""
    subject = Subject([HardState(4, "n3"), Append(1, (entry(2, 1),))], pre_vote=False)
    subject.time_out()
    assert subject.kinds() == ["Persist", "RequestVote", "RequestVote", "RequestVote", "RequestVote"]
    assert subject.records[-1] == HardState(5, "n1")
    assert subject.sent(RequestVote)[0] == ("n2", RequestVote(5, "n1", 1, 2))


def test_a_candidate_wins_with_votes_from_a_majority_for_the_same_term() -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    subject.hear("n2", RequestVoteReply(1, True))
    assert subject.role == "candidate"
    subject.hear("n3", RequestVoteReply(1, True))
    assert subject.role == "leader"


def test_a_vote_that_arrives_twice_counts_once() -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    for _ in range(3):
        subject.hear("n2", RequestVoteReply(1, True))
    assert subject.role == "candidate"


def test_a_vote_of_an_earlier_term_does_not_count() -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    subject.time_out()
    assert subject.term == 2
    for voter in ("n2", "n3", "n4"):
        subject.hear(voter, RequestVoteReply(1, True))
    assert subject.role == "candidate"


def test_each_server_votes_for_at_most_one_candidate_in_a_term_first_come_first_served() -> None:
    subject = Subject()
    subject.hear("n2", RequestVote(1, "n2", 0, 0))
    assert subject.answer(RequestVoteReply).vote_granted
    subject.hear("n3", RequestVote(1, "n3", 5, 1))
    assert not subject.answer(RequestVoteReply).vote_granted
    subject.hear("n2", RequestVote(1, "n2", 0, 0))
    assert subject.answer(RequestVoteReply).vote_granted, "a repeated request gets the same answer"


def test_a_restarted_server_does_not_vote_again_in_its_term() -> None:
    subject = Subject()
    subject.hear("n2", RequestVote(1, "n2", 0, 0))
    again = Subject(subject.records)
    again.hear("n3", RequestVote(1, "n3", 0, 0))
    assert not again.answer(RequestVoteReply).vote_granted


def test_a_new_leader_sends_to_all_at_once_and_goes_on_with_heartbeats() -> None:
    """§5.2 "It then sends heartbeat messages to all of the other servers"."""
    subject = Subject(pre_vote=False)
    subject.time_out()
    subject.hear("n2", RequestVoteReply(1, True))
    subject.hear("n3", RequestVoteReply(1, True))
    assert [to for to, _ in subject.sent(AppendEntries)] == ["n2", "n3", "n4", "n5"]
    assert SetTimer(HEARTBEAT, 50 * MS) in subject.effects
    subject.step(TimerFired(HEARTBEAT))
    assert [(to, message.entries) for to, message in subject.sent(AppendEntries)] == [
        (to, ()) for to in ("n2", "n3", "n4", "n5")
    ]
    assert SetTimer(HEARTBEAT, 50 * MS) in subject.effects


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_that_hears_a_leader_of_its_term_or_a_later_one_becomes_a_follower(term: int) -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    subject.follow(term=term)
    assert (subject.role, subject.term, subject.core.status()["leader"]) == ("follower", term, "n2")


def test_a_candidate_that_hears_a_leader_of_an_earlier_term_remains_candidate() -> None:
    subject = Subject([HardState(4, None)], pre_vote=False)
    subject.time_out()
    subject.follow(term=4)
    assert (subject.role, subject.term) == ("candidate", 5)


def test_without_a_majority_a_candidate_times_out_and_begins_a_new_election() -> None:
    subject = Subject(pre_vote=False)
    subject.time_out()
    subject.hear("n2", RequestVoteReply(1, True))
    subject.time_out()
    assert (subject.role, subject.term) == ("candidate", 2)


def test_election_timeouts_are_chosen_randomly_from_a_fixed_interval() -> None:
    """And anew at the start of an election."""
    subject = Subject(pre_vote=False)
    delays = []
    for _ in range(100):
        subject.time_out()
        delays += [e.delay_ns for e in subject.effects if isinstance(e, SetTimer)]
    assert min(delays) >= 150 * MS
    assert max(delays) <= 300 * MS
    assert len(set(delays)) > 90


def test_granting_a_vote_puts_off_the_voters_own_election() -> None:
    """Figure 2, followers: "without receiving AppendEntries RPC from current leader or granting vote to candidate"."""
    subject = Subject(pre_vote=False)
    subject.pass_ms(140)
    subject.hear("n2", RequestVote(1, "n2", 0, 0))
    subject.pass_ms(140)
    subject.step(TimerFired(ELECTION))
    assert subject.role == "follower"


# --- thesis §6.2, check quorum, and §9.6, pre-vote --------------------------------------------------------------------


def test_a_leader_steps_down_when_an_election_timeout_passes_without_heartbeats_to_a_majority() -> None:
    """Thesis §6.2: so that its clients try another."""
    subject = leader()
    subject.time_out()
    assert subject.role == "leader", "it heard from all since it was elected"
    subject.acknowledge("n2")
    subject.time_out()
    assert (subject.role, subject.term) == ("follower", 1)
    subject.request(READ)
    assert subject.replies()[1] == Answer("not-leader")


def test_a_leader_that_hears_from_a_majority_goes_on() -> None:
    subject = leader()
    for _ in range(5):
        subject.acknowledge("n2", "n5")
        subject.time_out()
        assert subject.role == "leader"


def test_a_pre_candidate_does_not_increment_its_term() -> None:
    """Thesis §9.6 "would first ask other servers whether its log is sufficiently up-to-date to get their vote"."""
    subject = Subject([HardState(3, None), Append(1, (entry(2, 1),))])
    subject.time_out()
    assert (subject.role, subject.term) == ("pre-candidate", 3)
    assert subject.sent(PreVote)[0] == ("n2", PreVote(4, "n1", 1, 2))
    assert not any(isinstance(effect, Persist) for effect in subject.effects)
    subject.hear("n2", PreVoteReply(4, True))
    subject.hear("n3", PreVoteReply(4, True))
    assert (subject.role, subject.term) == ("candidate", 4)


def test_a_pre_vote_changes_nothing_at_the_voter() -> None:
    subject = Subject([HardState(3, "n5")])
    before = subject.core.status()
    subject.hear("n2", PreVote(9, "n2", 0, 0))
    assert subject.answer(PreVoteReply) == PreVoteReply(9, True)
    assert subject.core.status() == before
    assert subject.kinds() == ["PreVoteReply"]


@pytest.mark.parametrize(
    ("quiet_ms", "request_", "granted"),
    [
        (149, PreVote(2, "n3", 5, 1), False),
        (150, PreVote(2, "n3", 5, 1), True),
        (-1, PreVote(2, "n3", 5, 1), True),
        (500, PreVote(2, "n3", 0, 0), False),
        (500, PreVote(0, "n3", 5, 1), False),
    ],
)
def test_a_pre_vote_is_denied_to_old_logs_old_terms_and_while_a_leader_is_heard(
    quiet_ms: int, request_: PreVote, granted: bool
) -> None:
    """Thesis §9.6 and §4.2.3; a clock that was set back is no reason to deny."""
    subject = Subject()
    subject.pass_ms(1000)
    subject.follow([entry(1, 1)])
    subject.pass_ms(quiet_ms)
    subject.hear("n3", request_)
    assert subject.answer(PreVoteReply) == PreVoteReply(request_.term if granted else 1, granted)


def test_a_leader_denies_pre_votes() -> None:
    subject = leader()
    subject.pass_ms(1000)
    subject.hear("n2", PreVote(2, "n2", 9, 1))
    assert not subject.answer(PreVoteReply).vote_granted
