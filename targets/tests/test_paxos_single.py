"""The single decree, one test for each statement of Lamport, "Paxos Made Simple" (2001, "PMS"), and of Flexible Paxos (2016)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from histories.tracing import Accepted as AcceptedEvent
from histories.tracing import Chosen as ChosenEvent
from targets.core import Persist, Received, Request, Send
from targets.machines.consensus import ConsensusMachine, Learn, Propose
from targets.machines.machine import Answer
from targets.paxos.quorums import chosen_sizes, in_force
from targets.paxos.single.core import SingleDecree
from targets.paxos.single.messages import Accept, AcceptReply, Chosen, Prepare, Promise, Proposal
from targets.paxos.single.options import SingleOptions
from targets.paxos.single.records import Accepted, Drawn, Learned, Promised
from targets.paxos.single.target import BUGS, TARGET
from targets.tests.paxos_stage import Stage, among, of_type

THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")


def stage(nodes: tuple[str, ...] = THREE, *bugs: str, **options: Any) -> Stage:
    return Stage(
        nodes, lambda node: SingleDecree(node, nodes, SingleOptions(**options), frozenset(bugs), random.Random(node))
    )


def chosen_in(told: Stage) -> set[Any]:
    return {event.command for _, event in told.told(ChosenEvent)}


# --- the three roles --------------------------------------------------------------------------------------------------


def test_a_proposal_is_chosen_and_everyone_learns_it() -> None:
    """PMS §2.2 and §2.3: prepare, promise, accept, and the news for the learners."""
    cluster = stage()
    asked = cluster.ask("n1", Propose(value="x"))
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok", "x")
    assert {node for node, _ in cluster.told(ChosenEvent)} == set(THREE)
    assert chosen_in(cluster) == {"x"}


def test_only_a_single_value_is_chosen() -> None:
    """PMS §2.1, safety: three proposers at once, and every client learns the same value, which one of them proposed."""
    cluster = stage()
    asked = [cluster.ask(node, Propose(value=node)) for node in THREE]
    for _ in range(30):
        cluster.deliver()
        for node in THREE:
            for name in list(cluster.timers[node]):
                cluster.fire(node, name)
    assert len({cluster.replies[number].result for number in asked}) == 1
    assert chosen_in(cluster) <= set(THREE)
    assert len(chosen_in(cluster)) == 1


def test_each_key_is_a_decision_of_its_own() -> None:
    cluster = stage()
    asked = [cluster.ask("n1", Propose(key=key, value=f"of {key}")) for key in (1, "1", None)]
    cluster.deliver()
    assert [cluster.replies[number].result for number in asked] == ["of 1", "of 1", "of None"]
    assert {event.slot for _, event in cluster.told(ChosenEvent)} == {"1", '"1"', "null"}


def test_an_acceptor_accepts_nothing_below_its_promise() -> None:
    """PMS §2.2, P1a: it may accept a proposal numbered n iff it has not responded to a prepare request numbered above n."""
    cluster = stage()
    cluster.hand_over(("n2", "n1", Prepare(None, (5, "n2"), "n2")))
    cluster.hand_over(("n3", "n1", Accept(None, (4, "n3"), "late", "n3")))
    cluster.hand_over(("n3", "n1", Prepare(None, (4, "n3"), "n3")))
    assert [message for _, _, message in cluster.letters] == [
        Promise(None, (5, "n2"), True, (5, "n2")),
        AcceptReply(None, (4, "n3"), False, (5, "n2")),
        Promise(None, (4, "n3"), False, (5, "n2")),
    ]


def test_an_acceptor_tells_the_highest_proposal_that_it_accepted() -> None:
    """PMS §2.2, phase 1b."""
    cluster = stage()
    for ballot, value in (((1, "n2"), "a"), ((2, "n3"), "b")):
        cluster.hand_over((ballot[1], "n1", Accept(None, ballot, value, ballot[1])))
    cluster.letters.clear()
    cluster.hand_over(("n2", "n1", Prepare(None, (3, "n2"), "n2")))
    assert cluster.letters[0][2] == Promise(None, (3, "n2"), True, (3, "n2"), Proposal((2, "n3"), "b"))


def test_a_promise_and_an_acceptance_outlive_a_crash() -> None:
    """PMS §2.3: an acceptor must remember this information even if it fails and then restarts."""
    cluster = stage()
    cluster.hand_over(("n2", "n1", Accept(None, (1, "n2"), "a", "n2")))
    cluster.hand_over(("n3", "n1", Prepare(None, (7, "n3"), "n3")))
    cluster.restart("n1")
    cluster.letters.clear()
    cluster.hand_over(("n2", "n1", Prepare(None, (6, "n2"), "n2")))
    cluster.hand_over(("n2", "n1", Prepare(None, (8, "n2"), "n2")))
    assert [message for _, _, message in cluster.letters] == [
        Promise(None, (6, "n2"), False, (7, "n3")),
        Promise(None, (8, "n2"), True, (8, "n2"), Proposal((1, "n2"), "a")),
    ]


@pytest.mark.parametrize("answer", [Promise, AcceptReply])
def test_an_acceptor_writes_before_it_answers(answer: type) -> None:
    """PMS §2.3, "stable storage": the record stands before the answer in the list of effects."""
    cluster = stage()
    question = Prepare(None, (1, "n2"), "n2") if answer is Promise else Accept(None, (1, "n2"), "a", "n2")
    kinds = [type(effect) for effect in cluster.step("n1", Received("n2", question))]
    assert kinds.index(Persist) < kinds.index(Send)


def test_a_chosen_value_stays_chosen() -> None:
    """PMS §2.2, P2c: of the accepted proposals in a quorum's promises, the one of the highest ballot is proposed again."""
    cluster = stage(FIVE)
    cluster.ask("n1", Propose(value="first"))
    cluster.deliver(lambda letter: not isinstance(letter[2], Chosen))
    cluster.lose()
    cluster.crash("n1", "n2")  # Who knows it is gone.
    asked = cluster.ask("n5", Propose(value="second"))
    for _ in range(5):
        cluster.deliver()
        for name in list(cluster.timers["n5"]):
            cluster.fire("n5", name)
    assert cluster.replies[asked] == Answer("ok", "first")
    assert chosen_in(cluster) == {"first"}


