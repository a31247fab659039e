"""A replica of mode `quorum`, step by step: N homes for a key, R answers for a read, W for a write."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import msgspec
import pytest

from targets.core import Effect, Halt, Persist, Received, Reply, Request, Send, SetTimer, Started, TimerFired
from targets.gossip.contexts import EMPTY
from targets.gossip.messages import Answer, Difference, Rumor, StoreRequest, Summary
from targets.gossip.options import GossipOptions
from targets.gossip.preference import chosen, preference_list
from targets.gossip.quorum import QuorumReplica
from targets.gossip.quorum_messages import Get, Held, Kept, Put, Stored
from targets.gossip.session import GossipSession
from targets.gossip.store import range_of
from targets.gossip.target import TARGET
from targets.session import Ask, Call, Outcome

NODES = ("n1", "n2", "n3", "n4", "n5")


def key_of(first_home: str) -> int:
    """A key whose preference list begins at this node."""
    return next(key for key in range(100) if preference_list(range_of(key), NODES)[0] == first_home)


X = key_of("n1")
"""Its homes are n1, n2, n3; n4 and n5 stand in for them."""


class Stage:
    """Five replicas. Messages wait until the test delivers them; their disks keep what they persist."""

    def __init__(self, bugs: Collection[str] = (), **options: Any) -> None:
        self.options = GossipOptions(mode="quorum", **options)
        self.bugs = frozenset(bugs)
        self.disks: dict[str, list[Any]] = {node: [] for node in NODES}
        self.wire: list[tuple[str, str, Any]] = []
        self.answers: list[Answer] = []
        self.asked = 0
        self.cores: dict[str, QuorumReplica] = {}
        for node in NODES:
            self.start(node)

    def start(self, node: str) -> None:
        core = TARGET.core(node, NODES, self.options, self.bugs, Random(node), "kv")
        assert isinstance(core, QuorumReplica)
        self.cores[node] = core
        self.step(node, Started(tuple(self.disks[node])))

    def step(self, node: str, event: Any, now_ns: int = 1_000_000) -> list[Effect]:
        effects = self.cores[node].step(now_ns, event)
        for effect in effects:
            match effect:
                case Persist(record=record, is_checkpoint=is_checkpoint):
                    self.disks[node] = [record] if is_checkpoint else [*self.disks[node], record]
                case Send(to=to, message=message):
                    self.wire.append((node, to, message))
                case Reply(body=Answer() as answer):
                    self.answers.append(answer)
        return effects

    def ask(self, node: str, f: Any, value: Any = None, key: int = X, now_ns: int = 1_000_000) -> list[Effect]:
        self.asked += 1
        return self.step(node, Request(self.asked, StoreRequest(f=f, key=key, value=value)), now_ns)

    def deliver(self, *to: str) -> None:
        """What is under way to and from these nodes (all of them: without names) arrives, and so does what comes of it."""
        while due := [each for each in self.wire if not to or {each[0], each[1]} <= set(to)]:
            self.wire.remove(due[0])
            source, node, message = due[0]
            self.step(node, Received(source, message))

    def lose(self) -> None:
        """What is under way is lost."""
        self.wire.clear()

    def rounds(self, *nodes: str, count: int = 1) -> None:
        for _ in range(count):
            for node in nodes:
                self.step(node, TimerFired("round"))

    def read(self, node: str, *reached: str) -> Any:
        """What a read answers of which only messages between these nodes arrive."""
        self.ask(node, "read")
        self.deliver(node, *reached)
        self.lose()
        return self.answers[-1].result

    def held(self) -> dict[str, Any]:
        """Node -> the value of X that it keeps for itself."""
        states = {node: core.states.get(X) for node, core in self.cores.items()}
        return {node: state.value for node, state in states.items() if state is not None and hasattr(state, "value")}


def test_a_preference_list_has_every_node_once_and_ranges_are_dealt_out_evenly() -> None:
    lists = [preference_list(number, NODES) for number in range(16)]
    assert all(sorted(each) == list(NODES) for each in lists)
    assert preference_list(3, NODES) == ("n4", "n5", "n1", "n2", "n3")
    assert {node: sum(each[0] == node for each in lists) for node in NODES} == {"n1": 4, **dict.fromkeys(NODES[1:], 3)}


@pytest.mark.parametrize(
    ("suspected", "is_sloppy", "expected"),
    [
        ((), True, {"n1": "", "n2": "", "n3": ""}),
        (("n2",), False, {"n1": "", "n2": "", "n3": ""}),
        (("n2",), True, {"n1": "", "n3": "", "n4": "n2"}),
        (("n1", "n3"), True, {"n2": "", "n4": "n1", "n5": "n3"}),
        (("n1", "n2", "n3", "n4"), True, {"n5": "n3", "n1": "", "n2": ""}),
    ],
)
def test_sloppy_quorums_are_the_first_n_that_nobody_suspects(
    suspected: tuple[str, ...], is_sloppy: bool, expected: dict[str, str]
) -> None:
    """Dynamo, §4.6."""
    assert chosen(NODES, 3, suspected, is_sloppy=is_sloppy) == expected


def test_a_write_is_answered_when_w_homes_have_it_on_disk() -> None:
    stage = Stage()
    effects = stage.ask("n1", "write", 7)
    assert [type(effect) for effect in effects] == [Persist, Send, Send]
    assert not stage.answers
    stage.deliver("n1", "n2")
    assert [answer.status for answer in stage.answers] == ["ok"]
    assert stage.held() == {"n1": 7, "n2": 7}


def test_a_home_says_that_it_has_a_state_only_behind_the_record() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    put = next(message for _, to, message in stage.wire if to == "n2")
    effects = stage.cores["n2"].step(0, Received("n1", put))
    assert [type(effect) for effect in effects] == [Persist, Send]
    again = stage.cores["n2"].step(0, Received("n1", put))
    assert [type(effect) for effect in again] == [Send]


def test_any_node_coordinates_and_writes_its_stamp_down_before_anybody_sees_it() -> None:
    """Or a node whose clock goes back in a restart would give two values one stamp, and nodes would differ for ever."""
    stage = Stage()
    effects = stage.ask("n5", "write", 7, now_ns=10**18)
    assert isinstance(effects[0], Persist)
    first = next(message for _, _, message in stage.wire if isinstance(message, Put))
    stage.lose()
    stage.start("n5")
    stage.ask("n5", "write", 8, now_ns=0)
    second = next(message for _, _, message in stage.wire if isinstance(message, Put))
    assert second.state.stamp > first.state.stamp  # type: ignore[union-attr]
    assert second.state.dot != first.state.dot  # type: ignore[union-attr]


def test_an_answer_to_a_question_of_an_earlier_life_counts_for_nothing() -> None:
    stage = Stage()
    stage.ask("n5", "read")
    old = next(message for _, to, message in stage.wire if to == "n1")
    stage.start("n5")
    stage.lose()
    stage.ask("n5", "read")
    new = next(message for _, to, message in stage.wire if to == "n1")
    assert isinstance(old, Get)
    assert isinstance(new, Get)
    assert old.number != new.number
    for home in ("n1", "n2"):
        stage.step("n5", Received(home, Held(home, old.number, None, 0)))
    assert not stage.answers


def test_a_read_returns_the_latest_of_r_answers() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    stage.deliver("n1", "n2")
    stage.lose()
    assert stage.read("n5", "n2", "n3") == 7
    assert stage.read("n4", "n1", "n3") == 7


def test_without_meeting_quorums_a_read_misses_what_was_acknowledged() -> None:
    stage = Stage(read_quorum=1, write_quorum=1)
    stage.ask("n1", "write", 7)
    assert stage.answers[-1].status == "ok"
    stage.lose()
    assert stage.read("n5", "n3") is None


def test_a_read_that_mends_behind_its_answer_lets_a_later_one_go_back() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    stage.lose()  # Only n1 has it, and nobody was told.
    stage.ask("n5", "read")
    stage.deliver("n5", "n1")
    for source, to, message in list(stage.wire):
        if to == "n2" and isinstance(message, Get):
            stage.step(to, Received(source, message))
    replies = [each for each in stage.wire if isinstance(each[2], Held)]
    stage.step("n5", Received("n2", replies[-1][2]))
    assert stage.answers[-1].result == 7
    stage.lose()  # The repair as well.
    assert stage.read("n5", "n2", "n3") is None


def test_a_read_that_mends_before_its_answer_never_lets_a_later_one_go_back() -> None:
    stage = Stage(read_repair="before-answer")
    stage.ask("n1", "write", 7)
    stage.lose()
    stage.ask("n5", "read")
    for home in ("n1", "n2"):
        question = next(message for _, to, message in stage.wire if to == home and isinstance(message, Get))
        stage.step(home, Received("n5", question))
        held = next(message for source, _, message in stage.wire if source == home and isinstance(message, Held))
        stage.step("n5", Received(home, held))
    assert not stage.answers, "n2 has to have it first"
    stage.deliver("n5", "n2")
    assert stage.answers[-1].result == 7
    stage.lose()
    assert stage.read("n4", "n2", "n3") == 7


def test_a_coordinator_that_mends_itself_answers_behind_its_own_record() -> None:
    """Or a crash between the two would leave fewer homes with the value than the answer rests on."""
    stage = Stage(read_repair="before-answer")
    stage.ask("n2", "write", 7)
    stage.lose()
    stage.ask("n1", "read")
    question = next(message for _, to, message in stage.wire if to == "n2" and isinstance(message, Get))
    stage.step("n2", Received("n1", question))
    held = next(message for _, _, message in stage.wire if isinstance(message, Held))
    effects = stage.step("n1", Received("n2", held))
    assert [type(effect) for effect in effects] == [Persist, Reply]
    assert stage.answers[-1].result == 7


def test_read_repair_reaches_the_homes_that_answer_late() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    stage.deliver("n1", "n2")
    stage.lose()
    stage.ask("n5", "read")
    stage.deliver("n5", "n1", "n2")
    assert stage.answers[-1].result == 7
    stage.deliver()
    assert stage.held() == {"n1": 7, "n2": 7, "n3": 7}


def test_a_delete_is_a_write_that_wins_by_its_stamp() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    stage.deliver()
    stage.ask("n2", "delete")
    stage.deliver()
    assert stage.read("n5", "n1", "n3") is None


def test_what_too_few_nodes_answer_is_unavailable_and_a_write_may_still_happen() -> None:
    stage = Stage(wait_ms=100, gossip_ms=50)
    stage.ask("n1", "write", 7)
    stage.ask("n1", "read")
    stage.lose()
    stage.rounds("n1", count=2)
    assert [answer.status for answer in stage.answers] == ["unavailable", "unavailable"]
    for f, ended in (("read", "fail"), ("write", "info")):
        session = GossipSession("kv", NODES)
        assert isinstance(session.begin(Call(f, X, 1)), Ask)
        outcome = session.on_reply(Answer("unavailable", reason="too few nodes answered"))
        assert isinstance(outcome, Outcome)
        assert outcome.type == ended


def test_a_stand_in_keeps_a_hint_also_over_a_restart_and_hands_it_to_its_owner() -> None:
    """Dynamo, §4.6."""
    stage = Stage(quorums="sloppy", suspect_rounds=1000)
    stage.ask("n1", "write", 7)
    stage.lose()
    stage.rounds("n1", count=2)  # n2 and n3 do not answer: n4 and n5 stand in for them.
    stage.wire = [each for each in stage.wire if isinstance(each[2], Put) and each[1] in ("n4", "n5")]
    stage.deliver()
    assert stage.answers[-1].status == "ok"
    assert stage.held() == {"n1": 7}
    stage.start("n4")
    assert stage.cores["n4"].status()["hints"] == 1
    stage.rounds("n4", "n5")
    stage.wire = [each for each in stage.wire if not isinstance(each[2], Summary)]
    stage.deliver()
    assert stage.held() == {"n1": 7, "n2": 7, "n3": 7}
    stage.start("n4")
    assert stage.cores["n4"].status()["hints"] == 0


def test_strict_quorums_have_no_stand_ins() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    stage.lose()
    stage.rounds("n1", count=2)
    assert {to for _, to, message in stage.wire if isinstance(message, Put)} == {"n2", "n3"}


def test_homes_mend_by_anti_entropy_what_messages_lost() -> None:
    stage = Stage(write_quorum=1)
    stage.ask("n1", "write", 7)
    stage.lose()
    while len(stage.held()) < 3:
        stage.rounds(*NODES)
        stage.wire = [each for each in stage.wire if isinstance(each[2], Summary | Difference)]
        stage.deliver()
    assert stage.held() == {"n1": 7, "n2": 7, "n3": 7}
    statuses = {node: core.status() for node, core in stage.cores.items()}
    assert TARGET.converged(statuses)


def test_homes_that_differ_and_hints_that_wait_are_not_converged() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    statuses = {node: core.status() for node, core in stage.cores.items()}
    assert not TARGET.converged(statuses)
    assert not TARGET.converged({"n1": {"digests": {}, "hints": 1}})


def test_a_checkpoint_has_everything() -> None:
    stage = Stage(checkpoint_records=2, quorums="sloppy")
    stage.ask("n1", "write", 7)
    put = next(message for _, to, message in stage.wire if to == "n2")
    stage.step("n5", Received("n1", msgspec.structs.replace(put, owner="n2")))
    (record,) = stage.disks["n1"]
    assert isinstance(record, Kept)
    assert record.dots == 2
    stage.start("n1")
    stage.start("n5")
    assert stage.held() == {"n1": 7}
    assert stage.cores["n5"].status()["hints"] == 1


def test_what_makes_no_sense_changes_nothing() -> None:
    stage = Stage()
    stage.ask("n1", "write", 7)
    put = next(message for _, to, message in stage.wire if to == "n2")
    assert isinstance(put, Put)
    assert stage.step("n3", Received("n1", msgspec.structs.replace(put, owner="n9"))) == []
    assert stage.step("n3", Received("n1", Stored("n1", (9, 9), 0))) == []
    assert stage.step("n3", Received("n1", Held("n1", (9, 9), None, 0))) == []
    assert stage.step("n3", Received("n1", Summary("n1", False, (1,), EMPTY, {}, 0))) == []
    assert stage.step("n3", Received("n1", Rumor("n1", ("n1", 1), X, put.state, EMPTY, 0))) == []
    assert isinstance(stage.cores["n3"].step(0, Started((), damage="a hole"))[0], Halt)


def test_a_round_asks_one_peer_and_sets_the_next() -> None:
    stage = Stage()
    effects = stage.cores["n1"].step(0, TimerFired("round"))
    assert [type(effect) for effect in effects] == [SetTimer, Send]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"read_quorum": 4}, "read_quorum is 4; it must be at least 1 and at most replicas, which is 3"),
        ({"write_quorum": 0}, "write_quorum is 0"),
        ({"mode": "quorum", "register": "multi-value"}, "mode quorum has last-writer-wins registers"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GossipOptions(**options)


def test_mode_quorum_is_refused_where_it_cannot_run() -> None:
    options = GossipOptions(mode="quorum")
    with pytest.raises(ValueError, match="replicas=3: there are only 2 nodes"):
        TARGET.core("n1", ("n1", "n2"), options, frozenset(), Random(1), "kv")
    with pytest.raises(ValueError, match="mode=quorum serves registers and lists"):
        TARGET.core("n1", NODES, options, frozenset(), Random(1), "counter")


@pytest.mark.parametrize(
    ("options", "claim"),
    [
        ({}, "quorum"),
        ({"read_repair": "before-answer"}, "causal+"),
        ({"quorums": "sloppy"}, "eventual"),
        ({"read_quorum": 1}, "eventual"),
        ({"read_quorum": 1, "write_quorum": 3}, "quorum"),
    ],
)
def test_what_the_mode_claims(options: dict[str, Any], claim: str) -> None:
    assert TARGET.claimed_model("kv", GossipOptions(mode="quorum", **options)) == claim
