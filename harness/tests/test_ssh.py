"""The environment `ssh` without machines: an SSH server in this process, and the parts that are pure."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import paramiko
import pytest

from harness.cli import options as flags
from harness.environments.base import EnvironmentUnavailable
from harness.environments.linux import labels, late_files
from harness.environments.real.agent_clients import Agents
from harness.environments.real.capabilities import NodeProcesses
from harness.environments.real.executor import ExecutorFailed, Ran
from harness.environments.ssh import bundle, connection, host_facts, options, remote_directories
from harness.environments.ssh.collecting import unpacked
from harness.environments.ssh.executor import SshExecutor
from harness.environments.ssh.host_clocks import SystemClocks, shared_origin
from harness.environments.ssh.host_facts import Facts, Unfit
from harness.environments.ssh.options import SshOptions
from harness.environments.ssh.remote_directories import RemoteDirectories, RemoteDirectory
from harness.errors import UsageError
from harness.store.runs import RunDirectory
from harness.tests.ssh_server import Answer, Server, new_key
from targets.target import CORE_PORT, Address
from targets.timekeeping import Reading

NODES = ("a", "b")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[[Callable[[str], Answer]], Server]]:
    made: list[Server] = []

    def make(answer: Callable[[str], Answer]) -> Server:
        made.append(Server(tmp_path, answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"username": "a b"}, "username"),
        ({"username": "-oProxyCommand=x"}, "username"),
        ({"port": 0}, "port is 0"),
        ({"node_port": 70000}, "node_port is 70000"),
        ({"hosts": "a,-b"}, "'-b' is no host name"),
        ({"hosts": "fd00::1::2"}, "'fd00::1::2' is no host name"),
        ({"addresses": "10.0.0.300"}, "no IPv4 address"),
        ({"python": "python3; reboot"}, "no absolute path"),
        ({"remote_directory": "/var/../etc"}, "no absolute path"),
        ({"remote_directory": "/"}, "no absolute path"),
        ({"silence_s": 1.0}, "silence_s is 1"),
        ({"data_mib": 1}, "data_mib is 1"),
        ({"as_root": False, "data_mib": 16}, "data_mib cannot be had without root"),
        ({"as_root": False, "allow_system_clock": True}, "allow_system_clock cannot be had without root"),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        msgspec.convert(given, SshOptions)


def test_nodes_are_machines_by_name_or_by_the_list_of_hosts() -> None:
    by_name = options.machines(SshOptions(username="u"), NODES)
    assert [(machine.host, str(machine)) for machine in by_name.values()] == [("a", "u@a"), ("b", "u@b")]
    listed = options.machines(SshOptions(username="u", hosts="10.0.0.1, 10.0.0.2", port=2222), NODES)
    assert [str(machine) for machine in listed.values()] == ["a (u@10.0.0.1:2222)", "b (u@10.0.0.2:2222)"]
    listed = options.machines(SshOptions(username="u", hosts="fd00:0::01,fe80::2%eth0", port=2222), NODES)
    assert [str(machine) for machine in listed.values()] == ["a (u@[fd00::1]:2222)", "b (u@[fe80::2%eth0]:2222)"]
    with pytest.raises(ValueError, match="nodes: 'fd00::1' is no host name; give addresses with hosts"):
        options.machines(SshOptions(), ("fd00::1",))
    with pytest.raises(ValueError, match="hosts: 1 of them for 2 nodes"):
        options.machines(SshOptions(hosts="x"), NODES)
    with pytest.raises(ValueError, match="addresses: one is named twice"):
        options.machines(SshOptions(addresses="10.0.0.1,10.0.0.1"), NODES)


def test_the_flags_become_options_and_are_for_ssh_alone() -> None:
    assert flags.of_ssh("local", None, None, None, False, False) == {}
    assert flags.of_ssh("ssh", "u", "k", 22, True, False) == {
        "username": "u",
        "private_key": "k",
        "port": 22,
        "accept_new": True,
    }
    with pytest.raises(UsageError, match="--ssh-port is for --env ssh"):
        flags.of_ssh("netns", None, None, 22, False, False)


# --- connections ----------------------------------------------------------------------------------------------------------


def problem(server: Server, *, accept_new: bool = False, username: str = "tester", port: int = 0) -> str:
    """What is said when the connection is refused."""
    machine = server.machine(accept_new=accept_new, username=username, port=port)
    with pytest.raises(EnvironmentUnavailable) as raised:
        connection.connect(machine, connection.private_key(machine.private_key)).close()
    return str(raised.value)


def test_an_unknown_host_key_is_refused_with_its_fingerprint(server: Server) -> None:
    said = problem(server)
    assert server.host_key.fingerprint in said
    assert "--ssh-accept-new" in said
    assert not server.known_hosts.exists()


def test_accept_new_adds_the_key_once_and_keeps_what_was_there(server: Server) -> None:
    server.known_hosts.write_text("# mine")
    machine = server.machine(accept_new=True)
    for _ in range(2):
        connection.connect(machine, connection.private_key(machine.private_key)).close()
    added = f"[127.0.0.1]:{server.port} ssh-ed25519 {server.host_key.get_base64()}"
    assert server.known_hosts.read_text() == f"# mine\n{added}\n"


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_changed_host_key_is_always_refused(server: Server, tmp_path: Path, accept_new: bool) -> None:
    other = paramiko.Ed25519Key.from_private_key_file(str(new_key(tmp_path / "other")))
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} ssh-ed25519 {other.get_base64()}\n")
    said = problem(server, accept_new=accept_new)
    assert "its host key is not the one in known_hosts" in said
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in said


def test_a_key_of_another_type_is_no_new_key(server: Server) -> None:
    other = paramiko.RSAKey.generate(2048)
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} ssh-rsa {other.get_base64()}\n")
    assert "its host key is not the one in known_hosts" in problem(server, accept_new=True)


def test_a_revoked_host_key_is_refused(server: Server) -> None:
    server.know()
    with server.known_hosts.open("a") as file:
        file.write(f"@revoked * ssh-ed25519 {server.host_key.get_base64()}\n")
    assert "revoked" in problem(server)


def test_a_user_who_is_not_let_in(server: Server) -> None:
    server.know()
    said = problem(server, username="stranger")
    assert "the user stranger was refused" in said
    assert "ssh-copy-id" in said


def test_nobody_listens(server: Server) -> None:
    said = problem(server, port=1)
    assert "no SSH server can be reached at 127.0.0.1:1" in said


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnavailable, match="does not exist"):
        connection.private_key(str(tmp_path / "none"))
    (tmp_path / "text").write_text("no key at all\n")
    with pytest.raises(EnvironmentUnavailable, match="holds no private key"):
        connection.private_key(str(tmp_path / "text"))
    locked = paramiko.RSAKey.generate(2048)
    locked.write_private_key_file(str(tmp_path / "locked"), password="secret")
    with pytest.raises(EnvironmentUnavailable, match="ssh-add"):
        connection.private_key(str(tmp_path / "locked"))


# --- commands -------------------------------------------------------------------------------------------------------------


def opened(server: Server, prefix: Sequence[str] = ()) -> tuple[paramiko.SSHClient, SshExecutor]:
    server.know()
    machine = server.machine()
    client = connection.connect(machine, connection.private_key(machine.private_key))
    return client, SshExecutor({"n1": client}, {"n1": prefix})


def test_words_arrive_as_they_were_sent_whatever_is_in_them(server: Server) -> None:
    client, executor = opened(server, ("env", "X=1 2"))
    words = ["$HOME", "a b", "'", '"', "; exit 3", "`id`", "\n", "", "*", "\\", "--"]
    code = "import json, os, sys; print(json.dumps([os.environ['X'], *sys.argv[1:]]))"
    with client:
        ran = executor.run("n1", ["python3", "-c", code, *words])
    assert json.loads(ran.text) == ["1 2", *words]


def test_input_output_and_status_come_through(server: Server) -> None:
    client, executor = opened(server)
    data = bytes(range(256)) * 2000
    with client:
        ran = executor.run("n1", ["sh", "-c", "cat; echo oops >&2; exit 7"], stdin=data)
        sink = io.BytesIO()
        assert executor.fetch("n1", ["printf", "%s", "far"], sink, 10).exit_code == 0
    assert (ran.exit_code, ran.stdout, ran.stderr) == (7, data, b"oops\n")
    assert sink.getvalue() == b"far"


def test_what_the_login_shell_prints_is_not_the_commands(server: Server) -> None:
    server.greeting = "echo Welcome; echo Mind the gap >&2; printf 'no end'; "
    client, executor = opened(server)
    data = bytes(range(256)) * 2000
    with client:
        ran = executor.run("n1", ["sh", "-c", "cat; echo oops >&2; exit 7"], stdin=data)
        sink = io.BytesIO()
        assert executor.fetch("n1", ["printf", "%s", "far"], sink, 10).exit_code == 0
        channel = executor.open("n1", ["sh", "-c", "echo last >&2; printf 'a line\\n'"])
        channel._channel.shutdown_write()  # This server runs a command when it has all its input.
        assert channel.receive(10) == b"a line"
        assert channel.receive(10) == b""
        assert channel.last_words() == "last"
        assert channel.last_words() == ""
    assert (ran.exit_code, ran.stdout, ran.stderr) == (7, data, b"oops\n")
    assert sink.getvalue() == b"far"


def test_a_login_shell_that_runs_nothing_is_said(server: Server) -> None:
    server.greeting = "echo This account is currently not available.; exit 1; "
    client, executor = opened(server)
    said = "runs no commands; it ended with 1 and says: This account is currently"
    with client, pytest.raises(ExecutorFailed, match=said):
        executor.run("n1", ["id", "-u"])


def test_a_login_shell_without_end_is_given_up(server: Server) -> None:
    server.greeting = "head -c 3000000 /dev/zero; "
    client, executor = opened(server)
    with client, pytest.raises(ExecutorFailed, match="prints more than 1048576 bytes"):
        executor.run("n1", ["id", "-u"])


def test_a_command_that_does_not_end_is_given_up(server: Server) -> None:
    client, executor = opened(server)
    with client, pytest.raises(ExecutorFailed, match="did not end within"):
        executor.run("n1", ["sleep", "2"], timeout_s=0.1)


def test_a_connection_that_is_gone_is_said(server: Server) -> None:
    client, executor = opened(server)
    client.close()
    with pytest.raises(ExecutorFailed, match="is gone"):
        executor.run("n1", ["true"])


# --- what machines have ---------------------------------------------------------------------------------------------------


def fit(**changed: object) -> Facts:
    """A machine that will do, but for what is given."""
    good = Facts(
        python="/usr/bin/python3",
        abi=bundle.platform()[0],
        machine=bundle.platform()[1],
        system="Linux",
        modules={"aiohttp": "3.11.0", "msgspec": "0.19.0", "uvloop": "0.22.1"},
        missing_tools=(),
        features=frozenset({"drop", "statistic", "htb", "netem"}),
        addresses={"10.0.0.1": "eth0"},
        device="eth0",
        own_qdisc="",
        node_port="",
        probe_port="",
        unsafe="",
        is_noexec=False,
        timekeepers=(),
        may_set_clock=True,
        boot_id="one",
    )
    return msgspec.structs.replace(good, **changed)


def test_a_machine_that_will_do() -> None:
    assert host_facts.unfitness(fit(), SshOptions(), "10.0.0.1") == []
    assert fit().lacking() == []
    assert not fit().needs_bundle
    assert fit(modules={"aiohttp": None, "msgspec": "0.19", "uvloop": "1"}).needs_bundle
    assert fit(modules={"aiohttp": "3.9.5", "msgspec": "0.19", "uvloop": "1"}).needs_bundle


@pytest.mark.parametrize(
    ("changed", "given", "said"),
    [
        ({"system": "FreeBSD"}, {}, "nodes need Linux"),
        (
            {"modules": {"aiohttp": None, "msgspec": "1", "uvloop": "1"}, "abi": "cpython-399"},
            {},
            "pip install 'aiohttp>=3.11'",
        ),
        ({"device": ""}, {}, "no interface of it has the address 10.0.0.1"),
        ({"node_port": "Address already in use"}, {}, "port 7000 of it cannot be used"),
        ({"probe_port": "Address already in use"}, {"probe_port": 9}, "port 9 of it cannot be used"),
        ({"unsafe": "/x can be written by others"}, {}, "remote_directory"),
        (
            {"is_noexec": True, "modules": {"aiohttp": None, "msgspec": "1", "uvloop": "1"}},
            {},
            "/var/lib/themis is mounted noexec",
        ),
        ({"may_set_clock": False}, {"allow_system_clock": True}, "its clock cannot be set"),
        ({"timekeepers": ("chronyd",)}, {"allow_system_clock": True}, "chronyd would set the clock back"),
    ],
)
def test_why_a_machine_will_not_do(changed: dict[str, object], given: dict[str, object], said: str) -> None:
    found = host_facts.unfitness(fit(**changed), msgspec.convert(given, SshOptions), "10.0.0.1")
    assert len(found) == 1
    assert said in found[0]


def test_timekeepers_matter_only_to_the_system_clock() -> None:
    assert host_facts.unfitness(fit(timekeepers=("chronyd",)), SshOptions(), "10.0.0.1") == []


def test_what_faults_lack_is_said_and_what_all_have_is_had() -> None:
    bare = fit(missing_tools=("iptables",), features=frozenset())
    shaped = fit(own_qdisc="htb 8001:")
    assert "apt-get install iptables" in bare.lacking()[0]
    assert any("qdisc of its own" in said for said in shaped.lacking())
    assert host_facts.together({"a": fit(), "b": shaped}) == {"drop", "statistic"}
    assert host_facts.together({"a": fit(), "b": bare}) == frozenset()


class Scripted:
    """Implements Executor: answers by the first word that is known."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self._answers = answers

    def run(self, node: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 1) -> Ran:
        name = next(word for word in argv if word in self._answers or word.startswith("python"))
        status, said = self._answers.get(name, (127, "not found"))
        return Ran(tuple(argv), status, said.encode() if status == 0 else b"", said.encode() if status else b"")

    def open(self, node: str, argv: Sequence[str]) -> object:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"id": (0, "1000"), "sudo": (1, "sudo: a password is required")}, "a password is required. Allow it without"),
        ({"id": (0, "1000"), "sudo": (127, "sh: sudo: not found")}, "there is no sudo: install it, or log in as root"),
        ({"id": (0, "1000"), "sudo": (1, "sudo: sorry, you must have a tty to run sudo")}, "`Defaults:u !requiretty`"),
        ({"id": (0, "1000"), "sudo": (0, "1001")}, "Allow it without a password"),
        ({"id": (0, "0")}, "there is no Python of at least 3.11. Install one"),
        ({"id": (0, "0"), "python3": (0, "3.9.2")}, "python3 is 3.9.2"),
    ],
)
def test_machines_that_cannot_be_examined(answers: dict[str, tuple[int, str]], said: str) -> None:
    machine = options.machines(SshOptions(username="u"), ("a",))["a"]
    with pytest.raises(Unfit, match=said):
        host_facts.examine(Scripted(**answers), machine, "10.0.0.1", SshOptions())  # type: ignore[arg-type]


