"""One test per sentence of Raft §5.3 and §5.4: named after it, cited."""

from __future__ import annotations

from random import Random

import pytest

from histories.tracing import Truncated
from targets.core import DiskFailed, Halt, Persist, Started, TimerFired
from targets.machines.kv import KvMachine
from targets.machines.machine import Answer
from targets.raft.core import HEARTBEAT, Raft
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    RequestVote,
    RequestVoteReply,
)
from targets.raft.options import RaftOptions
from targets.raft.records import Append, HardState, Truncate
from targets.tests.raft_node import Subject, entry, leader, write

# --- §5.3, log replication --------------------------------------------------------------------------------------------


def test_the_leader_appends_the_command_and_sends_it_to_all_while_it_writes_it() -> None:
    """§5.3; thesis §10.2.1: to disk in parallel with the followers."""
    subject = leader()
    subject.request(write(7))
    assert subject.kinds() == ["AppendEntries"] * 4 + ["Persist"]
    assert subject.sent(AppendEntries)[0][1].entries == (entry(1, 7),)


def test_the_leader_answers_when_a_majority_holds_the_entry_and_it_is_applied() -> None:
    subject = leader()
    request_id = subject.request(write(7))
    subject.sync()
    subject.acknowledge("n2")
    assert not subject.replies()
    subject.acknowledge("n3")
    assert subject.replies() == {request_id: Answer("ok")}
    assert subject.commit_index == 2


def test_the_leaders_own_copy_counts_when_it_is_durable() -> None:
    """Thesis §10.2.1."""
    subject = leader()
    request_id = subject.request(write(7))
    persist = subject.effects
    subject.acknowledge("n2", "n3")
    assert not subject.replies()
    subject.effects = persist
    subject.sync()
    assert subject.replies() == {request_id: Answer("ok")}


def test_a_majority_of_followers_commits_before_the_leaders_disk() -> None:
    """Thesis §10.2.1: "the leader may even commit an entry before it has been written to its own disk"."""
    subject = leader()
    request_id = subject.request(write(7))
    subject.acknowledge("n2", "n3", "n4")
    assert subject.replies() == {request_id: Answer("ok")}


def test_an_answer_that_arrives_twice_counts_once() -> None:
    subject = leader()
    subject.request(write(7))
    subject.sync()
    for _ in range(3):
        subject.acknowledge("n2")
    assert subject.commit_index == 1


def test_the_leader_retries_appendentries_until_followers_store_the_entries() -> None:
    """§5.3 "the leader retries AppendEntries RPCs indefinitely": the answer to a heartbeat brings them again."""
    subject = leader()
    subject.request(write(7))
    subject.step(TimerFired(HEARTBEAT))
    heartbeat = dict(subject.sent(AppendEntries))["n5"]
    assert (heartbeat.prev_log_index, heartbeat.entries) == (1, ())
    subject.hear("n5", AppendEntriesReply(1, True, heartbeat.sequence, 1))
    assert subject.answer(AppendEntries).entries == (entry(1, 7),)


def test_entries_that_come_while_a_follower_is_busy_go_together() -> None:
    subject = leader(entries_per_message_max=3)
    for value in range(1, 6):
        subject.request(write(value))
    subject.acknowledge("n2", match_index=2)
    assert subject.answer(AppendEntries).entries == tuple(entry(1, value) for value in (2, 3, 4))


def test_followers_learn_the_commit_index_from_the_leader() -> None:
    """§5.3 "it includes that index in future AppendEntries RPCs (including heartbeats)"."""
    subject = leader()
    subject.step(TimerFired(HEARTBEAT))
    assert {message.leader_commit for _, message in subject.sent(AppendEntries)} == {1}


def test_a_follower_refuses_entries_when_it_has_none_at_prev_log_index() -> None:
    """Figure 2, AppendEntries 2; the conflict is just behind its log."""
    subject = Subject()
    subject.follow([entry(1, 1)], prev=(0, 0))
    subject.follow([entry(1, 5)], prev=(4, 1))
    assert subject.answer(AppendEntriesReply) == AppendEntriesReply(1, False, 1, 0, 2, 0)
    assert subject.log() == [entry(1, 1)]


