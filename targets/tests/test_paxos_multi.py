"""Multi-Paxos, one test for each rule of Lamport, "Paxos Made Simple" (2001, "PMS"), §3, and for what a deployment adds to it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from histories.tracing import Accepted as AcceptedEvent
from histories.tracing import Chosen as ChosenEvent
from histories.tracing import Role, Snapshotted
from targets.core import Persist, Received, Send, TimerFired
from targets.machines.kv import KvMachine, Read, Write
from targets.machines.machine import Answer
from targets.paxos.multi.core import MultiPaxos
from targets.paxos.multi.entries import Entry, Held
from targets.paxos.multi.messages import Accept, AcceptReply, Learn, Learned, Poll, PollReply, Prepare, Promise
from targets.paxos.multi.options import MultiOptions
from targets.paxos.multi.proposer import Candidacy
from targets.paxos.multi.records import Accepted, Checkpoint, Drawn
from targets.paxos.multi.snapshots import Incoming, Snapshot
from targets.paxos.multi.target import BUGS, TARGET
from targets.tests.paxos_stage import Letter, Stage, among

THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")


def stage(nodes: tuple[str, ...] = THREE, *bugs: str, **options: Any) -> Stage:
    return Stage(
        nodes,
        lambda node: MultiPaxos(node, nodes, MultiOptions(**options), frozenset(bugs), random.Random(node), KvMachine),
    )


def core(cluster: Stage, node: str) -> MultiPaxos:
    found = cluster.cores[node]
    assert isinstance(found, MultiPaxos)
    return found


def fall_silent(cluster: Stage, *nodes: str) -> None:
    """These nodes have heard no leader for the least time."""
    for node in nodes:
        cluster.fire(node, "silence")


def elect(cluster: Stage, node: str, *silent: str, without: str = "") -> None:
    """`node` stands, once it and those of `silent` have heard nobody; all letters are delivered, but those of `without`."""
    fall_silent(cluster, node, *silent)
    cluster.fire(node, "silence")
    cluster.deliver(lambda letter: without not in letter[:2])
    cluster.lose()
    assert core(cluster, node).status()["role"] == "leader"


def led(nodes: tuple[str, ...] = THREE, *bugs: str, **options: Any) -> Stage:
    """A cluster that n1 leads."""
    cluster = stage(nodes, *bugs, **options)
    elect(cluster, "n1", *nodes[1:])
    return cluster


def write(cluster: Stage, value: int, node: str = "n1") -> int:
    return cluster.ask(node, Write(key="x", value=value))


def beat(cluster: Stage, node: str = "n1") -> None:
    cluster.fire(node, "heartbeat")
    cluster.deliver()


def value(cluster: Stage, node: str) -> Any:
    return core(cluster, node).learner.machine.query(Read(key="x"))


# --- a stable leader --------------------------------------------------------------------------------------------------


def test_a_command_is_chosen_carried_out_and_answered() -> None:
    """PMS §3: the leader chooses the slot, phase 2 alone decides it."""
    cluster = led()
    cluster.letters.clear()
    asked = write(cluster, 7)
    kinds = {type(message) for _, _, message in cluster.letters}
    assert kinds == {Accept}
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok")
    beat(cluster)
    assert [value(cluster, node) for node in THREE] == [7, 7, 7]


def test_phase_1_is_done_once_for_all_slots() -> None:
    """PMS §3: "a newly chosen leader executes phase 1 for infinitely many instances"."""
    cluster = led()
    for number in range(20):
        write(cluster, number)
        cluster.deliver()
    drawn = [record for record in cluster.disks["n1"] if type(record).__name__ == "Drawn"]
    assert len(drawn) == 1


def test_nobody_stands_against_a_leader_that_others_hear() -> None:
    """A node that heard nobody asks first, and draws no ballot while a quorum hears a leader."""
    cluster = led()
    fall_silent(cluster, "n3")
    cluster.fire("n3", "silence")
    cluster.deliver()
    assert core(cluster, "n3").status()["role"] == "follower"
    assert core(cluster, "n1").status()["role"] == "leader"
    assert not [record for record in cluster.disks["n3"] if type(record).__name__ == "Drawn"]


def test_a_leader_that_a_quorum_leaves_unanswered_steps_down() -> None:
    cluster = led()
    cluster.fire("n1", "check")
    cluster.crash("n2", "n3")
    beat(cluster)
    cluster.fire("n1", "check")
    asked = write(cluster, 1)
    assert cluster.replies[asked] == Answer("not-leader")


def test_a_follower_names_the_leader() -> None:
    cluster = led()
    asked = write(cluster, 1, "n2")
    assert cluster.replies[asked] == Answer("not-leader", leader="n1")


def test_candidates_that_duel_leave_one_leader() -> None:
    cluster = stage()
    fall_silent(cluster, *THREE)
    for node in THREE:
        cluster.fire(node, "silence")
    cluster.deliver()
    for _ in range(20):
        if any(core(cluster, node).status()["role"] == "leader" for node in THREE):
            break
        delay, node = min((cluster.timers[node]["silence"], node) for node in THREE)
        assert delay
        cluster.fire(node, "silence")
        cluster.deliver()
    leaders = [event for _, event in cluster.told(Role) if event.role == "leader"]
    assert leaders
    assert [core(cluster, node).status()["role"] for node in THREE].count("leader") == 1


# --- what a new leader does -------------------------------------------------------------------------------------------


def held(slot: int, round: int, node: str, value: int) -> Held[Any]:
    return Held(slot, (round, node), Entry((round, node), Write(key="x", value=value)))


def test_a_new_leader_proposes_the_value_of_the_highest_ballot_and_fills_gaps_with_no_ops() -> None:
    """PMS §3: slots 1 and 3 are reported, 2 is a gap that no quorum can have decided."""
    candidacy = Candidacy((9, "n1"), 1)
    candidacy.promises = {
        "n1": Promise((9, "n1"), True, (9, "n1"), 0, (held(1, 5, "n2", 15), held(3, 1, "n3", 31))),
        "n2": Promise((9, "n1"), True, (9, "n1"), 0, (held(1, 4, "n3", 14),)),
    }
    values = candidacy.values({}, frozenset())
    assert [entry.command and entry.command.value for entry in values] == [15, None, 31]
    assert values[1] == Entry((9, "n1"))
    assert candidacy.values({2: Entry((1, "n3"))}, frozenset())[1] == Entry((1, "n3"))


def test_what_is_known_to_be_chosen_wins_over_every_ballot() -> None:
    candidacy = Candidacy((9, "n1"), 1)
    chosen = Held(1, (2, "n3"), Entry((2, "n3"), Write(key="x", value=2)), True)
    candidacy.promises = {
        "n1": Promise((9, "n1"), True, (9, "n1"), 0, (held(1, 5, "n2", 5),)),
        "n2": Promise((9, "n1"), True, (9, "n1"), 0, (chosen,)),
    }
    assert candidacy.values({}, frozenset()) == [chosen.entry]


def test_gaps_are_filled_and_the_commands_behind_them_carried_out() -> None:
    """The first of three Accepts is lost everywhere, the other two reach n2: then the leader is gone."""
    cluster = led()
    beat(cluster)
    first = core(cluster, "n1").learner.chosen_index + 1
    for number in range(3):
        write(cluster, number)
    cluster.lose(lambda letter: isinstance(letter[2], Accept) and letter[2].slot == first)
    cluster.deliver(lambda letter: letter[1] == "n2" and isinstance(letter[2], Accept))
    cluster.lose()
    cluster.crash("n1")
    elect(cluster, "n2", "n3")
    told = dict(pair for _, event in cluster.told(ChosenEvent) for pair in event.slots())
    assert told[first] is None
    assert [told[first + number].value for number in (1, 2)] == [1, 2]
    assert value(cluster, "n2") == 2


def test_what_was_chosen_is_chosen_again_by_every_later_leader() -> None:
    """PMS §2.2, P2: the answer was given; then everyone who knew is gone."""
    cluster = led(FIVE)
    asked = write(cluster, 7)
    cluster.deliver(among("n1", "n4", "n5"))
    assert cluster.replies[asked] == Answer("ok")
    cluster.lose()
    cluster.crash("n1", "n4")
    elect(cluster, "n2", "n3", "n5")
    assert value(cluster, "n2") == 7


def test_a_command_whose_slot_went_to_another_is_certainly_not_done() -> None:
    cluster = led()
    beat(cluster)
    asked = write(cluster, 1)
    cluster.lose()
    elect(cluster, "n2", "n3", without="n1")
    other = write(cluster, 2, "n2")
    cluster.deliver()
    beat(cluster, "n2")
    beat(cluster, "n2")
    assert cluster.replies[asked] == Answer("superseded")
    assert cluster.replies[other] == Answer("ok")
    assert value(cluster, "n1") == 2


def test_equal_commands_of_two_clients_are_told_apart() -> None:
    """n1's command was lost; n2 proposes an equal one in the same slot. Only n2's client was served."""
    cluster = led()
    beat(cluster)
    asked = write(cluster, 5)
    cluster.lose()
    elect(cluster, "n2", "n3", without="n1")
    write(cluster, 5, "n2")
    cluster.deliver()
    beat(cluster, "n2")
    beat(cluster, "n2")
    assert cluster.replies[asked] == Answer("superseded")


# --- acceptors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        Prepare((9, "n2"), "n2", 1),
        Accept((9, "n2"), "n2", 1, (Entry((9, "n2")),), 0, 1),
        Accept((9, "n2"), "n2", 0, (), 0, 1),
    ],
)
def test_an_acceptor_writes_before_it_answers(question: Any) -> None:
    """PMS §2.3; a heartbeat of a new ballot is a promise as well."""
    cluster = stage()
    effects = cluster.step("n1", Received("n2", question))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Send)


def test_a_promise_holds_for_every_slot_and_through_crashes() -> None:
    cluster = stage()
    cluster.hand_over(("n2", "n1", Prepare((5, "n2"), "n2", 1)))
    cluster.restart("n1")
    cluster.letters.clear()
    for slot in (1, 100):
        cluster.hand_over(("n3", "n1", Accept((4, "n3"), "n3", slot, (Entry((4, "n3")),), 0, 7)))
    cluster.hand_over(("n3", "n1", Prepare((4, "n3"), "n3", 1)))
    assert [message.granted for _, _, message in cluster.letters] == [False, False, False]  # type: ignore[attr-defined]
    assert not [record for record in cluster.disks["n1"] if isinstance(record, Accepted)]


def test_what_was_accepted_is_told_after_a_crash() -> None:
    cluster = stage()
    entry: Entry[Any] = Entry((4, "n3"), Write(key="x", value=1))
    cluster.hand_over(("n3", "n1", Accept((4, "n3"), "n3", 6, (entry,), 0, 7)))
    cluster.restart("n1")
    cluster.letters.clear()
    cluster.hand_over(("n2", "n1", Prepare((5, "n2"), "n2", 3)))
    assert cluster.letters[0][2] == Promise((5, "n2"), True, (5, "n2"), 0, (Held(6, (4, "n3"), entry),))


def test_a_message_that_came_twice_is_written_once() -> None:
    cluster = stage()
    message: Accept[Any] = Accept((4, "n3"), "n3", 1, (Entry((4, "n3")), Entry((4, "n3"))), 0, 7)
    for _ in range(2):
        cluster.hand_over(("n3", "n1", message))
    assert len([record for record in cluster.disks["n1"] if isinstance(record, Accepted)]) == 1
    assert [message for _, _, message in cluster.letters] == [AcceptReply((4, "n3"), True, (4, "n3"), 7, 1, 2)] * 2


def test_an_entry_under_an_older_ballot_is_not_taken_for_what_the_leader_chose() -> None:
    """n3 holds what lost in slot 2; the leader's index alone does not tell that this is chosen. It asks."""
    cluster = stage()
    cluster.hand_over(("n1", "n3", Accept((1, "n1"), "n1", 1, (Entry((1, "n1"), Write(key="x", value=1)),), 0, 1)))
    cluster.letters.clear()
    cluster.hand_over(("n2", "n3", Accept((2, "n2"), "n2", 0, (), 1, 1)))
    assert not cluster.told(ChosenEvent)
    assert Learn("n3", 1) in [message for _, _, message in cluster.letters]


