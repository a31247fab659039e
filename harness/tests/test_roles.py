"""Faults name the roles of a target whose nodes are not alike."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from checkers.verdict import Validity
from checkers.windows import fault_windows
from harness.errors import UsageError
from harness.run.execute import execute
from harness.run.plan import prepare
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from targets.raft.target import RaftTarget
from targets.topology import Topology


class Roled(RaftTarget):
    """Raft, of which the first two nodes are called coordinators and the others workers."""

    name = "roled"

    def topology(self, nodes: Sequence[str], options: msgspec.Struct) -> Topology:
        return Topology({node: "coordinator" if i < 2 else "worker" for i, node in enumerate(nodes)})


TARGET = Roled()


def spec(*nemesis: str, target: str = f"{__name__}:TARGET") -> RunSpec:
    return RunSpec(target=target, env="sim", nemesis=nemesis, time_limit_s=20.0, interval_s=2.0, seed=4)


def test_faults_strike_the_nodes_of_their_role_and_no_others() -> None:
    sink = MemorySink("roles")
    result = execute(prepare(spec("kill:coordinator", "pause:worker", "partition:coordinator", "kill:primary")), sink)
    assert result.verdict.validity is Validity.VALID, result.verdict.reason
    windows = fault_windows(sink.history())
    killed = {node for window in windows if window.name == "kill" for node in window.nodes}
    paused = {node for window in windows if window.name == "pause" for node in window.nodes}
    cuts = [window for window in windows if window.name == "partition:coordinator"]
    assert killed == {"n1", "n2"}
    assert paused
    assert paused <= {"n3", "n4", "n5"}
    assert cuts
    for window in cuts:
        side = min(window.what.split(" | "), key=len).split()
        assert set(side) <= {"n1", "n2"}
    assert any(window.name == "kill:primary" for window in windows)


@pytest.mark.parametrize(
    ("nemesis", "target", "words"),
    [
        ("kill:leader", f"{__name__}:TARGET", "the roles of this target are coordinator, worker"),
        ("partition:cordinator", f"{__name__}:TARGET", "did you mean 'partition:coordinator'"),
        ("kill:coordinator", "raft", "this target has no roles"),
        ("clock:worker", f"{__name__}:TARGET", "unknown fault 'clock:worker'"),
    ],
)
def test_a_role_that_does_not_exist_is_refused_before_the_run(nemesis: str, target: str, words: str) -> None:
    with pytest.raises(UsageError, match="--nemesis: unknown fault") as caught:
        prepare(spec(nemesis, target=target))
    assert words in str(caught.value)
