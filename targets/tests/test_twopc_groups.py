"""Shards that are Raft groups: a1, a2 and a3 are the group s1, b1, b2 and b3 the group s2."""

from __future__ import annotations

import random
from typing import Any

import pytest

from histories.tracing import Custom
from targets.core import Effect, Event, Persist, SyncDone
from targets.machines.kv import Append, Read, Txn
from targets.raft.messages import AppendEntries
from targets.session import Ask, Call, NoReply, Outcome
from targets.tests.paxos_stage import Letter, Stage
from targets.twopc import messages as told
from targets.twopc.messages import TxnAnswer
from targets.twopc.options import CommitOptions
from targets.twopc.replica import Replica
from targets.twopc.target import TARGET

NODES = ("a1", "a2", "a3", "b1", "b2", "b3")
GROUPED = CommitOptions(shard_replicas=3)
SHARDS = TARGET.topology(NODES, GROUPED)
KEYS = {SHARDS.shard_of(key): key for key in "abcdefgh"}
"""A key of each group."""
BOTH = Txn(value=tuple(("append", key, 1) for key in KEYS.values()))
S = 1_000_000_000


class Groups(Stage):
    """As a Stage, and what is persisted is told to be durable."""

    def __init__(self, *bugs: str, **options: Any) -> None:
        given = CommitOptions(shard_replicas=3, **options)
        rngs = {node: random.Random(node) for node in NODES}
        super().__init__(NODES, lambda node: TARGET.core(node, NODES, given, frozenset(bugs), rngs[node], "kv"))

    def step(self, node: str, event: Event) -> list[Effect]:
        effects = super().step(node, event)
        for effect in effects:
            if isinstance(effect, Persist) and effect.token is not None and node in self.cores:
                self.step(node, SyncDone(effect.token))
        return effects

    def elect(self, node: str, wanted: Any = lambda _letter: True) -> None:
        """The node stands, and leads once those letters that are wanted have arrived."""
        self.now_ns += S
        self.fire(node, "election")
        self.deliver(wanted)

    def beat(self, node: str, wanted: Any = lambda _letter: True) -> None:
        """The leader's heartbeat: with it, the others learn what is committed."""
        self.fire(node, "heartbeat")
        self.deliver(wanted)

    def replica(self, node: str) -> Replica:
        found = self.cores[node]
        assert isinstance(found, Replica)
        return found

    def wait(self, node: str, kind: str) -> None:
        """The first timer of this kind is due."""
        self.fire(node, next(name for name in self.timers[node] if name.startswith(kind)))

    def traced(self, name: str) -> list[dict[str, Any]]:
        """The fields of each such event."""
        return [event.fields for _, event in self.told(Custom) if event.name == name]


@pytest.fixture
def on() -> Groups:
    """a1 and b1 lead."""
    return led()


def led(*bugs: str, **options: Any) -> Groups:
    stage = Groups(*bugs, **options)
    for node in ("a1", "b1"):
        stage.elect(node)
        stage.beat(node)
    return stage


def between(*groups: str) -> Any:
    """Letters whose sender and receiver are of these groups, by the first letter of their names, and of two of them."""
    return lambda letter: letter[0][0] in groups and letter[1][0] in groups and letter[0][0] != letter[1][0]


def without(*nodes: str) -> Any:
    """Letters from and to all others."""

    def wanted(letter: Letter) -> bool:
        return letter[0] not in nodes and letter[1] not in nodes

    return wanted


def at_rest(on: Groups) -> bool:
    for node in [node for node in on.cores if on.replica(node).status()["is_serving"]]:
        on.beat(node)
    return TARGET.converged({node: one.status() for node, one in on.cores.items()})


def read(on: Groups, node: str) -> Any:
    number = on.ask(node, Txn(value=tuple(("r", key, None) for key in KEYS.values())))
    on.deliver()
    return on.replies[number]


def seen(*values: int) -> TxnAnswer:
    return TxnAnswer("ok", [["r", key, list(values) or None] for key in KEYS.values()])