# --- learners ---------------------------------------------------------------------------------------------------------


def test_commands_are_carried_out_in_order_whatever_order_they_are_chosen_in() -> None:
    cluster = led()
    first = write(cluster, 1)
    second = write(cluster, 2)
    slots = sorted({letter[2].slot for letter in cluster.letters if isinstance(letter[2], Accept) and letter[2].slot})
    cluster.deliver(lambda letter: not (isinstance(letter[2], Accept) and letter[2].slot == slots[0]))
    assert not cluster.replies
    cluster.deliver()
    assert list(cluster.replies) == [first, second]


def test_a_learner_that_was_away_catches_up_entry_by_entry() -> None:
    cluster = led(commands_per_message_max=3)
    cluster.crash("n3")
    for number in range(10):
        write(cluster, number)
        cluster.deliver()
    cluster.start("n3")
    beat(cluster)
    beat(cluster)
    assert value(cluster, "n3") == 9


def test_a_learner_that_lacks_the_log_catches_up_by_a_snapshot_in_parts() -> None:
    cluster = led(snapshot_entries=5, snapshot_chunk_chars=4)
    cluster.crash("n3")
    for number in range(23):
        write(cluster, number)
        cluster.deliver()
    cluster.start("n3")
    beat(cluster)
    beat(cluster)
    assert value(cluster, "n3") == 22
    assert core(cluster, "n3").learner.base_index >= 15
    assert isinstance(cluster.disks["n3"][0], Checkpoint)


