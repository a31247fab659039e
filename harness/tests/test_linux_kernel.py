"""Each fault of the kernel on real namespaces and real containers: what is asked is what is measured, and it heals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.real.agent_clients import at_once
from harness.errors import HarnessError
from harness.tests import kernel
from harness.tests.broken_target import TARGET as BROKEN
from histories.units import NS_PER_S
from nemesis import shapes
from nemesis.capabilities import FaultError, Grudge

pytestmark = [pytest.mark.linux, pytest.mark.real, pytest.mark.timeout(300)]

GRUDGES = 50


@pytest.fixture(scope="module", params=kernel.ENVIRONMENTS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinuxEnvironment]:
    place = tmp_path_factory.mktemp(request.param)
    with kernel.up(request.param, place, {"data_mib": "16"}, loses_unsynced=True) as made:
        yield made


def measured(environment: LinuxEnvironment) -> Grudge:
    """The links that carry nothing now, as a grudge."""
    links = environment.cluster.links
    assert links is not None
    return {
        to: cut
        for to, row in links.probe().items()
        if (cut := frozenset(source for source, reach in row.items() if reach == "cut"))
    }


def test_the_measured_matrix_is_the_grudge(running: LinuxEnvironment) -> None:
    links = running.cluster.links
    assert links is not None
    rng = Random(11)
    drawn = list(shapes.SHAPES.values())
    for number in range(GRUDGES):
        if number % 2:
            grudge = shapes.grudge_of(rng.sample(shapes.all_links(kernel.NODES), rng.randint(1, 19)))
        else:
            grudge = drawn[number // 2 % len(drawn)](kernel.NODES, rng)
        links.drop(grudge)
        assert measured(running) == grudge
    links.heal()
    assert measured(running) == {}


def test_a_partition_never_cuts_the_controllers_own_access(running: LinuxEnvironment) -> None:
    links = running.cluster.links
    assert links is not None
    links.drop({node: frozenset(kernel.NODES) - {node} for node in kernel.NODES})
    kernel.await_statuses(running)
    links.heal()


def test_links_to_dead_and_paused_nodes_are_measured_too(running: LinuxEnvironment) -> None:
    links, processes = running.cluster.links, running.cluster.processes
    assert links is not None
    processes.kill(["n1"])
    processes.pause(["n2"])
    assert dict(processes.states()) == {"n1": "dead", "n2": "paused", "n3": "running", "n4": "running", "n5": "running"}
    grudge = {"n1": frozenset({"n2"}), "n3": frozenset({"n1"})}
    links.drop(grudge)
    assert measured(running) == grudge
    links.heal()
    assert measured(running) == {}
    processes.resume(["n2"])
    processes.start(["n1"])
    assert set(processes.states().values()) == {"running"}
    kernel.await_statuses(running)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("loss", {"probability": 0.25}),
        ("duplicate", {"probability": 0.5}),
        ("rate", {"bytes_per_s": 16000}),
        ("slow", {"delay_ms": 100, "jitter_ms": 10}),
        ("reorder", {"probability": 0.2}),
        ("corrupt", {"probability": 0.1}),
    ],
)
def test_bad_links_are_read_back_from_the_kernel(
    running: LinuxEnvironment, kind: str, parameters: dict[str, float]
) -> None:
    packets = running.cluster.packets
    asked = [("n1", "n2"), ("n3", "n1"), ("n3", "n2")]
    if kind not in packets.kinds:
        # Refused, and not pretended: this kernel has nothing for it.
        with pytest.raises(FaultError, match=f"cannot {kind}"):
            packets.disturb(kind, asked, parameters)
        assert any(kind in words for words in running.cluster.lacking)
        return
    packets.disturb(kind, asked, parameters)
    in_force: Any = packets.measure()["in_force"]
    assert {name: sorted(map(tuple, links)) for name, links in in_force.items()} == {kind: asked}
    assert measured(running) == {}, "a bad link is not a cut one"
    packets.disturb(kind, [], parameters)
    assert packets.measure()["in_force"] == {}


def test_kinds_add_up_and_end_one_by_one(running: LinuxEnvironment) -> None:
    packets, links = running.cluster.packets, running.cluster.links
    assert links is not None
    packets.disturb("loss", [("n1", "n2")], {"probability": 0.1})
    packets.disturb("rate", [("n1", "n2"), ("n2", "n3")], {"bytes_per_s": 64000})
    links.drop({"n5": frozenset({"n4"})})
    in_force: Any = packets.measure()["in_force"]
    assert in_force == {"loss": [["n1", "n2"]], "rate": [["n1", "n2"], ["n2", "n3"]]}
    packets.disturb("loss", [], {"probability": 0})
    assert packets.measure()["in_force"] == {"rate": [["n1", "n2"], ["n2", "n3"]]}
    assert measured(running) == {"n5": frozenset({"n4"})}
    links.heal()
    assert packets.measure()["in_force"] == {}
    assert measured(running) == {}


def test_total_loss_is_what_a_probe_calls_a_cut(running: LinuxEnvironment) -> None:
    running.cluster.packets.disturb("loss", [("n4", "n2")], {"probability": 1.0})
    assert measured(running) == {"n2": frozenset({"n4"})}
    running.cluster.packets.heal()
    assert measured(running) == {}


def test_a_narrow_link_carries_so_much_and_no_more(running: LinuxEnvironment) -> None:
    """16 kB at 16 kB/s take a second, in one direction only."""
    receive = (
        "import socket,sys,time\n"
        "s=socket.create_server((sys.argv[1],7009))\n"
        "s.settimeout(20)\n"
        "c=s.accept()[0]; n=0; t=None\n"
        "while d:=c.recv(65536):\n"
        "  t=t or time.monotonic(); n+=len(d)\n"
        "print(n, time.monotonic()-t)\n"
    )
    send = (
        "import socket,sys,time\n"
        "for _ in range(200):\n"
        "  try: c=socket.create_connection((sys.argv[1],7009)); break\n"
        "  except ConnectionRefusedError: time.sleep(0.05)\n"
        "c.sendall(bytes(32000)); c.close()\n"
    )
    agents = running.control()
    running.cluster.packets.disturb("rate", [("n1", "n2")], {"bytes_per_s": 16000})
    host = running.hosts["n2"]
    done = at_once(
        {
            "n2": lambda: agents.run("n2", [running.python("n2"), "-c", receive, host], timeout_s=25).checked().text,
            "n1": lambda: agents.run("n1", [running.python("n1"), "-c", send, host], timeout_s=25).checked().text,
        }
    )
    running.cluster.packets.heal()
    byte_count, seconds = done["n2"].split()
    assert int(byte_count) == 32000
    assert 1.2 < float(seconds) < 8


def arrivals(environment: LinuxEnvironment, count: int = 100) -> list[tuple[int, float]]:
    """(number, delay in ms) of each datagram that n2 gets, of those that n1 sends it 10 ms apart, in order of arrival."""
    receive = (
        "import socket,sys,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((sys.argv[1],7008)); s.settimeout(30)\n"
        "while (d:=s.recv(50))!=b'end':\n"
        "  n,t=d.split(); print(int(n), (time.monotonic_ns()-int(t))/1e6)\n"
    )
    send = (
        "import socket,sys,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        "time.sleep(float(sys.argv[3]))\n"  # Until the other one listens.
        "for n in range(int(sys.argv[2])): time.sleep(0.01); s.sendto(b'%d %d' % (n, time.monotonic_ns()), (sys.argv[1],7008))\n"
        "time.sleep(0.5)\n"
        "for _ in range(50): time.sleep(0.01); s.sendto(b'end', (sys.argv[1],7008))\n"
    )
    agents, host = environment.control(), environment.hosts["n2"]
    began_s = time.monotonic()
    agents.run("n2", [environment.python("n2"), "-c", "import socket"]).checked()
    startup_s = 2 * (time.monotonic() - began_s) + 0.5
    there = [environment.python("n2"), "-c", receive, host]
    here = [environment.python("n1"), "-c", send, host, str(count), str(startup_s)]
    done = at_once(
        {
            "n2": lambda: agents.run("n2", there, timeout_s=40).checked().text,
            "n1": lambda: agents.run("n1", here, timeout_s=40).checked().text,
        }
    )
    lines = (line.split() for line in done["n2"].splitlines())
    return [(int(number), float(delay_ms)) for number, delay_ms in lines]


def disturbed(environment: LinuxEnvironment, kind: str, parameters: dict[str, float]) -> list[tuple[int, float]] | None:
    """The arrivals while the link from n1 to n2 is so disturbed; None, and the refusal was seen, where the kernel cannot."""
    packets = environment.cluster.packets
    if kind not in packets.kinds:
        with pytest.raises(FaultError, match=f"cannot {kind}"):
            packets.disturb(kind, [("n1", "n2")], parameters)
        return None
    packets.disturb(kind, [("n1", "n2")], parameters)
    try:
        return arrivals(environment)
    finally:
        packets.heal()


def test_what_is_duplicated_arrives_twice(running: LinuxEnvironment) -> None:
    if (found := disturbed(running, "duplicate", {"probability": 1.0})) is not None:
        assert sorted(number for number, _ in found) == [number for number in range(100) for _ in "ab"]


def test_a_slow_link_takes_its_time_in_one_direction(running: LinuxEnvironment) -> None:
    if (found := disturbed(running, "slow", {"delay_ms": 80, "jitter_ms": 0})) is not None:
        delays_ms = sorted(delay_ms for _, delay_ms in found)
        assert len(found) == 100
        assert delays_ms[0] >= 80
        assert delays_ms[50] < 160
        assert sorted(delay_ms for _, delay_ms in arrivals(running))[50] < 40, "healed"


def test_a_reordering_link_lets_some_overtake_others_and_loses_none(running: LinuxEnvironment) -> None:
    if (found := disturbed(running, "reorder", {"probability": 0.3})) is not None:
        numbers = [number for number, _ in found]
        assert sorted(numbers) == list(range(100))
        assert 5 <= sum(later < earlier for earlier, later in pairwise(numbers)) <= 60


def test_a_corrupting_link_delivers_nothing_that_is_wrong(running: LinuxEnvironment) -> None:
    """The checksum of UDP catches a flipped bit: such a datagram is lost."""
    if (found := disturbed(running, "corrupt", {"probability": 0.3})) is not None:
        numbers = [number for number, _ in found]
        assert 40 <= len(numbers) <= 90
        assert numbers == sorted(set(numbers))


def test_clocks_move_and_come_back(running: LinuxEnvironment) -> None:
    clocks = running.cluster.clocks
    assert clocks is not None
    clocks.set_offset({"n1": 5 * NS_PER_S, "n2": -NS_PER_S})
    found = clocks.offsets_ns()
    for node, expected_ns in {"n1": 5 * NS_PER_S, "n2": -NS_PER_S, "n3": 0}.items():
        offset_ns = found[node]
        assert offset_ns is not None
        assert abs(offset_ns - expected_ns) < NS_PER_S // 10
    clocks.set_rate({"n3": 2.0})
    rate = clocks.rates()["n3"]
    assert rate is not None
    assert abs(rate - 2.0) < 0.1
    clocks.heal()
    assert all(offset_ns is not None and abs(offset_ns) < NS_PER_S // 10 for offset_ns in clocks.offsets_ns().values())


def test_disks_of_dead_nodes_are_damaged(running: LinuxEnvironment) -> None:
    disks, processes = running.cluster.disks, running.cluster.processes
    with pytest.raises(FaultError, match="only the disk of a dead node"):
        disks.damage("truncate", ["n4"], {"bytes": 4})
    processes.kill(["n4"])
    done: Any = disks.damage("truncate", ["n4"], {"bytes": 4})
    assert done["n4"]["bytes_before"] - done["n4"]["bytes_after"] == 4
    done = disks.damage("bitflip", ["n4"], {"bits": 3})
    assert done["n4"]["bits"] == 3
    done = disks.damage("wipe", ["n4"], {})
    assert "wal.log" in done["n4"]["removed"]
    assert done["n4"]["left"] == []
    processes.start(["n4"])
    assert processes.states()["n4"] == "running"


def test_disks_lose_what_was_not_synced_and_nothing_else(running: LinuxEnvironment) -> None:
    disks, processes, agents = running.cluster.disks, running.cluster.processes, running.control()
    data = running.data_dirs()["n2"]
    script = f"cd {data}; printf kept >a; sync a; printf lost >>a; printf lost >b"
    agents.run("n2", ["sh", "-c", script]).checked("n2")
    processes.kill(["n2"])
    done: Any = disks.damage("lose-unsynced", ["n2"], {})
    assert done["n2"]["bytes_lost"] >= 8
    assert {"a", "b"} <= set(done["n2"]["files"])
    found = agents.run("n2", ["sh", "-c", f"cd {data}; cat a; ls"]).checked("n2").text
    assert found.startswith("kept")
    assert "b" not in found.split()
    processes.start(["n2"])
    kernel.await_statuses(running)


def test_a_node_whose_write_is_to_be_torn_dies_at_a_sync(running: LinuxEnvironment) -> None:
    disks, processes = running.cluster.disks, running.cluster.processes
    leader = running.cluster.primary()
    deadline_s = time.monotonic() + 60
    while leader is None:
        assert time.monotonic() < deadline_s, "nobody leads"
        leader = running.cluster.primary()
    processes.kill([leader])  # The others vote, and sync it.
    others = [node for node in kernel.NODES if node != leader]
    disks.before_kill("torn-write", others)
    processes.kill(others)
    done: Any = disks.damage("torn-write", others, {})
    assert set(done) == set(others)
    assert "wal.log" in {done[node].get("killed_before_sync_of") for node in others}
    processes.start(kernel.NODES)
    kernel.await_statuses(running)
    assert running.crashed_nodes() == []


def test_a_full_disk_takes_no_byte_more_until_it_heals(running: LinuxEnvironment) -> None:
    disks, agents = running.cluster.disks, running.control()
    data = running.data_dirs()["n5"]
    write = ["dd", "if=/dev/zero", f"of={data}/more", "bs=4096", "count=1", "conv=fsync"]
    assert "full" in disks.kinds
    done: Any = disks.damage("full", ["n5"], {})
    assert done["n5"]["bytes_free"] == 0
    assert disks.measure()["in_force"] == {"full": ["n5"]}
    refused = agents.run("n5", write)
    assert refused.exit_code
    assert b"No space left" in refused.stderr
    disks.heal()
    assert disks.measure()["in_force"] == {}
    agents.run("n5", write).checked("n5")
    agents.run("n5", ["rm", f"{data}/more"]).checked("n5")
    # Raft halts when its disk refuses; it starts again on what it has.
    running.cluster.processes.start(["n5"])
    kernel.await_statuses(running)


@pytest.mark.parametrize("name", kernel.ENVIRONMENTS)
def test_up_and_down_leave_nothing_and_say_how_long_they_take(name: str, tmp_path: Path) -> None:
    before = kernel.traces()
    made = kernel.environment(name, tmp_path)
    made.check()
    began_s = time.monotonic()
    try:
        made.up()
        up_s = time.monotonic() - began_s
        made.collect()
    finally:
        began_s = time.monotonic()
        made.down()
        down_s = time.monotonic() - began_s
    made.down()
    print(f"\n{name}: 5 nodes up in {up_s:.2f} s, down in {down_s:.2f} s")
    assert not kernel.leaked(before)
    for node in kernel.NODES:
        assert (tmp_path / "nodes" / node / "node.log").stat().st_size
        assert (tmp_path / "nodes" / node / "data" / "wal.log").is_file()


@pytest.mark.parametrize("name", kernel.ENVIRONMENTS)
def test_a_node_that_cannot_start_is_a_failure_with_its_log(name: str, tmp_path: Path) -> None:
    before = kernel.traces()
    made = kernel.environment(name, tmp_path, target=BROKEN)
    try:
        with pytest.raises(HarnessError):
            made.up()
    finally:
        made.down()
    assert not kernel.leaked(before)