# --- what is sent and fetched ---------------------------------------------------------------------------------------------


def test_the_bundle_holds_our_sources_the_targets_own_and_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_for_ssh").mkdir()
    (tmp_path / "mine_for_ssh" / "__init__.py").write_text("")
    (tmp_path / "mine_for_ssh" / "target.py").write_text("TARGET = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(bundle.make("mine_for_ssh.target", ()))) as tar:
        names = set(tar.getnames())
    assert {"targets/node.py", "harness/environments/ssh/guard.py", "mine_for_ssh/target.py"} <= names
    assert not [name for name in names if "/tests/" in name or name.endswith(".so")]
    with tarfile.open(fileobj=io.BytesIO(bundle.make("targets.tests.echo", ("aiohttp",)))) as tar:
        names = set(tar.getnames())
    assert {"targets/tests/echo.py", "aiohttp/__init__.py", "multidict/__init__.py", "yarl/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("/", ".."))]


def test_what_is_fetched_stays_in_its_folder(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in ("./node.log", "data/wal.log", "../evil", "a/../../evil"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data.seek(0)
    unpacked(data, tmp_path / "in")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}
    assert found == {"in/node.log", "in/data/wal.log"}


# --- clocks ---------------------------------------------------------------------------------------------------------------


class FakeAgents:
    """Machines whose clocks are ahead by so much."""

    def __init__(self) -> None:
        self.ahead_ns = {"a": 0, "b": 0}

    def ask(self, name: str, arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for node, given in arguments.items():
            match name:
                case "now":
                    now_ns = time.monotonic_ns()
                    answers[node] = [now_ns + self.ahead_ns[node], now_ns + 77]
                case "clock_shift":
                    self.ahead_ns[node] = given["offset_ns"]
                case "clock_restore":
                    self.ahead_ns[node] = 0
        return answers


class NoProcesses:
    """All nodes are dead: none has a clock hook to be told."""

    def states(self) -> Mapping[str, str]:
        return {"a": "dead", "b": "dead"}


def test_the_machines_own_clocks_are_moved_measured_and_restored() -> None:
    agents = cast(Agents, FakeAgents())
    nowhere = {node: {CORE_PORT: Address("127.0.0.1", 1)} for node in NODES}
    moved = SystemClocks(
        lambda: agents, nowhere, Reading(0, 0), cast(NodeProcesses, NoProcesses()), lambda _path, _bodies: {}
    )
    moved.set_offset({"b": 5_000_000_000})
    found = moved.offsets_ns()
    assert found["a"] == pytest.approx(0, abs=20_000_000)
    assert found["b"] == pytest.approx(5_000_000_000, abs=20_000_000)
    told_ns = int(moved.skew("b").partition("@")[0])
    assert told_ns == pytest.approx(5_000_000_000, abs=20_000_000), "a node that starts now must be told"
    assert moved.rates()["a"] == pytest.approx(1, abs=0.05)
    moved.heal()
    assert moved.offsets_ns()["b"] == pytest.approx(0, abs=20_000_000)


def test_true_time_is_shared_although_the_monotonic_clocks_differ() -> None:
    origin = Reading(1_000_000_000_000, time.monotonic_ns())
    there = shared_origin(cast(Agents, FakeAgents()), "a", origin)
    shown_ns = there.wall_ns + (time.monotonic_ns() + 77) - there.monotonic_ns
    assert shown_ns == pytest.approx(origin.true_ns(), abs=5_000_000)


# --- the machines of runs that were cut off -------------------------------------------------------------------------------


def test_only_runs_without_a_controller_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert remote_directories.find_leftovers() == []
    remote = RemoteDirectory(server.machine(), "/var/lib/themis/r/n1", "python3", ("env", "A=1"))
    living = RemoteDirectories("living", labels.controller(), {"n1": remote})
    space = labels.controller().partition("@")[2]
    gone = RemoteDirectories("gone", f"1:1@{space}", {"n1": remote})
    living.save()
    gone.save()
    (remote_directories.folder() / "torn.json").write_text("{")
    assert oct(gone.path.stat().st_mode & 0o777) == "0o600"
    found = remote_directories.find_leftovers()
    assert [left.remotes for left in found] == [gone]
    assert "run gone on n1 (tester@127.0.0.1" in found[0].description
    assert found[0].remove() is not None, "its host key is not known: it could not be looked at"
    assert gone.path.exists()
    server.know()
    assert found[0].remove() is None
    assert not gone.path.exists()


def test_files_go_late_only_where_the_run_has_none(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "store" / "raft" / "20260101T000000.000Z")
    assert late_files.place(run.run_id, str(run.path), "n1") is None, "the folder is gone"
    run.nodes.mkdir(parents=True)
    run.spec.write_text("{}")
    assert late_files.place(run.run_id, str(run.path), "n1") == run.nodes / "n1"
    (run.nodes / "n1").mkdir()
    assert late_files.place(run.run_id, str(run.path), "n1") == run.nodes / "n1"
    (run.nodes / "n1" / "node.log").write_text("collected")
    assert late_files.place(run.run_id, str(run.path), "n1") is None
    assert late_files.place(run.run_id, "", "n2") is None, "nothing was noted"
    assert late_files.place("another", str(run.path), "n2") is None
    for node in ("", "..", "../n2", "a/b"):
        assert late_files.place(run.run_id, str(run.path), node) is None


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ({"test -d": (1, b"", b"")}, []),
        ({"sweep": (0, b"[]\n", b"")}, []),
        ({"sweep": (0, b'["process 9 does not end"]\n', b"")}, ["process 9 does not end"]),
        ({"sweep": (1, b"", b"No module"), "test -e": (1, b"", b"")}, []),
        ({"sweep": (1, b"", b"No module")}, ["No module"]),
    ],
)
def test_sweeping(
    scripted: Callable[[Callable[[str], Answer]], Server], answers: dict[str, Answer], left: list[str]
) -> None:
    server = scripted(lambda command: next((a for part, a in answers.items() if part in command), (0, b"", b"")))
    client, _ = opened(server)
    with client:
        found = remote_directories.sweep(client, RemoteDirectory(server.machine(), "/r", "python3", ("env", "A=1")))
    assert len(found) == len(left)
    assert all(part in said for said, part in zip(found, left, strict=True))
    assert any(command.endswith("rm -rf -- /r") for command in server.commands) == ("test -e" in answers)
