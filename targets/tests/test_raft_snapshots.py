"""One test per sentence of the thesis, chapter 5, and of Raft §7 and figure 13: named after it, cited."""

from __future__ import annotations

import random
from typing import Any

import pytest

from histories.tracing import Applied, Installed, Recovered, Snapshotted
from targets.core import Persist, TimerFired
from targets.machine_registry import find
from targets.machines.fifo_queue import Enqueue
from targets.machines.machine import Answer
from targets.machines.sets import Add, SetMachine
from targets.raft import snapshots, traces
from targets.raft.core import HEARTBEAT
from targets.raft.log import Entry, Log
from targets.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    RequestVote,
)
from targets.raft.options import RaftOptions
from targets.raft.records import Append, Checkpoint, HardState, RecordsError, Truncate, replay
from targets.raft.snapshots import Incoming, Snapshot
from targets.tests.raft_node import READ, Subject, entry, leader, write
from targets.tests.test_raft_safety import run

STATE = '[["x",9]]'
DIGEST = Snapshot(9, 1, STATE).digest


def chunk(offset: int = 0, data: str = STATE, done: bool = True, **fields: Any) -> InstallSnapshot:
    """n2, leader of term 1, sends a snapshot up to entry 9 in which x is 9."""
    values: dict[str, Any] = {"term": 1, "leader_id": "n2", "last_index": 9, "last_term": 1}
    values |= {"digest": DIGEST, "sequence": 5, **fields}
    return InstallSnapshot(offset=offset, data=data, done=done, **values)


def busy_leader(count: int, **options: Any) -> Subject:
    """Leader of term 1 that committed its no-op and `count` writes of 1, 2, ... with n2, n3 and n4; n5 answered nothing."""
    subject = Subject(pre_vote=False, **options)
    subject.elect()
    subject.acknowledge("n2", "n3", "n4")
    for value in range(1, count + 1):
        subject.ask(write(value))
        subject.acknowledge("n2", "n3", "n4")
    return subject


# --- taking a snapshot --------------------------------------------------------------------------------------------------


def test_each_server_takes_snapshots_independently_of_the_committed_entries_in_its_log() -> None:
    """Raft §7: of what is applied, and never of what is not committed."""
    subject = Subject(snapshot_entries=3)
    subject.follow([entry(1), entry(1, 1), entry(1, 2), entry(1, 3)], commit=2)
    assert not subject.traced(Snapshotted)
    subject.follow(prev=(4, 1), commit=4)
    (event,) = subject.traced(Snapshotted)
    assert (event.index, event.term) == (3, 1)
    (record,) = subject.records
    assert record == Checkpoint(1, None, Snapshot(3, 1, '[["x",2]]'), (entry(1, 3),))
    assert [e.last for e in subject.traced(Applied)] == [3, 4]


def test_the_snapshot_includes_the_last_index_and_term_and_the_log_behind_it_stays() -> None:
    """Raft §7, figure 12."""
    subject = busy_leader(7, snapshot_entries=4)
    assert subject.core.status()["snapshot_index"] == 8
    record = subject.records[0]
    assert isinstance(record, Checkpoint)
    assert (record.snapshot.last_index, record.snapshot.last_term, record.term, record.voted_for) == (8, 1, 1, "n1")
    assert subject.core._log.base_index == 4, "the entries since the snapshot before stay for slow followers"


def test_it_is_durable_before_anything_later_is_said() -> None:
    """Thesis §5.1: it is written before the log is discarded. The effect order is the contract of targets.core."""
    subject = Subject(snapshot_entries=2)
    subject.follow([entry(1), entry(1, 1)], commit=2)
    persists = [effect for effect in subject.effects if isinstance(effect, Persist) and effect.is_checkpoint]
    assert len(persists) == 1
    assert subject.effects[-1] is persists[0]


def test_a_restarted_server_goes_on_from_its_snapshot() -> None:
    subject = busy_leader(9, snapshot_entries=4)
    again = Subject(subject.records, snapshot_entries=4, reads="local")
    (event,) = again.traced(Recovered)
    assert (event.snapshot_index, event.snapshot_term, event.last_index) == (8, 1, 10)
    assert again.commit_index == 8
    assert again.replies() == {}
    request_id = again.request(READ)
    assert again.replies() == {request_id: Answer("ok", 7)}
    again.follow(prev=(10, 1), commit=10)
    assert [(e.first, e.last) for e in again.traced(Applied)] == [(9, 10)], (
        "what the snapshot holds is not applied again"
    )


