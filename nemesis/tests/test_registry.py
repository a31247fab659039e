from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from nemesis import outside, registry
from nemesis.book import FaultBook
from nemesis.faults.kill import KillFamily
from nemesis.faults.packets import PacketFamily
from nemesis.nemesis import Nemesis
from nemesis.outside import BadFamily
from nemesis.registry import FaultChoice, Offer, Unavailable, UnknownFault, parse_nemesis
from nemesis.tests.fake_cluster import FakeCluster

NODES = ["n1", "n2", "n3"]


def names(text: str | list[str]) -> list[str]:
    return [name for choice in parse_nemesis(text) for name in choice.names]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("partition,kill,pause", ["pause", "kill", "partition"]),
        (["kill", "partition"], ["kill", "partition"]),
        (" kill , clock:drift ", ["kill", "clock:drift"]),
        ("partition:ring,partition:one", ["partition:one", "partition:ring"]),
        ("partition:ring,partition", ["partition"]),
        ("kill,kill", ["kill"]),
        ("restart-all:rolling", ["restart-all:rolling"]),
        ("", []),
        ("none", []),
        ([], []),
    ],
)
def test_parse(text: str | list[str], expected: list[str]) -> None:
    assert names(text) == expected
    assert names(names(text)) == expected


def test_every_name_of_the_design_is_known() -> None:
    shapes = "one halves majority ring bridge primary one-way flapping"
    clocks = "offset jump strobe drift"
    disks = "lose-unsynced torn-write bitflip truncate full slow wipe"
    wanted = [
        "kill",
        "pause",
        "restart-all",
        "slow",
        "loss",
        "duplicate",
        "reorder",
        "late",
        "corrupt",
        "rate",
        "transfer",
    ]
    changes = "remove two-at-once replace"
    for family, variants in (
        ("partition", shapes),
        ("clock", clocks),
        ("disk", disks),
        ("membership", changes),
        ("restore", "cluster node"),
        ("moment", "elected voted appended stored snapshot"),
    ):
        wanted += [family] + [f"{family}:{variant}" for variant in variants.split()]
    for name in wanted:
        assert names(name) == [name]


@pytest.mark.parametrize(
    ("text", "name", "near"),
    [
        ("partiton", "partiton", "partition"),
        ("kill,puase", "puase", "pause"),
        ("xyzzy", "xyzzy", None),
        ("partition:rign", "partition:rign", "partition:ring"),
        ("clock:", "clock:", "clock:jump"),
        ("loss:much", "loss:much", "loss"),
        ("Kill", "Kill", "kill"),
    ],
)
def test_an_unknown_name_says_the_nearest(text: str, name: str, near: str | None) -> None:
    with pytest.raises(UnknownFault) as caught:
        parse_nemesis(text)
    assert (caught.value.name, caught.value.nearest) == (name, near)
    assert repr(name) in str(caught.value)
    assert (f"did you mean {near!r}" if near else "known: clock, corrupt") in str(caught.value)


def test_what_an_environment_lacks_is_said_before_the_run() -> None:
    bare = Offer(frozenset({"links", "processes", "packets"}), packet_kinds=frozenset({"slow", "loss"}))
    rows = {
        "partition": None,
        "slow": None,
        "clock": "the fault clock cannot run in local: it has no clocks",
        "clock:drift": "the fault clock:drift cannot run in local: it has no clocks",
        "reorder": "the fault reorder cannot run in local: it has no packet kind 'reorder' (its packet kinds are loss, slow)",
        "disk:wipe": "the fault disk:wipe cannot run in local: it has no disks",
    }
    for name, reason in rows.items():
        (choice,) = parse_nemesis(name)
        refusal = registry.missing(bare, choice, "local")
        assert (refusal and str(refusal)) == reason
    with pytest.raises(Unavailable, match="no clocks"):
        registry.available(bare, parse_nemesis("kill,clock"), "local")
    everything = parse_nemesis(list(registry.families()))
    assert registry.available(FakeCluster(NODES), everything) == everything


def test_a_bare_name_is_narrowed_to_the_kinds_there_are_and_a_named_kind_is_refused() -> None:
    some = Offer(frozenset({"disks", "processes"}), disk_kinds=frozenset({"wipe", "bitflip"}))
    assert registry.available(some, parse_nemesis("disk")) == [FaultChoice("disk", ("bitflip", "wipe"))]
    with pytest.raises(Unavailable, match="disk:full cannot run in this environment: it has no disk kind 'full'"):
        registry.available(some, parse_nemesis("disk:wipe,disk:full"))