def test_of_two_accepted_values_the_one_of_the_higher_ballot_is_proposed() -> None:
    cluster = stage(FIVE)
    cluster.hand_over(("n4", "n2", Accept(None, (1, "n4"), "low", "n4")))
    cluster.hand_over(("n5", "n3", Accept(None, (2, "n5"), "high", "n5")))
    cluster.letters.clear()
    cluster.ask("n1", Propose(value="own"))
    cluster.deliver(among("n1", "n3"))
    cluster.deliver(among("n1", "n2"))
    cluster.lose()
    cluster.fire("n1", "null")  # n1 learned of the promises above its ballot, and tries again.
    cluster.deliver(among("n1", "n3"))
    cluster.deliver(among("n1", "n2"))
    assert {message.value for _, _, message in cluster.lose() if isinstance(message, Accept)} == {"high"}


def test_a_ballot_is_never_drawn_twice() -> None:
    """PMS §2.2: each proposal has its own number; the proposer remembers on stable storage the highest that it has used (§2.5)."""
    cluster = stage()
    drawn = []
    for _ in range(3):
        cluster.ask("n1", Propose(value="x"))
        drawn += [message.ballot for _, _, message in cluster.lose() if isinstance(message, Prepare)]
        cluster.restart("n1")
    assert len(drawn) == 2 * 3
    assert len(set(drawn)) == 3
    assert len([record for record in cluster.disks["n1"] if isinstance(record, Drawn)]) == 3


def test_proposers_that_duel_get_through() -> None:
    """PMS §2.4: two proposers that rule each other out for ever; here they pause for random whiles and one wins."""
    cluster = stage()
    asked = [cluster.ask(node, Propose(value=node)) for node in ("n1", "n3")]
    now = {"n1": 0, "n3": 0}
    for _ in range(200):
        if len(cluster.replies) == 2:
            break
        cluster.deliver(of_type(Prepare, Promise))
        cluster.deliver(of_type(Accept, AcceptReply))
        due = min(
            (now[node] + delay, node, name) for node in ("n1", "n3") for name, delay in cluster.timers[node].items()
        )
        now = dict.fromkeys(now, due[0])
        cluster.fire(due[1], due[2])
        cluster.deliver()
    assert len({cluster.replies[number].result for number in asked}) == 1