def test_the_log_on_disk_stays_bounded_and_a_restarted_node_goes_on_from_its_checkpoint() -> None:
    cluster = led(snapshot_entries=10)
    for number in range(200):
        write(cluster, number)
        cluster.deliver()
        beat(cluster)
    assert max(len(disk) for disk in cluster.disks.values()) < 25
    assert len({event.digest for _, event in cluster.told(Snapshotted) if event.index == 100}) == 1
    cluster.restart("n2")
    assert core(cluster, "n2").learner.chosen_index >= 190
    beat(cluster)
    beat(cluster)
    assert value(cluster, "n2") == 199


def test_a_node_whose_log_is_behind_a_snapshot_of_others_learns_before_it_leads() -> None:
    cluster = led(snapshot_entries=5)
    cluster.crash("n3")
    for number in range(23):
        write(cluster, number)
        cluster.deliver()
    cluster.crash("n1")
    cluster.start("n3")
    fall_silent(cluster, "n2", "n3")
    cluster.fire("n3", "silence")
    cluster.deliver()
    assert core(cluster, "n3").status()["role"] == "follower"
    assert core(cluster, "n3").learner.chosen_index >= 20
    cluster.fire("n3", "silence")
    cluster.deliver()
    assert core(cluster, "n3").status()["role"] == "leader"
    assert value(cluster, "n3") == 22


