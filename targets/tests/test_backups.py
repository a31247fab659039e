"""Backups of raft, paxos and gossip: what a restored disk holds, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from targets.gossip import backup as gossip_backup
from targets.gossip.contexts import Context, node_of, restores_of
from targets.gossip.crdts import LastWriter, ObservedRemove
from targets.gossip.messages import Answer as GossipAnswer
from targets.gossip.messages import Checkpoint, Difference, KeyState
from targets.gossip.quorum_messages import Kept
from targets.gossip.target import TARGET as GOSSIP
from targets.machines.backup import AHEAD
from targets.machines.kv import KvMachine
from targets.machines.machine import Answer as MachineAnswer
from targets.paxos.multi.target import TARGET as PAXOS
from targets.raft.backup import take
from targets.raft.target import TARGET as RAFT

NODES = ("n1", "n2", "n3")


def restored(target: Any, pieces: dict[str, str], nodes: Any = NODES, since: int = 1, **options: Any) -> Any:
    return target.restored(pieces, nodes, 1, since=since, interface="kv", options=target.option_type(**options))


def test_a_restored_raft_begins_far_above_the_old_terms_and_without_votes() -> None:
    machine = KvMachine()
    records = restored(RAFT, {"n2": take(7, machine, 40, 6)})
    assert set(records) == set(NODES)
    (record,) = records["n1"]
    assert (record.term, record.voted_for, record.identity, record.entries) == (7 + AHEAD, None, 0, ())
    assert (record.snapshot.last_index, record.snapshot.last_term, record.snapshot.config) == (40, 6, None)


def test_a_later_restore_begins_above_an_earlier_one() -> None:
    text = take(7, KvMachine(), 40, 6)
    terms = [
        RAFT.restored({"n2": text}, NODES, number, since=number, interface="kv", options=RAFT.option_type())
        for number in (1, 2)
    ]
    assert terms[1]["n1"][0].term - terms[0]["n1"][0].term == AHEAD  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("target", "reply", "why"),
    [
        (RAFT, MachineAnswer("not-leader"), "the node that led answered not-leader"),
        (PAXOS, MachineAnswer("ok"), "the node that led answered ok"),
        (GOSSIP, GossipAnswer("refused", node="n2"), "n2 answered refused"),
    ],
)
def test_an_answer_without_a_backup_says_who_gave_it(target: Any, reply: msgspec.Struct, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        target.backup_piece(reply)
    assert target.backup_piece(msgspec.structs.replace(reply, status="ok", backup="{}")) == "{}"


@pytest.mark.parametrize("target", [RAFT, PAXOS], ids=["raft", "paxos"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "cannot be read"),
        ('{"term":1,"last_index":-1,"last_term":0,"text":"{}"}', "cannot be read"),
        ('{"term":1,"last_index":3,"last_term":1,"text":"{"}', "no state of kv|cannot be read"),
        ('{"round":1,"index":3,"text":"[["}', "no state of kv|cannot be read"),
        ("\ud800", "cannot be read"),
    ],
)
def test_a_hostile_piece_is_refused(target: Any, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        restored(target, {"n1": text})


@pytest.mark.parametrize("target", [RAFT, PAXOS], ids=["raft", "paxos"])
def test_a_member_that_would_forget_its_votes_is_refused(target: Any) -> None:
    with pytest.raises(ValueError, match="only the whole cluster"):
        restored(target, {"n1": take(1, KvMachine(), 0, 0)}, ["n1"], since=0)


# --- gossip -----------------------------------------------------------------------------------------------------------


def piece(node: str, *, has: Context, states: tuple[KeyState, ...] = (), latest: int = 5) -> str:
    return gossip_backup.take(Checkpoint(states, has, Context(), latest))


def test_a_restored_node_is_another_actor_with_a_later_clock() -> None:
    pieces = {node: piece(node, has=Context({node: 3})) for node in NODES}
    (record,) = restored(GOSSIP, pieces)["n2"]
    assert (record.actor, record.epoch, record.latest) == ("n2#1", 1, 5 + gossip_backup.CLOCK_AHEAD)
    assert record.horizon == Context({"n1": 3, "n2": 3, "n3": 3})
    assert (node_of("n2#1"), restores_of("n2#1"), restores_of("n2")) == ("n2", 1, 0)


@pytest.mark.parametrize("actor", ["n1#", "n1#x", "n1#-1", "n1#²", "n1#" + "9" * 5000])
def test_an_actor_that_a_client_made_up_is_of_no_restore(actor: str) -> None:
    assert restores_of(actor) == 0


def test_one_restored_node_stays_in_the_clusters_epoch() -> None:
    pieces = {node: piece(node, has=Context({node: 3})) for node in NODES}
    records = GOSSIP.restored(pieces, ["n2"], 4, since=2, interface="kv", options=GOSSIP.option_type())
    (record,) = records["n2"]
    assert (record.actor, record.epoch) == ("n2#4", 2)  # type: ignore[attr-defined]


def test_what_went_with_a_restore_is_waited_for_no_more() -> None:
    horizon = Context({"n1": 3}, (("n2", 7),))
    seen = Context({"n1": 9, "n2": 8, "n3#1": 4}, (("n2", 7), ("n2", 12)))
    assert gossip_backup.alive(seen, 0, horizon) == seen
    assert gossip_backup.alive(seen, 1, horizon) == Context({"n1": 3, "n2": 0, "n3#1": 4}, (("n2", 7),))


def difference(states: tuple[KeyState, ...], has: Context) -> Difference:
    return Difference("n1", states, has, Context(), {}, 0, tuple(range(16)))


def test_a_restored_node_forgets_what_was_removed_and_collected() -> None:
    held = (
        KeyState("gone", LastWriter(1, (1, "n1"), ("n1", 1))),
        KeyState("new", LastWriter(1, (1, "n2"), ("n2", 9))),
        KeyState("set", ObservedRemove(((("n1", 2), "x"), (("n1", 3), "y"), (("n2", 9), "z")))),
    )
    theirs = (KeyState("set", ObservedRemove(((("n1", 3), "y"),))),)
    found = dict(gossip_backup.removed_since(held, difference(theirs, Context({"n1": 5}))))
    assert found["gone"] is None
    assert "new" not in found
    assert found["set"] == ObservedRemove(((("n1", 3), "y"), (("n2", 9), "z")))


def kept() -> str:
    return gossip_backup.take(Kept((), (), 1, 1))


@pytest.mark.parametrize(
    ("pieces", "nodes", "since", "options", "why"),
    [
        ({"n1": piece("n1", has=Context())}, NODES, 1, {}, "has nothing of n2"),
        ({node: piece(node, has=Context()) for node in (*NODES, "n4")}, NODES, 1, {}, "it is of n4 too"),
        ({node: kept() for node in NODES}, NODES, 1, {}, "its data is of mode quorum"),
        ({node: kept() for node in NODES}, ["n1"], 0, {"mode": "quorum"}, "restored as a whole"),
        ({node: piece(node, has=Context()) for node in NODES}, NODES, 1, {"mode": "quorum"}, "is not of mode quorum"),
        (
            {node: piece(node, has=Context(), states=(KeyState(1, ObservedRemove()),)) for node in NODES},
            NODES,
            1,
            {},
            "not of the interface kv",
        ),
        (dict.fromkeys(NODES, "[" * 5000), NODES, 1, {}, "cannot be read"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    pieces: dict[str, str], nodes: Any, since: int, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        restored(GOSSIP, pieces, nodes, since, **options)


def test_a_disk_that_was_restored_is_one_that_the_core_reads() -> None:
    """Its record is decoded by the type of the target's records, as a real node does."""
    for target, pieces in (
        (RAFT, {"n1": take(3, KvMachine(), 9, 3)}),
        (GOSSIP, {node: piece(node, has=Context({node: 3})) for node in NODES}),
    ):
        (record,) = restored(target, pieces)["n1"]
        kind = target.formats("kv").record
        assert msgspec.json.decode(msgspec.json.encode(record), type=kind) == record
