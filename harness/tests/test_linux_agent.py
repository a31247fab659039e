"""The agent as a real process on this machine, without a namespace: what it does, and that nothing outlives it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.environments.real import labelled_processes
from harness.environments.real.agent import WriteCaches
from harness.environments.real.agent_clients import AGENT, Agent, Agents
from harness.environments.real.executor import ExecutorFailed, PipeChannel, run_here
from harness.environments.real.fork_server import Spawn

pytestmark = pytest.mark.real

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def opened(log: Path) -> PipeChannel:
    return PipeChannel([sys.executable, "-I", "-S", str(AGENT)], dict(os.environ), log)


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    found = Agents({node: opened(tmp_path / "agents.log") for node in ("n1", "n2", "n3")})
    yield found
    found.close()


def spawn(node: str, directory: Path, argv: list[str] = SLEEPER) -> Spawn:
    return Spawn(node, argv, {"EXTRA": "yes"}, str(directory / node), str(directory / f"{node}.log"))


def eventually(what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_process_lives_as_it_is_told(agents: Agents, tmp_path: Path) -> None:
    pids = agents.spawn([spawn("n1", tmp_path), spawn("n2", tmp_path)])
    assert agents.spawn([spawn("n1", tmp_path)])["n1"] == pids["n1"], "one that runs is left alone"
    assert agents.states() == {"n1": "running", "n2": "running"}
    eventually(lambda: "here" in (agents.tail("n1", str(tmp_path / "n1.log"), 100) or ""))
    agents.signal(["n1"], "SIGSTOP")
    assert agents.states()["n1"] == labelled_processes.state(pids["n1"]) == "paused"
    agents.signal(["n1"], "SIGCONT")
    assert agents.states()["n1"] == "running"
    agents.signal(["n1", "n2"], "SIGKILL")
    assert agents.states() == {"n1": "dead", "n2": "dead"}
    assert agents.ended() == [], "they were killed, and did not end by themselves"


WITH_GROUPS = """
import os, sys, time
child = os.fork()
if child == 0:
    os.setsid()
    if os.fork():
        time.sleep(600)
    os.setsid()
