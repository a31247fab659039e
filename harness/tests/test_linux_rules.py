"""What is written to kernels and read back from them, without one: rules, trees, names and address ranges."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from ipaddress import IPv4Network
from random import Random

import pytest

from harness.environments.linux import firewall, kernel_features, labels, packing, shaping, subnets
from harness.environments.linux.firewall import Firewall, Rules
from harness.environments.linux.shaping import Shaping
from harness.environments.netns import network
from harness.environments.real.executor import ExecutorFailed, Ran
from nemesis import shapes
from nemesis.capabilities import FaultError
from targets.raft.target import TARGET

NODES = ("n1", "n2", "n3", "n4", "n5")
ADDRESSES = {node: f"10.213.1.{number}" for number, node in enumerate(NODES, start=2)}
CHAIN = "THEMIS-abc1234"


class FakeKernels:
    """Implements Runner: one iptables and one tc a node, which understand just what we say to them."""

    def __init__(self) -> None:
        self.chains: dict[tuple[str, str, str], list[str]] = {}
        self.hooks: dict[tuple[str, str], list[str]] = {}
        self.trees: dict[str, list[str]] = {}
        self.broken: set[str] = set()

    def run(self, node: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 1.0) -> Ran:
        if node in self.broken:
            raise ExecutorFailed(f"{node} is broken")
        if argv[0] == "iptables-restore":
            return self._restored(node, argv, stdin.decode())
        if argv[0] == "tc":
            return self._shaped(node, argv, stdin.decode())
        assert list(argv[:3]) == ["iptables", "-w", "5"]
        table, (command, *rest) = argv[4], argv[5:]
        if command == "-S":
            lines = [f"-A {rest[0]} {rule}\n" for rule in self.chains[node, table, rest[0]]]
            return Ran(tuple(argv), 0, f"-N {rest[0]}\n{''.join(lines)}".encode())
        hooks = self.hooks.setdefault((node, table), [])
        match command:
            case "-C":
                return Ran(tuple(argv), 0 if rest[2] in hooks else 1)
            case "-I":
                hooks.append(rest[3])
            case "-D":
                hooks.remove(rest[2])
            case "-F":
                self.chains[node, table, rest[0]].clear()
            case "-X":
                assert rest[0] not in hooks
                del self.chains[node, table, rest[0]]
            case _:
                raise AssertionError(argv)
        return Ran(tuple(argv), 0)

    def _restored(self, node: str, argv: Sequence[str], text: str) -> Ran:
        assert "--noflush" in argv, "other programs' rules are theirs"
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self.chains[node, table, line[1:].split()[0]] = []
            elif line.startswith("-A "):
                _, chain, rule = line.split(" ", 2)
                # The kernel prints an address with its mask.
                self.chains[node, table, chain].append(re.sub(r"^(-[sd] [\d.]+)", r"\1/32", rule))
            else:
                assert line == "COMMIT"
        return Ran(tuple(argv), 0)

    def _shaped(self, node: str, argv: Sequence[str], text: str) -> Ran:
        if argv[1] == "-batch":
            assert node not in self.trees, "a tree is made where none stands"
            self.trees[node] = text.splitlines()
        elif "del" in argv and self.trees.pop(node, None) is None:
            return Ran(tuple(argv), 2, b"", b"Error: Cannot delete qdisc with handle of zero.")
        return Ran(tuple(argv), 0, b"[]")


@pytest.fixture
def kernels() -> FakeKernels:
    return FakeKernels()


def test_fifty_grudges_become_exactly_their_links(kernels: FakeKernels) -> None:
    rules = Firewall(lambda: kernels, ADDRESSES, CHAIN)
    rng = Random(5)
    for _ in range(50):
        grudge = shapes.grudge_of(rng.sample(shapes.all_links(NODES), rng.randint(0, 20)))
        rules.cut(grudge)
        found = {node: read.refused for node, read in rules.read().items() if read.refused}
        assert found == grudge


def test_cuts_and_bad_links_do_not_touch_each_other(kernels: FakeKernels) -> None:
    rules = Firewall(lambda: kernels, ADDRESSES, CHAIN)
    rules.lose([("n1", "n2"), ("n3", "n2")], 0.25)
    rules.cut({"n2": frozenset({"n1"})})
    rules.double([("n1", "n4")], 0.5)
    assert rules.read()["n2"] == Rules(frozenset({"n1"}), {"n1": 0.25, "n3": 0.25}, {})
    rules.cut({})
    assert rules.read()["n2"] == Rules(frozenset(), {"n1": 0.25, "n3": 0.25}, {})
    assert rules.read()["n1"] == Rules(frozenset(), {}, {"n4": 0.5})
    rules.lose([], 0)
    rules.double([], 0)
    assert all(found == Rules() for found in rules.read().values())


def test_a_chain_is_hooked_in_once_and_removed_with_its_hook(kernels: FakeKernels) -> None:
    rules = Firewall(lambda: kernels, ADDRESSES, CHAIN)
    for source in NODES[1:]:
        rules.cut({"n1": frozenset({source})})
    assert kernels.hooks["n1", "filter"] == [CHAIN]
    rules.double([("n1", "n2")], 0.1)
    rules.remove()
    rules.remove()
    assert not kernels.chains
    assert not any(kernels.hooks.values())


def test_a_write_that_failed_is_written_again(kernels: FakeKernels) -> None:
    rules = Firewall(lambda: kernels, ADDRESSES, CHAIN)
    grudge = {"n1": frozenset({"n2"}), "n2": frozenset({"n1"})}
    kernels.broken = {"n2"}
    with pytest.raises(FaultError, match="n2 is broken"):
        rules.cut(grudge)
    kernels.broken = set()
    rules.cut(grudge)
    assert {node: found.refused for node, found in rules.read().items() if found.refused} == grudge


def test_nothing_but_addresses_of_nodes_is_ever_dropped() -> None:
    text = firewall.restored(CHAIN, ADDRESSES, Rules(frozenset({"n2"}), {"n3": 0.1}, {"n4": 0.2}), has_mangle=True)
    for line in text.splitlines():
        if line.startswith("-A"):
            assert re.match(rf"-A {CHAIN} -[sd] ({'|'.join(map(re.escape, ADDRESSES.values()))}) ", line)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"rate": {"bytes_per_s": 4000}}, ""),
        ({"slow": {"delay_ms": 30, "jitter_ms": 15}}, "delay 30ms 15ms"),
        ({"slow": {"delay_ms": 30, "jitter_ms": 0}}, "delay 30ms"),
        ({"reorder": {"probability": 0.2}}, "delay 20ms reorder 80%"),
        ({"slow": {"delay_ms": 100, "jitter_ms": 5}, "reorder": {"probability": 0.2}}, "delay 100ms 20ms"),
        (
            {"corrupt": {"probability": 0.05}, "duplicate": {"probability": 0.1}},
            "duplicate 10% corrupt 5%",
        ),
    ],
)
def test_netem_is_told(shape: shaping.Shape, words: str) -> None:
    assert shaping.netem(shape) == words


def test_a_tree_has_a_class_a_queue_and_a_filter_for_each_link() -> None:
    text = shaping.tree(
        "eth0", list(ADDRESSES.values()), {1: {"rate": {"bytes_per_s": 4000}}, 4: {"corrupt": {"probability": 0.5}}}
    )
    assert text.splitlines() == [
        "qdisc add dev eth0 root handle 1: htb default 1",
        "class add dev eth0 parent 1: classid 1:1 htb rate 100Gbit quantum 60000",
        "class add dev eth0 parent 1: classid 1:11 htb rate 32000bit burst 1600 cburst 1600 quantum 1600",
        "qdisc add dev eth0 parent 1:11 handle 11: pfifo limit 200",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.213.1.3/32 flowid 1:11",
        "class add dev eth0 parent 1: classid 1:14 htb rate 100Gbit quantum 60000",
        "qdisc add dev eth0 parent 1:14 handle 14: netem limit 1000 corrupt 50%",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.213.1.6/32 flowid 1:14",
    ]


def test_what_tc_lists_is_read_back() -> None:
    qdiscs = """[{"kind":"htb","handle":"1:","root":true,"options":{"r2q":10,"default":"0x1"}},
        {"kind":"netem","handle":"14:","parent":"1:14","options":{"limit":1000,"corrupt":{"corrupt":0.5,"correlation":0}}},
        {"kind":"netem","handle":"12:","parent":"1:12","options":{"limit":1000,"delay":{"delay":0.02},"reorder":{"reorder":0.8}}},
        {"kind":"netem","handle":"13:","parent":"1:13","options":{"limit":1000,"delay":{"delay":0.03}}}]"""
    classes = (
        "class htb 1:11 root leaf 11: prio 0 rate 32Kbit ceil 32Kbit burst 1600b cburst 1600b \n"
        "class htb 1:1 root prio 0 rate 100Gbit ceil 100Gbit burst 0b cburst 0b \n"
        + "".join(
            f"class htb 1:{number} root leaf {number}: prio 0 rate 100Gbit ceil 100Gbit burst 0b\n"
            for number in (12, 13, 14)
        )
    )
    filters = ", ".join(f'{{"kind":"u32","options":{{"fh":"800::80{i}","flowid":"1:1{i}"}}}}' for i in (1, 2, 4))
    assert shaping.in_force(qdiscs, classes, f'[{{"kind":"u32"}}, {filters}]') == {
        1: {"rate": "32Kbit"},
        2: {"reorder": {"reorder": {"reorder": 0.8}, "delay": {"delay": 0.02}}},
        # No filter leads to the class of 3: it does nothing.
        4: {"corrupt": {"corrupt": 0.5, "correlation": 0}},
    }


def test_a_tree_stands_only_while_there_is_something_to_do(kernels: FakeKernels) -> None:
    shaped = Shaping(lambda: kernels, ADDRESSES, lambda node: "eth0")
    shaped.calm()
    shaped.disturb("rate", [("n1", "n2"), ("n3", "n1")], {"bytes_per_s": 1000})
    shaped.disturb("slow", [("n1", "n4")], {"delay_ms": 10, "jitter_ms": 0})
    assert sorted(kernels.trees) == ["n1", "n3"]
    assert sum("filter" in line for line in kernels.trees["n1"]) == 2
    shaped.disturb("rate", [], {})
    assert sorted(kernels.trees) == ["n1"]
    shaped.calm()
    shaped.calm()
    assert not kernels.trees


@pytest.mark.parametrize(
    ("found", "kinds", "complaints"),
    [
        ("", set(), 3),
        ("drop statistic htb", {"loss", "rate"}, 1),
        ("drop statistic tee htb", {"loss", "duplicate", "rate"}, 1),
        ("drop statistic htb netem", {"loss", "rate", "slow", "duplicate", "reorder", "corrupt"}, 0),
    ],
)
def test_kinds_of_bad_links_follow_from_what_the_kernel_has(found: str, kinds: set[str], complaints: int) -> None:
    assert kernel_features.kinds(found.split()) == kinds
    assert len(kernel_features.lacking(found.split())) == complaints


def test_address_ranges_are_taken_only_where_nobody_is() -> None:
    used = [IPv4Network("10.213.7.0/24"), IPv4Network("172.17.0.0/16")]
    assert subnets.choose("", used, 7) == IPv4Network("10.213.8.0/24")
    assert subnets.choose("", used, 255 + 256) == IPv4Network("10.213.255.0/24")
    with pytest.raises(subnets.RangeInUse, match=r"172\.17\.0\.0/16"):
        subnets.choose("172.17.3.0/24", used, 0)
    with pytest.raises(subnets.RangeInUse, match="every range"):
        subnets.choose("", [IPv4Network("10.0.0.0/8")], 0)


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.1/24", "8.8.8.0/24", "10.0.0.0/30", "x; rm -rf /"])
def test_a_bad_address_range_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="subnet"):
        subnets.parse(text)


def test_routes_of_this_machine_are_ranges() -> None:
    assert all(found.prefixlen > 0 for found in subnets.routed())


def test_a_label_tells_the_living_from_the_gone() -> None:
    ours = labels.controller()
    assert not labels.is_orphan(ours)
    identity, _, namespace = ours.partition("@")
    assert labels.is_orphan(f"{os.getpid()}:1@{namespace}"), "a pid that was used again is another process"
    assert labels.is_orphan(f"4194305:1@{namespace}")
    assert not labels.is_orphan(f"4194305:1@{int(namespace) + 1}"), "a controller that cannot be seen may live"
    assert labels.is_orphan(f"nonsense@{namespace}")
    assert identity


def test_names_fit_the_kernel() -> None:
    run_tag = labels.tag("raft-register-20261123T120506.062Z-53ef7e")
    assert len(f"{network.bridge_name(run_tag)}v99") <= 15
    assert network.bridge_of(network.namespace_name(run_tag, 12)) == network.bridge_name(run_tag)
    assert len(f"THEMIS-{run_tag}") <= 28


def test_the_bridge_is_removed_last_and_what_is_not_there_is_not_asked_for() -> None:
    found = {
        "link": ["thabc1234v1"],
        "namespace": ["thabc1234-1", "thabc1234-2"],
        "rule": ["thabc1234"],
        "bridge": ["thabc1234"],
    }
    (batch, lines), *rest = network.removal("thabc1234", found)
    assert batch == ["ip", "-force", "-batch", "-"]
    assert lines == ["link delete thabc1234v1", "netns delete thabc1234-1", "netns delete thabc1234-2"]
    assert [argv[:3] for argv, _ in rest] == [["iptables", "-w", "5"], ["ip", "link", "delete"]]
    assert network.removal("thabc1234", dict.fromkeys(found, ())) == []


def test_a_target_brings_its_own_package() -> None:
    assert [path.name for path in packing.packages(TARGET)] == ["targets", "histories"]

    class Mine:
        pass

    Mine.__module__ = "nemesis.anywhere"
    assert [path.name for path in packing.packages(Mine())] == ["targets", "histories", "nemesis"]


def test_an_archive_cannot_write_outside(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "secret").write_text("x")
    packed = packing.archive([(tmp_path / "secret", "../../outside")], is_bytecode_kept=False)
    with pytest.raises(Exception, match="outside"):
        packing.unpack(packed, tmp_path / "a" / "b")
    assert not (tmp_path / "outside").exists()


def test_the_dependencies_of_a_node_are_known_and_bare() -> None:
    names = {text.partition("==")[0] for text in packing.versions()}
    assert {"aiohttp", "msgspec", "uvloop", "yarl", "multidict"} <= names
    assert not {"numpy", "docker", "pytest"} & names