def test_a_follower_refuses_entries_when_the_term_at_prev_log_index_differs() -> None:
    """Figure 2, AppendEntries 2; §5.3: it answers the conflicting term and the first index of that term."""
    subject = Subject()
    subject.follow([entry(1, 1), entry(2, 2), entry(2, 3)], term=2)
    subject.follow([entry(4, 4)], term=4, prev=(3, 3))
    assert subject.answer(AppendEntriesReply) == AppendEntriesReply(4, False, 1, 0, 2, 2)
    assert subject.log_length == 3


def test_an_entry_that_conflicts_is_deleted_with_all_that_follow_it() -> None:
    """Figure 2, AppendEntries 3."""
    subject = Subject()
    subject.follow([entry(1, 1), entry(1, 2), entry(1, 3)])
    subject.follow([entry(2, 9)], term=2, prev=(1, 1))
    assert subject.log() == [entry(1, 1), entry(2, 9)]
    assert subject.records[-2:] == [Truncate(2), Append(2, (entry(2, 9),))]
    assert subject.traced(Truncated) == [Truncated(2)]


def test_entries_that_are_there_already_are_not_appended_again_and_nothing_behind_them_is_lost() -> None:
    """Figure 2, AppendEntries 4 "not already in the log"; a late message may hold a prefix of what is there."""
    subject = Subject()
    entries = [entry(1, 1), entry(1, 2), entry(1, 3)]
    subject.follow(entries)
    subject.follow(entries[:2])
    assert subject.log() == entries
    assert subject.answer(AppendEntriesReply).match_index == 2
    assert not any(isinstance(effect, Persist) for effect in subject.effects)


def test_the_commit_index_of_a_follower_stops_at_the_last_new_entry() -> None:
    """Figure 2, AppendEntries 5: behind it the log is not known to be the leader's."""
    subject = Subject()
    subject.follow([entry(1, 1), entry(1, 2), entry(1, 3)])
    subject.follow([entry(1, 2)], term=2, prev=(1, 1), commit=3)
    assert subject.commit_index == 2
    subject.follow([], term=2, prev=(1, 1), commit=3)
    assert subject.commit_index == 2


def test_after_a_rejection_the_leader_goes_back_to_the_conflicting_term() -> None:
    """§5.3 "With this information, the leader can decrement nextIndex to bypass all of the conflicting entries"."""
    history = Append(1, (entry(1, 1), entry(2, 2), entry(2, 3), entry(4, 4)))
    subject = Subject([HardState(4, None), history], pre_vote=False)
    subject.elect()
    sequence = subject.core._leadership._peers["n2"].sent  # type: ignore[union-attr]
    subject.hear("n2", AppendEntriesReply(5, False, sequence, 0, 2, 2))
    assert subject.answer(AppendEntries).prev_log_index == 3, "the leader's last entry of term 2"
    sequence = subject.answer(AppendEntries).sequence
    subject.hear("n2", AppendEntriesReply(5, False, sequence, 0, 3, 3))
    assert subject.answer(AppendEntries).prev_log_index == 2, "it has no entry of term 3"


def test_an_old_rejection_does_not_send_the_leader_back() -> None:
    subject = leader()
    subject.request(write(7))
    old = subject.sent(AppendEntries)[0][1].sequence
    subject.acknowledge("n2")
    subject.hear("n2", AppendEntriesReply(1, False, old, 0, 1, 0))
    assert subject.core._leadership._peers["n2"].next_index == 3  # type: ignore[union-attr]


# --- §5.4, safety -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_log_index", "last_log_term", "granted"),
    [(2, 2, True), (3, 2, True), (1, 3, True), (1, 2, False), (9, 1, False)],
)
def test_a_voter_denies_its_vote_when_its_own_log_is_more_up_to_date(
    last_log_index: int, last_log_term: int, granted: bool
) -> None:
    """§5.4.1: the later last term, or the longer log."""
    subject = Subject([HardState(3, None), Append(1, (entry(1, 1), entry(2, 2)))])
    subject.hear("n2", RequestVote(4, "n2", last_log_index, last_log_term))
    assert subject.answer(RequestVoteReply) == RequestVoteReply(4, granted)


