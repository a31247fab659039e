"""What a person asks a node of Paxos with curl, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.machines.consensus import Learn, Propose
from targets.machines.machine import Answer
from targets.paxos.client_routes import PROPOSE_AND_LEARN
from targets.tests.running import RunningNode, running, started

PROPOSE, LEARN = PROPOSE_AND_LEARN


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A cluster of one."""
    directory = tmp_path_factory.mktemp("paxos")
    with running(directory, "--target", "paxos-single", "--interface", "consensus") as one:
        yield one


def test_a_proposal_is_answered_with_what_was_chosen(node: RunningNode) -> None:
    assert node.ask("GET", "/paxos/learn") == (200, {"chosen": False})
    assert node.ask("POST", "/paxos/propose", {"value": "Hello Paxos"}) == (
        200,
        {"chosen": True, "value": "Hello Paxos"},
    )
    assert node.ask("POST", "/paxos/propose", {"value": 7}) == (200, {"chosen": False, "value": "Hello Paxos"})
    assert node.ask("GET", "/paxos/learn") == (200, {"chosen": True, "value": "Hello Paxos"})
    assert node.ask("POST", "/paxos/propose", {"key": "k", "value": {"a": [1]}}) == (
        200,
        {"chosen": True, "value": {"a": [1]}},
    )
    assert node.ask("POST", "/consensus", {"f": "learn", "key": "k"}) == (200, {"status": "ok", "result": {"a": [1]}})
    assert node.status()["chosen"] == "Hello Paxos"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/paxos/propose", {"value": None}, 400, "null"),
        ("POST", "/paxos/propose", {}, 400, "value"),
        ("POST", "/paxos/propose", {"value": 1, "valeu": 2}, 400, "valeu"),
        ("POST", "/paxos/propose", b"{", 400, ""),
        ("GET", "/paxos/propose", None, 405, "takes POST"),
        ("PUT", "/paxos/learn", None, 405, "takes POST"),
        ("GET", "/paxos/prepare", None, 405, "takes POST"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    node: RunningNode, method: str, path: str, body: object, status: int, words: str
) -> None:
    code, answer = node.ask(method, path, body)  # type: ignore[arg-type]
    assert (code, words in answer["error"]) == (status, True), answer


def test_a_node_whose_quorums_do_not_fit_its_cluster_does_not_start(tmp_path: Path) -> None:
    options = ("--option", "phase_1_quorum=1", "--option", "phase_2_quorum=1", "--peer", "n2=127.0.0.1:9")
    with started(tmp_path, "--target", "paxos", *options) as process:
        assert process.exit_status() == 254
        assert "their sum must exceed the number of nodes, 2" in process.error_text()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Answer("not-leader", leader="n2"), "n2"),
        (Answer("not-leader"), "no leader"),
        (Answer("superseded"), "another leader"),
        (Answer("unknown"), "may still be chosen"),
    ],
)
def test_what_nobody_knows_is_said(reply: Answer[None], words: str) -> None:
    for route, request in ((PROPOSE, Propose(value=1)), (LEARN, Learn())):
        decision = route.answer(request, reply)
        assert decision.chosen is None
        assert words in decision.error
