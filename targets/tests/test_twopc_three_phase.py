"""Three-phase commit, rule by rule."""

from __future__ import annotations

from histories.tracing import Custom
from targets.tests.paxos_stage import Stage, of_type
from targets.tests.twopc_stage import at_rest, core, from_to, read, stage, timer_of_kind, voted
from targets.twopc import messages as told


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
                on.fire(node, timer_of_kind(on, node, "doubt"))
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
    on.fire("c", timer_of_kind(on, "c", "voting"))
    on.deliver(lambda letter: "q" not in letter[:2])
    on.lose()
    _alone(on, "q")
    decisions = {node: event.fields["decision"] for node, event in on.told(Custom) if event.name == "decided"}
    assert decisions == {"c": "commit", "p": "commit", "q": "abort"}


def _alone(on: Stage, node: str) -> None:
    for _ in range(3):
        if on.timers[node]:
            on.fire(node, timer_of_kind(on, node, "doubt"))
        on.lose()


def test_a_node_that_was_down_does_not_decide_by_itself() -> None:
    on = stage(protocol="3pc")
    voted(on)
    on.crash("c", "q")
    on.lose()
    on.restart("p")
    _alone(on, "p")
    assert core(on, "p").status()["in_doubt"] == 1