def test_parts_of_a_snapshot_may_come_twice_late_or_from_another() -> None:
    snapshot = Snapshot(7, '[["x",1]]')
    incoming = Incoming()
    parts = [(offset, snapshot.text[offset : offset + 4], offset >= 8) for offset in (0, 4, 8)]

    def take(number: int, source: str = "n1") -> Snapshot | None:
        return incoming.take(source, 7, snapshot.digest, *parts[number])

    assert take(1) is None
    assert take(0) is None
    assert take(0) is None
    assert take(2) is None
    assert take(1) is None
    assert incoming.received == 8
    assert take(1, "n2") is None
    assert take(2) == snapshot
    assert incoming.take("n1", 7, 1, 0, snapshot.text, True) is None


# --- reads ------------------------------------------------------------------------------------------------------------


def test_a_read_waits_for_a_quorum_that_was_asked_after_it_came() -> None:
    cluster = led()
    write(cluster, 3)
    cluster.deliver()
    old = cluster.lose()
    asked = cluster.ask("n1", Read(key="x"))
    for letter in old:
        cluster.hand_over(letter)
    assert asked not in cluster.replies
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok", 3)


def test_a_leader_that_was_replaced_answers_no_read() -> None:
    cluster = led()
    elect(cluster, "n2", "n3")
    write(cluster, 8, "n2")
    cluster.deliver(among("n2", "n3"))
    # n1 may not have noticed: its own letters and those to it were lost.
    asked = cluster.ask("n1", Read(key="x"))
    cluster.deliver()
    assert cluster.replies[asked] in (Answer("not-leader", leader="n2"), Answer("not-leader"))


