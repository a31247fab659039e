import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from histories.op import NEMESIS, Op
from nemesis.capabilities import NodeId
from nemesis.family import Entry
from nemesis.fault_planner import plan
from nemesis.nemesis import Nemesis
from nemesis.registry import chosen_families, families, parse_nemesis
from nemesis.schedule import BadSchedule, Schedule, encode, load, outside_model, recorded
from nemesis.tests.fake_cluster import FakeCluster

SECOND_NS = 1_000_000_000
NODES = ["n1", "n2", "n3", "n4", "n5"]
EVERYTHING = parse_nemesis(list(families()))


@pytest.mark.parametrize("seed", range(5))
def test_round_trip(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "schedule.json"
    schedule = plan(EVERYTHING, NODES, seed, 60 * SECOND_NS, beyond_model=seed == 1)
    path.write_bytes(encode(schedule))
    assert load(path, NODES) == schedule
    before = path.read_bytes()
    path.write_bytes(encode(load(path, NODES)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["schedule.json"]


def test_a_schedule_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        '{"version": 1, "entries": [{"time_ns": 5, "f": "kill", "value": ["n1"]}, {"time_ns": 5, "f": "start"}]}'
    )
    schedule = load(path, NODES)
    assert schedule.nodes == tuple(NODES)
    assert list(schedule.ops()) == [(5, "kill", ["n1"]), (5, "start", None)]
    assert [str(choice) for choice in schedule.fault_choices()] == ["kill"]


def test_the_nodes_of_the_run_are_those_that_count(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_bytes(encode(Schedule(nodes=("n1", "n2"), entries=(Entry(1, "kill", ["n2"]),))))
    assert load(path, ["n2", "n3"]).nodes == ("n2", "n3")
    with pytest.raises(BadSchedule, match="unknown node 'n2'"):
        load(path, ["n1"])


KILL = {"time_ns": 1, "f": "kill", "value": ["n1"]}
SPLIT = {"grudge": {"n1": ["n2"]}}


@pytest.mark.parametrize(
    ("entries", "number", "rule"),
    [
        ([KILL, {"time_ns": 2, "f": "kil", "value": ["n1"]}], 1, "unknown op 'kil' (did you mean 'kill'?)"),
        ([{**KILL, "value": ["n9"]}], 0, "kill: unknown node 'n9' (nodes: n1, n2, n3, n4, n5)"),
        ([{**KILL, "value": [1]}], 0, "kill: unknown node 1"),
        ([{**KILL, "value": []}], 0, "kill: [] is not a list of nodes"),
        ([{**KILL, "value": None}], 0, "kill: None is not a list of nodes"),
        ([{**KILL, "value": ["n1", "n1"]}], 0, "names one node twice"),
        ([{**KILL, "time_ns": -1}], 0, "time_ns -1 is negative"),
        ([{**KILL, "time_ns": 9}, KILL], 1, "time_ns 1 is before that of the entry above it, 9"),
        ([{**KILL, "time_ns": 1.5}], 0, "Expected `int`, got `float` - at `$.time_ns`"),
        ([KILL, "kill"], 1, "Expected `object`, got `str`"),
        ([{"f": "kill"}], 0, "missing required field `time_ns`"),
        ([{**KILL, "vlaue": 1}], 0, "unknown field `vlaue`"),
        ([{"time_ns": 1, "f": "start", "value": "n1"}], 0, "start: 'n1' is not a list of nodes"),
        ([{"time_ns": 1, "f": "restart-all", "value": ["n1"]}], 0, "restart-all takes no value, not ['n1']"),
        ([{"time_ns": 1, "f": "restart"}], 0, "restart: None is not a list of nodes"),
        ([{"time_ns": 1, "f": "stop-partition", "value": {}}], 0, "stop-partition takes no value, not {}"),
    ],
)
def test_bad_entries(tmp_path: Path, entries: list[Any], number: int, rule: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"version": 1, "entries": entries}))
    with pytest.raises(BadSchedule) as caught:
        load(path, NODES)
    assert caught.value.entry == number
    assert str(caught.value).startswith(f"{path}: entry {number}: ")
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("f", "value", "rule"),
    [
        ("start-partition", None, "None is not an object"),
        ("start-partition", {}, "needs a grudge"),
        ("start-partition", {"shape": "ring"}, 'only the shape "primary" is resolved when it fires'),
        ("start-partition", {"shape": "rign", **SPLIT}, "unknown shape 'rign' (did you mean 'ring'?)"),
        ("start-partition", {"grudge": {}}, "at least one in it"),
        ("start-partition", {"grudge": ["n1"]}, "not an object of node: list of nodes"),
        ("start-partition", {"grudge": {"n1": "n2"}}, "'n2' is not a list of nodes"),
        ("start-partition", {"grudge": {"n1": ["n1"]}}, "no link from n1 to itself"),
        ("start-partition", {"grudge": {"n9": ["n1"]}}, "unknown node 'n9'"),
        ("start-partition", {"grudge": {"n1": ["n9"]}}, "unknown node 'n9'"),
        ("start-partition", {**SPLIT, "shpae": "one"}, "unknown field 'shpae'"),
        ("start-clock", {"offset_ns": {"n1": 1}}, "lacks 'kind'"),
        ("start-clock", {"kind": "ofset", "offset_ns": {"n1": 1}}, "unknown kind 'ofset' (did you mean 'offset'?)"),
        ("start-clock", {"kind": "offset", "rate": {"n1": 1}}, "lacks 'offset_ns'"),
        ("start-clock", {"kind": "drift", "rate": {"n1": 0}}, "rate of n1: 0 is not a number between 0.01 and 100"),
        ("start-clock", {"kind": "jump", "offset_ns": {"n1": 1.5}}, "1.5 is not a whole number of nanoseconds"),
        ("start-clock", {"kind": "jump", "offset_ns": {"n1": True}}, "True is not a number"),
        ("start-clock", {"kind": "jump", "offset_ns": {}}, "at least one in it"),
        ("start-loss", {"links": {"n1": ["n2"]}}, "lacks 'parameters'"),
        ("start-loss", {"links": {"n1": ["n2"]}, "parameters": {"probability": 2}}, "between 0 and 1"),
        ("start-loss", {"links": {"n1": ["n2"]}, "parameters": {"probabilty": 1}}, "lacks 'probability'"),
        ("start-loss", {"links": {}, "parameters": {"probability": 1}}, "at least one in it"),
        ("start-rate", {"links": {"n1": ["n2"]}, "parameters": {"bytes_per_s": 0}}, "between 1 and 1e+12"),
        ("damage-disk", {"kind": "wipe", "nodes": ["n1"]}, "lacks 'parameters'"),
        ("damage-disk", {"kind": "wpie", "nodes": ["n1"], "parameters": {}}, "did you mean 'wipe'?"),
        ("damage-disk", {"kind": "wipe", "nodes": ["n9"], "parameters": {}}, "unknown node 'n9'"),
        ("damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {"bits": 1}}, "unknown field 'bits'"),
        ("damage-disk", {"kind": "truncate", "nodes": ["n1"], "parameters": {"bytes": 0}}, "between 1 and"),
        ("pause", "leader", "'leader' is not a list of nodes"),
    ],
)
def test_bad_values(tmp_path: Path, f: str, value: Any, rule: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"version": 1, "entries": [KILL, {"time_ns": 1, "f": f, "value": value}]}))
    with pytest.raises(BadSchedule) as caught:
        load(path, NODES)
    assert caught.value.entry == 1
    assert rule in caught.value.rule
    assert caught.value.rule.startswith(f"{f}: ")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "not JSON: Input data was truncated"),
        (b'{"version": 1, "entries": [', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a schedule"),
        (b"{}", "not a schedule"),
        (b'{"entries": {}}', "not a schedule"),
        (b'{"entries": []}', "format version None; this themis reads version 1"),
        (b'{"version": 2, "entries": []}', "format version 2; this themis reads version 1"),
        (b'{"version": 1, "entries": [], "entires": []}', "unknown field `entires`"),
        (b'{"version": 1, "entries": [], "beyond_model": "yes"}', "Expected `bool`, got `str`"),
    ],
)
def test_bad_files(tmp_path: Path, text: bytes, rule: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text)
    with pytest.raises(BadSchedule) as caught:
        load(path, NODES)
    assert caught.value.entry is None
    assert str(caught.value).startswith(f"{path}: ")
    assert rule in caught.value.rule


