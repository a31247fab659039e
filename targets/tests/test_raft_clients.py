"""One test per sentence of Raft §8 and thesis §6.4, and of what the paper leaves out: named after it, cited."""

from __future__ import annotations

import pytest

from targets.core import CancelTimer, TimerFired
from targets.machines import counter, sets
from targets.machines.counter import Add, CounterMachine
from targets.machines.fifo_queue import Dequeue, Enqueue, QueueMachine
from targets.machines.kv import KvMachine, Txn
from targets.machines.lock import Acquire, LockMachine, Release
from targets.machines.machine import Answer, Machine, MachineFailed
from targets.machines.sessions import InSession, OpenSession
from targets.machines.sets import SetMachine
from targets.raft.core import ELECTION, HEARTBEAT
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    RequestVote,
)
from targets.raft.records import Append, HardState
from targets.tests.raft_node import READ, Subject, entry, leader, write

# --- §8, clients ------------------------------------------------------------------------------------------------------


def test_a_server_that_does_not_lead_names_the_leader_it_knows() -> None:
    subject = Subject()
    assert subject.request(write(1)) in subject.replies()
    assert subject.replies()[1] == Answer("not-leader")
    subject.follow()
    subject.request(READ)
    assert subject.replies()[2] == Answer("not-leader", leader="n2")


def test_a_leader_opens_its_term_with_a_no_op() -> None:
    """§8 "each leader commit a blank no-op entry into the log at the start of its term"."""
    subject = Subject(pre_vote=False)
    subject.elect()
    assert subject.log() == [entry(1)]


def test_a_read_waits_for_heartbeats_sent_after_it_came() -> None:
    """§8 "exchange heartbeat messages with a majority of the cluster before responding to read-only requests"."""
    subject = leader()
    subject.step(TimerFired(HEARTBEAT))
    before = {to: message.sequence for to, message in subject.sent(AppendEntries)}
    request_id = subject.request(READ)
    after = {to: message.sequence for to, message in subject.sent(AppendEntries)}
    for follower in ("n2", "n3", "n4", "n5"):
        subject.hear(follower, AppendEntriesReply(1, True, before[follower], 1))
        assert not subject.replies()
    subject.hear("n2", AppendEntriesReply(1, True, after["n2"], 1))
    assert not subject.replies()
    subject.hear("n3", AppendEntriesReply(1, True, after["n3"], 1))
    assert subject.replies() == {request_id: Answer("ok")}


def test_a_rejection_proves_leadership_as_well_as_a_success() -> None:
    """Thesis §6.4: what counts is that the follower has not moved to a later term."""
    subject = leader()
    request_id = subject.request(READ)
    sequences = {to: message.sequence for to, message in subject.sent(AppendEntries)}
    subject.hear("n2", AppendEntriesReply(1, False, sequences["n2"], 0, 1, 0))
    subject.hear("n3", AppendEntriesReply(1, False, sequences["n3"], 0, 1, 0))
    assert request_id in subject.replies()


def refused_late(*bugs: str) -> tuple[Subject, int]:
    """A leader again in term 3, with a read that waits, hears n2 and n3 refuse a message that it sent as leader of term 1."""
    subject = leader(bugs=bugs)
    for _ in range(20):
        subject.step(TimerFired(HEARTBEAT))
    late = subject.sent(AppendEntries)[0][1]
    follower = Subject([HardState(3, "n1")], bugs=bugs)
    follower.hear("n2", late)
    refusal = follower.answer(AppendEntriesReply)
    subject.hear("n2", RequestVote(2, "n2", 9, 9))
    subject.elect()
    assert subject.term == refusal.term == 3
    subject.acknowledge("n2", "n3")
    assert subject.commit_index == 2
    request_id = subject.request(READ)
    subject.hear("n2", refusal)
    subject.hear("n3", refusal)
    return subject, request_id


def test_a_refusal_of_an_earlier_leaderships_message_confirms_no_read() -> None:
    """Thesis §6.4 step 3: the heartbeats that are acknowledged are those of a new round, sent in this leadership."""
    subject, request_id = refused_late()
    assert request_id not in subject.replies()
    subject.acknowledge("n2", "n3")
    assert request_id in subject.replies()


def test_the_bug_stale_append_reply_counted_takes_it_for_an_answer() -> None:
    subject, request_id = refused_late("stale-append-reply-counted")
    assert request_id in subject.replies()