def test_a_transaction_over_groups_commits_and_is_read_through_another_one(on: Groups) -> None:
    number = on.ask("a1", BOTH)
    on.deliver()
    assert on.replies[number].status == "ok"
    assert read(on, "b1") == seen(1)
    assert at_rest(on)


def test_a_vote_is_told_when_a_majority_of_the_group_has_it(on: Groups) -> None:
    on.ask("a1", BOTH)
    on.deliver(lambda letter: isinstance(letter[2], told.Prepare) or letter[0][0] == letter[1][0] == "a")
    on.deliver(lambda letter: isinstance(letter[2], told.Prepare))
    assert any(isinstance(message, AppendEntries) for _, _, message in on.letters)
    assert not any(isinstance(message, told.Vote) for source, _, message in on.letters if source == "b1")
    assert "s2" not in [fields["by"] for fields in on.traced("voted")]
    on.deliver(lambda letter: letter[0][0] == letter[1][0] == "b")
    votes = [letter for letter in on.letters if isinstance(letter[2], told.Vote)]
    assert sorted(to for _, to, _ in votes) == ["a1", "a2", "a3"], "only these know who leads there"


@pytest.mark.parametrize(
    ("bug", "kind"), [("vote-told-before-replicated", told.Vote), ("decision-told-before-replicated", told.Commit)]
)
def test_with_the_bug_it_is_told_before_that(bug: str, kind: type) -> None:
    on = led(bug)
    on.ask("a1", BOTH)
    on.deliver(lambda letter: not isinstance(letter[2], kind) and letter[:2] != ("b1", "b2") != ("b1", "b3"))
    assert any(isinstance(letter[2], kind) for letter in on.letters)


def test_the_next_leader_knows_what_was_promised_and_learns_the_decision(on: Groups) -> None:
    number = on.ask("a1", BOTH)
    on.deliver(lambda letter: not isinstance(letter[2], told.Commit))
    assert on.replies[number].status == "ok"
    on.lose()
    on.crash("b1")
    on.elect("b2", without("a1"))
    status = on.replica("b2").status()
    assert (status["in_doubt"], status["holding_locks"]) == (1, 1)
    on.wait("b2", "doubt")
    on.deliver()
    assert read(on, "b2") == seen(1)
    on.restart("b1")
    on.deliver()
    assert at_rest(on)


def test_a_dead_coordinator_blocks_nobody_once_another_leads_its_group(on: Groups) -> None:
    """a1 has committed and told nobody: its log has told its group."""
    on.ask("a1", BOTH)
    on.deliver(lambda letter: not isinstance(letter[2], told.Commit))
    on.lose()
    on.crash("a1")
    on.elect("a2")
    on.wait("a2", "resend")
    on.deliver()
    assert [fields["by"] for fields in on.traced("decided") if fields["as"] == "participant"] == ["s1", "s2"]
    assert read(on, "b1") == seen(1)


def test_what_no_majority_has_is_presumed_to_have_aborted(on: Groups) -> None:
    """a1 has all votes and dies before its group knows of them."""
    number = on.ask("a1", BOTH)
    on.deliver(lambda letter: not isinstance(letter[2], told.Vote))
    votes = on.lose()
    for letter in votes:
        on.hand_over(letter)
    assert number not in on.replies
    on.lose()
    on.crash("a1")
    on.elect("a2")
    for node in ("a2", "b1"):
        on.wait(node, "doubt")
    on.deliver()
    assert read(on, "b1") == seen()
    assert not on.replica("a2").status()["in_doubt"]


def test_a_leader_that_was_followed_acknowledges_nothing(on: Groups) -> None:
    """a1 is cut off from its group and does not know it. Its follower has promised; that it has not committed, a1 must not hide."""
    on.elect("a2", without("a1"))
    on.lose()
    number = on.ask("b1", BOTH)
    on.deliver(lambda letter: "a1" not in letter[:2] and not isinstance(letter[2], told.Commit))
    assert on.replies[number].status == "ok"
    commits = on.lose(lambda letter: isinstance(letter[2], told.Commit))
    on.lose()
    for letter in [letter for letter in commits if letter[1] == "a1"]:
        on.hand_over(letter)
    on.deliver(between("a", "b"))
    assert on.replica("a1").status()["is_serving"], "it does not know yet"
    assert on.replica("b1").status()["unfinished"] == 1, "the coordinator still has to tell s1"
    on.deliver()
    assert not on.replica("a1").status()["is_serving"]
    on.wait("b1", "resend")
    on.deliver()
    assert read(on, "a2") == seen(1)