def test_a_snapshot_is_due_when_the_log_is_large_beside_the_state() -> None:
    """Thesis §5.1.2: so the cost of snapshots stays linear in the length of the log."""
    assert snapshots.due_index(None, 10) == 10
    assert snapshots.due_index(Snapshot(10, 1, "x" * 64), 10) == 20
    assert snapshots.due_index(Snapshot(10, 1, "x" * 64_000), 10) == 1010
    assert snapshots.due_index(Snapshot(10, 1, ""), 0) == snapshots.NEVER
    subject = Subject(snapshot_entries=10, machine=SetMachine)
    entries = tuple(Entry(1, Add(value=number)) for number in range(4000))
    written = 0
    for at in range(0, 4000, 50):
        subject.follow(entries[at : at + 50], prev=(at, 1 if at else 0), commit=at + 50)
        record = subject.records[0]
        written += len(record.snapshot.text) if isinstance(record, Checkpoint) and subject.traced(Snapshotted) else 0
    assert 0 < written < 4000 * 2 * snapshots.STATE_CHARS_PER_ENTRY


def test_snapshots_stand_at_the_same_indexes_whatever_batches_were_applied() -> None:
    """What makes the states of two nodes comparable."""
    taken = []
    for batch in (1, 7, 60):
        subject = Subject(snapshot_entries=5)
        found = []
        for at in range(0, 60, batch):
            entries = [entry(1, number) for number in range(at, min(60, at + batch))]
            subject.follow(entries, prev=(at, 1 if at else 0), commit=60)
            found += [(event.index, event.digest) for event in subject.traced(Snapshotted)]
        taken.append(found)
    assert taken[0][-1] == taken[1][-1] == taken[2][-1]
    assert set(taken[2]) <= set(taken[1]) <= set(taken[0])


def test_without_snapshots_the_log_is_kept() -> None:
    subject = busy_leader(30, snapshot_entries=0)
    assert subject.core._log.base_index == 0
    assert not any(isinstance(record, Checkpoint) for record in subject.records)


# --- InstallSnapshot: the leader ------------------------------------------------------------------------------------------


def test_the_leader_sends_snapshots_to_followers_that_lag_behind_what_it_has_discarded() -> None:
    """Raft §7: in chunks, in order."""
    subject = busy_leader(9, snapshot_entries=4, snapshot_chunk_chars=4)
    sequence = subject.core._leadership._peers["n5"].sent if subject.core._leadership else 0
    subject.hear("n5", AppendEntriesReply(1, False, sequence, 0, 1))
    text = '[["x",7]]'
    received = ""
    while len(received) < len(text):
        ((to, message),) = subject.sent(InstallSnapshot)
        assert (to, message.offset, message.last_index, message.last_term) == ("n5", len(received), 8, 1)
        received += message.data
        assert message.done == (received == text)
        if not message.done:
            subject.hear("n5", InstallSnapshotReply(1, message.sequence, 8, len(received)))
    subject.hear("n5", InstallSnapshotReply(1, message.sequence, 8, len(received), 8))
    ((to, entries),) = subject.sent(AppendEntries)
    assert (to, entries.prev_log_index, len(entries.entries)) == ("n5", 8, 2)


def test_a_chunk_that_was_lost_is_sent_again_after_a_heartbeat() -> None:
    subject = busy_leader(9, snapshot_entries=4, snapshot_chunk_chars=4)
    sequence = subject.core._leadership._peers["n5"].sent if subject.core._leadership else 0
    subject.hear("n5", AppendEntriesReply(1, False, sequence, 0, 1))
    (first,) = [message for _, message in subject.sent(InstallSnapshot)]
    subject.step(TimerFired(HEARTBEAT))
    heartbeat = dict(subject.sent(AppendEntries))["n5"]
    assert (heartbeat.prev_log_index, heartbeat.entries) == (0, ()), "it fits any log"
    subject.hear("n5", AppendEntriesReply(1, True, heartbeat.sequence, 0))
    (again,) = [message for _, message in subject.sent(InstallSnapshot)]
    assert (again.offset, again.data) == (first.offset, first.data)


def test_an_answer_about_another_snapshot_or_of_an_earlier_leadership_moves_nothing() -> None:
    subject = busy_leader(9, snapshot_entries=4, snapshot_chunk_chars=4)
    sequence = subject.core._leadership._peers["n5"].sent if subject.core._leadership else 0
    subject.hear("n5", AppendEntriesReply(1, False, sequence, 0, 1))
    (first,) = [message for _, message in subject.sent(InstallSnapshot)]
    subject.hear("n5", InstallSnapshotReply(1, 0, 8, 8, 8))
    assert not subject.effects
    subject.hear("n5", InstallSnapshotReply(1, first.sequence, 4, 8))
    (again,) = [message for _, message in subject.sent(InstallSnapshot)]
    assert again.offset == 0


# --- InstallSnapshot: the follower ----------------------------------------------------------------------------------------


def test_a_snapshot_of_an_old_term_is_refused() -> None:
    """Figure 13, rule 1; the refusal answers no message of a later leadership."""
    subject = Subject([HardState(3, None)])
    subject.hear("n2", chunk())
    assert subject.answer(InstallSnapshotReply) == InstallSnapshotReply(3, 0)