def test_a_refusal_of_an_earlier_leaderships_message_is_no_sign_of_life() -> None:
    """Thesis §6.2: a leader goes on when a round of heartbeats to a majority succeeded; this one answers none of its own."""
    subject = leader()
    subject.step(TimerFired(ELECTION))  # From here on, nobody has answered.
    for follower in ("n2", "n3", "n4", "n5"):
        subject.hear(follower, AppendEntriesReply(1, False, 0))
    subject.step(TimerFired(ELECTION))
    assert subject.role == "follower"


def test_a_read_waits_until_the_leader_has_committed_an_entry_of_its_term() -> None:
    """§8, thesis §6.4 step 1: before that it does not know which entries are committed."""
    subject = Subject([HardState(1, None), Append(1, (entry(1, 5),))], pre_vote=False)
    subject.elect()
    request_id = subject.request(READ)
    subject.acknowledge("n2", "n3", match_index=1)
    subject.acknowledge("n2", "n3", match_index=1)
    assert not subject.replies()
    assert subject.commit_index == 0
    subject.acknowledge("n2", "n3", match_index=2)
    assert subject.replies() == {request_id: Answer("ok", 5)}


def test_a_read_sees_every_write_that_was_acknowledged_before_it() -> None:
    subject = leader()
    subject.request(write(7))
    subject.sync()
    subject.acknowledge("n2", "n3", "n4", "n5")
    request_id = subject.request(READ)
    subject.acknowledge("n2", "n3")
    assert subject.replies() == {request_id: Answer("ok", 7)}


def test_reads_that_come_together_share_a_round() -> None:
    """Thesis §6.4 "the leader can amortize"."""
    subject = leader()
    subject.request(READ)
    assert len(subject.sent(AppendEntries)) == 4
    others = [subject.request(READ) for _ in range(5)]
    assert not subject.sent(AppendEntries), "they wait for the next"
    subject.acknowledge("n2", "n3")
    subject.acknowledge("n2")
    subject.acknowledge("n3")
    assert sorted(subject.replies()) == others


def test_reads_through_the_log_need_no_confirmation() -> None:
    """§8: the alternative; the read is an entry like any other."""
    subject = leader(reads="log")
    request_id = subject.request(READ)
    assert subject.log()[-1].command == READ
    subject.sync()
    subject.acknowledge("n2", "n3")
    assert subject.replies() == {request_id: Answer("ok")}


def test_local_reads_are_answered_at_once_by_anyone() -> None:
    subject = Subject(reads="local")
    subject.follow([entry(1, 3), entry(1, 4)], commit=1)
    request_id = subject.request(READ)
    assert subject.replies() == {request_id: Answer("ok", 3)}


def test_reads_that_wait_when_a_leader_steps_down_fail_and_name_the_new_one() -> None:
    subject = leader()
    request_id = subject.request(READ)
    subject.follow(term=2)
    assert subject.replies() == {request_id: Answer("not-leader", leader="n2")}
    assert CancelTimer(HEARTBEAT) in subject.effects


def test_a_write_that_survives_its_leader_is_acknowledged() -> None:
    """The entry of the old term is committed by the next leader; the node that took it still knows its client."""
    subject = leader()
    request_id = subject.request(write(7))
    subject.follow([entry(2)], term=2, prev=(2, 1), commit=3)
    assert subject.replies() == {request_id: Answer("ok")}


def test_a_write_that_another_commit_rules_out_is_superseded() -> None:
    subject = leader()
    first, second = subject.request(write(7)), subject.request(write(8))
    subject.follow([entry(2)], term=2, prev=(1, 1))
    assert not subject.replies(), "overwritten here, but another leader of a later term may still hold them"
    subject.follow([], term=2, prev=(2, 2), commit=2)
    assert subject.replies() == {first: Answer("superseded"), second: Answer("superseded")}


def test_a_write_whose_fate_stays_unknown_is_answered_so() -> None:
    subject = leader()
    request_id = subject.request(write(7))
    subject.hear("n2", RequestVote(2, "n2", 9, 1))
    assert not subject.replies()
    subject.time_out()
    assert subject.replies() == {request_id: Answer("unknown")}


# --- any machine ------------------------------------------------------------------------------------------------------


def test_a_command_is_answered_with_the_result_of_the_machine_once_it_is_applied() -> None:
    subject = alone(QueueMachine)
    subject.ask(Enqueue("x", value=5))
    for expected in (Answer("ok", 5), Answer("ok")):
        request_id = subject.request(Dequeue("x"))
        assert not subject.replies(), "it is not durable"
        subject.sync()
        assert subject.replies() == {request_id: expected}


