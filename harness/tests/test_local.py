"""Nodes as processes on this machine: faults do what they say, what is measured is what is so, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkers.evidence import EndedNodes
from checkers.verdict import Validity
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.local import supervisor_client
from harness.environments.local.environment import LocalEnvironment
from harness.environments.local.supervisor import Plan
from harness.environments.local.supervisor_client import Supervision
from harness.environments.real import labelled_processes
from harness.environments.real.executor import ExecutorFailed
from harness.environments.real.fork_server import Spawn
from harness.environments.real.labelled_processes import Ended
from harness.errors import HarnessError, UsageError
from harness.tests.scripted import Scripted
from harness.tests.starting import start
from histories.faults import FaultResult
from histories.op import Op
from nemesis.capabilities import FaultError
from targets.node import CRASHED
from targets.tests.echo import TARGET, Options

pytestmark = pytest.mark.real

NODES = ("n1", "n2", "n3")
SECOND = 10**9


def deployment(directory: Path, **env_options: Any) -> Deployment:
    return Deployment(
        run_id=f"test-{os.getpid()}-{time.monotonic_ns()}",
        directory=directory,
        target=TARGET,
        options=Options(),
        bugs=frozenset(),
        nodes=NODES,
        seed=7,
        env_options=env_options,
    )


@contextmanager
def up(directory: Path) -> Iterator[LocalEnvironment]:
    environment = LocalEnvironment(deployment(directory))
    environment.check()
    try:
        environment.up()
        yield environment
    finally:
        environment.down()
        assert labelled_processes.labelled(environment.deployment.run_id) == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEnvironment]:
    """For tests that put everything back as it was."""
    with up(tmp_path_factory.mktemp("local")) as environment:
        yield environment


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def call(environment: LocalEnvironment, f: str, node: str = "n1", key: str = "", value: Any = None) -> Op:
    """One client call, driven as in a run; its completion."""
    process = NODES.index(node)
    calls = {process: (f, key, value)}
    interpreter = Scripted(len(NODES), lambda process: calls.pop(process, None), 60 * SECOND)
    environment.drive(interpreter, Idle())
    assert len(interpreter.history) == 2
    return interpreter.history[1]


class Idle:
    def invoke(self, op: Op) -> FaultResult:
        raise AssertionError(op)


def arrivals(environment: LocalEnvironment, node: str) -> Mapping[str, int]:
    pinged: Mapping[str, int] = environment.statuses()[node]["pinged"]
    return pinged


def test_calls_reach_their_node_and_follow_redirects(shared: LocalEnvironment) -> None:
    assert call(shared, "write", "n2", "a", 5).type == "ok"
    found = call(shared, "read", "n2", "a")
    assert (found.type, found.value, found.node) == ("ok", 5, "n2")
    found = call(shared, "go-to", "n1", value="n3")
    assert (found.type, found.value, found.node) == ("ok", "n3", "n3")
    assert shared.cluster.primary() == "n1"
    assert shared.findings()["nodes"].validity is Validity.VALID


def assert_reachability_is_the_grudge(environment: LocalEnvironment, rounds: int) -> None:
    """Over `rounds` random grudges, one-way ones included."""
    rng = random.Random(3)
    links = environment.cluster.links
    for _ in range(rounds):
        grudge = {node: frozenset(rng.sample(NODES, rng.randint(0, 3))) - {node} for node in NODES}
        links.drop(grudge)
        assert links.probe() == {
            to: {source: "cut" if source in grudge[to] else "answers" for source in NODES if source != to}
            for to in NODES
        }
    links.heal()
    assert {reach for row in links.probe().values() for reach in row.values()} == {"answers"}


def test_the_measured_reachability_is_the_grudge(shared: LocalEnvironment) -> None:
    assert_reachability_is_the_grudge(shared, 6)


@pytest.mark.long
def test_the_measured_reachability_is_the_grudge_over_fifty(shared: LocalEnvironment) -> None:
    assert_reachability_is_the_grudge(shared, 50)


def test_a_cut_is_silent_and_one_way_and_a_heal_brings_the_peers_back(shared: LocalEnvironment) -> None:
    until(lambda: min(arrivals(shared, "n1").values()) > 0)
    shared.cluster.links.drop({"n1": frozenset({"n2"})})
    before = arrivals(shared, "n1")
    until(lambda: arrivals(shared, "n1")["n3"] > before["n3"] + 10)
    assert arrivals(shared, "n1")["n2"] <= before["n2"] + 2
    there = arrivals(shared, "n2")["n1"]
    until(lambda: arrivals(shared, "n2")["n1"] > there)
    shared.cluster.links.heal()
    until(lambda: arrivals(shared, "n1")["n2"] > before["n2"] + 10)


def test_processes_are_killed_started_paused_and_resumed(shared: LocalEnvironment) -> None:
    cluster = shared.cluster
    assert call(shared, "write", "n2", "kept", 1).type == "ok"
    cluster.processes.kill(["n2"])
    cluster.processes.kill(["n2"])
    assert cluster.processes.states() == {"n1": "running", "n2": "dead", "n3": "running"}
    assert cluster.links.probe()["n2"] == {"n1": "down", "n3": "down"}
    assert cluster.links.probe()["n1"] == {"n2": "answers", "n3": "answers"}
    assert call(shared, "read", "n1").type == "ok", "a dead node does not keep the others from beginning"
    cluster.processes.pause(["n3", "n2"])
    assert cluster.processes.states() == {"n1": "running", "n2": "dead", "n3": "paused"}
    assert cluster.links.probe()["n3"]["n1"] == "answers", "the kernel of a paused process is reached"
    assert set(shared.statuses()) == {"n1"}
    start(cluster, ["n1", "n2", "n3"])
    assert cluster.processes.states() == {"n1": "running", "n2": "running", "n3": "paused"}
    cluster.processes.resume(NODES)
    assert set(cluster.processes.states().values()) == {"running"}
    assert call(shared, "read", "n2", "kept").value == 1
    assert shared.crashed_nodes() == []


def test_clocks_are_moved_measured_and_restored_also_over_a_restart_and_a_pause(shared: LocalEnvironment) -> None:
    cluster, clocks = shared.cluster, shared.cluster.clocks
    assert clocks is not None
    hour_ns = 3600 * SECOND

    def reads(node: str, offset_ns: int) -> bool:
        found = clocks.offsets_ns()[node]
        return found is not None and abs(found - offset_ns) < SECOND // 10

    clocks.set_offset({"n1": hour_ns, "n2": -hour_ns})
    assert reads("n1", hour_ns)
    assert reads("n2", -hour_ns)
    assert reads("n3", 0)
    cluster.processes.kill(["n1"])
    assert clocks.offsets_ns()["n1"] is None
    start(cluster, ["n1"])
    assert reads("n1", hour_ns), "the machine's clock is still wrong"
    cluster.processes.pause(["n2"])
    clocks.heal()
    assert clocks.rates()["n2"] is None
    cluster.processes.resume(["n2"])
    assert all(reads(node, 0) for node in NODES)
    clocks.set_rate({"n3": 1.5})
    rates = clocks.rates()
    assert rates["n1"] == pytest.approx(1.0, abs=0.05)
    assert rates["n3"] == pytest.approx(1.5, abs=0.05)
    with pytest.raises(FaultError, match="n3: rate: 0 is not between"):
        clocks.set_rate({"n3": 0})
    clocks.heal()
    assert clocks.rates()["n3"] == pytest.approx(1.0, abs=0.05)
    assert all(reads(node, 0) for node in NODES)


def test_bad_links_are_measured_and_calmed(shared: LocalEnvironment) -> None:
    packets = shared.cluster.packets
    packets.disturb("slow", [("n1", "n2")], {"delay_ms": 50, "jitter_ms": 0})
    packets.disturb("loss", [("n2", "n3"), ("n3", "n2")], {"probability": 0.1})
    measured = json.loads(json.dumps(packets.measure()))
    assert measured["in_force"] == {"slow": [["n1", "n2"]], "loss": [["n2", "n3"], ["n3", "n2"]]}
    slow = measured["links"][0]
    assert (slow["source"], slow["destination"], slow["bad"]) == (
        "n1",
        "n2",
        {"slow": {"delay_ms": 50, "jitter_ms": 0}},
    )
    assert slow["probe_ms"] >= 50
    packets.disturb("slow", [], {})
    assert "slow" not in packets.measure()["in_force"]  # type: ignore[operator]
    packets.heal()
    assert packets.measure() == {"in_force": {}, "links": []}
    with pytest.raises(FaultError, match="links on this machine cannot corrupt; they can loss, rate, reorder, slow"):
        packets.disturb("corrupt", [("n1", "n2")], {"probability": 0.1})


def test_disks_of_dead_nodes_are_damaged_and_the_damage_is_said(shared: LocalEnvironment) -> None:
    cluster = shared.cluster
    for key in ("a", "b", "c"):
        assert call(shared, "write", "n3", key, 1).type == "ok"
    with pytest.raises(FaultError, match="n3 is running: only the disk of a dead node"):
        cluster.disks.damage("wipe", ["n3"], {})
    cluster.processes.kill(["n3"])
    done = msgspec.to_builtins(cluster.disks.damage("truncate", ["n3"], {"bytes": 5}))
    assert done["n3"]["file"] == "wal.log"
    assert done["n3"]["bytes_before"] - done["n3"]["bytes_after"] == 5
    start(cluster, ["n3"])
    assert shared.statuses()["n3"]["disk_damage"] is None, "a torn end"
    cluster.processes.kill(["n3"])
    done = msgspec.to_builtins(cluster.disks.damage("bitflip", ["n3"], {"bits": 4}))
    assert len(done["n3"]["bytes"]) == done["n3"]["bits"] == 4
    start(cluster, ["n3"])
    assert shared.statuses()["n3"]["damage"], "the core was told"
    cluster.processes.kill(["n3"])
    done = msgspec.to_builtins(cluster.disks.damage("wipe", ["n3"], {}))
    assert "wal.log" in done["n3"]["removed"]
    start(cluster, ["n3"])
    status = shared.statuses()["n3"]
    assert (status["log_length"], status["damage"]) == (0, None)
    with pytest.raises(FaultError, match="disks in this environment cannot full; they can bitflip, truncate, wipe"):
        cluster.disks.damage("full", ["n3"], {})


def test_a_node_that_ends_by_itself_is_a_finding_and_a_killed_one_is_not(tmp_path: Path) -> None:
    with up(tmp_path) as environment:
        environment.cluster.processes.kill(["n2"])
        assert call(environment, "halt", "n1").type == "info"
        until(lambda: environment.crashed_nodes())
        halted = environment.findings()["nodes"]
        assert halted.validity is Validity.VALID
        (end,) = halted.evidence_of(EndedNodes).ended
        assert (end.node, end.status) == ("n1", 3)
        assert "the core halted: asked to" in end.words
        processes = environment.cluster.processes
        assert processes.refused(["n1", "n2", "n3"]) == {"n1": end.words}
        start(environment.cluster, ["n1"])
        processes.kill(["n1"])
        assert processes.refused(["n1"]) == {}, "killed, and did not refuse"
        start(environment.cluster, ["n1"])
        os.kill(environment.statuses()["n3"]["pid"], signal.SIGKILL)
        until(lambda: len(environment.crashed_nodes()) == 2)
        killed = environment.findings()["nodes"]
        assert killed.validity is Validity.UNKNOWN
        assert "n3 ended by itself by signal 9" in killed.reason
        assert processes.refused(["n3"]) == {}
        start(environment.cluster, ["n3"])
        assert call(environment, "raise", "n1").type == "info"
        until(lambda: len(environment.crashed_nodes()) == 3)
        raised = environment.findings()["nodes"]
        assert raised.validity is Validity.INVALID
        assert "stopped with status 4: the core raised ValueError: raise" in raised.reason


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = LocalEnvironment(deployment(tmp_path, base_port=str(port)))
        with pytest.raises(EnvironmentUnavailable, match=rf"port {port}, wanted for n1, is in use"):
            environment.check()
        with pytest.raises(HarnessError, match="in use"):
            environment.up()
        environment.down()


@pytest.mark.parametrize(
    ("options", "words"), [({"base_port": "80"}, "base_port is 80"), ({"baseport": 1}, "did you mean 'base_port'")]
)
def test_senseless_options_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        LocalEnvironment(deployment(tmp_path, **options))


def test_a_node_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "nodes" / "n2").mkdir(parents=True)
    (tmp_path / "nodes" / "n2" / "data").mkdir()
    (tmp_path / "nodes" / "n2" / "data" / "wal.log").mkdir()
    environment = LocalEnvironment(deployment(tmp_path))
    try:
        with pytest.raises(
            HarnessError, match=r"(?s)n2 ended by itself with status 254; its log ends:\n.*Is a directory"
        ):
            environment.up()
    finally:
        environment.down()
    assert labelled_processes.labelled(environment.deployment.run_id) == []


def test_a_process_is_dead_only_when_all_of_its_threads_are(tmp_path: Path) -> None:
    """Its first thread may end before one that is in a system call: what looks like a zombie still holds its files."""
    program = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.PyDLL(None).pthread_exit(None)"
    )
    run_id = f"threads-{os.getpid()}"
    supervision = Supervision(
        Plan(run_id, "0", "127.0.0.1", {"n1": {"http": 0}}, {"n1": "127.0.0.1"}), tmp_path / "supervisor.log"
    )
    try:
        spawn = Spawn("n1", [sys.executable, "-c", program], dict(os.environ), str(tmp_path), str(tmp_path / "log"))
        pid = supervision.spawn([spawn])["n1"]
        until(lambda: labelled_processes.state(pid) == "dead")
        assert supervision.states() == {"n1": "running"}
        assert supervision.spawn([spawn]) == {"n1": pid}
        supervision.signal(["n1"], "SIGKILL")
        assert supervision.states() == {"n1": "dead"}
        assert supervision.spawn([spawn]) != {"n1": pid}
    finally:
        supervision.end()


CONTROLLER = """
import sys
from pathlib import Path
from harness.tests.test_local import LocalEnvironment, deployment
environment = LocalEnvironment(deployment(Path(sys.argv[1])))
environment.up()
environment.cluster.processes.pause(["n2"])
print(environment.deployment.run_id, flush=True)
sys.stdin.read()
"""


def test_an_answer_that_a_ctrl_c_came_before_is_not_taken_for_the_next(tmp_path: Path) -> None:
    class Interrupting:
        def readline(self) -> bytes:
            raise KeyboardInterrupt

    supervision = Supervision(
        Plan("answers", "0", "127.0.0.1", {"n1": {"http": 0}}, {"n1": "127.0.0.1"}), tmp_path / "supervisor.log"
    )
    try:
        lines = supervision._lines
        supervision._lines = Interrupting()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            supervision.states()
        supervision._lines = lines
        assert supervision.ended() == []
        assert supervision.states() == {}
    finally:
        supervision.end()


@pytest.mark.parametrize("victim", ["controller", "supervisor", "controller with a forked child"])
def test_nothing_outlives_a_controller_or_supervisor_that_is_killed(tmp_path: Path, victim: str) -> None:
    program = CONTROLLER
    if "child" in victim:  # It holds a copy of every descriptor of the controller.
        program = program.replace("print(", "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint(")
    controller = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert controller.stdout is not None
    assert controller.stdin is not None
    try:
        run_id = controller.stdout.readline().strip()
        found = labelled_processes.labelled(run_id)
        assert len(found) == 2 + len(NODES), found  # The supervisor and the fork server.
        assert not any(process.is_orphan for process in found)
        supervisor = next(
            process.pid for process in found if "harness.environments.local.supervisor" in process.command
        )
        os.kill(supervisor if victim == "supervisor" else controller.pid, signal.SIGKILL)
        until(lambda: not labelled_processes.labelled(run_id), timeout_s=5.0)
    finally:
        controller.kill()
        controller.wait()
        controller.stdin.close()
        controller.stdout.close()


def test_what_a_killed_controller_left_is_found_by_its_label_and_ended() -> None:
    """Were the supervisor itself stopped when its controller died, nobody would clean up: `themis cleanup` does."""
    program = (
        "import subprocess, sys\nfrom harness.environments.real import labelled_processes\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}\n"
        "child = subprocess.Popen(['sleep', '60'], env=labelled_processes.labels('left-over'), **quiet)\n"
        "print(child.pid)"
    )
    orphan = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)
    own = subprocess.Popen(["sleep", "60"], env=labelled_processes.labels("not-left-over"))
    try:
        found = labelled_processes.find_leftovers()
        assert (orphan, "left-over", "sleep 60") in [
            (process.pid, process.run_id, process.command) for process in found
        ]
        assert own.pid not in [process.pid for process in found]
        os.kill(orphan, signal.SIGSTOP)
        assert labelled_processes.end([orphan]) == []
        assert orphan not in [process.pid for process in labelled_processes.labelled()]
    finally:
        own.kill()
        own.wait()


def test_a_supervisor_that_was_too_slow_once_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no fault of the run could be healed after one answer that came too late."""
    supervision = Supervision(
        Plan("slow", "0", "127.0.0.1", {"n1": {"http": 0}}, {"n1": "127.0.0.1"}), tmp_path / "supervisor.log"
    )
    try:
        os.kill(supervision.pid, signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(supervisor_client, "ANSWER_TIMEOUT_S", 0.1)
            with pytest.raises(OSError, match="does not answer: timed out"):
                supervision.states()
        os.kill(supervision.pid, signal.SIGCONT)
        assert supervision.ended() == []
        assert supervision.states() == {}
    finally:
        supervision.end()


def test_nodes_start_in_an_environment_whose_bytes_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell exports OLDPWD, which is the name of any folder."""
    monkeypatch.setitem(os.environb, b"OLDPWD", b"/tmp/\xff")
    place = tmp_path / os.fsdecode(b"a b\xff\nc")
    with up(place) as environment:
        assert set(environment.statuses()) == set(NODES)


class Mute:
    """A control that does not say who has ended, as one whose agent was killed."""

    def ended(self) -> list[Ended]:
        raise ExecutorFailed("the agent of n1 is gone")


@pytest.mark.long
@pytest.mark.real
def test_where_nobody_knows_who_ended_the_nodes_are_not_called_sound(tmp_path: Path) -> None:
    environment = LocalEnvironment(deployment(tmp_path))
    assert environment.findings()["nodes"].validity is Validity.VALID, "none was started"
    environment._supervision = Mute()  # type: ignore[assignment]
    found = environment.findings()["nodes"]
    assert found.validity is Validity.UNKNOWN
    assert found.reason == "nobody knows which nodes ended by themselves: the agent of n1 is gone"
    environment._ended = [Ended("n2", 1, CRASHED)]
    environment._log_end = lambda node: "the core raised"  # type: ignore[method-assign]
    environment.access._log_end = environment._log_end
    assert environment.findings()["nodes"].validity is Validity.INVALID, "what was known before stays"