def test_reads_through_the_log() -> None:
    cluster = led(reads="log")
    write(cluster, 3)
    asked = cluster.ask("n1", Read(key="x"))
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok", 3)


def leased() -> tuple[Stage, str]:
    """A cluster whose leader has a lease, and the name of the timer that ends it."""
    cluster = stage(reads="lease", lease_ms=240, clock_drift_max=1.0)
    for node in THREE:
        cluster.fire(node, "grant")
    elect(cluster, "n1", "n2", "n3")
    (name,) = [name for name in cluster.timers["n1"] if name.startswith("lease/")]
    return cluster, name


def test_a_leader_with_a_lease_answers_reads_alone() -> None:
    cluster, name = leased()
    assert cluster.timers["n1"][name] == 240_000_000 / 4  # Its clock at half, theirs at double speed.
    asked = cluster.ask("n1", Read(key="x"))
    assert not cluster.letters
    assert asked not in cluster.replies
    assert cluster.timers["n1"]["leased-read"] == 0
    cluster.fire("n1", "leased-read")
    assert cluster.replies[asked] == Answer("ok")


def test_a_read_that_finds_the_lease_over_asks_a_quorum() -> None:
    """The process was paused: the end of the lease and the read reached it together, the timer first."""
    cluster, name = leased()
    asked = cluster.ask("n1", Read(key="x"))
    cluster.fire("n1", name)
    cluster.fire("n1", "leased-read")
    assert asked not in cluster.replies
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok")


def test_a_lease_counts_from_the_question_and_not_from_the_answer() -> None:
    cluster, first = leased()
    cluster.fire("n1", "heartbeat")
    (second,) = [name for name in cluster.timers["n1"] if name.startswith("lease/") and name != first]
    cluster.fire("n1", first)
    cluster.fire("n1", second)
    cluster.deliver()  # The answers come when the time is over.
    assert not core(cluster, "n1")._lease.holds


def test_who_granted_a_lease_promises_nothing_to_another_until_it_ends_also_after_a_restart() -> None:
    cluster, _ = leased()
    cluster.restart("n2")
    cluster.hand_over(("n3", "n2", Prepare((9, "n3"), "n3", 1)))
    assert not cluster.letters.pop()[2].granted  # type: ignore[attr-defined]
    cluster.fire("n2", "grant")
    cluster.hand_over(("n3", "n2", Prepare((9, "n3"), "n3", 1)))
    assert cluster.letters.pop()[2].granted  # type: ignore[attr-defined]


# --- flexible quorums, other sizes, the node ----------------------------------------------------------------------------


def test_a_small_quorum_decides_and_a_large_one_elects() -> None:
    cluster = led(FIVE, phase_1_quorum=4, phase_2_quorum=2)
    asked = write(cluster, 1)
    cluster.deliver(among("n1", "n2"))
    assert cluster.replies[asked] == Answer("ok")
    cluster.lose()
    cluster.crash("n1", "n5")
    fall_silent(cluster, "n2", "n3", "n4")
    cluster.fire("n2", "silence")
    cluster.deliver()
    assert core(cluster, "n2").status()["role"] != "leader"
    cluster.start("n5")
    elect_later = cluster.timers["n5"]["silence"]
    assert elect_later
    cluster.fire("n5", "silence")
    cluster.fire("n2", "silence")
    cluster.deliver()
    assert core(cluster, "n2").status()["role"] == "leader"
    assert value(cluster, "n2") == 1


