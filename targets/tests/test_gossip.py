"""A gossip replica, step by step."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

import msgspec
import pytest

from targets.core import Effect, Halt, Persist, Received, Reply, Request, Send, SetTimer, Started, TimerFired
from targets.gossip.contexts import Context
from targets.gossip.core import Gossip
from targets.gossip.membership import Heartbeats
from targets.gossip.messages import LATEST_MAX, Answer, Checkpoint, Difference, Rumor, SetRequest, StoreRequest, Summary
from targets.gossip.options import GossipOptions
from targets.gossip.session import GossipSession
from targets.gossip.target import TARGET
from targets.session import Ask, Call, NoReply, Outcome
from targets.wire import INTEGER_MAX

MEMBERS = ("n1", "n2", "n3")
T = TypeVar("T")


def replica(node: str = "n1", records: tuple[Any, ...] = (), **options: Any) -> Gossip:
    core = Gossip(node, MEMBERS, GossipOptions(**options), frozenset(), Random(node))
    core.step(0, Started(records))
    return core


def of(kind: type[T], effects: list[Effect]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def ask(core: Gossip, body: Any, now_ns: int = 1_000_000) -> tuple[Any, list[Effect]]:
    effects = core.step(now_ns, Request(1, body))
    (reply,) = of(Reply, effects)
    assert isinstance(reply.body, Answer)
    return reply.body.result, effects


def write(core: Gossip, value: int, key: int = 0) -> list[Effect]:
    return ask(core, StoreRequest(f="write", key=key, value=value))[1]


def read(core: Gossip, key: int = 0) -> Any:
    return ask(core, StoreRequest(f="read", key=key))[0]


def rumor(effects: list[Effect]) -> Rumor:
    message = of(Send, effects)[0].message
    assert isinstance(message, Rumor)
    return message


def exchange(one: Gossip, other: Gossip) -> None:
    """One whole exchange that `one` begins."""
    summary = one._summary(is_answer=False)
    effects = other.step(0, Received(one.node, summary))
    for send in of(Send, effects):
        for back in of(Send, one.step(0, Received(other.node, send.message))):
            if isinstance(back.message, Difference):
                other.step(0, Received(one.node, back.message))


def test_a_node_alone_answers_and_nobody_sees_an_update_before_it_is_on_disk() -> None:
    core = replica()
    effects = write(core, 7)
    assert [type(effect) for effect in effects] == [Persist, Reply, Send, Send]
    assert read(core) == 7


def test_a_restarted_node_has_what_was_on_disk_and_gives_no_dot_twice() -> None:
    core = replica()
    effects = [*write(core, 7), *write(core, 8)]
    records = tuple(persist.record for persist in of(Persist, effects))
    again = replica(records=records)
    assert read(again) == 8
    assert rumor(write(again, 9)).dot == ("n1", 3)
    first = replica(records=records[:1])
    assert read(first) == 7


def test_a_checkpoint_takes_the_place_of_the_records_before_it() -> None:
    core = replica(checkpoint_records=3)
    persists = of(Persist, [*write(core, 1), *write(core, 2, key=5), *write(core, 3)])
    assert [persist.is_checkpoint for persist in persists] == [False, False, True]
    assert isinstance(persists[-1].record, Checkpoint)
    again = replica(records=(persists[-1].record,))
    assert (read(again), read(again, 5), again.status()["has"]) == (3, 2, core.status()["has"])


def test_a_damaged_disk_stops_the_node() -> None:
    core = Gossip("n1", MEMBERS, GossipOptions(), frozenset(), Random(0))
    assert of(Halt, core.step(0, Started((), damage="a record is broken")))


def test_who_hears_a_rumor_first_sends_it_on_once() -> None:
    one, two = replica("n1"), replica("n2")
    news = rumor(write(one, 7))
    effects = two.step(0, Received("n1", news))
    assert [send.to for send in of(Send, effects)] == ["n3"]
    assert of(Persist, effects)
    assert two.step(0, Received("n3", news)) == []
    assert read(two) == 7


def test_mode_causal_shows_no_update_before_its_causes() -> None:
    one, two = replica("n1"), replica("n2")
    cause, effect = rumor(write(one, 1, key=0)), rumor(write(one, 2, key=1))
    two.step(0, Received("n1", effect))
    assert read(two, 1) is None
    two.step(0, Received("n1", cause))
    assert (read(two, 0), read(two, 1)) == (1, 2)
    eager = replica("n2", mode="eventual")
    eager.step(0, Received("n1", effect))
    assert read(eager, 1) == 2


def test_an_exchange_makes_two_nodes_equal() -> None:
    one, two = replica("n1"), replica("n2")
    write(one, 1, key=0)
    write(two, 2, key=1)
    exchange(one, two)
    assert (read(one, 1), read(two, 0)) == (2, 1)
    assert TARGET.converged({"n1": one.status(), "n2": two.status()})


def test_nodes_that_agree_exchange_no_states() -> None:
    one, two = replica("n1"), replica("n2")
    write(one, 1)
    exchange(one, two)
    effects = two.step(0, Received("n1", one._summary(is_answer=False)))
    (send,) = of(Send, effects)
    assert isinstance(send.message, Difference)
    assert send.message.states == ()


def test_a_summary_of_a_stranger_or_of_another_shape_is_passed_over() -> None:
    core = replica()
    stranger = Summary("n9", False, (0,) * 16, Context(), {}, 0)
    assert core.step(0, Received("n9", stranger)) == []
    assert core.step(0, Received("n2", Summary("n2", False, (1, 2), Context(), {}, 0))) == []


def test_a_request_waits_for_what_its_client_has_seen_and_then_is_sent_on() -> None:
    one, two = replica("n1"), replica("n2", wait_ms=100, gossip_ms=50)
    news = rumor(write(one, 7))
    behind = StoreRequest(f="read", key=0, context=Context({"n1": 1}), via="n1")
    assert two.step(0, Request(5, behind)) == []
    (reply,) = of(Reply, two.step(0, Received("n1", news)))
    assert (reply.request_id, reply.body.result) == (5, 7)  # type: ignore[attr-defined]
    three = replica("n3", wait_ms=100, gossip_ms=50)
    three.step(0, Request(6, behind))
    assert not of(Reply, three.step(0, TimerFired("round")))
    (reply,) = of(Reply, three.step(0, TimerFired("round")))
    assert reply.body.status == "behind"  # type: ignore[attr-defined]


def test_a_removed_element_stays_away_also_when_its_tombstone_was_collected() -> None:
    one, two, three = (replica(node) for node in MEMBERS)
    _, effects = ask(one, SetRequest(f="add", key=0, value="a"))
    old = rumor(effects)
    for other in (two, three):
        other.step(0, Received("n1", old))
    ask(two, SetRequest(f="remove", key=0, value="a"))
    for _ in range(3):
        for a, b in ((one, two), (two, three), (three, one)):
            exchange(a, b)
        for each in (one, two, three):
            each.step(0, TimerFired("round"))
    for each in (one, two, three):
        assert "tombstones" not in msgspec.json.encode(each.states.get(0)).decode()
        each.step(0, Received("n1", old))
        assert ask(each, SetRequest(f="read", key=0))[0] == []


def test_a_silent_peer_is_suspected_until_it_is_heard_again() -> None:
    core = replica(suspect_rounds=3)
    for _ in range(5):
        effects = core.step(0, TimerFired("round"))
        assert of(SetTimer, effects)
    assert core.status()["suspected"] == ["n2", "n3"]
    core.step(0, Received("n2", Summary("n2", False, tuple(core.states.digests), Context(), {"n2": 1}, 0)))
    assert core.status()["suspected"] == ["n3"]


@pytest.mark.parametrize("mode", ["eventual", "session", "causal", "quorum"])
def test_who_hears_of_a_restarted_node_from_others_does_not_go_on_suspecting_it(mode: Any) -> None:
    """Seed 918 of mode quorum found that a node's second life counted from 0, below what the others held of its first one."""
    options = GossipOptions(mode=mode)
    cores = {node: TARGET.core(node, MEMBERS, options, frozenset(), Random(node), "kv") for node in MEMBERS}

    def rounds(count: int) -> None:
        """Of all nodes; what n1 and n3 send each other is lost."""
        for _ in range(count):
            wire = [(node, effect) for node in MEMBERS for effect in of(Send, cores[node].step(0, TimerFired("round")))]
            while wire:
                source, sent = wire.pop(0)
                if {source, sent.to} != {"n1", "n3"}:
                    answers = of(Send, cores[sent.to].step(0, Received(source, sent.message)))
                    wire += [(sent.to, answer) for answer in answers]

    rounds(60)
    assert cores["n3"].status()["suspected"] == []
    cores["n1"] = TARGET.core("n1", MEMBERS, options, frozenset(), Random("again"), "kv")
    cores["n1"].step(0, Started(()))
    rounds(30)
    assert [core.status()["suspected"] for core in cores.values()] == [[], [], []]


