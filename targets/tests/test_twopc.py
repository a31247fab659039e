"""Two-phase commit, rule by rule, and its clients."""

from __future__ import annotations

import random
from typing import Any

import pytest

from histories.tracing import Custom
from targets.core import Effect, Persist, Received, Reply, Send
from targets.machines.kv import Append, Cas, KvMachine, Read, Write
from targets.session import Call, NoReply, Outcome
from targets.tests.paxos_stage import Letter, of_type
from targets.tests.twopc_stage import at_rest, both, core, from_to, read, reads, stage, timer_of_kind, voted
from targets.twopc import messages as told
from targets.twopc.messages import TxnAnswer
from targets.twopc.options import CommitOptions
from targets.twopc.records import Committed, Decided, Prepared
from targets.twopc.session import CommitSession
from targets.twopc.target import TARGET


def test_a_transaction_commits_on_all_shards_and_everybody_forgets_it() -> None:
    on = stage()
    number = on.ask("c", both(1))
    on.deliver()
    assert on.replies[number] == TxnAnswer("ok", [["append", "x", 1], ["append", "y", 1]])
    assert at_rest(on)
    assert read(on).result == [["r", "x", [1]], ["r", "y", [1]]]


def test_a_vote_and_a_decision_are_on_disk_before_they_are_told() -> None:
    on = stage()
    on.ask("c", both(1))
    (prepare,) = on.lose(from_to("c", "p"))
    effects = on.step("p", _received(prepare))
    assert _visible(effects) == [Persist, Send]
    assert isinstance(on.disks["p"][-1], Prepared)
    on.deliver(of_type(told.Prepare))
    first, second = on.lose(of_type(told.Vote))
    on.step("c", _received(first))
    effects = on.step("c", _received(second))
    assert _visible(effects) == [Persist, Reply, Send, Send]
    assert isinstance(on.disks["c"][-1], Decided)


def _visible(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects if isinstance(effect, Persist | Send | Reply)]


def _received(letter: Letter) -> Any:
    return Received(letter[0], letter[2])


@pytest.mark.parametrize(
    ("command", "reason"),
    [(Cas(key="x", value=(7, 8)), "cas-mismatch"), (Append(key="x", value=1), "not-a-list")],
)
def test_a_no_aborts_and_leaves_no_locks(command: Any, reason: str) -> None:
    on = stage()
    on.ask("c", Write(key="x", value=1))
    on.deliver()
    number = on.ask("c", command)
    on.deliver()
    assert on.replies[number] == TxnAnswer("refused", reason=reason)
    assert at_rest(on)


def test_one_shard_without_a_vote_aborts_all() -> None:
    on = stage()
    number = on.ask("c", both(1))
    on.lose(from_to("c", "q"))
    on.deliver()
    on.fire("c", timer_of_kind(on, "c", "voting"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="no vote in time")
    assert at_rest(on)
    assert read(on).result == [["r", "x", None], ["r", "y", None]]


def test_a_coordinator_that_forgot_a_transaction_presumes_that_it_aborted() -> None:
    on = stage()
    voted(on)
    on.crash("c")
    on.lose()
    on.restart("c")
    assert core(on, "p").status()["holding_locks"] == 1
    for node in ("p", "q"):
        on.fire(node, timer_of_kind(on, node, "doubt"))
    on.deliver()
    assert at_rest(on)
    assert read(on).result == [["r", "x", None], ["r", "y", None]]


def test_a_coordinator_that_has_decided_tells_it_after_a_restart() -> None:
    on = stage()
    number = voted(on)
    on.deliver(of_type(told.Vote))
    assert on.replies[number].status == "ok"
    on.lose()
    on.restart("c")
    on.fire("c", "resend")
    on.deliver()
    assert at_rest(on)
    assert read(on).result == [["r", "x", [1]], ["r", "y", [1]]]


def test_two_phase_commit_blocks_while_nobody_in_reach_knows_the_decision() -> None:
    on = stage()
    voted(on)
    on.crash("c")
    on.lose()
    for _ in range(5):
        for node in ("p", "q"):
            on.fire(node, timer_of_kind(on, node, "doubt"))
        on.deliver()
    for node in ("p", "q"):
        assert core(on, node).status()["in_doubt"] == core(on, node).status()["holding_locks"] == 1
    assert {node for node, event in on.told(Custom) if event.name == "doubted"} == {"p", "q"}


@pytest.mark.parametrize("asks_others", [True, False])
def test_a_participant_that_knows_tells_another_unless_nobody_asks_it(asks_others: bool) -> None:
    on = stage(termination="cooperative" if asks_others else "coordinator")
    voted(on)
    on.deliver(of_type(told.Vote))
    on.lose(from_to("c", "q"))
    on.deliver()
    on.crash("c")
    on.fire("q", timer_of_kind(on, "q", "doubt"))
    on.deliver()
    assert core(on, "q").status()["in_doubt"] == (0 if asks_others else 1)


def test_one_that_has_not_voted_refuses_for_ever_when_it_is_asked() -> None:
    on = stage()
    on.ask("c", both(1))
    late = on.lose(from_to("c", "q"))
    on.deliver(of_type(told.Prepare))
    on.crash("c")
    on.fire("p", timer_of_kind(on, "p", "doubt"))
    on.deliver()
    assert core(on, "p").status()["in_doubt"] == 0
    on.restart("q")  # It has promised it on disk.
    on.hand_over(late[0])
    assert core(on, "q").status()["in_doubt"] == 0


def test_what_is_in_doubt_has_its_locks_again_after_a_restart() -> None:
    on = stage()
    voted(on)
    on.restart("p", "q")
    number = on.ask("c", reads())
    on.deliver(of_type(told.Prepare))
    assert core(on, "p").status()["waiting_for_locks"] + core(on, "q").status()["waiting_for_locks"] == 0, (
        "it is younger"
    )
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="locked by an older transaction")


