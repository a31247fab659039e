"""The environment `ssh` against real SSH servers, each in a network namespace of its own. Needs root, sshd and iptables."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.base import Deployment
from harness.environments.leftovers import processes_of_run
from harness.environments.real import labelled_processes
from harness.environments.ssh import remote_directories
from harness.environments.ssh.environment import SshEnvironment
from harness.run.plan import find_target
from harness.store.runs import RunDirectory
from harness.tests.sshd import Machines, keygen, machines, themis
from histories import jsonl
from nemesis.shapes import all_links, grudge_of

pytestmark = [pytest.mark.linux, pytest.mark.long, pytest.mark.timeout(600)]

FAULTS = "partition,kill,pause,clock,loss"
BUG_RUNS_MAX = 5
GRUDGES = 50
GONE_S_MAX = 10.0


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("machines")) as made:
        yield made


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Machines]:
    with machines(tmp_path, 3) as made:
        yield made


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def one_run(made: Machines, store: Path, seed: int, *more: str) -> dict[str, Any]:
    """What `themis test --json` says of Raft under faults."""
    common = made.arguments("--nemesis", FAULTS, "--rate", "200", "--seed", str(seed), "--store", str(store), "--json")
    ended = themis("test", *common, *more)
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    return data


def environment(made: Machines, directory: Path, run_id: str, **more: str) -> SshEnvironment:
    """The environment on these machines, not checked yet."""
    raft = find_target("raft")
    options = dict(option.split("=", 1) for option in made.options() if option != "-e")
    return SshEnvironment(
        Deployment(
            run_id=run_id,
            directory=directory,
            target=raft,
            options=raft.option_type(),
            bugs=frozenset(),
            nodes=made.names,
            seed=1,
            env_options={"username": "root", "private_key": str(made.key), **options, **more},
            loses_unsynced=True,
        )
    )


def test_raft_survives_every_fault_and_nothing_is_left(five: Machines, tmp_path: Path) -> None:
    data = one_run(five, tmp_path / "store", 3, "--time-limit", "30")
    assert data["exit_code"] == 0, data
    assert not data["result"].get("harness"), data
    history = jsonl.read(Path(data["run"]) / "history.jsonl").history
    faults = [
        op for op in history.nemesis() if op.type == "info" and isinstance(op.value, dict) and "status" in op.value
    ]
    installed = [op for op in faults if op.value["status"] == "installed"]
    assert {op.f for op in installed} >= {"start-partition", "kill", "pause", "start-clock", "start-loss"}
    assert all(op.value["evidence"] for op in installed)
    for name in five.names:
        assert (Path(data["run"]) / "nodes" / name / "trace.jsonl").stat().st_size
        assert (Path(data["run"]) / "nodes" / name / "node.log").stat().st_size
    assert five.is_clean()
    secret = five.key.read_text().splitlines()[1]
    kept = [path for path in Path(data["run"]).rglob("*") if path.is_file()]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("bug", ["stale-read", pytest.param("reply-before-commit", marks=pytest.mark.soak)])
def test_each_bug_is_caught_within_five_runs(five: Machines, tmp_path: Path, bug: str) -> None:
    for seed in range(101, 101 + BUG_RUNS_MAX):
        if one_run(five, tmp_path / "store", seed, "--bug", bug, "--time-limit", "12")["exit_code"] == 1:
            return
    pytest.fail(f"{bug} survived {BUG_RUNS_MAX} runs")


def test_a_schedule_recorded_elsewhere_replays_here_and_one_recorded_here_replays_elsewhere(
    three: Machines, tmp_path: Path
) -> None:
    names = ",".join(three.names)
    shared = (
        "--nemesis",
        "partition:one,partition:one-way,kill:one,pause:one,loss",
        "--time-limit",
        "8",
        "--seed",
        "5",
    )

    def ran(store: str, *arguments: str) -> tuple[bytes, list[str]]:
        ended = themis("test", *arguments, "--store", tmp_path / store)
        assert ended.returncode in (0, 2), ended.stdout + ended.stderr
        run = (tmp_path / store / "latest").resolve()
        done = [op for op in jsonl.read(run / "history.jsonl").history.nemesis() if op.type == "info"]
        grudges = [json.dumps(op.value["did"]) for op in done if op.f == "start-partition"]
        return (run / "schedule.json").read_bytes(), grudges

    recorded, grudges = ran("sim", "--env", "sim", "--nodes", names, *shared)
    schedule = str(tmp_path / "sim" / "latest" / "schedule.json")
    again = ran("ssh", *three.arguments("--time-limit", "8", "--schedule", schedule))
    assert again == (recorded, grudges)
    assert grudges
    schedule = str(tmp_path / "ssh" / "latest" / "schedule.json")
    back = ran("local", "--env", "local", "--nodes", names, "--time-limit", "8", "--schedule", schedule)
    assert back == again


def test_the_matrix_measured_is_the_grudge_one_way_ones_included(five: Machines, tmp_path: Path) -> None:
    rng = random.Random(50)
    found = environment(five, tmp_path, "grudges")
    found.check()
    try:
        found.up()
        assert found.cluster.links is not None
        for _ in range(GRUDGES):
            chosen = [link for link in all_links(five.names) if rng.random() < rng.choice((0.1, 0.5, 0.9))]
            grudge = grudge_of(chosen)
            found.cluster.links.drop(grudge)
            measured = found.cluster.links.probe()
            for to in five.names:
                for source in set(five.names) - {to}:
                    expected = "cut" if source in grudge.get(to, ()) else "answers"
                    assert measured[to][source] == expected, (source, to, grudge)
        found.cluster.links.heal()
        assert {reach for sources in found.cluster.links.probe().values() for reach in sources.values()} == {"answers"}
        found.collect()
    finally:
        found.down()
    assert five.is_clean()


def test_a_full_disk_is_full_and_everything_is_unmounted(three: Machines, tmp_path: Path) -> None:
    bounded = environment(three, tmp_path, "disks", data_mib="16")
    bounded.check()
    try:
        bounded.up()
        bounded.cluster.disks.damage("full", ["n2"], {})
        assert bounded.cluster.disks.measure()["in_force"] == {"full": ["n2"]}
        bounded.cluster.disks.heal()
        assert bounded.cluster.disks.measure()["in_force"] == {}
        data = bounded.data_dirs()["n1"]
        bounded.control().run("n1", ["sh", "-c", f"printf 12345 >{data}/unsynced"]).checked()
        bounded.cluster.processes.kill(["n1"])
        done: Any = bounded.cluster.disks.damage("lose-unsynced", ["n1"], {})
        assert done["n1"]["bytes_lost"] >= 5
        assert bounded.control().run("n1", ["ls", f"{data}/unsynced"]).exit_code
    finally:
        bounded.down()
    assert three.is_clean()


def refused(made: Machines, store: Path, *more: str) -> str:
    """What the command says; it must refuse the run before anything is started."""
    ended = themis("test", *made.arguments(), "--time-limit", "2", "--store", store, *more)
    assert ended.returncode == 254, (ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert not list(store.glob("*/*/spec.json"))
    assert made.is_clean()
    return ended.stderr


def test_what_cannot_work_is_refused_with_what_to_do(three: Machines, tmp_path: Path) -> None:
    store = tmp_path / "store"
    missing = str(tmp_path / "missing")
    said = refused(three, store, "--ssh-private-key", missing)
    assert missing in said
    assert "does not exist" in said
    stranger = tmp_path / "stranger"
    keygen(stranger)
    assert "ssh-copy-id" in refused(three, store, "--ssh-private-key", str(stranger))
    said = refused(three, store, "--username", "nosuchuser")
    assert "the user nosuchuser was refused" in said
    said = refused(three, store, "--ssh-port", "2222")
    assert f"{three.addresses['n1']}:2222" in said
    assert "--ssh-port" in said
    said = refused(three, store, "-e", "python=/nowhere/python3")
    assert "there is no /nowhere/python3 of at least 3.11" in said
    assert "no interface of it has the address" in refused(three, store, "-e", "addresses=10.9.9.1,10.9.9.2,10.9.9.3")
    assert "can be written by others" in refused(three, store, "-e", f"remote_directory=/tmp/{three.tag}")
    assert "hosts: 2 of them for 3 nodes" in refused(three, store, "-e", "hosts=10.9.9.1,10.9.9.2")


def test_a_port_in_use_is_refused(three: Machines, tmp_path: Path) -> None:
    code = (
        f"import socket; s = socket.create_server(('{three.addresses['n2']}', 7000)); print('up', flush=True); input()"
    )
    space = f"/run/netns/th{three.tag}-2"
    with subprocess.Popen(
        ["nsenter", f"--net={space}", "--", sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == b"up\n"
        said = refused(three, tmp_path / "store")
        listening.communicate(b"\n")
    assert "n2" in said
    assert "port 7000 of it cannot be used" in said
    assert "node_port" in said


def test_an_unreachable_machine_is_refused(three: Machines, tmp_path: Path) -> None:
    three.stop("n3")
    said = refused(three, tmp_path / "store")
    assert "n3" in said
    assert "no SSH server can be reached" in said


def test_host_keys_are_checked(three: Machines, tmp_path: Path) -> None:
    store = tmp_path / "store"
    three.known_hosts.write_text("# nobody yet")
    said = refused(three, store)
    assert "is not in known_hosts" in said
    assert "--ssh-accept-new" in said
    ended = themis("test", *three.arguments("--ssh-accept-new"), "--time-limit", "2", "--store", store)
    assert ended.returncode in (0, 2), ended.stderr
    for line in (three.addresses[name] + " ssh-ed25519 " for name in three.names):
        assert line in three.known_hosts.read_text()
    three.rekey("n2")
    said = refused(three, tmp_path / "again", "--ssh-accept-new")
    assert "its host key is not the one in known_hosts" in said
    assert "ssh-keygen -R" in said


def test_machines_are_reached_by_ipv6_where_nodes_have_ipv4(three: Machines, tmp_path: Path) -> None:
    three.up_v6()
    hosts = ",".join(three.addresses_v6.values())
    said = refused(three, tmp_path / "store", "-e", f"hosts={hosts}")
    assert f"no interface of it has the address {three.addresses_v6['n1']}; it has" in said
    assert three.addresses["n1"] in said
    assert "addresses=" in said
    assert f"no SSH server can be reached at [{three.addresses_v6['n2']}]:2222" in refused(
        three, tmp_path / "store", "-e", f"hosts={hosts}", "--ssh-port", "2222"
    )
    addresses = ",".join(three.addresses.values())
    data = one_run(
        three, tmp_path / "store", 3, "-e", f"hosts={hosts}", "-e", f"addresses={addresses}", "--time-limit", "8"
    )
    assert data["exit_code"] in (0, 2), data
    assert not data["result"].get("harness"), data
    assert three.is_clean()


@pytest.mark.parametrize("is_guard_killed", [False, True])
def test_after_kill_9_cleanup_finds_the_machines(three: Machines, tmp_path: Path, is_guard_killed: bool) -> None:
    store = tmp_path / "store"
    controller = subprocess.Popen(
        [
            *(sys.executable, "-m", "harness", "test", *three.arguments("--nemesis", "partition,loss")),
            *("--nemesis-interval", "1", "--time-limit", "60", "--store", str(store)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 60
        while "-j DROP" not in three.inside("n1", "iptables", "-S"):
            assert controller.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        if is_guard_killed:
            for path in Path(three.remote).glob("*/*/guard.pid"):
                labelled_processes.end([int(path.read_text().partition(":")[0])])
    finally:
        controller.kill()
        controller.wait()
    run = (store / "current").resolve()
    deadline_s = time.monotonic() + GONE_S_MAX
    while processes_of_run(run):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    if not is_guard_killed:  # The guards saw their sessions end.
        while "THEMIS" in "".join(three.inside(name, "iptables", "-S") for name in three.names):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    assert not three.is_clean()
    # The command itself is only asked what it sees: it would also remove what others on this machine have left.
    dry = themis("cleanup", "--dry-run")
    assert f"run {RunDirectory(run).run_id} on n1 (root@" in dry.stdout
    assert not three.is_clean()
    found = remote_directories.find_leftovers()  # In this test's own state directory: of this run alone.
    assert [left.remotes.run_id for left in found] == [RunDirectory(run).run_id]
    assert found[0].remove() is None
    assert three.is_clean()
    assert remote_directories.find_leftovers() == []


def test_the_next_run_finds_what_was_left(three: Machines, tmp_path: Path) -> None:
    store = tmp_path / "store"
    controller = subprocess.Popen(
        [sys.executable, "-m", "harness", "test", *three.arguments("--time-limit", "60", "--store", str(store))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 60
        while not list(Path(three.remote).glob("*/*/node.pid")):
            assert controller.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    finally:
        controller.kill()
        controller.wait()
    assert not three.is_clean()
    deadline_s = time.monotonic() + GONE_S_MAX
    while any(socket_answers(address) for address in three.addresses.values()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    ended = themis("test", *three.arguments("--time-limit", "3", "--store", str(store)))
    assert ended.returncode in (0, 2), ended.stderr
    assert three.is_clean()


def socket_answers(address: str) -> bool:
    """Whether a node listens there."""
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex((address, 7000)) == 0
