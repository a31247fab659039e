"""How the members of a program outside the project are changed, against a cluster that answers as it is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from harness.environments.real.program_members import ProgramMembers
from targets.target import Address, ChangeOutcome, Membership, Ports

NODES = ("n1", "n2", "n3")


class Cluster:
    """Stands for the target, the processes, the disks and what controls them. outcomes: how a change of a node ends, done unless it
    is here; an exception is raised. done: what was done, in order."""

    def __init__(self, outcomes: Mapping[str, ChangeOutcome | Exception], leader: str | None = "n1") -> None:
        self.outcomes = outcomes
        self.leader = leader
        self.voters: tuple[str, ...] = NODES
        self.alive = set(NODES)
        self.done: list[str] = []

    async def members(self, nodes: Mapping[str, Ports]) -> Membership | None:
        assert set(nodes) == self.alive  # Who is dead is not waited for.
        return Membership(self.leader, self.voters, (), True, ()) if self.leader else None

    async def change_members(self, name: str, node: str, leader: Ports) -> ChangeOutcome:
        assert leader["client"].host == self.leader
        self.done.append(f"{name} {node}")
        outcome = self.outcomes.get(node, ChangeOutcome(True, ""))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.is_done and name == "remove-node" and node != "n3":
            self.alive.discard(node)  # n3 does not end by itself.
        return outcome

    def excuse(self, nodes: Collection[str]) -> None:
        self.done += [f"excuse {node}" for node in nodes]

    def states(self) -> dict[str, str]:
        return {node: "running" if node in self.alive else "dead" for node in NODES}

    def kill(self, nodes: Collection[str]) -> None:
        self.done += [f"kill {node}" for node in nodes]
        self.alive -= set(nodes)

    def start(self, nodes: Collection[str]) -> None:
        self.done += [f"start {node}" for node in nodes]
        self.alive |= set(nodes)

    def damage(self, kind: str, nodes: Collection[str], parameters: object) -> None:
        assert not self.alive & set(nodes)
        self.done += [f"{kind} {node}" for node in nodes]


def members(cluster: Any) -> ProgramMembers:
    addresses = {node: {"client": Address(node, 1)} for node in NODES}
    return ProgramMembers(cluster, addresses, lambda: cluster, cluster, cluster)


def test_a_removed_member_is_dead_and_its_data_is_wiped_so_that_it_comes_back_as_another() -> None:
    cluster = Cluster({})
    assert [result.is_done for result in members(cluster).change([("remove-node", "n2")])] == [True]
    assert cluster.done == ["excuse n2", "remove-node n2", "wipe n2"]
    members(cluster).change([("add-node", "n2")])
    assert cluster.done[-1] == "start n2"


def test_a_removed_member_that_does_not_end_is_killed() -> None:
    cluster = Cluster({})
    members(cluster).change([("remove-node", "n3")])
    assert cluster.done[-2:] == ["kill n3", "wipe n3"]


def test_the_data_of_a_member_that_may_still_be_one_is_kept() -> None:
    cluster = Cluster({"n2": ChangeOutcome(False, "unhealthy cluster"), "n3": TimeoutError("request timed out")})
    refused, unknown = members(cluster).change([("remove-node", "n2"), ("remove-node", "n3")])
    assert (refused.is_done, refused.is_known, refused.why) == (False, True, "unhealthy cluster")
    assert (unknown.is_done, unknown.is_known) == (False, False)
    assert not [done for done in cluster.done if done.startswith(("wipe", "kill"))]


def test_a_node_whose_removal_came_to_be_known_later_is_added_as_another() -> None:
    cluster = Cluster({})
    cluster.voters, cluster.alive = ("n1", "n3"), {"n1", "n3"}
    members(cluster).change([("add-node", "n2")])
    assert cluster.done == ["wipe n2", "start n2"]
    members(cluster).change([("add-node", "n2")])
    assert cluster.done == ["wipe n2", "start n2", "start n2"]  # It runs, and is about to join.


def test_the_new_leader_keeps_its_data() -> None:
    cluster = Cluster({})
    assert members(cluster).change([("transfer-leadership", "n2")])[0].is_done
    assert cluster.done == ["transfer-leadership n2"]


def test_nothing_is_asked_where_nobody_leads() -> None:
    cluster = Cluster({}, leader=None)
    assert members(cluster).view() is None
    assert members(cluster).change([("remove-node", "n2")])[0].why == "no node leads"
    assert not cluster.done