def test_pauses_grow_with_each_try() -> None:
    cluster = stage(backoff_ms_min=10, backoff_ms_max=1000)
    cluster.ask("n1", Propose(value="x"))
    longest = []
    for round in range(1, 8):
        cluster.letters.clear()
        ballot = (round, "n1")
        cluster.hand_over(("n2", "n1", Promise(None, ballot, False, (round, "n2"))))
        longest.append(cluster.timers["n1"]["null"] / 1e6)
        cluster.fire("n1", "null")
    assert all(10 <= pause <= 10 * 2**number for number, pause in enumerate(longest, 1))
    assert max(longest) > 40


def test_a_late_reply_to_an_earlier_ballot_counts_for_nothing() -> None:
    cluster = stage()
    cluster.ask("n1", Propose(value="x"))
    late = cluster.lose()
    cluster.fire("n1", "null")
    for source, _, message in late:
        assert isinstance(message, Prepare)
        cluster.hand_over(("n2", source, Promise(None, message.ballot, True, message.ballot)))
    assert not cluster.lose(of_type(Accept))


def test_without_a_quorum_nobody_is_told_that_anything_was_chosen() -> None:
    cluster = stage(tries_max=3)
    cluster.crash("n2", "n3")
    asked = [cluster.ask("n1", Propose(value="x")), cluster.ask("n1", Learn())]
    for _ in range(3):
        cluster.deliver()
        assert not cluster.replies
        cluster.fire("n1", "null")
    assert [cluster.replies[number] for number in asked] == [Answer("unknown"), Answer("unknown")]
    assert not chosen_in(cluster)
    assert not cluster.timers["n1"]


# --- asking -----------------------------------------------------------------------------------------------------------


def test_who_asks_before_anything_is_proposed_learns_that_nothing_is_chosen() -> None:
    cluster = stage()
    asked = cluster.ask("n2", Learn())
    cluster.deliver()
    assert cluster.replies[asked] == Answer("ok")
    assert not chosen_in(cluster)
    assert not cluster.timers["n2"]


def test_who_asks_learns_what_a_quorum_has_accepted_although_nobody_announced_it() -> None:
    cluster = stage()
    cluster.ask("n1", Propose(value="x"))
    cluster.deliver(lambda letter: not isinstance(letter[2], Chosen))
    cluster.lose()
    cluster.crash("n1")
    asked = cluster.ask("n3", Learn())
    for _ in range(4):
        cluster.deliver()
        for name in list(cluster.timers["n3"]):
            cluster.fire("n3", name)
    assert cluster.replies[asked] == Answer("ok", "x")


def test_a_question_that_came_while_a_round_was_under_way_waits_for_the_next() -> None:
    """The round's first promises may be older than the question: they do not show that nothing was chosen before it."""
    cluster = stage()
    first = cluster.ask("n2", Learn())
    cluster.deliver(of_type(Prepare))
    second = cluster.ask("n2", Learn())
    cluster.deliver(of_type(Promise))
    assert first in cluster.replies
    assert second not in cluster.replies
    cluster.deliver()
    assert cluster.replies[second] == Answer("ok")


# --- flexible quorums -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes_count", "given", "sizes"),
    [
        (5, (0, 0), (3, 3)),
        (4, (0, 0), (3, 3)),
        (5, (4, 2), (4, 2)),
        (5, (0, 2), (4, 2)),
        (5, (1, 0), (1, 5)),
        (1, (0, 0), (1, 1)),
    ],
)
def test_quorums_share_a_member(nodes_count: int, given: tuple[int, int], sizes: tuple[int, int]) -> None:
    """Howard, Malkhi and Spiegelman 2016, §3: only quorums of different phases need to intersect."""
    quorums = chosen_sizes(nodes_count, *given)
    assert (quorums.phase_1, quorums.phase_2) == sizes
    assert quorums.intersect


