"""Changes of the membership, one server at a time (Ongaro's dissertation, chapter 4)."""

from __future__ import annotations

import random

import msgspec
import pytest

from histories.tracing import Custom
from targets.core import Persist, Received, Send, Started, TimerFired
from targets.machines.kv import KvMachine
from targets.raft.bugs import MEMBERSHIP_TWO_AT_ONCE, WIPED_VOTER_VOTES
from targets.raft.configuration import AddLearner, AddNode, Change, Configuration, RemoveNode, initial, lost_quorum
from targets.raft.core import ELECTION, HEARTBEAT, Raft
from targets.raft.log import Entry, Log
from targets.raft.messages import AppendEntries, AppendEntriesReply, Join, PreVote, RequestVote, RequestVoteReply
from targets.raft.options import RaftOptions
from targets.raft.records import Checkpoint, HardState, Identity, replay
from targets.raft.snapshots import Snapshot
from targets.raft.target import RaftTarget
from targets.tests.raft_node import Subject, entry, leader, write

FOUR = {"n1": 0, "n2": 0, "n3": 0, "n4": 0}


def voters(subject: Subject) -> list[str]:
    found: list[str] = subject.core.status()["voters"]
    return found


def answer_of(subject: Subject, change: Change) -> str:
    """How the leader answered; "" as long as it has not."""
    number = subject.ask(change)
    answer = subject.answers.get(number)
    return "" if answer is None else answer.reason or answer.status


def test_a_server_uses_the_latest_configuration_in_its_log_whether_it_is_committed_or_not() -> None:
    """§4.1."""
    subject = leader()
    number = subject.ask(RemoveNode(value="n5"))
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
    broken = leader(bugs=[MEMBERSHIP_TWO_AT_ONCE])
    assert answer_of(broken, RemoveNode(value="n5")) == ""
    assert answer_of(broken, RemoveNode(value="n4")) == ""
    assert voters(broken) == ["n1", "n2", "n3"]


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
    subject.ask(RemoveNode(value="n1"))
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
