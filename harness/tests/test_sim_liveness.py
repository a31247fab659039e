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
from harness.tests.simulated import Script, Scripted, ScriptedTarget, Word, WordSession, silent, world_of
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
    probe = liveness.Probe(environment.clients, [ASKED])
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
    probe = liveness.Probe(environment.clients, [ASKED])
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


class Of(ScriptedTarget):
    """Says that so many nodes are enough."""

    least = 2

    def nodes_to_serve(
        self, nodes: Sequence[str], statuses: Mapping[str, Mapping[str, Any]], options: msgspec.Struct
    ) -> int:
        assert set(statuses) == set(nodes), "all run when it is asked"
        return self.least


def away(environments: Sequence[SimEnvironment]) -> set[str]:
    """The nodes of the last one that are cut off from all others; nobody where there is none yet."""
    if not environments:
        return set()
    links = environments[-1].network.links
    return {
        name
        for name in links
        if sum(links[name][other].is_cut and links[other][name].is_cut for other in links if other != name) >= 2
    }


def test_a_majority_serves_first_and_then_all() -> None:
    seen: list[tuple[set[str], str]] = []

    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        if isinstance(event, Request):
            seen.append((away(environments), core.node))
        return serving(core, event)

    environments: list[SimEnvironment] = []
    environment, _ = world_of(script, target=Of(script), nodes=["n1", "n2", "n3"], liveness_s=2.0)
    environments.append(environment)
    environment._first_ops = {"say": ASKED, "shout": ASKED}
    found = environment.findings()["liveness"]
    assert found.validity is Validity.VALID, found.reason
    assert found.stats["some_served_after_ns"] < found.stats["served_after_ns"] + 1_000_000_000
    (gone,) = seen[0][0]
    assert [cut for cut, _ in seen] == [{gone}, {gone}, set(), set()], "one op of each kind, and then of each again"
    assert gone not in {node for _, node in seen[:2]}
    assert {node.state for node in environment.nodes} == {"running"}


def test_a_cluster_that_serves_only_when_all_are_there_is_not_live() -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        return () if away(environments) else serving(core, event)

    environments: list[SimEnvironment] = []
    environment, _ = world_of(script, target=Of(script), nodes=["n1", "n2", "n3"], liveness_s=2.0)
    environments.append(environment)
    environment._first_ops = {"say": ASKED}
    found = environment.findings()["liveness"]
    assert found.validity is Validity.INVALID
    assert "served no operation" in found.reason
    assert found.evidence_of(Liveness).away in [("n1",), ("n2",), ("n3",)]


@pytest.mark.parametrize("least", [3, 4])
def test_where_it_takes_all_nobody_is_taken_away(least: int) -> None:
    def script(core: Scripted, event: Event) -> Sequence[Effect]:
        assert not away(environments)
        return serving(core, event)

    environments: list[SimEnvironment] = []
    target = Of(script)
    target.least = least
    environment, _ = world_of(script, target=target, nodes=["n1", "n2", "n3"], liveness_s=2.0)
    environments.append(environment)
    environment._first_ops = {"say": ASKED}
    found = environment.findings()
    assert found["liveness"].validity is Validity.VALID, found["liveness"].reason
    assert found["nodes"].validity is Validity.VALID