@pytest.mark.parametrize(
    ("text", "survives", "expected"),
    [
        ("partition,kill", {"partition", "kill"}, ["kill", "partition"]),
        ("restart-all", {"kill"}, ["restart-all"]),
        ("disk:torn-write", {"disk/torn-write"}, ["disk:torn-write"]),
        ("disk:torn-write", {"disk:torn-write"}, ["disk:torn-write"]),
        ("disk:wipe", {"disk"}, ["disk:wipe"]),
        ("disk:wipe", {"disk/torn-write"}, "disk:wipe is outside"),
        ("disk:wipe,disk:torn-write", {"disk/torn-write"}, "disk:wipe is outside"),
        ("disk", {"kill"}, r"the fault disk is outside the target's fault model \(kill\); --beyond-model"),
        ("kill", set(), "no faults"),
    ],
)
def test_the_fault_model(text: str, survives: set[str], expected: list[str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(Unavailable, match=expected):
            registry.within_model(parse_nemesis(text), survives)
    else:
        choices = registry.within_model(parse_nemesis(text), survives)
        assert [name for choice in choices for name in choice.names] == expected


def test_a_bare_disk_keeps_the_kinds_of_the_model() -> None:
    (choice,) = registry.within_model(parse_nemesis("disk"), {"disk/torn-write", "disk/lose-unsynced"})
    assert choice.variants == ("lose-unsynced", "torn-write")


def test_families_are_sound() -> None:
    for family in registry.families().values():
        assert family.begins <= family.fs
        assert family.ends <= family.fs
        assert not family.begins & family.ends
        assert family.fs <= family.build(FakeCluster(NODES), FaultBook(lambda: 0)).fs
        for variant in family.variants or ("",):
            assert family.needs(variant).capabilities
            assert family.claims(variant)
        for f, value in family.final_ops():
            registry.family_of(f).check(f, value, NODES)


def test_final_ops_bring_processes_back_first_and_come_once() -> None:
    assert registry.final_ops(parse_nemesis("partition,kill,pause,restart-all,loss")) == [
        ("resume", None),
        ("start", None),
        ("stop-loss", None),
        ("stop-partition", None),
    ]


def test_families_that_share_a_fault_share_one() -> None:
    def built(names: str) -> list[str]:
        nemesis = Nemesis(FakeCluster(NODES), registry.chosen_families(parse_nemesis(names)))
        return [fault.name for fault in nemesis.faults]

    assert built("kill,restart-all,loss,slow") == ["kill", "packets"]
    assert built("restart-all") == ["kill"]


OWN = PacketFamily("loss")
OWN.name = "own"
KILL = KillFamily()
DOTTED = KillFamily()
DOTTED.name = "my.kill"


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    found: list[EntryPoint] = []
    monkeypatch.setattr(outside, "entry_points", lambda group: [p for p in found if p.group == group])
    registry._installed.cache_clear()
    yield found
    registry._installed.cache_clear()
    registry._named.clear()


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, outside.ENTRY_POINTS)


def test_a_users_own_family_comes_from_an_entry_point_and_its_ops_carry_its_name(points: list[EntryPoint]) -> None:
    points.append(entry("own", f"{__name__}:OWN"))
    assert names("own,kill") == ["kill", "own"]
    own = registry.family_of("own.start-loss")
    assert own.name == "own"
    assert own.fs == {"own.start-loss", "own.stop-loss"}
    assert registry.family_of("start-loss").name == "loss"
    assert own.final_ops() == [("own.stop-loss", None)]


def test_a_users_own_family_can_be_named_by_its_path(points: list[EntryPoint]) -> None:
    (choice,) = parse_nemesis(f"{__name__}:OWN")
    assert choice.name == "own"
    assert choice.names == (f"{__name__}:OWN",), "a schedule that names it so can be read anywhere"
    assert parse_nemesis(choice.names) == [choice]
    assert registry.family_of("own.stop-loss").name == "own"
    with pytest.raises(BadFamily, match="the fault nowhere:Own: ModuleNotFoundError"):
        parse_nemesis("nowhere:Own")
    with pytest.raises(UnknownFault, match=r"unknown fault 'kil'.*did you mean 'kill'"):
        parse_nemesis("kil:one")
    with pytest.raises(UnknownFault, match="unknown fault 'own:much'"):
        parse_nemesis(f"{__name__}:OWN:much")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"{__name__}:KILL", "the name 'kill' is taken"),
        (f"{__name__}:DOTTED", "its name 'my.kill' must be letters"),
        (f"{__name__}:NODES", r"no family of faults \(nemesis.family.Family\): it lacks name, summary"),
        (f"{__name__}:MISSING", "has no attribute 'MISSING'"),
        ("no_such.module:X", "No module named 'no_such'"),
    ],
)
def test_a_family_that_cannot_be_had_is_named(points: list[EntryPoint], value: str, message: str) -> None:
    with pytest.raises(BadFamily, match=f"the fault {value}: .*{message}"):
        parse_nemesis(value)
    points.append(entry("mine", value))
    registry._installed.cache_clear()
    with pytest.raises(BadFamily, match=f"mine = {value}: .*{message}"):
        registry.families()


def test_a_role_of_the_target_is_a_variant_of_what_takes_roles() -> None:
    choices = parse_nemesis("kill:coordinator,kill:one,partition:shard", ["shard", "coordinator"])
    assert [choice.names for choice in choices] == [("kill:one", "kill:coordinator"), ("partition:shard",)]
    with pytest.raises(
        UnknownFault, match=r"unknown fault 'kill:cordinator'.*did you mean 'kill:coordinator'.*are coordinator, sh"
    ):
        parse_nemesis("kill:cordinator", ["coordinator", "shard"])
    with pytest.raises(UnknownFault, match=r"unknown fault 'pause:coordinator'.*this target has no roles"):
        parse_nemesis("pause:coordinator")
    with pytest.raises(UnknownFault, match="unknown fault 'clock:coordinator'"):
        parse_nemesis("clock:coordinator", ["coordinator"])