def test_only_entries_of_the_leaders_term_are_committed_by_counting_replicas() -> None:
    """§5.4.2, figure 8: the entry of the earlier term waits for one of this term, and comes with it."""
    subject = Subject([HardState(2, None), Append(1, (entry(1, 1), entry(2, 2)))], pre_vote=False)
    subject.elect()
    subject.acknowledge("n2", "n3", "n4", match_index=2)
    assert subject.commit_index == 0
    subject.acknowledge("n2", "n3", match_index=3)
    assert subject.commit_index == 3


def test_a_voter_that_lost_its_disk_does_not_vote_again() -> None:
    """Outside the fault model: a damaged disk, or records that cannot be in this order, end the node."""
    for started in (
        Started((HardState(3, "n2"),), damage="checksum of record 2"),
        Started((HardState(3, None), HardState(2, None))),
        Started((Append(2, (entry(1, 1),)),)),
        Started((Append(1, ()),)),
        Started((Truncate(1),)),
    ):
        core = Raft("n1", ("n1", "n2"), RaftOptions(), frozenset(), Random(1), KvMachine)
        (effect,) = core.step(0, started)
        assert isinstance(effect, Halt)
        assert "disk" in effect.reason


def test_a_node_whose_disk_fails_stops() -> None:
    subject = Subject()
    assert subject.step(DiskFailed("no space")) == [Halt("the disk failed: no space")]


# --- pipelines (thesis §10.2.1) -----------------------------------------------------------------------------------------


def entries_to(subject: Subject, node: str) -> list[tuple[int, int]]:
    """(prev_log_index, number of entries) of what the last step sent to this node."""
    return [(message.prev_log_index, len(message.entries)) for to, message in subject.sent(AppendEntries) if to == node]


def test_a_pipeline_sends_ahead_of_the_answers_up_to_its_length() -> None:
    subject = leader(pipeline_messages_max=3)
    for number in range(3):
        subject.ask(write(number))
    assert subject.core._leadership is not None
    assert len(subject.core._leadership._peers["n2"].window) == 3
    subject.request(write(9))
    assert entries_to(subject, "n2") == []
    subject.sync()
    first = subject.core._leadership._peers["n2"].window[0]
    subject.hear("n2", AppendEntriesReply(1, True, first, 2))
    assert entries_to(subject, "n2") == [(4, 1)]


def test_without_a_pipeline_entries_wait_and_go_together() -> None:
    subject = leader()
    for number in range(3):
        subject.ask(write(number))
    subject.acknowledge("n2", match_index=2)
    assert entries_to(subject, "n2") == [(2, 2)]


def test_a_hole_in_a_pipeline_is_filled_from_where_the_follower_is_and_old_rejections_are_no_news() -> None:
    subject = leader(pipeline_messages_max=4)
    for number in range(3):
        subject.ask(write(number))
    assert subject.core._leadership is not None
    window = list(subject.core._leadership._peers["n2"].window)
    subject.hear("n2", AppendEntriesReply(1, False, window[1], 0, 2, 0))  # The first was lost: its log ends at 1.
    assert entries_to(subject, "n2") == [(1, 3)]
    subject.hear("n2", AppendEntriesReply(1, False, window[2], 0, 2, 0))
    assert entries_to(subject, "n2") == []
    subject.acknowledge("n2", "n3")
    assert subject.commit_index == 4


def test_a_lost_pipeline_is_found_by_the_next_heartbeat() -> None:
    subject = leader(pipeline_messages_max=2)
    subject.ask(write(1))
    subject.ask(write(2))
    subject.step(TimerFired(HEARTBEAT))
    assert subject.core._leadership is not None
    subject.hear("n2", AppendEntriesReply(1, False, subject.core._leadership._peers["n2"].sent, 0, 2, 0))
    assert entries_to(subject, "n2") == [(1, 2)]
