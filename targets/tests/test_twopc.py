"""The commit protocols, rule by rule: c coordinates, p holds the key x and q the key y."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from histories.tracing import Custom
from targets.core import Effect, Persist, Received, Reply, Send
from targets.machines import bank
from targets.machines.kv import Append, Cas, KvMachine, Read, Txn, Write
from targets.machines.machine import Refused
from targets.session import Call, NoReply, Outcome
from targets.tests.paxos_stage import Letter, Stage, of_type
from targets.twopc import messages as told
from targets.twopc.core import CommitNode
from targets.twopc.locks import LockTable, Wanted
from targets.twopc.messages import TxnAnswer
from targets.twopc.options import CommitOptions
from targets.twopc.records import Committed, Decided, Prepared
from targets.twopc.session import CommitSession
from targets.twopc.store import Store, TooOld
from targets.twopc.target import TARGET

HOLDERS = {"x": "p", "y": "q"}


def stage(*, coordinators: tuple[str, ...] = ("c",), bugs: tuple[str, ...] = (), **options: Any) -> Stage:
    given = CommitOptions(**options)

    def build(node: str) -> CommitNode:
        return CommitNode(node, given, frozenset(bugs), coordinators, ("p", "q"), lambda key: HOLDERS[str(key)])

    return Stage((*coordinators, "p", "q"), build)


def both(value: int) -> Txn:
    return Txn(value=(("append", "x", value), ("append", "y", value)))


def reads() -> Txn:
    return Txn(value=(("r", "x", None), ("r", "y", None)))


def core(on: Stage, node: str) -> CommitNode:
    found = on.cores[node]
    assert isinstance(found, CommitNode)
    return found


def read(on: Stage, node: str = "c") -> Any:
    """What a transaction of reads is told once everything was delivered."""
    number = on.ask(node, reads())
    on.deliver()
    return on.replies[number]


def from_to(source: str, to: str) -> Any:
    def wanted(letter: Letter) -> bool:
        return letter[:2] == (source, to)

    return wanted


def voted(on: Stage) -> int:
    """A transaction for which both have voted yes; the votes are under way."""
    number = on.ask("c", both(1))
    on.deliver(of_type(told.Prepare))
    return number


def at_rest(on: Stage) -> bool:
    return TARGET.converged({node: one.status() for node, one in on.cores.items()})


# --- two-phase commit -------------------------------------------------------------------------------------------------


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
    on.fire("c", _timer(on, "c", "voting"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="no vote in time")
    assert at_rest(on)
    assert read(on).result == [["r", "x", None], ["r", "y", None]]


def _timer(on: Stage, node: str, kind: str) -> str:
    return next(name for name in on.timers[node] if name.startswith(kind))


def test_a_coordinator_that_forgot_a_transaction_presumes_that_it_aborted() -> None:
    on = stage()
    voted(on)
    on.crash("c")
    on.lose()
    on.restart("c")
    assert core(on, "p").status()["holding_locks"] == 1
    for node in ("p", "q"):
        on.fire(node, _timer(on, node, "doubt"))
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
            on.fire(node, _timer(on, node, "doubt"))
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
    on.fire("q", _timer(on, "q", "doubt"))
    on.deliver()
    assert core(on, "q").status()["in_doubt"] == (0 if asks_others else 1)


def test_one_that_has_not_voted_refuses_for_ever_when_it_is_asked() -> None:
    on = stage()
    on.ask("c", both(1))
    late = on.lose(from_to("c", "q"))
    on.deliver(of_type(told.Prepare))
    on.crash("c")
    on.fire("p", _timer(on, "p", "doubt"))
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


# --- locks ------------------------------------------------------------------------------------------------------------


def test_wait_die_lets_the_older_wait_and_the_younger_give_up() -> None:
    on = stage(coordinators=("c", "d"))
    older = on.ask("c", Write(key="x", value=1))
    first = on.lose()
    younger = on.ask("d", Txn(value=(("w", "x", 2), ("w", "y", 2))))  # The number 1 too, and the later name.
    on.deliver(of_type(told.Prepare))
    on.hand_over(first[0])
    assert core(on, "p").status()["waiting_for_locks"] == 1
    on.deliver()
    assert (on.replies[older].status, on.replies[younger].status) == ("ok", "ok")
    on.ask("c", Write(key="x", value=3))
    on.deliver(of_type(told.Prepare))
    dies = on.ask("c", Write(key="x", value=4))
    on.deliver()
    assert on.replies[dies] == TxnAnswer("aborted", reason="locked by an older transaction")


def test_with_time_outs_everybody_waits_until_it_is_over() -> None:
    on = stage(locks="timeout")
    on.ask("c", Write(key="x", value=1))
    on.deliver(of_type(told.Prepare))
    number = on.ask("c", Write(key="x", value=2))
    on.deliver(of_type(told.Prepare))
    on.fire("p", _timer(on, "p", "lock"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="waited too long for a lock")
    assert at_rest(on)


def test_nobody_overtakes_one_that_waits_for_the_same_key() -> None:
    table = LockTable()
    table.hold(Wanted((3, "c"), ("x",), ()))
    table.wait(Wanted((2, "c"), (), ("x",)))
    assert table.conflicts(Wanted((1, "c"), ("x",), ())) == ((2, "c"),)
    assert table.conflicts(Wanted((1, "c"), ("y",), ())) == ()
    table.release((3, "c"))
    assert table.conflicts(Wanted((2, "c"), (), ("x",))) == ()


# --- levels -----------------------------------------------------------------------------------------------------------


def test_a_snapshot_does_not_see_what_commits_after_it() -> None:
    on = stage(isolation="snapshot")
    on.ask("c", both(1))
    on.deliver()
    number = on.ask("c", reads())
    late = on.lose(from_to("c", "q"))
    on.deliver()
    on.ask("c", both(2))
    on.deliver()
    on.hand_over(late[0])
    on.deliver()
    assert on.replies[number].result == [["r", "x", [1]], ["r", "y", [1]]]


def test_the_second_of_two_writers_with_overlapping_snapshots_aborts() -> None:
    on = stage(isolation="snapshot")
    number = on.ask("c", Append(key="x", value=1))
    late = on.lose()
    on.ask("c", Append(key="x", value=2))
    on.deliver()
    on.hand_over(late[0])
    on.deliver()
    assert on.replies[number] == TxnAnswer("aborted", reason="another wrote first")


def test_read_committed_reads_past_locks_and_never_what_is_prepared() -> None:
    on = stage(isolation="read-committed")
    voted(on)
    number = on.ask("c", reads())
    on.deliver(_of_number(2))
    assert on.replies[number].result == [["r", "x", None], ["r", "y", None]]


def _of_number(number: int) -> Callable[[Letter], bool]:
    return lambda letter: getattr(letter[2], "txn", (0, ""))[0] == number


def test_a_store_that_has_dropped_a_version_says_so() -> None:
    store = Store(2)
    for at in (2, 4, 6):
        store.put("x", at, at)
    assert (store.at("x", 5), store.newest("x"), store.written_at("x")) == (4, 6, 6)
    with pytest.raises(TooOld):
        store.at("x", 3)
    assert store.at("y", 3) is None


# --- the bank ---------------------------------------------------------------------------------------------------------


def _bank(on: Stage, command: Any) -> TxnAnswer:
    number = on.ask("c", command)
    on.deliver()
    answer = on.replies[number]
    assert isinstance(answer, TxnAnswer)
    return answer


def test_a_bank_over_shards_answers_as_the_machine_does() -> None:
    on, machine = stage(), bank.BankMachine()
    there = bank.Transfer(value=bank.Transferred("x", "y", 7))
    commands: list[Any] = [bank.Read(), there, bank.Open(value={"x": 10}), there, bank.Open(value={"x": 99, "y": 1})]
    for command in [*commands, there, bank.Read(), there, bank.Read()]:
        result, answer = machine.apply(command), _bank(on, command)
        if isinstance(result, Refused):
            assert answer == TxnAnswer("refused", reason=result.reason)
        else:
            assert answer == TxnAnswer("ok", result)
    assert at_rest(on)


def test_no_scan_misses_an_account_that_is_being_opened() -> None:
    on = stage(locks="timeout")
    on.ask("c", bank.Open(value={"x": 1, "y": 1}))
    on.deliver(of_type(told.Prepare))
    number = on.ask("c", bank.Read())
    on.deliver(of_type(told.Prepare))
    assert core(on, "p").status()["waiting_for_locks"] == 1
    on.deliver()
    assert on.replies[number] == TxnAnswer("ok", {"x": 1, "y": 1})


# --- three-phase commit -----------------------------------------------------------------------------------------------


def test_three_phase_commit_tells_the_votes_before_it_commits() -> None:
    on = stage(protocol="3pc")
    number = voted(on)
    on.deliver(of_type(told.Vote, told.PreCommit))
    assert number not in on.replies
    assert all(one.pre_committed is not None for one in core(on, "p").participant.in_doubt.values())
    on.deliver()
    assert on.replies[number].status == "ok"
    assert at_rest(on)


def _terminate(on: Stage, *nodes: str) -> None:
    for _ in range(4):
        for node in nodes:
            if any(name.startswith("doubt") for name in on.timers[node]):
                on.fire(node, _timer(on, node, "doubt"))
        on.deliver()


def test_three_phase_commit_aborts_without_the_coordinator_where_nobody_knows_the_votes() -> None:
    on = stage(protocol="3pc")
    voted(on)
    on.crash("c")
    on.lose()
    _terminate(on, "p", "q")
    assert core(on, "p").status()["in_doubt"] == core(on, "q").status()["in_doubt"] == 0
    on.restart("c")
    assert read(on).result == [["r", "x", None], ["r", "y", None]]


def test_three_phase_commit_commits_without_the_coordinator_where_one_knows_the_votes() -> None:
    on = stage(protocol="3pc")
    voted(on)
    on.deliver(of_type(told.Vote))
    on.lose(from_to("c", "q"))
    on.deliver(of_type(told.PreCommit))
    on.crash("c")
    on.lose()
    _terminate(on, "p", "q")
    on.restart("c")
    assert read(on).result == [["r", "x", [1]], ["r", "y", [1]]]


def test_three_phase_commit_decides_on_both_sides_of_a_partition_and_differs() -> None:
    on = stage(protocol="3pc")
    voted(on)
    on.deliver(of_type(told.Vote))
    on.lose(from_to("c", "q"))
    on.deliver(lambda letter: "q" not in letter[:2])  # c and p are on one side, q on the other.
    on.fire("c", _timer(on, "c", "voting"))
    on.deliver(lambda letter: "q" not in letter[:2])
    on.lose()
    _alone(on, "q")
    decisions = {node: event.fields["decision"] for node, event in on.told(Custom) if event.name == "decided"}
    assert decisions == {"c": "commit", "p": "commit", "q": "abort"}


def _alone(on: Stage, node: str) -> None:
    for _ in range(3):
        if on.timers[node]:
            on.fire(node, _timer(on, node, "doubt"))
        on.lose()


def test_a_node_that_was_down_does_not_decide_by_itself() -> None:
    on = stage(protocol="3pc")
    voted(on)
    on.crash("c", "q")
    on.lose()
    on.restart("p")
    _alone(on, "p")
    assert core(on, "p").status()["in_doubt"] == 1


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
