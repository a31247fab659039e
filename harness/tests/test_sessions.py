"""What the harness promises a session, and what becomes of one that breaks its part: the same in the simulation and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.clients.node_http import Clients
from harness.clients.sessions import ASKS_MAX, PendingCall, SessionFailed, SessionRunner
from harness.run.execute import execute
from harness.run.plan import prepare
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from harness.tests.broken_target import ENDLESS
from harness.tests.http_server import Server, response
from harness.tests.simulated import Scripted, Word, run_for, world_of
from histories.op import Op
from targets.core import Effect, Event, Reply, Request
from targets.session import Ask, Call, NoReply, Outcome, Session
from targets.target import Formats
from targets.topology import PLAIN, Topology
from targets.wire import encode

Answerer = Callable[[str, str], str | None]
"""(node, what it was asked) -> what it answers; None: nothing."""

NODES = ("n1", "n2", "n3")
Ends = list[tuple[Outcome, str]]


class Plain:
    """Asks once, at home."""

    def begin(self, call: Call) -> Ask | Outcome:
        self.call = call
        return Ask(Word(str(call.value)))

    def on_reply(self, reply: Any) -> Ask | Outcome:
        if isinstance(reply, NoReply):
            return Outcome("info", self.call.value, reply.error)
        return Outcome("ok", reply.text)


class Redirected(Plain):
    """Goes where it is sent."""

    def on_reply(self, reply: Any) -> Ask | Outcome:
        if isinstance(reply, Word) and reply.text.startswith("go to "):
            return Ask(Word("here?"), reply.text.removeprefix("go to "))
        return super().on_reply(reply)


class TwoShards(Plain):
    """Reads of two nodes, and answers with both."""

    def begin(self, call: Call) -> Ask | Outcome:
        self.call = call
        self.parts: list[str] = []
        return Ask(Word("part"), "n2")

    def on_reply(self, reply: Any) -> Ask | Outcome:
        if isinstance(reply, NoReply):
            return super().on_reply(reply)
        self.parts.append(reply.text)
        return Ask(Word("part"), "n3") if len(self.parts) == 1 else Outcome("ok", self.parts)


TOPOLOGY = Topology(shard_by_node={"n1": "a", "n2": "b", "n3": "b"})


class Sharded(Plain):
    """Asks a node that holds the key."""

    def begin(self, call: Call) -> Ask | Outcome:
        self.call = call
        shard = TOPOLOGY.shard_of(call.value)
        assert shard is not None
        return Ask(Word(str(call.value)), TOPOLOGY.nodes_of_shard(shard)[0])


class Causal(Plain):
    """Tells each node what the process saw last."""

    def __init__(self) -> None:
        self.seen = "nothing"

    def begin(self, call: Call) -> Ask | Outcome:
        self.call = call
        return Ask(Word(f"seen {self.seen}"))

    def on_reply(self, reply: Any) -> Ask | Outcome:
        outcome = super().on_reply(reply)
        if isinstance(outcome, Outcome) and outcome.type == "ok":
            self.seen = outcome.value
        return outcome


class Endless(Plain):
    """Never has enough."""

    def on_reply(self, reply: Any) -> Ask | Outcome:
        return Ask(Word("again"))


class Stubborn(Plain):
    """Tries again whatever happens, a time-out included."""

    def on_reply(self, reply: Any) -> Ask | Outcome:
        return Ask(Word("again")) if isinstance(reply, NoReply) else super().on_reply(reply)


class Impatient(Plain):
    """Waits for each node for a while, and then asks the next, after a pause."""

    def begin(self, call: Call) -> Ask | Outcome:
        self.call = call
        return Ask(Word("a"), "n1", patience_s=0.05)

    def on_reply(self, reply: Any) -> Ask | Outcome:
        if reply == NoReply("late"):
            return Ask(Word("b"), "n2", patience_s=5.0, pause_s=0.02)
        return super().on_reply(reply)


class Raising(Plain):
    def on_reply(self, reply: Any) -> Ask | Outcome:
        raise KeyError("lost")


class Nonsense(Plain):
    def on_reply(self, reply: Any) -> Ask | Outcome:
        return "ok"  # type: ignore[return-value]


class Misaddressed(Plain):
    """Asks what the interface does not have."""

    def begin(self, call: Call) -> Ask | Outcome:
        return Ask(call)


class Local(Plain):
    """Knows the answer without asking."""

    def begin(self, call: Call) -> Ask | Outcome:
        return Outcome("ok", "known")


def over_sim(make: Callable[[], Session], answer: Answerer, calls: Sequence[tuple[int, str]], timeout_s: float) -> Ends:
    """One call after the other, each by its process, in virtual time."""

    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if not isinstance(event, Request):
            return ()
        assert isinstance(event.body, Word)
        said = answer(core.node, event.body.text)
        return () if said is None else (Reply(event.request_id, Word(said)),)

    environment, target = world_of(script, client_timeout_s=timeout_s)
    target.make_session = make
    ends: Ends = []
    for process, value in calls:
        count = len(ends)
        op = Op(0, 0, "invoke", process, "word", None, value)
        environment.clients.start(op, process, lambda _, outcome, node: ends.append((outcome, node)))
        for _ in range(100):
            if len(ends) > count:
                break
            run_for(environment, timeout_s / 10)
    return ends


def over_http(
    make: Callable[[], Session], answer: Answerer, calls: Sequence[tuple[int, str]], timeout_s: float
) -> Ends:
    """One call after the other, each by its process, to real servers."""

    def server_of(node: str) -> Server:
        def written(body: dict[str, Any]) -> bytes:
            said = answer(node, body["text"])
            return b"" if said is None else response(encode(Word(said)))

        return Server(written)

    async def main() -> Ends:
        servers = {node: server_of(node) for node in NODES}
        addresses = {node: await server.open() for node, server in servers.items()}
        clients = Clients("words", Formats(Word, Word, Word), lambda process: make(), addresses, timeout_s)
        try:
            return [
                await clients.call(Call("word", None, value), process, NODES[process % 3]) for process, value in calls
            ]
        finally:
            clients.close()
            for server in servers.values():
                server.close()
            await asyncio.sleep(0)

    return asyncio.run(main())


Carrier = Callable[[Callable[[], Session], Answerer, Sequence[tuple[int, str]], float], Ends]
both = pytest.mark.parametrize("carried", [over_sim, over_http])


def echo(node: str, asked: str) -> str:
    return f"{node} {asked}"


@both
def test_a_process_asks_its_home_node(carried: Carrier) -> None:
    ends = carried(Plain, echo, [(0, "a"), (4, "b")], 5.0)
    assert ends == [(Outcome("ok", "n1 a"), "n1"), (Outcome("ok", "n2 b"), "n2")]


@both
def test_a_redirect_is_an_ask_and_the_op_names_who_was_asked_last(carried: Carrier) -> None:
    def answer(node: str, asked: str) -> str:
        return "go to n3" if node == "n1" else echo(node, asked)

    assert carried(Redirected, answer, [(0, "a")], 5.0) == [(Outcome("ok", "n3 here?"), "n3")]


@both
def test_a_node_that_does_not_exist_was_certainly_not_asked(carried: Carrier) -> None:
    found = carried(Redirected, lambda node, asked: "go to n9", [(0, "a")], 5.0)
    assert found == [(Outcome("info", "a", ["not-sent", "no node is called 'n9'"]), "n1")]


@both
def test_an_op_over_two_shards_asks_both(carried: Carrier) -> None:
    assert carried(TwoShards, echo, [(0, "a")], 5.0) == [(Outcome("ok", ["n2 part", "n3 part"]), "n3")]


@both
def test_an_op_goes_to_the_shard_of_its_key_wherever_its_process_is_at_home(carried: Carrier) -> None:
    keys = [str(number) for number in range(6)]
    ends = carried(Sharded, echo, [(process, key) for process, key in enumerate(keys)], 5.0)
    assert [node for _, node in ends] == ["n1" if TOPOLOGY.shard_of(key) == "a" else "n2" for key in keys]
    assert {node for _, node in ends} == {"n1", "n2"}


def test_a_target_is_told_for_whom_it_opens_a_session() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        return (Reply(event.request_id, event.body),) if isinstance(event, Request) else ()

    environment, target = world_of(script)
    for process in (0, 0, 1):
        op = Op(0, 0, "invoke", process, "word", None, "a")
        environment.clients.start(op, process, lambda op, outcome, node: None)
        run_for(environment, 1.0)
    assert target.opened == [("kv", 0, PLAIN), ("kv", 1, PLAIN)]


@both
def test_a_session_carries_its_context_from_op_to_op_until_one_ends_info(carried: Carrier) -> None:
    silent_at = iter([False, False, True, False])
    ends = carried(
        Causal,
        lambda node, asked: None if next(silent_at) else f"<{asked}>",
        [(0, "a"), (0, "b"), (0, "c"), (3, "d")],
        0.3,
    )
    assert [outcome for outcome, _ in ends] == [
        Outcome("ok", "<seen nothing>"),
        Outcome("ok", "<seen <seen nothing>>"),
        Outcome("info", "c", "timeout"),
        Outcome("ok", "<seen nothing>"),
    ]


@both
def test_sessions_of_two_processes_share_nothing(carried: Carrier) -> None:
    ends = carried(Causal, echo, [(0, "a"), (1, "b")], 5.0)
    assert [outcome.value for outcome, _ in ends] == ["n1 seen nothing", "n2 seen nothing"]


@both
def test_an_op_that_nothing_need_be_asked_for_ends_at_once(carried: Carrier) -> None:
    def answer(node: str, asked: str) -> str:
        raise AssertionError("nobody asks")

    assert carried(Local, answer, [(1, "a")], 5.0) == [(Outcome("ok", "known"), "n2")]


@both
def test_an_ask_in_answer_to_the_time_out_is_not_carried_and_the_op_is_info(carried: Carrier) -> None:
    asked: list[str] = []

    def answer(node: str, said: str) -> None:
        asked.append(said)

    assert carried(Stubborn, answer, [(0, "a")], 0.2) == [(Outcome("info", "a", "timeout"), "n1")]
    assert asked == ["a"]


@both
def test_who_waits_no_longer_for_a_node_may_ask_another(carried: Carrier) -> None:
    found = carried(Impatient, lambda node, asked: None if node == "n1" else echo(node, asked), [(0, "a")], 5.0)
    assert found == [(Outcome("ok", "n2 b"), "n2")]


@both
def test_no_patience_is_longer_than_the_time_of_the_op(carried: Carrier) -> None:
    found = carried(Impatient, lambda node, asked: None, [(0, "a")], 0.3)
    assert found == [(Outcome("info", "a", "timeout"), "n2")]


@both
@pytest.mark.parametrize(
    ("session", "words"),
    [
        (
            Endless,
            f"Endless is wrong: it asked more than {ASKS_MAX} times for one op; the op was word of key None, value 'a'",
        ),
        (Raising, "Raising is wrong: on_reply.* raised KeyError: 'lost'"),
        (Misaddressed, "Misaddressed is wrong: it asked Call.*, which is no request of the interface"),
        (Nonsense, "Nonsense is wrong: it answered 'ok', which is neither an Ask nor an Outcome"),
    ],
)
def test_a_session_that_breaks_its_contract_is_named_with_the_op(
    carried: Carrier, session: Callable[[], Session], words: str
) -> None:
    with pytest.raises(SessionFailed, match=words):
        carried(session, echo, [(0, "a")], 5.0)


def pending_of(runner: SessionRunner, process: int = 0) -> PendingCall:
    pending = PendingCall(process, Call("word", None, "a"), "n1")
    runner.begin(pending)
    return pending


def test_a_late_answer_to_an_earlier_ask_counts_for_nothing() -> None:
    runner = SessionRunner(lambda process: TwoShards(), Word, NODES)
    pending = pending_of(runner)
    assert runner.answered(pending, 1, Word("first"))
    assert not runner.answered(pending, 1, Word("first, once more"))
    assert pending.node == "n3"
    assert runner.answered(pending, 2, Word("second"))
    assert pending.outcome == Outcome("ok", ["first", "second"])
    assert not runner.answered(pending, 2, Word("too late"))


def test_a_broken_session_leaves_its_op_indeterminate() -> None:
    runner = SessionRunner(lambda process: Endless(), Word, NODES, asks_max=3)
    pending = pending_of(runner)
    for number in (1, 2):
        assert runner.answered(pending, number, Word(""))
    with pytest.raises(SessionFailed, match="more than 3 times"):
        runner.answered(pending, 3, Word(""))
    assert pending.outcome == Outcome("info", "a", ["session", "it asked more than 3 times for one op"])


def test_a_run_with_a_session_that_asks_for_ever_keeps_its_history_and_is_a_failure_of_the_harness() -> None:
    sink = MemorySink("endless")
    result = execute(prepare(RunSpec(target=ENDLESS, env="sim", time_limit_s=2.0)), sink)
    assert [failure.phase for failure in result.harness] == ["run"]
    assert (
        f"EndlessSession is wrong: it asked more than {ASKS_MAX} times for one op; the op was"
        in result.harness[0].error
    )
    last = list(sink.history())[-1]
    assert (last.type, last.error[0]) == ("info", "session")
    assert result.verdict.validity is not Validity.INVALID