def test_a_cluster_of_one_serves() -> None:
    cluster = stage(("n1",))
    elect(cluster, "n1")
    asked = [write(cluster, 4), cluster.ask("n1", Read(key="x"))]
    assert [cluster.replies[number] for number in asked] == [Answer("ok"), Answer("ok", 4)]


@pytest.mark.parametrize(("records", "damage"), [((), "a checksum"), ((Snapshot(1, "[]"),), None)])
def test_a_disk_that_is_not_sound_stops_the_node(records: tuple[Any, ...], damage: str | None) -> None:
    cluster = stage()
    cluster.crash("n1")
    cluster.disks["n1"] = list(records)
    cluster.start("n1", damage)
    assert "damaged" in cluster.halted["n1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_ms": 0},
        {"silence_ms_min": 50},
        {"silence_ms_max": 100},
        {"clock_drift_max": -0.1},
        {"snapshot_entries": -1},
        {"snapshot_chunk_chars": 0},
        {"phase_1_quorum": -1},
        {"commands_per_message_max": 0},
    ],
)
def test_options_that_make_no_sense_are_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        MultiOptions(**wrong)


def test_a_stranger_is_not_heard_and_an_old_poll_counts_for_nothing() -> None:
    cluster = stage()
    assert not cluster.step("n1", Received("n9", Poll("n9", 1)))
    cluster.step("n1", Received("n2", PollReply(7, True, 0)))
    assert core(cluster, "n1").status()["role"] == "follower"
    assert not cluster.step("n1", TimerFired("leased-read"))


def test_every_bug_says_what_it_is() -> None:
    assert len(BUGS) == 12
    with pytest.raises(ValueError, match="no bug"):
        TARGET.core("n1", THREE, MultiOptions(), frozenset({"x"}), random.Random(0), "kv")


def test_letters_of_catching_up_say_where_they_are() -> None:
    cluster = led()
    write(cluster, 1)
    cluster.deliver()
    letter: Letter = ("n2", "n1", Learn("n2", 2))
    cluster.hand_over(letter)
    answer = cluster.letters.pop()[2]
    assert isinstance(answer, Learned)
    assert [entry.command for entry in answer.entries] == [Write(key="x", value=1)]


def test_an_answer_that_comes_twice_is_followed_by_one_question() -> None:
    """Else each duplicate would double all the questions that follow, which no later answer ends."""
    cluster = stage()
    ballot = (4, "n3")
    entries = tuple(Entry(ballot, Write(key="x", value=number)) for number in range(2))
    part: Learned[Any] = Learned(0, 9, (), 8, 77, 0, "half of")
    for answer, asks_for in ((Learned(1, 9, entries), (3, 0)), (part, (3, 7))):
        for _ in range(3):
            cluster.hand_over(("n3", "n1", answer))
        (asked,) = [message for source, _, message in cluster.letters if source == "n1" and isinstance(message, Learn)]
        assert (asked.from_slot, asked.offset) == asks_for
        cluster.letters.clear()


def test_a_snapshot_of_which_an_old_leader_sent_a_part_is_asked_of_the_new_one_from_its_beginning() -> None:
    cluster = stage()
    halves: list[Learned[Any]] = [Learned(0, 9, (), 8, 77, at, "half of") for at in (0, 7)]
    cluster.hand_over(("n3", "n1", halves[0]))
    cluster.letters.clear()
    cluster.hand_over(("n2", "n1", Accept((5, "n2"), "n2", 0, (), 9, 1)))
    (asked,) = [message for _, to, message in cluster.letters if to == "n2" and isinstance(message, Learn)]
    assert (asked.snapshot_index, asked.offset) == (0, 0)
    cluster.letters.clear()
    cluster.hand_over(("n2", "n1", halves[0]))
    (asked,) = [message for _, to, message in cluster.letters if to == "n2" and isinstance(message, Learn)]
    assert (asked.snapshot_index, asked.offset) == (8, 7)


