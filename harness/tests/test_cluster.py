"""`themis cluster`: the real command, its nodes on loopback, and what is left of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import pytest

from harness.cli import run_command
from harness.cluster import backup_file, folder, wording
from harness.cluster.control import Answer, Command, Listener, NodeLine
from harness.environments.local.supervisor import reserve
from harness.environments.real import labelled_processes
from harness.errors import UsageError
from targets import machine_registry

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0


def free_port() -> int:
    """The first of four free ports in a row, below those that the kernel gives to connections."""
    for port in range(20_000 + os.getpid() % 1000 * 10, 32_000, 4):
        with contextlib.suppress(OSError):
            for number in range(port, port + 4):
                reserve("127.0.0.1", number).close()
            return port
    raise AssertionError("no free ports")


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Terminal:
    """Runs commands as another terminal of the same user would."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT)}

    def themis(self, *words: str) -> Done:
        """Run a command in this process: a fresh one for each costs half a second."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": str(self.runtime)}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run_command(["cluster", *words])
        return Done(code, out.getvalue(), err.getvalue())

    def themis_of_its_own(self, *words: str) -> Done:
        """The same in a process of its own."""
        command = [sys.executable, "-m", "harness", "cluster", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def did(self, *words: str) -> str:
        done = self.themis(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", "cluster", "up", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def statuses(self) -> dict[str, NodeLine]:
        lines = msgspec.json.decode(self.did("status", "--json"), type=list[NodeLine])
        return {line.node: line for line in lines}

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in (self.runtime / "themis").iterdir())


class Up:
    """A cluster that `themis cluster up` keeps, up when this is made."""

    def __init__(self, terminal: Terminal, seed: int, *words: str) -> None:
        self.terminal = terminal
        self.port = free_port()
        seed += 100 * os.getpid()  # Other tests of this file may run beside this one, in a process of their own.
        self.run_id = f"cluster-default-{seed}"
        self.process = terminal.begin("--port", str(self.port), "--seed", str(seed), *words)
        self.told: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(line.rstrip("\n"))
            if "themis cluster down" in line:
                return
        raise AssertionError("\n".join(self.told))

    def post(self, number: int, body: dict[str, Any], path: str = "/kv") -> dict[str, Any]:
        """What node n`number` answers one who shows no secret."""
        url = f"http://127.0.0.1:{self.port + number - 1}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20.0) as response:
            found: dict[str, Any] = json.loads(response.read())
        return found

    def write(self, number: int, value: str) -> None:
        answer = self.post(number, {"f": "write", "key": "x", "value": value})
        assert answer == {"status": "ok"}, answer
        assert self.post(number, {"f": "read", "key": "x"}) == {"status": "ok", "result": value}

    def leader(self) -> str:
        """The node that all nodes which answer follow; awaited."""
        deadline_s = time.monotonic() + 20.0
        while True:
            named = {line.status["leader"] for line in self.terminal.statuses().values() if line.status}
            if len(named) == 1 and None not in named:
                return str(named.pop())
            assert time.monotonic() < deadline_s, named

    def ended(self) -> int:
        """Its exit code; nothing of it is left."""
        assert self.process.stdout is not None
        self.told += self.process.stdout.read().splitlines()
        status = self.process.wait(TIMEOUT_S)
        assert labelled_processes.labelled(self.run_id) == []
        assert self.terminal.left == []
        return status


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    return Terminal(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def up(terminal: Terminal) -> Iterator[Up]:
    cluster = Up(terminal, 7)
    yield cluster
    if cluster.process.poll() is None:
        cluster.process.send_signal(signal.SIGINT)
        cluster.process.communicate(timeout=TIMEOUT_S)


pytestmark = [pytest.mark.real]


def test_every_line_that_it_prints_for_curl_works(up: Up) -> None:
    lines = [line.strip() for line in up.told if line.strip().startswith("curl ")]
    assert len(lines) == 3
    for line in lines[:2]:
        words = shlex.split(line)
        body, url = words[words.index("-d") + 1], words[-1]
        assert up.post(int(url.split(":")[2].split("/")[0]) - up.port + 1, json.loads(body))["status"] == "ok"
    with urllib.request.urlopen(shlex.split(lines[2])[-1], timeout=20) as response:
        assert json.loads(response.read())["role"] in ("leader", "follower")


def test_any_node_takes_a_request_also_after_the_leader_was_killed(up: Up) -> None:
    for number in (1, 2, 3):
        up.write(number, f"by n{number}")
    leader = up.leader()
    assert up.terminal.did("kill", leader) == f"killed {leader}, as by kill -9\n"
    for number in (1, 2, 3):
        if leader != f"n{number}":
            up.write(number, f"by n{number} again")  # At once: it waits for the next leader.
    lines = up.terminal.statuses()
    assert lines[leader].state == "dead"
    assert lines[leader].status is None
    assert up.terminal.themis("kill", leader).returncode == 254
    assert up.terminal.did("resume", leader) == f"started {leader} again\n"
    assert {line.state for line in up.terminal.statuses().values()} == {"running"}
    up.write(int(leader[1:]), "by the one that was killed")


def test_a_leader_that_is_cut_off_is_replaced_until_the_links_heal(up: Up) -> None:
    leader = up.leader()
    assert f"cut: {leader} | " in up.terminal.did("partition")
    others = sorted({"n1", "n2", "n3"} - {leader})
    up.write(int(others[0][1:]), "on the side of the majority")
    lines = up.terminal.statuses()
    assert sorted(lines[leader].unheard) == others
    assert lines[others[0]].unheard == (leader,)
    assert up.post(int(leader[1:]), {"f": "read", "key": "x"})["status"] == "not-leader"
    up.terminal.did("heal")
    assert up.leader() != leader
    up.write(int(leader[1:]), "everywhere")
    assert {line.unheard for line in up.terminal.statuses().values()} == {()}


def test_a_node_that_is_paused_goes_on(up: Up) -> None:
    assert up.terminal.did("pause", "n2") == "paused n2\n"
    table = up.terminal.did("status").splitlines()
    head = ["node", "address", "process", "role", "member", "term", "leader", "log", "commit", "applied"]
    assert table[0].split()[:10] == head
    (row,) = [line.split() for line in table if line.startswith("n2")]
    assert row[1:4] == [f"127.0.0.1:{up.port + 1}", "paused", "-"]
    assert up.terminal.themis("pause", "n2").returncode == 254
    assert up.terminal.did("resume") == "n2 goes on\n"
    assert up.terminal.did("resume") == "nothing to do: every node runs\n"


def members(up: Up, *voters: str) -> None:
    """Returns when these nodes vote, by the word of all of them."""
    deadline_s = time.monotonic() + 20.0
    while True:
        lines = up.terminal.statuses()
        if all((lines[node].status or {}).get("voters") == list(voters) for node in voters):
            return
        assert time.monotonic() < deadline_s, lines
        time.sleep(0.05)


def test_members_leave_come_back_and_are_replaced(up: Up) -> None:
    leader = up.leader()
    other = min({"n1", "n2", "n3"} - {leader})
    assert up.terminal.did("remove", other) == f"{other} is no member of the cluster any more\n"
    members(up, *sorted({"n1", "n2", "n3"} - {other}))
    again = up.terminal.themis("remove", other)
    assert (again.returncode, "does not belong to the cluster" in again.stderr) == (254, True)
    assert "members change one at a time" in up.terminal.themis("remove", "n1", "n2").stderr
    assert up.terminal.did("add", other) == f"{other} is being added, and votes once it has caught up\n"
    members(up, "n1", "n2", "n3")
    assert "comes back as a new member" in up.terminal.did("replace", other)
    up.write(1, "while it comes back")
    members(up, "n1", "n2", "n3")
    refused = up.post(int(leader[1:]), {"remove": "n9"}, "/raft/members")
    assert refused == {"done": False, "why": "'n9' does not belong to the cluster"}
    leader = up.leader()
    assert f"{leader} leads already" in up.terminal.themis("transfer", leader).stderr
    heir = max({"n1", "n2", "n3"} - {leader})
    assert up.terminal.did("transfer", heir) == f"{heir} was asked to lead, and the leader stepped down\n"
    up.write(1, "under the next leader")


def test_a_cluster_goes_back_to_its_backup_and_a_file_that_does_not_fit_changes_nothing(up: Up, tmp_path: Path) -> None:
    path, broken, foreign = (tmp_path / name for name in ("monday.backup", "broken.backup", "foreign.backup"))
    up.write(1, "before the backup")
    assert f"{path} holds all that was acknowledged before now" in up.terminal.did("backup", "--to", str(path))
    up.write(1, "after the backup")
    broken.write_bytes(path.read_bytes().replace(b"before", b"befare"))
    backup_file.write(foreign, "gossip", "kv", "2026-01-01", {"n1": "{}"})
    empty = tmp_path / "empty.backup"
    backup_file.write(empty, "raft", "kv", "2026-01-01", {})
    for words, message in {
        ("restore", str(broken)): "the backup is damaged: its digest does not match. Nothing was restored",
        ("restore", str(foreign)): "it is a backup of target gossip, and this cluster's is raft",
        ("restore", str(empty)): "a backup of Raft has one piece, and this one has 0. Nothing was restored",
        ("restore", str(tmp_path)): "not a file",
        ("restore", str(tmp_path / "nothing")): "there is no such file",
        ("backup", "--to", str(tmp_path / "no" / "folder")): "there is no folder",
    }.items():
        done = up.terminal.themis(*words)
        assert (done.returncode, message in done.stderr) == (254, True), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert up.post(1, {"f": "read", "key": "x"}) == {"status": "ok", "result": "after the backup"}
    assert "what came after that is gone" in up.terminal.did("restore", str(path))
    for number in (1, 2, 3):
        assert up.post(number, {"f": "read", "key": "x"}) == {"status": "ok", "result": "before the backup"}
    up.write(2, "in the new cluster")


def test_what_cannot_be_is_refused_with_one_message(up: Up) -> None:
    refusals = {
        ("kill", "n9"): "unknown node 'n9'",
        ("partition", "n1", "n2", "n3"): "a partition needs nodes on both sides",
        ("status", "--name", "other"): "no cluster named 'other' is up (there is default)",
        ("up", "--port", str(up.port + 3)): "a cluster named 'default' is up already",
        ("up", "--name", "other", "--port", str(up.port + 2)): f"port {up.port + 2}, wanted for n1, is in use",
        ("up", "--name", "a/b"): "--name 'a/b'",
        ("up", "--name", "other", "--port", "80"): "--port: port 80, wanted for n1",
        ("up", "--name", "other", "--interface", "kw"): "unknown interface of raft 'kw'",
        ("up", "--name", "other", "-o", "read=log"): "unknown target raft option 'read'",
    }
    for words, message in refusals.items():
        done = up.terminal.themis(*words)
        assert done.returncode == 254, words
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert up.terminal.left == ["default", "default.lock"]
    up.write(1, "still there")


@pytest.mark.long
@pytest.mark.real
def test_down_leaves_nothing(up: Up) -> None:
    assert up.terminal.themis_of_its_own("down") == (0, "the cluster 'default' is down\n", "")
    assert up.ended() == 0
    assert up.told[-1] == "the cluster 'default' is down; nothing is left of it"
    assert up.terminal.themis("down").returncode == 254


@pytest.mark.parametrize("target", ["paxos", "paxos-single"])
@pytest.mark.long
@pytest.mark.real
def test_ctrl_c_leaves_nothing_of_paxos_and_a_killed_cluster_does_not_stand_in_the_way(
    tmp_path_factory: pytest.TempPathFactory, target: str
) -> None:
    terminal = Terminal(tmp_path_factory.mktemp("own"))  # Where the cluster of other tests does not stand.
    killed = Up(terminal, 8)
    killed.process.kill()
    killed.process.communicate(timeout=TIMEOUT_S)
    assert terminal.themis("status").returncode == 254
    stopped = Up(terminal, 9, "--target", target)
    assert any("/paxos/propose" in line and "Hello Paxos" in line for line in stopped.told)
    hello = {"chosen": True, "value": "Hello Paxos"}
    assert stopped.post(1, {"value": "Hello Paxos"}, "/paxos/propose") == hello
    terminal.did("kill", "n1")
    assert stopped.post(2, {"value": "Hello Paxos"}, "/paxos/propose") == hello
    assert stopped.post(3, {"value": "Hello again"}, "/paxos/propose") == {"chosen": False, "value": "Hello Paxos"}
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.ended() == 0
    deadline_s = time.monotonic() + 20.0
    while labelled_processes.labelled(killed.run_id) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert labelled_processes.labelled(killed.run_id) == []


# --- its parts ----------------------------------------------------------------------------------------------------------


def test_the_examples_are_commands_of_their_machines() -> None:
    for interface, bodies in wording.EXAMPLES.items():
        command_type = machine_registry.find(interface).command_type
        for body in bodies:
            assert msgspec.convert(body, command_type) is not None, interface


def test_a_ballot_stands_where_a_term_would() -> None:
    line = NodeLine(
        "n1", "h:1", "running", {"role": "proposer", "ballot": [7, "n2"], "leader": None, "commit_index": 0}
    )
    row = dict(zip(wording.COLUMNS, wording.cells(line), strict=True))
    assert (row["role"], row["term"], row["leader"], row["commit"], row["log"]) == ("proposer", "7.n2", "-", "0", "-")
    assert wording.cells(NodeLine("n1", "h:1", "running"))[2] == "running, silent"
    assert str(wording.table([line]).columns[wording.COLUMNS.index("term")].header) == "ballot"


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "themis").mkdir(0o755)
    (tmp_path / "themis").chmod(0o755)
    with pytest.raises(UsageError, match="only you can enter"):
        folder.root()
    (tmp_path / "themis").chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    (tmp_path / ("x" * 120)).mkdir()
    with pytest.raises(UsageError, match="too long for a socket"):
        folder.socket_of("default")


def test_commands_are_read_strictly() -> None:
    with pytest.raises(msgspec.ValidationError, match="verb"):
        msgspec.json.decode(b'{"verb":"format"}', type=Command)
    with tempfile.TemporaryDirectory() as directory:
        for said in (b'{"verb":"kill","node\xffs":[]}\n', b'{"verb":' + b"[" * 5000 + b"\n", b"{}\n"):
            listener = Listener(path := Path(directory, f"control-{len(said)}"))
            with contextlib.closing(listener), socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(said)
                assert listener.next(10) is None
                assert b"no command" in client.recv(65536)
    assert msgspec.json.decode(msgspec.json.encode(Answer(said="done")), type=Answer) == Answer(said="done")