def test_a_node_does_not_go_on_from_a_count_that_no_life_of_it_can_have_reached() -> None:
    heartbeats = Heartbeats("n1", ("n2",), suspect_rounds=3)
    heartbeats.hear("n2", {"n1": INTEGER_MAX})
    heartbeats.beat()
    assert heartbeats.beats["n1"] == 1


def test_digests_and_stamps_fit_into_messages() -> None:
    core = replica()
    for value in range(200):
        write(core, value, key=value)
    assert max(core.states.digests) < INTEGER_MAX
    assert core.clock.stamp(4_102_444_800_000_000_000) < INTEGER_MAX, "in the year 2100"


def test_a_client_cannot_push_the_clock_out_of_range() -> None:
    with pytest.raises(msgspec.ValidationError, match="latest"):
        msgspec.convert({"f": "read", "latest": LATEST_MAX + 1}, StoreRequest)


# --- the session ------------------------------------------------------------------------------------------------------


def test_a_session_carries_what_it_has_seen_and_tries_the_others_in_turn() -> None:
    session = GossipSession("kv", MEMBERS)
    asked = session.begin(Call("write", 0, 1))
    assert isinstance(asked, Ask)
    assert asked.node == "n1"
    done = session.on_reply(Answer("ok", context=Context({"n1": 1}), latest=9, node="n1"))
    assert done == Outcome("ok", 1)
    asked = session.begin(Call("read", 0))
    assert isinstance(asked, Ask)
    body = asked.body
    assert isinstance(body, StoreRequest)
    assert (body.context, body.via, body.latest) == (Context({"n1": 1}), "n1", 9)
    for node in ("n2", "n3"):
        again = session.on_reply(NoReply("not-sent") if node == "n2" else Answer("behind"))
        assert isinstance(again, Ask)
        assert again.node == node
    assert session.on_reply(Answer("behind")) == Outcome("fail", None, "behind")