def test_a_snapshot_takes_the_place_of_log_and_state_and_is_durable_before_the_answer() -> None:
    """Figure 13, rules 5, 7 and 8."""
    subject = Subject(reads="local")
    subject.follow([entry(1, 1), entry(1, 2)], commit=1)
    subject.hear("n2", chunk())
    assert subject.kinds() == ["Persist", "InstallSnapshotReply"]
    assert subject.records == [Checkpoint(1, None, Snapshot(9, 1, STATE), ())]
    assert subject.answer(InstallSnapshotReply) == InstallSnapshotReply(1, 5, 9, len(STATE), 9)
    assert [event.index for event in subject.traced(Installed)] == [9]
    assert (subject.commit_index, subject.log_length) == (9, 9)
    request_id = subject.request(READ)
    assert subject.replies() == {request_id: Answer("ok", 9)}
    subject.follow([entry(1, 10)], prev=(9, 1), commit=10)
    assert subject.answer(AppendEntriesReply).match_index == 10


@pytest.mark.parametrize("held", [9, 12])
def test_a_log_that_holds_the_snapshots_last_entry_keeps_what_follows_it(held: int) -> None:
    """Figure 13, rule 6."""
    subject = Subject()
    subject.follow([entry(1, number) for number in range(1, held + 1)], commit=3)
    before = subject.log()
    subject.hear("n2", chunk())
    assert subject.log() == before
    assert subject.commit_index == 9, "what the snapshot stands for is committed"
    assert subject.answer(InstallSnapshotReply).match_index == 9
    assert not subject.traced(Installed)


def test_a_log_with_another_entry_there_is_discarded() -> None:
    """Figure 13, rule 7."""
    subject = Subject([HardState(1, None), Append(1, tuple(entry(1, number) for number in range(1, 13)))])
    subject.hear("n2", chunk(term=3, last_term=2, digest=DIGEST))
    assert (subject.log(), subject.log_length) == ([], 9)


def test_a_node_whose_disk_holds_terms_out_of_order_starts_all_the_same() -> None:
    """No correct node writes such a log. One with a bug may, and must not search in it for ever."""
    log = Log()
    for each in (entry(3, 1), entry(1, 2), entry(3, 3)):
        log.append([each])
    recovered = traces.recovered(log).event
    assert isinstance(recovered, Recovered)
    assert (recovered.last_index, len(recovered.tail)) == (3, 3)


def test_a_snapshot_behind_what_is_committed_changes_nothing() -> None:
    subject = Subject()
    subject.follow([entry(1, number) for number in range(1, 13)], commit=12)
    subject.hear("n2", chunk())
    assert (subject.commit_index, subject.log_length, subject.kinds()) == (12, 12, ["InstallSnapshotReply"])


def test_the_bug_snapshot_loses_suffix_drops_what_was_acknowledged() -> None:
    subject = Subject(bugs=["snapshot-loses-suffix"])
    subject.follow([entry(1, number) for number in range(1, 13)], commit=12)
    subject.hear("n2", chunk())
    assert (subject.commit_index, subject.log_length) == (9, 9)


def test_writes_that_wait_when_a_snapshot_comes_are_of_unknown_outcome() -> None:
    subject = leader()
    request_id = subject.ask(write(5))
    subject.hear("n2", RequestVote(2, "n2", 9, 9))
    subject.hear("n2", chunk(term=2, last_term=2))
    assert subject.answers[request_id] == Answer("unknown")


def test_entries_that_a_snapshot_stands_for_are_taken_as_held() -> None:
    """A late AppendEntries reaches back behind the log's beginning: all of it is committed, and the rest is stored."""
    subject = Subject()
    subject.hear("n2", chunk())
    subject.follow([entry(1, number) for number in (7, 8, 9, 10)], prev=(6, 1))
    assert subject.answer(AppendEntriesReply).match_index == 10
    assert subject.log() == [entry(1, 10)]
    subject.follow([entry(1, 3)], prev=(2, 1))
    assert subject.answer(AppendEntriesReply).match_index == 3
    assert subject.log() == [entry(1, 10)]


def test_chunks_arrive_in_any_order_twice_or_not_at_all() -> None:
    """Figure 13, rules 2 to 4: written at the given offset; here each answer says where the next must begin."""
    for seed in range(200):
        rng = random.Random(seed)
        incoming, received, whole = Incoming(), 0, None
        text = "".join(rng.choices("abcdefghij", k=rng.randint(1, 40)))
        digest = Snapshot(9, 1, text).digest
        under_way: list[InstallSnapshot] = []
        for _ in range(400):
            data = text[received : received + 4]
            under_way.append(chunk(received, data, received + 4 >= len(text), digest=digest))
            if rng.random() < 0.1:
                under_way.append(chunk(0, "z", False, last_index=5))  # Of a snapshot that was given up.
            arrived = under_way[rng.randrange(len(under_way))]
            if rng.random() < 0.5:
                under_way.remove(arrived)
            has, whole = incoming.take(arrived)
            if whole is not None:
                break
            if arrived.last_index == 9 and rng.random() < 0.8:
                received = has
        assert whole == Snapshot(9, 1, text)


