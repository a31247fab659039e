"""Users who are not root on machines that are reached by SSH: with sudo, with a sudo that will not do, and with none. Needs root,
to make them and the machines; sshd, sudo and iptables."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.leftovers import processes_of_run
from harness.environments.ssh import remote_directories
from harness.store.runs import RunDirectory
from harness.tests.sshd import Machines, User, awaited, in_background, machines, themis, user
from histories import jsonl

pytestmark = [pytest.mark.linux, pytest.mark.long, pytest.mark.timeout(300)]

FREE = "{user} ALL=(ALL) NOPASSWD: ALL"
GREETING = "echo 'Authorized users only!'; echo 'You have new mail' >&2; umask 077; PATH=/usr/bin:/bin; printf '> '\n"
REFUSED_S_MAX = 30.0
"""Connecting to three machines and asking them takes about two seconds."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("machines"), 3) as made:
        yield made


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def one_run(made: Machines, who: User, store: Path, *more: str) -> dict[str, Any]:
    """What `themis test --json` says of Raft under faults."""
    common = made.arguments("--rate", "200", "--store", str(store), "--json", username=who.name)
    ended = themis("test", *common, *more)
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    return data


def installed(run: Path) -> set[str]:
    """The fault ops that were seen to take effect, each with what was measured."""
    ops = [
        op
        for op in jsonl.read(run / "history.jsonl").history.nemesis()
        if op.type == "info" and isinstance(op.value, dict) and op.value.get("status") == "installed"
    ]
    assert all(op.value["evidence"] for op in ops)
    return {op.f for op in ops}


def is_collected(made: Machines, run: Path) -> bool:
    """Whether every node's log and trace are in the run's directory, and are ours to read."""
    files = [run / "nodes" / name / file for name in made.names for file in ("trace.jsonl", "node.log")]
    return all(file.stat().st_size and file.stat().st_uid == os.getuid() for file in files)


@pytest.mark.parametrize(
    ("shell", "shell_files", "rules"),
    [
        # What shells do before the command, and what sudo does to it.
        ("/bin/bash", {".bashrc": GREETING, ".profile": GREETING}, (FREE, "Defaults:{user} umask=0077")),
        ("/bin/sh", {".profile": GREETING}, (FREE, 'Defaults:{user} secure_path="/usr/bin:/bin", !use_pty')),
    ],
    ids=["bash-that-greets", "sh-without-sbin"],
)
def test_by_sudo_every_fault_works_and_nothing_is_left(
    three: Machines, tmp_path: Path, shell: str, shell_files: dict[str, str], rules: tuple[str, ...]
) -> None:
    with user(three, rules=rules, shell=shell, shell_files=shell_files) as who:
        # Nothing of ours belongs there.
        os.chown(who.home, 0, 0)
        who.home.chmod(0o755)
        before = who.files()
        faults = ("--nemesis", "partition,kill,pause,clock,loss", "--nemesis-interval", "3", "--seed", "3")
        data = one_run(three, who, tmp_path / "store", "--time-limit", "15", *faults)
        assert data["exit_code"] == 0, data
        assert not data["result"].get("harness"), data
        run = Path(data["run"])
        assert installed(run) >= {"start-partition", "kill", "pause", "start-clock", "start-loss"}
        assert is_collected(three, run)
        assert "Authorized users only!" not in (run / "themis.log").read_text()
        assert three.is_clean()
        awaited(lambda: not who.processes(), 10)
        assert who.files() == before
        assert not processes_of_run(run)