print(os.getpid(), flush=True)
time.sleep(600)
"""
"""A process, and below it two that lead groups of their own; the child prints nothing."""


def test_what_a_process_has_started_in_other_groups_is_paused_and_killed_with_it(
    agents: Agents, tmp_path: Path
) -> None:
    agents.spawn([spawn("n1", tmp_path, [sys.executable, "-c", WITH_GROUPS])])

    def printed() -> list[int]:
        return [int(word) for word in (agents.tail("n1", str(tmp_path / "n1.log"), 100) or "").split()]

    eventually(lambda: len(printed()) == 2)
    pids = printed()
    for name, state in (("SIGSTOP", "paused"), ("SIGCONT", "running"), ("SIGSTOP", "paused"), ("SIGKILL", "dead")):
        agents.signal(["n1"], name)
        assert [labelled_processes.state(pid) for pid in pids] == [state, state]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids), "not even as zombies"


def test_one_that_ends_by_itself_is_told_of(agents: Agents, tmp_path: Path) -> None:
    agents.spawn([spawn("n2", tmp_path, [sys.executable, "-c", "raise SystemExit(3)"])])
    eventually(agents.ended)
    assert [(end.node, end.status) for end in agents.ended()] == [("n2", 3)]


def test_a_program_that_is_not_there_is_refused(agents: Agents, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no-such-program"):
        agents.spawn([spawn("n1", tmp_path, ["no-such-program"])])


def test_the_end_of_the_channel_ends_everything(tmp_path: Path) -> None:
    channel = opened(tmp_path / "log")
    agents = Agents({"n1": channel})
    pid = agents.spawn([spawn("n1", tmp_path)])["n1"]
    agents.signal(["n1"], "SIGSTOP")
    channel.close()
    assert labelled_processes.state(pid) == "dead"
    with pytest.raises(ExecutorFailed, match="n1"):
        agents.run("n1", ["true"])


def test_a_killed_agent_takes_its_node_along(tmp_path: Path) -> None:
    channel = opened(tmp_path / "log")
    pid = Agents({"n1": channel}).spawn([spawn("n1", tmp_path)])["n1"]
    os.kill(channel.pid, 9)
    eventually(lambda: labelled_processes.state(pid) == "dead")
    channel.close()


def test_commands_are_argv_and_never_a_shells(agents: Agents) -> None:
    ran = agents.run("n1", ["printf", "%s|", "$HOME; echo x", "a b"])
    assert (ran.text, ran.exit_code) == ("$HOME; echo x|a b|", 0)
    assert agents.run("n1", ["cat"], stdin=b"\x00\xff").stdout == b"\x00\xff"
    assert agents.run("n1", ["false"]).exit_code == 1
    with pytest.raises(ExecutorFailed, match="status 1"):
        agents.run("n1", ["false"]).checked("n1")
    with pytest.raises(ExecutorFailed, match="timed out"):
        agents.run("n1", ["sleep", "60"], timeout_s=0.2)
    assert agents.run("n1", ["true"]).exit_code == 0, "a command that was given up is not the end"


def test_probes_tell_who_hears_whom(agents: Agents) -> None:
    agents.listen({"n1": "127.0.0.1", "n2": "127.0.0.2", "n3": "127.0.0.3"}, 0)
    began_s = time.monotonic()
    matrix = agents.probe(lambda source, to: False)
    assert time.monotonic() - began_s < 1.0
    assert {reach for row in matrix.values() for reach in row.values()} == {"answers"}
    assert {to: sorted(row) for to, row in matrix.items()} == {
        "n1": ["n2", "n3"],
        "n2": ["n1", "n3"],
        "n3": ["n1", "n2"],
    }


def test_a_probe_of_a_node_without_an_agent_is_down(tmp_path: Path) -> None:
    channels = {node: opened(tmp_path / "log") for node in ("n1", "n2", "n3")}
    agents = Agents(channels)
    agents.listen({"n1": "127.0.0.1", "n2": "127.0.0.2", "n3": "127.0.0.3"}, 0)
    os.kill(channels["n3"].pid, 9)
    matrix = agents.probe(lambda source, to: False)
    assert matrix["n1"] == {"n2": "answers", "n3": "down"}
    assert matrix["n3"] == {"n1": "down", "n2": "down"}
    agents.close()


def test_files_are_damaged_as_told(agents: Agents, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "old").write_bytes(b"old")
    os.utime(data / "old", (1, 1))
    (data / "log").write_bytes(bytes(100))

    def damage(kind: str, *lost: str, **parameters: float) -> object:
        arguments = {"kind": kind, "directory": str(data), "parameters": parameters, "seed": "1", "lost": lost}
        return agents.ask("damage", {"n1": arguments})["n1"]

    assert damage("truncate", bytes=30) == {"file": "log", "bytes_before": 100, "bytes_after": 70}
    damage("bitflip", bits=5)
    content = (data / "log").read_bytes()
    assert len(content) == 70
    assert sum(byte.bit_count() for byte in content) == 5
    (data / "folder").mkdir()
    assert damage("wipe", "old*") == {"removed": ["old"], "left": ["log"]}
    (data / "old").write_bytes(b"")
    assert damage("wipe", "*") == {"removed": ["log", "old"], "left": []}
    assert damage("truncate", bytes=1) is None, "there is nothing to damage"


def test_a_disk_that_is_not_the_runs_own_is_never_filled(agents: Agents, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a file system of its own"):
        agents.ask("fill", {"n1": {"directory": str(tmp_path)}})
    assert agents.ask("drain", {"n1": {"directory": str(tmp_path)}})["n1"] > 0


def test_garbage_and_unknown_commands_are_answered_with_errors(tmp_path: Path) -> None:
    channel = opened(tmp_path / "log")
    for line in (b"not json", b"{}", b'{"do": "nothing"}', b'{"do": "run", "wrong": 1}'):
        channel.send(line)
        assert b'"error"' in channel.receive(5)
    channel.close()


def test_a_missing_program_of_this_machine_is_named() -> None:
    with pytest.raises(ExecutorFailed, match="no-such-program is not installed"):
        run_here(["no-such-program"])


def ending_at(file: Path) -> list[str]:
    """A program that ends with status 3 when the file is there."""
    program = f"import os, time\nwhile not os.path.exists({str(file)!r}): time.sleep(0.01)\nraise SystemExit(3)"
    return [sys.executable, "-c", program]


def test_one_that_ends_by_itself_when_its_death_is_wanted_is_told_of(agents: Agents, tmp_path: Path) -> None:
    """A core that raises while its disk is waited for must not be taken for the one that was to be killed at its next sync."""
    agents.spawn([spawn("n1", tmp_path, ending_at(tmp_path / "now")), spawn("n2", tmp_path)])
    assert set(agents.doom(["n1", "n2"])) == {"n1", "n2"}
    (tmp_path / "now").touch()
    eventually(lambda: agents.states()["n1"] == "dead")
    agents.signal(["n1", "n2"], "SIGKILL")
    assert [(end.node, end.status) for end in agents.ended()] == [("n1", 3)]


def test_one_that_was_asked_to_end_may_end_as_it_likes(agents: Agents, tmp_path: Path) -> None:
    ends = "import signal, time; signal.signal(15, lambda *_: exit(7)); print('here', flush=True)"
    program = f"{ends}; [time.sleep(0.1) for _ in range(6000)]"
    agents.spawn([spawn("n1", tmp_path, [sys.executable, "-c", program])])
    eventually(lambda: "here" in (agents.tail("n1", str(tmp_path / "n1.log"), 100) or ""))
    agents.signal(["n1"], "SIGTERM")
    eventually(lambda: agents.states()["n1"] == "dead")
    agents.signal(["n1"], "SIGKILL")
    assert agents.ended() == []


def test_one_that_may_end_is_not_told_of(agents: Agents, tmp_path: Path) -> None:
    """A member that was removed ends by itself."""
    agents.spawn([spawn("n1", tmp_path, ending_at(tmp_path / "now"))])
    agents.excuse(["n1"])
    (tmp_path / "now").touch()
    eventually(lambda: agents.states()["n1"] == "dead")
    assert agents.ended() == []


class Interrupted(PipeChannel):
    """The first answer is not read, because of a Ctrl-C."""

    is_first = True

    def receive(self, timeout_s: float) -> bytes:
        if self.is_first:
            self.is_first = False
            raise KeyboardInterrupt
        return super().receive(timeout_s)


def test_an_answer_that_a_ctrl_c_came_before_is_not_taken_for_the_next(tmp_path: Path) -> None:
    channel = Interrupted([sys.executable, "-I", "-S", str(AGENT)], dict(os.environ), tmp_path / "agents.log")
    agents = Agents({"n1": channel})
    with pytest.raises(KeyboardInterrupt):
        Agent("n1", channel).do("states", {})
    channel.is_first = True
    with pytest.raises(KeyboardInterrupt):
        agents.ask("states", {"n1": {}})
    with pytest.raises(ExecutorFailed, match="the agent of n1 was interrupted in the command states"):
        agents._agents["n1"].do("ended", {})
    agents.close()


def test_a_write_cache_that_is_gone_does_not_keep_the_others_mounted(tmp_path: Path) -> None:
    serves = "import json, sys; print(json.dumps(dict(ok=None)), flush=True); "
    waits = f"{serves}sys.stdin.read(); open({str(tmp_path / 'unmounted')!r}, 'w')"
    caches = WriteCaches()
    caches.do_cache(str(tmp_path / "n1"), [sys.executable, "-c", serves], {}, [])
    caches.do_cache(str(tmp_path / "n2"), [sys.executable, "-c", waits], {}, [])
    gone = caches._caches[str(tmp_path / "n1")]
    gone.wait()
    with pytest.raises(OSError, match="is gone"):
        caches.do_lose(str(tmp_path / "n1"), None)
    caches.end_caches()
    assert (tmp_path / "unmounted").exists()