def test_subsets_for_shrinking() -> None:
    schedule = plan(EVERYTHING, NODES, 1, 30 * SECOND_NS)
    fewer = schedule.without(0, 2)
    assert fewer.entries == (schedule.entries[1], *schedule.entries[3:])
    assert schedule.only([1]).entries == (schedule.entries[1],)
    numbers = [number for window in schedule.windows() for number in window]
    assert sorted(numbers) == list(range(len(schedule.entries)))


def test_windows_close_at_their_stop() -> None:
    entries = [
        Entry(1, "kill", ["n1"]),
        Entry(2, "start-loss", {"links": {"n1": ["n2"]}, "parameters": {"probability": 0.5}}),
        Entry(3, "start", None),
        Entry(4, "kill", ["n2"]),
        Entry(5, "restart-all"),
        Entry(6, "stop-loss"),
        Entry(7, "stop-loss"),
    ]
    schedule = Schedule(nodes=tuple(NODES), entries=tuple(entries))
    assert schedule.windows() == [(0, 2), (1, 5), (3,), (4,), (6,)]


@pytest.mark.parametrize(
    ("ops", "survives", "share", "expected"),
    [
        ([("kill", ["n1"])], {"kill"}, 1.0, []),
        ([("kill", ["n1"])], {"pause"}, 1.0, ["kill"]),
        ([("kill", ["n1", "n2", "n3"])], {"kill"}, 0.4, ["3 nodes down at once (at most 2)"]),
        ([("kill", ["n1", "n2"]), ("start", ["n1"]), ("kill", ["n3"])], {"kill"}, 0.4, []),
        ([("kill", ["n1"]), ("pause", ["n1", "n2"])], {"kill", "pause"}, 0.4, []),
        ([("kill", ["n1"]), ("pause", ["n3", "n2"])], {"kill", "pause"}, 0.4, ["3 nodes down at once (at most 2)"]),
        ([("restart-all", None)], {"kill"}, 0.5, ["5 nodes down at once (at most 2)"]),
        (
            [("damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {}}), ("heal-disk", None)],
            {"disk/bitflip", "kill"},
            1.0,
            ["disk:wipe"],
        ),
    ],
)
def test_a_schedule_from_a_file_may_leave_the_model_and_that_is_said(
    ops: list[tuple[str, Any]], survives: set[str], share: float, expected: list[str]
) -> None:
    schedule = Schedule(nodes=tuple(NODES), entries=tuple(Entry(i, f, value) for i, (f, value) in enumerate(ops)))
    assert outside_model(schedule, survives, share) == expected


def run(schedule: Schedule, leader: NodeId | None) -> list[Op]:
    """The nemesis part of a history of this schedule on a fake cluster."""
    cluster = FakeCluster(NODES, leader)
    nemesis = Nemesis(cluster, chosen_families(EVERYTHING))
    ops: list[Op] = []
    for time_ns, f, value in schedule.ops():
        op = Op(len(ops), time_ns, "invoke", NEMESIS, f, value=value)
        result = msgspec.to_builtins(nemesis.invoke(op))
        ops += [op, Op(len(ops) + 1, time_ns + 1, "info", NEMESIS, f, value=result)]
    return ops


def test_what_a_run_did_replays_elsewhere_with_the_same_targets() -> None:
    schedule = plan(parse_nemesis("partition:primary,kill:primary"), NODES, 1, 20 * SECOND_NS)
    first = run(schedule, "n2")
    replayed = recorded(first, NODES)
    again = run(replayed, "n5")
    assert [op.value["did"].get("grudge") for op in again if op.type == "info" and op.f == "start-partition"] == [
        op.value["did"]["grudge"] for op in first if op.type == "info" and op.f == "start-partition"
    ]
    assert {tuple(op.value["did"]["nodes"]) for op in again if op.type == "info" and op.f == "kill"} == {("n2",)}
    assert [entry.time_ns for entry in replayed.entries] == [entry.time_ns for entry in schedule.entries]
    assert recorded(first, NODES, until_ns=0).entries == ()


def test_disks_that_take_nodes_down_one_after_another_are_down_together() -> None:
    def of(f: str, *values: object) -> Schedule:
        return Schedule(nodes=tuple(NODES), entries=tuple(Entry(at, f, value) for at, value in enumerate(values)))

    disks = of(
        "damage-disk",
        *({"kind": "lose-unsynced", "nodes": two, "parameters": {}} for two in (["n1", "n2"], ["n3", "n4"])),
    )
    kills = of("kill", ["n1", "n2"], ["n3", "n4"])
    told = [outside_model(each, {"disk/lose-unsynced", "kill"}, 0.5) for each in (disks, kills)]
    assert told == [["4 nodes down at once (at most 2)"]] * 2