def test_after_kill_9_in_a_partition_cleanup_collects_and_removes_by_sudo_too(three: Machines, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with user(three, shell_files={".bashrc": GREETING}) as who:
        before = who.files()
        faults = ("--nemesis", "partition", "--nemesis-interval", "1", "--time-limit", "60", "--store", str(store))
        controller = in_background("test", *three.arguments(*faults, username=who.name))
        try:
            awaited(lambda: "-j DROP" in three.inside("n1", "iptables", "-S"), 60, controller)
        finally:
            controller.kill()
            controller.wait()
        run = (store / "current").resolve()
        # The guards see their sessions end, and end with their nodes and rules. Files stay for the sweep.
        awaited(lambda: not processes_of_run(run), 10)
        awaited(lambda: not any("THEMIS" in three.inside(name, "iptables", "-S") for name in three.names), 10)
        assert three.is_used()
        (left,) = remote_directories.find_leftovers()
        assert left.remotes.run_id == RunDirectory(run).run_id
        cleaned = themis("cleanup")
        assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
        assert f"run {left.remotes.run_id} on n1 ({who.name}@" in cleaned.stdout
        assert is_collected(three, run)
        assert three.is_clean()
        assert remote_directories.find_leftovers() == []
        awaited(lambda: not who.processes(), 10)
        assert who.files() == before


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((), ("sudo: a password is required", "NOPASSWD")),
        (("{user} ALL=(ALL) ALL",), ("sudo: a password is required", "NOPASSWD")),
        ((FREE, "Defaults:{user} requiretty"), ("you must have a tty", "!requiretty")),
        (("{user} ALL=(ALL) NOPASSWD: /usr/bin/true",), ("sudo: a password is required", "NOPASSWD: ALL")),
    ],
    ids=["no-rights", "a-password", "a-terminal", "some-commands"],
)
def test_a_sudo_that_will_not_do_is_refused_at_once(
    three: Machines, tmp_path: Path, rules: tuple[str, ...], said: tuple[str, ...]
) -> None:
    with user(three, rules=rules) as who:
        began_s = time.monotonic()
        ended = themis(
            "test", *three.arguments("--time-limit", "2", "--store", str(tmp_path / "store"), username=who.name)
        )
        assert time.monotonic() - began_s < REFUSED_S_MAX, "it waited for a password"
        assert ended.returncode == 254, (ended.stdout, ended.stderr)
        for words in (*said, f"n1 ({who.name}@", "/etc/sudoers.d", "--username root", "as_root=false"):
            assert words in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not list((tmp_path / "store").glob("*/*/spec.json"))
        assert three.is_clean()
        assert not three.is_used()


def test_a_shell_that_lets_nobody_in_is_refused(three: Machines, tmp_path: Path) -> None:
    with user(three, shell="/usr/sbin/nologin") as who:
        ended = themis("test", *three.arguments("--store", str(tmp_path / "store"), username=who.name))
        assert ended.returncode == 254, (ended.stdout, ended.stderr)
        assert "the login shell runs no commands" in ended.stderr
        assert "This account is currently not available" in ended.stderr
        assert not three.is_used()


def test_without_root_what_needs_none_works_and_the_rest_is_refused(three: Machines, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with user(three, rules=(), shell_files={".bashrc": GREETING}) as who:
        before = who.files()
        without = ("-e", "as_root=false", "-e", f"remote_directory={who.home}/themis")
        faults = ("--nemesis", "kill,pause,clock", "--nemesis-interval", "3", "--time-limit", "12", "--seed", "3")
        data = one_run(three, who, store, *without, *faults)
        assert data["exit_code"] == 0, data
        assert not data["result"].get("harness"), data
        assert installed(Path(data["run"])) >= {"kill", "pause", "start-clock"}
        assert is_collected(three, Path(data["run"]))
        awaited(lambda: not who.processes(), 10)
        assert who.files() == before
        for more, said in (
            (("--nemesis", "partition"), "the nodes do not run as root there (as_root=false)"),
            (("-e", f"remote_directory={three.remote}"), "/var/lib cannot be written"),
            (("--allow-system-clock",), "allow_system_clock cannot be had without root"),
        ):
            arguments = three.arguments("--store", str(tmp_path / "refused"), *without, *more, username=who.name)
            ended = themis("test", *arguments)
            assert ended.returncode == 254, (ended.stdout, ended.stderr)
            assert said in ended.stderr
        assert not list((tmp_path / "refused").glob("*/*/spec.json"))
        assert who.files() == before