def test_who_is_followed_by_another_leader_says_that_it_does_not_know(on: Groups) -> None:
    number = on.ask("a1", BOTH)
    on.lose()
    on.elect("a2", without("a1"))
    on.deliver()
    assert on.replies[number] == TxnAnswer("unknown")
    assert not any(name not in ("election", "heartbeat") for name in on.timers["a1"]), "nor does it wait any more"


def test_a_node_that_does_not_lead_names_the_one_that_does(on: Groups) -> None:
    assert on.replies[on.ask("a2", Read(key="a"))] == TxnAnswer("not-leader", leader="a1")
    on.restart("a2")
    assert on.replies[on.ask("a2", Read(key="a"))] == TxnAnswer("not-leader")


def test_a_group_begins_again_from_checkpoints_and_snapshots() -> None:
    on = led(checkpoint_records=3)
    for value in range(8):
        on.ask("a1", Append(key=KEYS["s1"], value=value))
        on.deliver()
        on.beat("a1")
    on.restart("a1", "a2", "a3")
    on.elect("a3")
    number = on.ask("a3", Read(key=KEYS["s1"]))
    on.deliver()
    assert on.replies[number] == TxnAnswer("ok", [*range(8)])


def test_a_session_asks_the_leader_that_a_node_names() -> None:
    session = TARGET.session("kv", 1, SHARDS)
    assert session.begin(Call("read", "a")) == Ask(Read(key="a"), "b1")
    assert on_reply(session, TxnAnswer("not-leader", leader="b3")) == "b3"
    assert on_reply(session, TxnAnswer("not-leader", leader="b1")) == "b2"
    for node in ("a1", "a2", "a3"):
        assert on_reply(session, NoReply("not-sent")) == node
    assert session.on_reply(TxnAnswer("not-leader")) == Outcome("fail", None, "no coordinator")
    session.begin(Call("append", "a", 1))
    assert session.on_reply(TxnAnswer("unknown")) == Outcome("info", 1, "unknown")


def on_reply(session: Any, reply: Any) -> str | None:
    asked = session.on_reply(reply)
    node: str | None = asked.node
    return node


@pytest.mark.parametrize(
    ("count", "replicas", "sizes"), [(6, 3, [3, 3]), (7, 3, [4, 3]), (9, 3, [3, 3, 3]), (8, 3, [4, 4]), (4, 2, [2, 2])]
)
def test_groups_take_all_nodes(count: int, replicas: int, sizes: list[int]) -> None:
    topology = TARGET.topology([f"n{number}" for number in range(count)], CommitOptions(shard_replicas=replicas))
    assert [len(topology.nodes_of_shard(shard)) for shard in topology.shards] == sizes
    assert topology.roles == ("coordinator",)


def test_one_group_coordinates_snapshots() -> None:
    topology = TARGET.topology(NODES, CommitOptions(shard_replicas=3, isolation="snapshot"))
    assert topology.nodes_of_role("coordinator") == ("a1", "a2", "a3")


@pytest.mark.parametrize(
    ("options", "bug", "error"),
    [
        ({"shard_replicas": 4}, "", "6 nodes do not make two groups: that takes 8"),
        ({"shard_replicas": 3, "coordinators": 3}, "", "coordinators is 3, and there are 2 groups"),
        ({"shard_replicas": 3, "protocol": "3pc"}, "", "protocol=3pc has no groups"),
        ({"shard_replicas": 0}, "", "must be at least 1"),
        ({}, "vote-told-before-replicated", "set shard_replicas to 2 or more"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], bug: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        TARGET.core("a1", NODES, CommitOptions(**options), frozenset({bug} - {""}), random.Random(1), "kv")