def test_another_leader_begins_anew() -> None:
    subject = Subject()
    subject.hear("n2", chunk(0, STATE[:4], False))
    assert subject.answer(InstallSnapshotReply).received == 4
    subject.hear("n3", chunk(4, STATE[4:], True, term=2, leader_id="n3"))
    assert subject.answer(InstallSnapshotReply) == InstallSnapshotReply(2, 5, 9)
    assert not subject.traced(Installed)


def test_a_text_that_is_not_what_was_announced_is_dropped() -> None:
    subject = Subject()
    subject.hear("n2", chunk(0, '[["x",8]]'))
    assert not subject.traced(Installed)
    assert subject.answer(InstallSnapshotReply) == InstallSnapshotReply(1, 5, 9)


# --- records and log ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_replayed_with_what_follows_it() -> None:
    records = [
        Checkpoint(3, "n2", Snapshot(9, 2, STATE), (entry(3, 1), entry(3, 2))),
        Truncate(11),
        Append(11, (entry(4, 5),)),
        HardState(4, None),
    ]
    state, snapshot, log, identity = replay(records)
    assert identity == 0
    assert state == HardState(4, None)
    assert snapshot == Snapshot(9, 2, STATE)
    assert [log.term_at(index) for index in range(9, 12)] == [2, 3, 4]


@pytest.mark.parametrize(
    "behind",
    [Truncate(9), Append(10, (entry(3, 1),)), Append(12, (entry(3, 1),)), HardState(2, None)],
)
def test_records_that_do_not_fit_a_checkpoint_are_damage(behind: Any) -> None:
    with pytest.raises(RecordsError, match="record 1"):
        replay([Checkpoint(3, None, Snapshot(9, 2, STATE), (entry(3, 1),)), behind])


def test_a_compacted_log_agrees_with_the_whole_one() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        terms = sorted(rng.choices(range(1, 6), k=rng.randint(1, 12)))
        whole, part = Log(), Log()
        for log in (whole, part):
            log.append([Entry(term) for term in terms])
        base = rng.randint(0, len(terms))
        part.compact(base)
        part.compact(rng.randint(0, base))
        assert (part.base_index, part.last_index, part.last_term) == (base, len(terms), terms[-1])
        for index in range(base, len(terms) + 1):
            assert part.term_at(index) == whole.term_at(index)
            assert part.entries_from(index + 1, 3) == whole.entries_from(index + 1, 3)
        for term in range(7):
            assert part.first_index_of_term(term) == max(whole.first_index_of_term(term), base + 1)
            last = whole.last_index_of_term(term)
            assert part.last_index_of_term(term) == (last if last >= max(base, 1) else 0)
        if base < len(terms):
            cut = rng.randint(base + 1, len(terms))
            for log in (whole, part):
                log.truncate(cut)
            assert (part.last_index, part.last_term) == (whole.last_index, whole.last_term)


@pytest.mark.parametrize("interface", ["kv", "counter", "set", "queue", "lock"])
def test_a_snapshot_of_every_machine_restores_it(interface: str) -> None:
    machine = find(interface)
    empty = snapshots.take(machine(), 1, 1, None)
    assert snapshots.take(snapshots.restored(empty, machine), 1, 1, None) == empty


def test_a_restored_machine_goes_on_as_the_one_that_was_snapshotted() -> None:
    queue = find("queue")()
    for number in range(3):
        queue.apply(Enqueue(value=number))
    copy = snapshots.restored(snapshots.take(queue, 3, 1, None), find("queue"))
    queue.apply(Enqueue(value=9))
    assert copy.snapshot() != queue.snapshot()
    copy.apply(Enqueue(value=9))
    assert copy.snapshot() == queue.snapshot()


# --- clusters in random weather -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        RaftOptions(snapshot_entries=3, snapshot_chunk_chars=7),
        RaftOptions(snapshot_entries=20, snapshot_chunk_chars=40, reads="log"),
    ],
)
@pytest.mark.long
def test_clusters_that_take_snapshots_all_the_time_are_safe_and_converge(options: RaftOptions) -> None:
    taken = 0
    for seed in range(5):
        cluster = run(seed, options=options)
        taken += sum(
            node.core is not None and node.core.status()["snapshot_index"] > 0 for node in cluster.nodes.values()
        )
    assert taken == 25