def test_who_installs_a_snapshot_while_it_stands_proposes_nothing_for_the_slots_in_it() -> None:
    """What was chosen there it does not know entry by entry, and the promises tell of it no more: its own acceptor would take a
    no-op in its place."""
    cluster = stage()
    fall_silent(cluster, "n1", "n2")
    cluster.fire("n1", "silence")
    (poll,) = [message for _, to, message in cluster.letters if to == "n2" and isinstance(message, Poll)]
    cluster.hand_over(("n2", "n1", PollReply(poll.number, True, 0)))
    (prepare,) = [message for _, to, message in cluster.letters if to == "n2" and isinstance(message, Prepare)]
    assert prepare.from_slot == 1
    snapshot = Snapshot(5, "[]")
    cluster.hand_over(("n3", "n1", Learned(1, 5, (), 5, snapshot.digest, 0, snapshot.text, True)))
    assert core(cluster, "n1").learner.chosen_index == 5
    cluster.letters.clear()
    held = Held(6, (1, "n3"), Entry((1, "n3"), Write(key="x", value=6)))
    cluster.hand_over(("n2", "n1", Promise(prepare.ballot, True, prepare.ballot, 5, (held,))))
    accepted = [slot for _, event in cluster.told(AcceptedEvent) for slot in event.slots()]
    assert accepted == [(6, Write(key="x", value=6)), (7, None)]


def test_a_ballot_is_on_disk_before_anyone_is_asked_under_it() -> None:
    """PMS §2.5: a proposer writes the number that it is about to use before it sends anything under it."""
    cluster = stage()
    fall_silent(cluster, "n1", "n2")
    cluster.fire("n1", "silence")
    (poll,) = [message for _, to, message in cluster.letters if to == "n2" and isinstance(message, Poll)]
    effects = cluster.step("n1", Received("n2", PollReply(poll.number, True, 0)))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Send)
    assert isinstance(next(effect.record for effect in effects if isinstance(effect, Persist)), Drawn)


def test_an_acceptance_that_no_life_traced_is_traced_when_it_is_told_again() -> None:
    """The crash came when the record was on disk and its trace was not out. The leader asks again, and the answer counts."""
    cluster = stage()
    message: Accept[Any] = Accept((4, "n3"), "n3", 1, (Entry((4, "n3")), Entry((4, "n3"))), 0, 7)
    cluster.hand_over(("n3", "n1", message))
    cluster.traces.clear()
    cluster.restart("n1")
    for _ in range(2):
        cluster.hand_over(("n3", "n1", message))
    assert [slot for _, event in cluster.told(AcceptedEvent) for slot, _ in event.slots()] == [1, 2]
    assert len([record for record in cluster.disks["n1"] if isinstance(record, Accepted)]) == 1


def test_slots_in_a_row_are_traced_together_and_others_are_not() -> None:
    ballot = (4, "n3")
    entries = [Entry(ballot, Write(key="x", value=number)) for number in range(4)]
    commands = [entry.command for entry in entries]
    cluster = stage()
    cluster.hand_over(("n3", "n1", Accept(ballot, "n3", 2, tuple(entries[1:3]), 0, 7)))
    cluster.restart("n1")
    cluster.traces.clear()
    # The second and the third come again; the first and the fourth are news.
    cluster.hand_over(("n3", "n1", Accept(ballot, "n3", 1, tuple(entries), 0, 8)))
    assert [event for _, event in cluster.told(AcceptedEvent)] == [
        AcceptedEvent(1, ballot, commands[0], tuple(commands[1:]))
    ]
    cluster.hand_over(("n3", "n1", Learned(3, 4, tuple(entries[2:3]))))
    cluster.hand_over(("n3", "n1", Learned(1, 4, tuple(entries))))
    assert [event for _, event in cluster.told(ChosenEvent)] == [
        ChosenEvent(3, commands[2]),
        ChosenEvent(1, commands[0], (commands[1],)),
        ChosenEvent(4, commands[3]),
    ]
