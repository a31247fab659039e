"""Healed, a cluster has to serve, and all of its nodes have to answer and agree; who cannot come back is not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from checkers.evidence import Liveness
from checkers.verdict import Validity, Verdict
from harness.environments.sim import liveness
from harness.environments.sim.environment import SimEnvironment
from harness.tests.simulated import Script, Scripted, Word, WordSession, silent, world_of
from histories.op import Op
from targets.core import Effect, Event, Reply, Request
from targets.session import NoReply, Outcome

ASKED = Op(0, 0, "invoke", 0, "say", None, "hello")


def serving(_core: Scripted, event: Event) -> Sequence[Effect]:
    """Answers every request."""
    return [Reply(event.request_id, Word("done"))] if isinstance(event, Request) else ()


def agreed(_statuses: Mapping[str, Mapping[str, Any]]) -> bool:
    return True


def nobody(_statuses: Mapping[str, Mapping[str, Any]]) -> Any:
    return None


def check(
    environment: SimEnvironment,
    heal: Callable[[], None] = lambda: None,
    converged: Callable[[Mapping[str, Mapping[str, Any]]], bool] = agreed,
    leader: Callable[[Mapping[str, Mapping[str, Any]]], Any] = nobody,
) -> Verdict:
    probe = liveness.Probe(environment.clients, ASKED)
    return liveness.check(environment.world, environment.nodes, heal, probe, 1.0, converged, leader)


def cluster(script: Script = serving, count: int = 3) -> SimEnvironment:
    return world_of(script, nodes=[f"n{number}" for number in range(1, count + 1)], kill_inside_step=0)[0]


def test_a_cluster_that_serves_answers_and_agrees_is_live() -> None:
    verdict = check(cluster())
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.stats["tries"] == 1


def test_a_leader_that_changes_all_the_time_is_no_leader() -> None:
    environment = cluster()
    every_ns = 100_000_000
    verdict = check(environment, leader=lambda _statuses: environment.world.now_ns // every_ns)
    assert verdict.validity is Validity.INVALID
    assert "one leader after another" in verdict.reason


def test_a_leader_may_change_once() -> None:
    environment = cluster()
    change_ns = environment.world.now_ns + 200_000_000
    assert (
        check(environment, leader=lambda _statuses: environment.world.now_ns > change_ns).validity is Validity.INVALID
    )
    environment = cluster()
    probe = liveness.Probe(environment.clients, ASKED)
    change_ns = environment.world.now_ns + 1_000_000_000
    verdict = liveness.check(
        environment.world,
        environment.nodes,
        lambda: None,
        probe,
        5.0,
        agreed,
        lambda _statuses: environment.world.now_ns > change_ns,
    )
    assert verdict.validity is Validity.VALID, verdict.reason


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_node_that_does_not_answer_is_not_passed_over(how: str) -> None:
    environment = cluster()
    getattr(environment.cluster.processes, how)(["n3"])
    verdict = check(environment)
    assert verdict.validity is Validity.INVALID
    assert "did not converge within 1 s" in verdict.reason
    assert "n3: " + ("dead" if how == "kill" else "paused") in verdict.reason


def test_a_node_that_answers_in_the_end_is_waited_for() -> None:
    environment = cluster()
    environment.cluster.processes.pause(["n3"])

    def resume(_argument: object) -> None:
        environment.cluster.processes.resume(["n3"])

    environment.world.at(environment.world.now_ns + 500_000_000, resume, None)
    verdict = check(environment)
    assert verdict.validity is Validity.VALID, verdict.reason
    assert verdict.stats["converged_after_ns"] >= 500_000_000


def test_a_cluster_that_agrees_and_serves_nobody_is_not_live() -> None:
    verdict = check(cluster(silent))
    assert verdict.validity is Validity.INVALID
    assert "served no operation" in verdict.reason


@pytest.mark.parametrize(
    ("outcome", "is_service"),
    [
        (Outcome("ok"), True),
        (Outcome("fail", error="held", is_refused=True), True),
        (Outcome("fail", error="no leader"), False),
        (Outcome("info", error="no leader"), False),
    ],
)
def test_only_what_the_state_decides_is_service(outcome: Outcome, is_service: bool) -> None:
    class Deaf(WordSession):
        def on_reply(self, reply: msgspec.Struct | NoReply) -> Outcome:
            return outcome

    environment, target = world_of(serving)
    target.make_session = Deaf
    assert (check(environment).validity is Validity.VALID) == is_service


def test_a_cluster_that_serves_and_never_agrees_is_not_live() -> None:
    asked: list[set[str]] = []

    def apart(statuses: Mapping[str, Mapping[str, Any]]) -> bool:
        asked.append(set(statuses))
        return False

    verdict = check(cluster(), converged=apart)
    assert verdict.validity is Validity.INVALID
    assert "did not converge" in verdict.reason
    assert asked[-1] == {"n1", "n2", "n3"}


def test_the_cluster_is_healed_before_anything_is_asked_of_it() -> None:
    environment = cluster()
    processes = environment.cluster.processes
    processes.kill(["n1", "n2", "n3"])

    def heal() -> None:
        processes.start(["n1", "n2", "n3"])

    assert check(environment).validity is Validity.INVALID
    assert check(environment, heal).validity is Validity.VALID


@pytest.mark.parametrize(
    ("count", "damaged", "is_asked"), [(3, 0, True), (3, 1, True), (3, 2, False), (4, 1, True), (4, 2, False)]
)
def test_nodes_with_damaged_disks_need_not_come_back_and_without_a_majority_nothing_is_asked(
    count: int, damaged: int, is_asked: bool
) -> None:
    environment = cluster(count=count)
    broken = [f"n{number}" for number in range(1, damaged + 1)]
    environment.cluster.processes.kill(broken)
    environment.cluster.disks.damage("wipe", broken, {})
    verdict = check(environment)
    assert verdict.validity is Validity.VALID, verdict.reason
    if is_asked:
        assert verdict.stats["tries"] >= 1
    else:
        assert verdict.evidence_of(Liveness).damaged == tuple(broken)
