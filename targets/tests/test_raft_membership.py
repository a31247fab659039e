"""Changes of the membership, one server at a time (Ongaro's dissertation, chapter 4)."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from histories.tracing import Custom
from targets.core import Persist, Received, Send, Started, TimerFired
from targets.machines.kv import KvMachine
from targets.raft.bugs import MEMBERSHIP_TWO_AT_ONCE, WIPED_VOTER_VOTES
from targets.raft.configuration import (
    AddLearner,
    AddNode,
    Change,
    Configuration,
    RemoveNode,
    TransferLeadership,
    initial,
    lost_quorum,
)
from targets.raft.core import ELECTION, HEARTBEAT, Raft
from targets.raft.log import Entry, Log
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Join,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from targets.raft.options import RaftOptions
from targets.raft.records import Append, Checkpoint, HardState, Identity, replay
from targets.raft.snapshots import Snapshot
from targets.raft.target import RaftTarget
from targets.tests.raft_node import Subject, entry, leader, write

FOUR = {"n1": 0, "n2": 0, "n3": 0, "n4": 0}


def voters(subject: Subject) -> list[str]:
    found: list[str] = subject.core.status()["voters"]
    return found


def begin(subject: Subject, change: Change) -> int:
    """Ask for the change, and let the others answer one by one until the leader has begun it. Returns the request's number."""
    number = subject.request(change)
    confirm(subject)
    return number


def confirm(subject: Subject) -> None:
    """The others answer the leader one by one, until it has begun the changes that wait for it."""
    leadership = subject.core._leadership
    assert leadership is not None
    for follower in sorted(leadership._peers):
        if leadership.asked_changes:
            subject.acknowledge(follower)
    subject.sync()


def answered(subject: Subject, number: int) -> str:
    """How the leader answered; "" as long as it has not."""
    answer = subject.answers.get(number)
    return "" if answer is None else answer.reason or answer.status


def answer_of(subject: Subject, change: Change) -> str:
    return answered(subject, begin(subject, change))


def beat(subject: Subject, *answering: str) -> None:
    """A heartbeat, which these nodes answer: they hold the whole log."""
    subject.pass_ms(50)
    subject.step(TimerFired(HEARTBEAT))
    subject.acknowledge(*answering)


def test_a_server_uses_the_latest_configuration_in_its_log_whether_it_is_committed_or_not() -> None:
    """§4.1."""
    subject = leader()
    number = begin(subject, RemoveNode(value="n5"))
    assert voters(subject) == ["n1", "n2", "n3", "n4"]
    assert {to for to, _ in subject.sent(AppendEntries)} <= {"n2", "n3", "n4"}
    subject.acknowledge("n2")
    assert subject.commit_index == 1  # Three of four are needed.
    subject.acknowledge("n3")
    assert subject.commit_index == 2
    assert subject.answers[number].status == "ok"


def test_a_follower_goes_back_to_the_configuration_before_when_the_entry_is_cut_off() -> None:
    """§4.1: a server must be prepared to fall back to the previous configuration in its log."""
    subject = Subject()
    subject.follow([entry(1), Entry(1, None, Configuration(FOUR))])
    assert voters(subject) == ["n1", "n2", "n3", "n4"]
    subject.hear("n3", AppendEntries(2, "n3", 1, 1, (entry(2, "x"),), 0, 1))
    assert voters(subject) == ["n1", "n2", "n3", "n4", "n5"]


def test_one_change_at_a_time() -> None:
    subject = leader()
    assert answer_of(subject, RemoveNode(value="n5")) == ""
    assert (
        answer_of(subject, RemoveNode(value="n4")) == "another change of the membership, entry 2, is not committed yet"
    )
    assert voters(subject) == ["n1", "n2", "n3", "n4"]
    waits = leader()
    numbers = [waits.request(RemoveNode(value=node)) for node in ("n5", "n4")]
    assert [answered(waits, number) for number in numbers] == [
        "",
        "another change of the membership is being considered",
    ]
    broken = leader(bugs=[MEMBERSHIP_TWO_AT_ONCE])
    for node in ("n5", "n4"):
        broken.request(RemoveNode(value=node))
    confirm(broken)
    assert voters(broken) == ["n1", "n2", "n3"]


