"""The environment `ssh` without machines and without a server: the parts that are pure."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from harness.cli import options as flags
from harness.environments.real.agent_clients import Agents
from harness.environments.real.capabilities import NodeProcesses
from harness.environments.real.executor import Ran
from harness.environments.ssh import bundle, host_facts, options
from harness.environments.ssh.collecting import unpacked
from harness.environments.ssh.host_clocks import SystemClocks, shared_origin
from harness.environments.ssh.host_facts import Facts, Unfit
from harness.environments.ssh.options import SshOptions
from harness.errors import UsageError
from targets.target import CORE_PORT, Address
from targets.timekeeping import Reading

NODES = ("a", "b")


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