@pytest.mark.parametrize(
    ("call", "reply", "outcome"),
    [
        (Call("write", 0, 1), NoReply("timeout"), "info"),
        (Call("write", 0, 1), NoReply("reset"), "info"),
        (Call("read", 0), NoReply("timeout"), "fail"),
        (Call("append", 0, 1), Answer("refused", reason="the key holds a register"), "fail"),
    ],
)
def test_what_becomes_of_an_op_without_an_answer(call: Call, reply: Any, outcome: str) -> None:
    session = GossipSession("kv", MEMBERS)
    session.begin(call)
    found = session.on_reply(reply)
    assert isinstance(found, Outcome)
    assert found.type == outcome


@pytest.mark.parametrize(
    ("interface", "call"),
    [
        ("kv", Call("cas", 0, [1, 2])),
        ("counter", Call("add", 0, "x")),
        ("counter", Call("add", 0)),
        ("set", Call("add", 0)),
        ("set", Call("add", 0, [1])),
    ],
)
def test_a_call_that_the_interface_does_not_have_is_refused(interface: str, call: Call) -> None:
    with pytest.raises(ValueError, match=r"f|value|cas"):
        GossipSession(interface, MEMBERS).begin(call)


@pytest.mark.parametrize("mode", ["eventual", "session", "causal"])
def test_a_clients_later_write_is_later_at_every_node(mode: str) -> None:
    """A run in Docker lost the last write of a client: its second node was cut off, and its clock behind that of the first."""
    ahead, behind, idle = (replica(node, mode=mode) for node in MEMBERS)
    session = GossipSession("kv", MEMBERS)

    def does(core: Gossip, now_ns: int, f: str, value: int | None = None) -> Outcome:
        (reply,) = of(Reply, core.step(now_ns, Request(1, session.begin(Call(f, 0, value)).body)))
        outcome = session.on_reply(reply.body)
        assert isinstance(outcome, Outcome)
        return outcome

    does(ahead, 9_000_000_000, "write", 1)
    if mode == "eventual":
        assert does(idle, 1_000_000, "read").value is None  # What the client has seen before is not forgotten.
    else:
        exchange(ahead, behind)
    does(behind, 1_000_000, "write", 2)
    exchange(ahead, behind)
    assert (read(ahead), read(behind)) == (2, 2)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="gossip_ms is 0; it must be at least 1"):
        GossipOptions(gossip_ms=0)
    with pytest.raises(ValueError, match="gossip has no bug 'nonsense'"):
        TARGET.core("n1", MEMBERS, GossipOptions(), frozenset({"nonsense"}), Random(0), "kv")