@pytest.mark.parametrize("change", [RemoveNode(value="n4"), AddLearner(value="n4")])
def test_no_vote_is_taken_away_before_those_who_are_left_have_answered_anew(change: Change) -> None:
    """n5 and n3 answered a moment ago, and lost their data since: with n4 gone too, two of four would be left."""
    subject = leader()
    number = subject.request(change)
    assert {to for to, _ in subject.sent(AppendEntries)} == {"n2", "n3", "n4", "n5"}
    subject.acknowledge("n2", "n4")
    assert (answered(subject, number), voters(subject)) == ("", ["n1", "n2", "n3", "n4", "n5"])
    while not answered(subject, number):
        beat(subject, "n2", "n4")
    assert subject.now_ns <= 2 * 300 * 1_000_000
    assert answered(subject, number) == (
        "the cluster would lose its quorum: of the voters n1, n2, n3, n5 only n1, n2 answer, and 3 are needed"
    )
    assert voters(subject) == ["n1", "n2", "n3", "n4", "n5"]
    beat(subject, "n2", "n3", "n4")
    number = subject.request(change)
    subject.acknowledge("n2", "n3")
    assert (answered(subject, number), voters(subject)) == ("", ["n1", "n2", "n3", "n5"])


def test_a_member_that_lost_its_data_is_not_counted_until_its_new_self_votes() -> None:
    """Of three, n3 is replaced by a node with an empty disk, and the leader is to remove n2 before it hears of that. It would be
    left with the member that n3 was, whose answer would be needed for everything and never come."""
    subject = leader(members=("n1", "n2", "n3"))
    number = subject.request(RemoveNode(value="n2"))
    subject.acknowledge("n2")
    assert voters(subject) == ["n1", "n2", "n3"]
    subject.hear("n3", Join("n3", 77))
    assert (voters(subject), subject.core.status()["joining"]) == (["n1", "n2"], ["n3"])
    subject.sync()
    subject.acknowledge("n2")
    # n3 is a learner now: the leader can do without n2.
    assert (answered(subject, number), voters(subject), subject.core.status()["joining"]) == ("", ["n1"], ["n3"])
    subject.sync()
    assert answered(subject, number) == "ok"


def test_a_change_that_waits_ends_with_the_leadership_and_has_no_entry() -> None:
    subject = leader()
    number = subject.request(RemoveNode(value="n5"))
    length = subject.log_length
    subject.hear("n2", AppendEntriesReply(7, False, 0))
    assert (subject.role, answered(subject, number), subject.log_length) == ("follower", "not-leader", length)


def test_a_change_that_waits_is_given_up_for_a_transfer_of_leadership() -> None:
    subject = leader()
    number = subject.request(RemoveNode(value="n5"))
    subject.request(TransferLeadership(value="n2"))
    subject.acknowledge("n3")
    assert (answered(subject, number), voters(subject)) == ("not-leader", ["n1", "n2", "n3", "n4", "n5"])


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_leader_of_two_that_removed_itself_and_crashed_stands_for_election_and_brings_its_removal_to_the_other(
    pre_vote: bool,
) -> None:
    """§4.2.2: its log is the longer one, so that the other, which needs its vote, does not get it."""
    before = leader(members=("n1", "n2"))
    begin(before, RemoveNode(value="n1"))
    assert before.commit_index == 1
    subject = Subject(before.records, members=("n1", "n2"), pre_vote=pre_vote)
    assert voters(subject) == ["n2"]
    subject.hear("n2", RequestVote(2, "n2", 1, 1))
    assert not subject.answer(RequestVoteReply).vote_granted
    subject.time_out()
    if pre_vote:
        assert [to for to, _ in subject.sent(PreVote)] == ["n2"]
        subject.hear("n2", PreVoteReply(subject.term + 1, True))
    assert [to for to, _ in subject.sent(RequestVote)] == ["n2"]
    assert subject.role == "candidate"  # It does not count itself.
    subject.hear("n2", RequestVoteReply(subject.term, True))
    assert subject.role == "leader"
    subject.sync()
    assert subject.commit_index == 0
    subject.acknowledge("n2")
    assert (subject.role, subject.commit_index) == ("follower", 3)
    subject.time_out()
    assert (subject.sent(PreVote), subject.sent(RequestVote)) == ([], [])