def test_what_the_machine_refuses_is_answered_as_refused() -> None:
    subject = alone(LockMachine)
    requests = [
        subject.ask(command) for command in (Acquire("x", value=1), Acquire("x", value=2), Release("x", value=1))
    ]
    assert [subject.answers[request] for request in requests] == [
        Answer("ok", 1),
        Answer("refused", reason="held"),
        Answer("ok"),
    ]


def test_a_read_of_any_machine_is_answered_without_an_entry() -> None:
    subject = alone(CounterMachine)
    subject.ask(Add("x", value=3))
    length = subject.log_length
    assert subject.answers[subject.ask(counter.Read("x"))] == Answer("ok", 3)
    assert subject.log_length == length


def test_a_transaction_of_reads_is_a_read_and_one_that_writes_is_not() -> None:
    subject = alone(KvMachine)
    length = subject.log_length
    assert subject.answers[subject.ask(Txn(value=(("r", "x", None),)))] == Answer("ok", [["r", "x", None]])
    assert subject.log_length == length
    subject.ask(Txn(value=(("r", "x", None), ("w", "x", 1))))
    assert subject.log_length == length + 1


def test_the_bug_stale_read_answers_reads_of_any_machine_on_any_node() -> None:
    subject = Subject(machine=SetMachine, bugs=["stale-read"])
    assert subject.answers[subject.request(sets.Read("x"))] == Answer("ok", [])
    assert subject.answers[subject.request(sets.Add("x", value=1))] == Answer("not-leader")


def test_the_bug_reply_before_commit_answers_with_what_the_leaders_log_would_give() -> None:
    subject = leader(machine=QueueMachine, bugs=["reply-before-commit"])
    requests = [
        subject.request(command)
        for command in (Enqueue("x", value=5), Enqueue("x", value=6), Dequeue("x"), Dequeue("x"))
    ]
    assert subject.commit_index == 1
    assert [subject.answers[request] for request in requests] == [
        Answer("ok"),
        Answer("ok"),
        Answer("ok", 5),
        Answer("ok", 6),
    ]
    # Deposed, it forgets what it promised; leading again, it begins from what is committed.
    subject.follow([entry(2)], term=2, prev=(1, 1), commit=2)
    subject.elect()
    assert subject.answers[subject.request(Dequeue("x"))] == Answer("ok")


def test_a_machine_that_raises_is_named_and_not_the_core() -> None:
    class Broken(QueueMachine):
        def apply(self, command: object) -> str | int | None:
            raise KeyError("lost")

    subject = alone(Broken)
    with pytest.raises(MachineFailed, match=r"machine 'queue' raised on Dequeue\(.*KeyError"):
        subject.ask(Dequeue("x"))


def alone(machine: type[Machine]) -> Subject:
    """The leader of a cluster of one."""
    subject = Subject(members=("n1",), machine=machine)
    subject.time_out()
    subject.sync()
    return subject


# --- what the paper leaves out ----------------------------------------------------------------------------------------


def test_a_cluster_of_one_leads_and_commits_alone() -> None:
    subject = Subject(members=("n1",))
    subject.time_out()
    assert subject.role == "leader"
    subject.sync()
    request_id = subject.request(write(1))
    assert not subject.replies(), "not before it is durable"
    subject.sync()
    assert subject.replies() == {request_id: Answer("ok")}
    request_id = subject.request(READ)
    assert subject.replies() == {request_id: Answer("ok", 1)}


def test_a_stranger_is_not_heard() -> None:
    subject = Subject()
    subject.hear("n9", RequestVote(5, "n9", 0, 0))
    assert not subject.effects
    assert subject.term == 0


def test_a_clock_set_back_costs_one_timeout() -> None:
    subject = Subject(pre_vote=False)
    subject.pass_ms(10_000)
    subject.follow()
    subject.pass_ms(-9_000)
    subject.step(TimerFired(ELECTION))
    assert subject.role == "follower"
    subject.time_out()
    assert subject.role == "candidate"


def test_a_late_sync_of_an_earlier_leadership_counts_for_nothing() -> None:
    subject = leader()
    subject.request(write(7))
    late = subject.effects
    subject.follow([entry(2)], term=2, prev=(1, 1))
    subject.elect()
    leadership = subject.core._leadership
    assert leadership is not None
    durable_index = leadership.durable_index
    subject.effects = late
    subject.sync()
    assert leadership.durable_index == durable_index


def test_a_node_without_sessions_refuses_them() -> None:
    subject = leader()
    for command in (OpenSession(), InSession(session=1, number=1, command=write(1))):
        assert (
            subject.answers[subject.request(command)].reason == "the node has no sessions: start it with sessions=true"
        )
    assert subject.core.status()["log_length"] == 1