def test_a_commit_that_comes_twice_is_carried_out_once() -> None:
    on = stage()
    voted(on)
    on.deliver(of_type(told.Vote))
    late = on.lose(from_to("c", "p"))
    on.hand_over(late[0])
    on.deliver()
    on.ask("c", both(2))
    on.deliver()
    on.hand_over(late[0])
    on.deliver()
    assert read(on).result == [["r", "x", [1, 2]], ["r", "y", [1, 2]]]
    assert sum(isinstance(record, Committed) for record in on.disks["p"]) == 3


def test_a_request_to_prepare_that_comes_after_the_end_changes_nothing() -> None:
    on = stage()
    on.ask("c", both(1))
    late = list(on.letters)
    on.deliver()
    for _ in range(2):  # Once it is known, once everybody has forgotten it.
        for letter in late:
            on.hand_over(letter)
        on.deliver()
        assert at_rest(on)
        on.ask("c", both(2))
        on.deliver()
    assert read(on).result == [["r", "x", [1, 2, 2]], ["r", "y", [1, 2, 2]]]


def test_participants_forget_how_transactions_ended_once_their_coordinator_has() -> None:
    on = stage()
    for value in range(50):
        on.ask("c", both(value))
        on.deliver()
    assert len(core(on, "p").participant.outcomes.all()) <= 2


def test_a_number_is_never_used_twice() -> None:
    on = stage()
    used = []
    for _ in range(3):
        on.ask("c", both(1))
        used += [message.txn[0] for _, _, message in on.letters if isinstance(message, told.Prepare)]
        on.lose()
        on.restart("c")
    assert len({*used}) == 3
    assert used == sorted(used)


def test_a_checkpoint_says_all_that_the_records_before_it_say() -> None:
    on = stage(checkpoint_records=3)
    for value in range(7):
        on.ask("c", both(value))
        on.deliver()
    on.ask("c", both(7))
    on.deliver(of_type(told.Prepare))
    on.lose()
    before = {node: core(on, node).participant.store.snapshot() for node in ("p", "q")}
    assert all(len(disk) <= 4 for disk in on.disks.values())
    on.restart("p", "q")
    assert {node: core(on, node).participant.store.snapshot() for node in ("p", "q")} == before
    assert all(core(on, node).status()["holding_locks"] == 1 for node in ("p", "q"))


def test_a_damaged_disk_ends_the_node() -> None:
    on = stage()
    on.crash("p")
    on.start("p", "a checksum does not match")
    assert "the disk is damaged" in on.halted["p"]


def test_a_participant_names_a_coordinator_another_one_each_time() -> None:
    on = stage(coordinators=("c", "d"))
    names = [on.replies[on.ask("p", reads())].leader for _ in range(3)]
    assert names == ["d", "c", "d"]


# --- sessions and topology --------------------------------------------------------------------------------------------


def test_a_session_goes_on_to_the_next_coordinator_only_where_the_first_was_not_reached() -> None:
    session = CommitSession(KvMachine, ("c", "d"))
    assert session.begin(Call("read", "x")).node == "c"
    again = session.on_reply(NoReply("not-sent"))
    assert not isinstance(again, Outcome)
    assert again.node == "d"
    assert session.on_reply(NoReply("not-sent")) == Outcome("fail", None, "not-sent")
    session.begin(Call("write", "x", 1))
    assert session.on_reply(NoReply("timeout")) == Outcome("info", 1, "timeout")
    session.begin(Call("read", "x"))
    assert session.on_reply(TxnAnswer("ok")) == Outcome("ok", None)


@pytest.mark.parametrize(
    ("answer", "is_refused"),
    [
        (TxnAnswer("refused", reason="cas-mismatch"), True),
        (TxnAnswer("aborted", reason="another wrote first"), True),
        (TxnAnswer("aborted", reason="no vote in time"), False),
    ],
)
def test_who_loses_to_another_was_served_and_who_found_no_votes_was_not(answer: TxnAnswer, is_refused: bool) -> None:
    session = CommitSession(KvMachine, ("c",))
    session.begin(Call("write", "x", 1))
    outcome = session.on_reply(answer)
    assert isinstance(outcome, Outcome)
    assert (outcome.type, outcome.is_refused) == ("fail", is_refused)


@pytest.mark.parametrize(("count", "coordinators"), [(1, 1), (2, 1), (3, 1), (5, 2), (9, 3)])
def test_a_third_of_the_nodes_coordinates(count: int, coordinators: int) -> None:
    nodes = [f"n{number}" for number in range(1, count + 1)]
    topology = TARGET.topology(nodes, CommitOptions())
    assert len(topology.nodes_of_role("coordinator")) == coordinators
    assert len(topology.shards) == max(1, count - coordinators)


def test_coordinators_that_leave_no_shard_are_refused() -> None:

    with pytest.raises(ValueError, match="leaves none of 3 nodes"):
        TARGET.core("n1", ("n1", "n2", "n3"), CommitOptions(coordinators=3), frozenset(), random.Random(1), "kv")


def test_reads_of_one_key_are_told_its_value() -> None:
    on = stage()
    on.ask("c", Write(key="x", value=5))
    on.deliver()
    number = on.ask("c", Read(key="x"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("ok", 5)