def test_who_never_voted_or_is_another_member_than_the_one_that_was_removed_does_not_stand() -> None:
    records = [HardState(1, None), Append(1, (entry(1), Entry(1, None, Configuration({"n2": 0, "n3": 0}))))]
    removed = Subject(records, members=("n1", "n2", "n3"))
    removed.time_out()
    assert [to for to, _ in removed.sent(PreVote)] == ["n2", "n3"]
    reborn = Subject([Identity(5), *records], members=("n1", "n2", "n3"))
    reborn.time_out()
    assert reborn.sent(PreVote) == []
    never: Entry[Any] = Entry(1, None, Configuration({"n2": 0}))
    outside = Subject([*records, Append(3, (never,))], members=("n1", "n2", "n3"))
    outside.time_out()
    assert outside.sent(PreVote) == []


def test_the_view_tells_a_member_from_a_node_that_lost_its_data_and_is_not_taken_in_yet() -> None:
    subject = leader(members=("n1", "n2", "n3"))
    follows = {"role": "follower", "term": 1, "commit_index": 1}
    statuses = {"n1": subject.core.status(), "n2": follows | {"identity": 0}, "n3": follows | {"identity": 77}}
    view = RaftTarget().membership(statuses)
    assert view is not None
    assert (view.voters, view.behind) == (("n1", "n2", "n3"), ("n3",))


def test_a_leader_changes_nothing_before_it_has_committed_an_entry_of_its_own_term() -> None:
    """Ongaro's message to raft-dev of July 10, 2015: else two leaders may each make a change that the other does not know of."""
    subject = Subject(pre_vote=False)
    subject.elect()
    words = "the leader has not committed an entry of its own term yet"
    assert answer_of(subject, RemoveNode(value="n5")) == words
    subject.acknowledge("n2", "n3")
    assert answer_of(subject, RemoveNode(value="n5")) == ""


def test_a_change_that_would_lose_the_quorum_is_refused_with_the_reason() -> None:
    subject = leader()
    for _ in range(2):  # Two windows in which n4 and n5 say nothing.
        subject.pass_ms(300)
        subject.step(TimerFired(HEARTBEAT))
        subject.acknowledge("n2", "n3")
        subject.step(TimerFired(ELECTION))
        assert subject.role == "leader"
    assert answer_of(subject, RemoveNode(value="n2")) == (
        "the cluster would lose its quorum: of the voters n1, n3, n4, n5 only n1, n3 answer, and 3 are needed"
    )
    assert voters(subject) == ["n1", "n2", "n3", "n4", "n5"]
    assert lost_quorum(Configuration({}), ["n1"]) == "the cluster would have no voter left"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (AddNode(value="n9"), "no node is called 'n9'; there are n1, n2, n3, n4, n5"),
        (AddNode(value="n2"), "n2 votes already"),
        (RemoveNode(value="n9"), "'n9' does not belong to the cluster"),
    ],
)
def test_a_change_that_changes_nothing_is_refused(change: Change, words: str) -> None:
    assert answer_of(leader(), change) == words


def test_who_does_not_lead_changes_nothing() -> None:
    subject = Subject()
    subject.follow([entry(1)])
    answer = subject.answers[subject.ask(RemoveNode(value="n5"))]
    assert (answer.status, answer.leader) == ("not-leader", "n2")