@pytest.mark.parametrize("given", [(2, 3), (3, 2), (6, 3), (1, 4)])
def test_quorums_that_can_miss_each_other_are_refused(given: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="phase_1_quorum"):
        in_force(5, *given, frozenset())


def test_a_value_is_chosen_by_a_small_quorum_of_phase_2_and_found_by_a_large_one_of_phase_1() -> None:
    cluster = stage(FIVE, phase_1_quorum=4, phase_2_quorum=2)
    cluster.ask("n1", Propose(value="x"))
    cluster.deliver(of_type(Prepare, Promise))
    cluster.deliver(lambda letter: among("n1", "n2")(letter) and not isinstance(letter[2], Chosen))
    assert chosen_in(cluster) == {"x"}
    cluster.lose()
    cluster.crash("n1")
    asked = cluster.ask("n5", Propose(value="y"))
    for _ in range(3):
        cluster.deliver()
        for name in list(cluster.timers["n5"]):
            cluster.fire("n5", name)
    assert cluster.replies[asked] == Answer("ok", "x")


# --- the node ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [(Proposal((1, "n1"), "x"),), ()])
def test_a_disk_that_is_not_sound_stops_the_node(records: tuple[Any, ...]) -> None:
    cluster = stage()
    cluster.crash("n1")
    cluster.disks["n1"] = list(records)
    cluster.start("n1", None if records else "a record in the middle has a wrong checksum")
    assert "damaged" in cluster.halted["n1"]


def test_a_node_knows_again_what_it_knew() -> None:
    cluster = stage()
    cluster.ask("n1", Propose(key="k", value="x"))
    cluster.deliver()
    cluster.restart("n2")
    assert {type(record) for record in cluster.disks["n2"]} == {Promised, Accepted, Learned}
    asked = cluster.ask("n2", Learn(key="k"))
    assert cluster.replies[asked] == Answer("ok", "x")
    assert cluster.cores["n2"].status()["commit_index"] == 1


def test_a_null_cannot_be_proposed() -> None:
    with pytest.raises(ValueError, match="null"):
        Propose(value=None)


def test_a_bug_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no bug 'gap-skipped'"):
        TARGET.core("n1", THREE, SingleOptions(), frozenset({"gap-skipped"}), random.Random(0), "consensus")
    assert all(bug.anomaly and bug.exposed_by for bug in BUGS.values())


def test_the_machine_of_the_same_name_decides_once() -> None:
    """What replicated logs offer as `consensus` gives the same answers."""
    machine = ConsensusMachine()
    assert machine.query(Learn(key=1)) is None
    assert [machine.apply(Propose(key=1, value=value)) for value in ("a", "b")] == ["a", "a"]
    copy = ConsensusMachine()
    copy.restore(machine.snapshot())
    assert copy.apply(Learn(key=1)) == "a"
    assert copy.apply(Propose(key=2, value="c")) == "c"
    assert machine.query(Learn(key=2)) is None


def test_a_ballot_is_on_disk_before_anyone_is_asked_under_it() -> None:
    """PMS §2.5: a proposer writes the number that it is about to use before it sends anything under it."""
    cluster = stage()
    effects = cluster.step("n1", Request(1, Propose(value="x")))
    drawn = next(
        at for at, effect in enumerate(effects) if isinstance(effect, Persist) and isinstance(effect.record, Drawn)
    )
    assert drawn < next(at for at, effect in enumerate(effects) if isinstance(effect, Send))


def test_an_acceptance_that_no_life_traced_is_traced_when_it_is_told_again() -> None:
    """The crash came when the record was on disk and its trace was not out."""
    cluster = stage()
    cluster.hand_over(("n2", "n1", Accept(None, (1, "n2"), "a", "n2")))
    cluster.traces.clear()
    cluster.restart("n1")
    for _ in range(2):
        cluster.hand_over(("n2", "n1", Accept(None, (1, "n2"), "a", "n2")))
    assert [event.command for _, event in cluster.told(AcceptedEvent)] == ["a"]
