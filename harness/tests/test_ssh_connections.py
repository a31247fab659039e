"""The environment `ssh` against an SSH server in this process: connections, commands, and what runs that were cut off left."""

from __future__ import annotations

import io
import json
import pwd
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paramiko
import pytest

from harness.environments.base import EnvironmentUnavailable
from harness.environments.linux import labels, late_files
from harness.environments.real.executor import ExecutorFailed
from harness.environments.ssh import connection, remote_directories
from harness.environments.ssh.executor import SshExecutor
from harness.environments.ssh.options import SshOptions, machines
from harness.environments.ssh.remote_directories import RemoteDirectories, RemoteDirectory
from harness.errors import HarnessError
from harness.store.runs import RunDirectory
from harness.tests.ssh_server import Answer, Server, new_key


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
    (remote_directories.folder() / "deep.json").write_text('{"a":' * 3000)
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


def test_without_a_home_nothing_is_left_and_a_run_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number that no file names: `themis cleanup` is for all environments."""

    def unknown(_number: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert remote_directories.find_leftovers() == []
    with pytest.raises(HarnessError, match="no home on this machine: set HOME or XDG_STATE_HOME"):
        remote_directories.folder()
    with pytest.raises(ValueError, match="username: this user has no name on this machine"):
        machines(SshOptions(), ["n1"])
    with pytest.raises(ValueError, match=r"known_hosts: this user has no home on this machine"):
        machines(SshOptions(username="root"), ["n1"])