def test_a_new_server_learns_without_a_vote_and_votes_when_it_has_caught_up() -> None:
    """§4.2.1."""
    subject = leader(voters=3)
    assert voters(subject) == ["n1", "n2", "n3"]
    subject.ask(AddNode(value="n4"))
    assert subject.core.status()["joining"] == ["n4"]
    subject.acknowledge("n4")
    assert subject.commit_index == 1  # A learner's copy counts for nothing.
    subject.acknowledge("n2")
    assert subject.commit_index == 2
    subject.acknowledge("n4")
    subject.step(TimerFired(HEARTBEAT))
    assert voters(subject) == ["n1", "n2", "n3", "n4"]
    assert subject.core.status()["joining"] == []


def test_a_learner_that_lags_gets_no_vote_and_one_that_is_to_stay_so_neither() -> None:
    subject = leader(voters=3)
    subject.ask(AddNode(value="n4"))
    subject.acknowledge("n2", "n3")
    subject.step(TimerFired(HEARTBEAT))
    assert voters(subject) == ["n1", "n2", "n3"]
    stays = leader(voters=3)
    stays.ask(AddLearner(value="n4"))
    stays.acknowledge("n2", "n3", "n4")
    stays.step(TimerFired(HEARTBEAT))
    assert (voters(stays), stays.core.status()["learners"]) == (["n1", "n2", "n3"], ["n4"])


def test_a_leader_that_removes_itself_leads_until_that_is_committed_and_does_not_count_itself() -> None:
    """§4.2.2."""
    subject = leader()
    begin(subject, RemoveNode(value="n1"))
    subject.acknowledge("n2", "n3")
    assert (subject.role, subject.commit_index) == ("leader", 1)
    subject.acknowledge("n4")
    assert (subject.role, subject.commit_index) == ("follower", 2)
    subject.time_out()
    assert (subject.sent(PreVote), subject.sent(RequestVote)) == ([], [])


def test_a_removed_server_disturbs_nobody_who_hears_a_leader() -> None:
    """§4.2.3."""
    subject = Subject()
    subject.follow([entry(1), Entry(1, None, Configuration(FOUR))])
    subject.hear("n5", RequestVote(7, "n5", 9, 6))
    assert (subject.term, subject.answer(RequestVoteReply).vote_granted) == (1, False)
    subject.pass_ms(1000)
    subject.hear("n5", RequestVote(7, "n5", 9, 6))
    assert subject.answer(RequestVoteReply).vote_granted


def test_a_wiped_server_is_another_member_and_takes_nothing_that_was_meant_for_the_old_one() -> None:
    core = Raft("n1", ("n1", "n2", "n3"), RaftOptions(), frozenset(), random.Random(1), KvMachine)
    effects = core.step(0, Started((), None, True))
    (record,) = [effect.record for effect in effects if isinstance(effect, Persist)]
    assert isinstance(record, Identity)
    assert record.identity > 0
    requests: tuple[msgspec.Struct, ...] = (
        RequestVote(1, "n2", 5, 1),
        PreVote(1, "n2", 5, 1),
        AppendEntries(1, "n2", 0, 0, (), 0, 1),
    )
    for request in requests:
        assert core.step(1, Received("n2", request)) == []
    (answer,) = [
        effect.message
        for effect in core.step(2, Received("n2", AppendEntries(1, "n2", 0, 0, (), 0, 1, record.identity)))
        if isinstance(effect, Send)
    ]
    assert isinstance(answer, AppendEntriesReply)
    assert answer.success


def test_a_wiped_server_asks_to_be_taken_in_and_stands_for_no_election() -> None:
    core = Raft("n1", ("n1", "n2", "n3"), RaftOptions(), frozenset(), random.Random(1), KvMachine)
    core.step(0, Started((), None, True))
    sent = [effect for effect in core.step(10**9, TimerFired(ELECTION)) if isinstance(effect, Send)]
    assert [(effect.to, type(effect.message)) for effect in sent] == [("n2", Join), ("n3", Join)]


def test_a_leader_lets_a_learner_take_the_place_of_a_member_that_lost_its_data() -> None:
    subject = leader()
    subject.hear("n5", Join("n5", 77))
    status = subject.core.status()
    assert (status["voters"], status["joining"]) == (["n1", "n2", "n3", "n4"], ["n5"])
    subject.sync()
    late = subject.core._leadership
    assert late is not None
    subject.hear("n5", AppendEntriesReply(1, True, 1, 1))  # An answer of the one that it was.
    assert late._peers["n5"].match_index == 0
    subject.step(TimerFired(HEARTBEAT))
    assert {message.receiver for to, message in subject.sent(AppendEntries) if to == "n5"} == {77}
    subject.acknowledge("n2", "n3", "n5")
    subject.step(TimerFired(HEARTBEAT))
    assert voters(subject) == ["n1", "n2", "n3", "n4", "n5"]
    length = subject.log_length
    subject.hear("n5", Join("n5", 77))  # Late: it is a member already.
    assert subject.log_length == length


def test_the_bug_goes_on_as_the_member_that_it_was() -> None:
    core = Raft("n1", ("n1", "n2", "n3"), RaftOptions(), frozenset({WIPED_VOTER_VOTES}), random.Random(1), KvMachine)
    core.step(0, Started((), None, True))
    effects = core.step(1, Received("n2", RequestVote(1, "n2", 5, 1)))
    assert [
        e.message.vote_granted for e in effects if isinstance(e, Send) and isinstance(e.message, RequestVoteReply)
    ] == [True]


def test_configurations_and_identities_survive_restarts_and_snapshots() -> None:
    config = Configuration(FOUR)
    records = [HardState(1, None), Checkpoint(1, None, Snapshot(9, 1, "[]", config), (entry(1, 1),), 5)]
    recovered = replay(records)
    assert (recovered.log.config, recovered.log.config_index, recovered.identity) == (config, 9, 5)
    log = Log()
    log.append([entry(1), Entry(1, None, config), entry(1, 2)])
    assert [log.config_at(index) for index in (0, 1, 2, 3)] == [None, None, config, config]
    log.compact(3)
    assert (log.config, log.config_at(3)) == (config, config)
    log.truncate(4)
    assert log.config == config


def test_the_first_nodes_by_number_vote_at_first() -> None:
    assert list(initial(["n10", "n9", "n2", "n1"], 3).voters) == ["n1", "n2", "n9"]
    with pytest.raises(ValueError, match="voters is 4, and there are 3 nodes"):
        RaftTarget().core("n1", ("n1", "n2", "n3"), RaftOptions(voters=4), frozenset(), random.Random(1), "kv")


def test_what_a_node_traces_of_the_membership() -> None:
    subject = leader()
    subject.request(RemoveNode(value="n5"))
    subject.acknowledge("n2", "n3")
    (event,) = subject.traced(Custom)
    assert (event.name, event.fields["index"], event.fields["voters"]) == ("configured", 2, ["n1", "n2", "n3", "n4"])


def test_a_node_that_joins_gets_the_writes_that_came_before_it() -> None:
    subject = leader(voters=3, snapshot_entries=0)
    for value in range(3):
        subject.ask(write(value))
    subject.acknowledge("n2", "n3")
    subject.ask(AddNode(value="n4"))
    assert [message.prev_log_index for to, message in subject.sent(AppendEntries) if to == "n4"] in ([4], [5], [])
    subject.step(TimerFired(HEARTBEAT))
    sequence = subject.core._leadership._peers["n4"].sent  # type: ignore[union-attr]
    subject.hear("n4", AppendEntriesReply(1, False, sequence, 0, 1, 0))
    (message,) = [message for to, message in subject.sent(AppendEntries) if to == "n4"]
    assert (message.prev_log_index, len(message.entries)) == (0, 5)
