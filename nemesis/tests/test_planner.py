import os
import subprocess
import sys
from collections import Counter
from random import Random

import msgspec
import pytest

from nemesis import fault_planner, registry
from nemesis.family import Window
from nemesis.fault_planner import plan
from nemesis.faults.processes import choose
from nemesis.registry import Unavailable, families, family_of, parse_nemesis
from nemesis.schedule import Schedule, check, outside_model

SECOND_NS = 1_000_000_000
NODES = ["n1", "n2", "n3", "n4", "n5"]
STANDARD = parse_nemesis("partition,kill,pause")
EVERYTHING = parse_nemesis(list(families()))


def of_family(schedule: Schedule, name: str) -> list[tuple[int, str, object]]:
    return [op for op in schedule.ops() if family_of(op[1]).name == name]


def test_the_same_seed_gives_the_same_plan_whatever_the_hash_seed() -> None:
    program = (
        "import msgspec; from nemesis.fault_planner import plan; from nemesis.registry import *;"
        f"print(msgspec.json.encode(plan(parse_nemesis(list(families())), {NODES}, 7, 60 * 10**9)).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    here = msgspec.json.encode(plan(EVERYTHING, NODES, 7, 60 * SECOND_NS)).hex()
    assert outputs == {here + "\n"}
    assert plan(EVERYTHING, NODES, 8, 60 * SECOND_NS) != plan(EVERYTHING, NODES, 7, 60 * SECOND_NS)


@pytest.mark.parametrize("count", range(3, 10))
def test_plans_are_in_order_checkable_and_healed_by_the_end(count: int) -> None:
    nodes = [f"n{i}" for i in range(1, count + 1)]
    for seed in range(10):
        schedule = plan(EVERYTHING, nodes, seed, 60 * SECOND_NS)
        check(schedule)
        assert schedule.entries[-1].time_ns < 60 * SECOND_NS
        for window in schedule.windows():
            first, last = schedule.entries[window[0]], schedule.entries[window[-1]]
            family = family_of(first.f)
            assert first.f in family.begins
            assert last.f in (family.ends or family.begins)


def test_a_run_of_20_s_has_several_faults_of_each_family() -> None:
    for seed in range(200):
        schedule = plan(STANDARD, NODES, seed, 20 * SECOND_NS)
        begun = Counter(family_of(f).name for _, f, _ in schedule.ops() if f in family_of(f).begins)
        for choice in STANDARD:
            assert begun[choice.name] >= 3
            times = [time_ns for time_ns, _, _ in of_family(schedule, choice.name)]
            assert times[0] < 2.5 * SECOND_NS
            assert times[-1] <= 19 * SECOND_NS


def test_several_families_overlap() -> None:
    overlaps = 0
    for seed in range(20):
        schedule = plan(STANDARD, NODES, seed, 20 * SECOND_NS)
        spans = [
            (schedule.entries[w[0]].time_ns, schedule.entries[w[-1]].time_ns, family_of(schedule.entries[w[0]].f).name)
            for w in schedule.windows()
        ]
        overlaps += any(a[2] != b[2] and a[0] < b[0] < a[1] for a in spans for b in spans)
    assert overlaps == 20


def test_a_short_run_has_short_intervals() -> None:
    for seed in range(50):
        schedule = plan(STANDARD, NODES, seed, 2 * SECOND_NS)
        begun = Counter(f for _, f, _ in schedule.ops())
        assert min(begun[f] for f in ("start-partition", "kill", "pause")) >= 3
        assert schedule.entries[-1].time_ns <= 2 * SECOND_NS


def test_one_family_more_moves_nothing_of_the_others() -> None:
    alone = plan(parse_nemesis("partition"), NODES, 3, 60 * SECOND_NS, share=0.3)
    among = plan(EVERYTHING, NODES, 3, 60 * SECOND_NS, share=0.3)
    assert of_family(among, "partition") == list(alone.ops())


def test_every_variant_comes_before_one_comes_again() -> None:
    schedule = plan(parse_nemesis("partition"), NODES, 1, 300 * SECOND_NS)
    first = [schedule.entries[window[0]].value["shape"] for window in schedule.windows() if len(window) == 2][:1]
    shapes = [entry.value["shape"] for entry in schedule.entries if entry.value is not None]
    distinct: list[str] = []
    for shape in shapes:
        # The starts of one flapping fault follow each other.
        if not distinct or distinct[-1] != shape:
            distinct.append(shape)
    assert first
    assert sorted(distinct[:8]) == sorted(families()["partition"].variants)


def test_explicit_variants_are_the_only_ones() -> None:
    schedule = plan(parse_nemesis("partition:ring,clock:strobe,kill:primary"), NODES, 1, 60 * SECOND_NS)
    assert {e.value["shape"] for e in schedule.entries if e.f == "start-partition"} == {"ring"}
    assert {e.value["kind"] for e in schedule.entries if e.f == "start-clock"} == {"strobe"}
    assert {e.value for e in schedule.entries if e.f == "kill"} == {"primary"}
    assert schedule.choices == ("kill:primary", "partition:ring", "clock:strobe")


@pytest.mark.parametrize(("share", "limit"), [(0.2, 1), (0.5, 2), (0.99, 4), (1.0, 5)])
def test_no_more_nodes_are_down_at_once_than_the_model_allows(share: float, limit: int) -> None:
    choices = parse_nemesis("kill,pause,disk,restart-all")
    most = 0
    for seed in range(30):
        schedule = plan(choices, NODES, seed, 60 * SECOND_NS, down_nodes_max=share)
        assert outside_model(schedule, {"kill", "pause", "disk", "restart-all"}, share) == []
        down: dict[str, int] = {}
        for _, f, value in schedule.ops():
            if f in ("kill", "pause"):
                down[f] = 1 if value == "primary" else len(value)
            elif f in ("start", "resume"):
                down["kill" if f == "start" else "pause"] = 0
            most = max(most, sum(down.values()) if limit < 5 else 0)
        assert len({f for _, f, _ in schedule.ops()} & {"kill", "pause"}) == 2
    assert most <= limit
    assert limit == 5 or most == limit


def test_beyond_the_model_is_planned_only_when_asked_and_says_so() -> None:
    wipe = parse_nemesis("disk:wipe,kill")
    with pytest.raises(Unavailable, match="disk:wipe is outside the target's fault model"):
        plan(wipe, NODES, 1, 20 * SECOND_NS, survives={"kill"})
    schedule = plan(wipe, NODES, 1, 20 * SECOND_NS, survives={"kill"}, down_nodes_max=0.0, beyond_model=True)
    assert schedule.beyond_model
    assert of_family(schedule, "disk")
    assert not plan(parse_nemesis("kill"), NODES, 1, 20 * SECOND_NS, survives={"kill"}).beyond_model


def test_a_target_that_survives_nothing_gets_no_fault() -> None:
    with pytest.raises(Unavailable, match=r"kill is outside the target's fault model \(no faults\)"):
        plan(parse_nemesis("kill"), NODES, 1, 20 * SECOND_NS, survives=frozenset())


@pytest.mark.parametrize("count", range(1, 8))
def test_a_minority_leaves_more_nodes_than_it_takes_and_a_majority_does_not(count: int) -> None:
    nodes = tuple(f"n{number}" for number in range(count))
    for seed in range(20):
        window = Window(nodes, Random(seed), 0, SECOND_NS, count)
        for target in ("minority", "majority"):
            chosen = choose(target, window)
            assert chosen is not None
            value, size = chosen
            assert size == len(value)
            left = count - size
            assert left > size or count <= 2 if target == "minority" else left < size


@pytest.mark.parametrize(
    ("names", "nodes", "share", "message"),
    [
        ("partition:ring", ["n1", "n2"], 1.0, "partition:ring needs at least 3 nodes, not 2"),
        ("partition", ["n1"], 1.0, "partition:one needs at least 2 nodes, not 1"),
        ("kill:all", NODES, 0.5, "kill:all takes more than the 2 of 5 nodes that may be down at once"),
        ("kill", NODES, 0.1, "kill:one takes more than the 0 of 5"),
    ],
)
def test_a_fault_that_there_is_no_room_for_is_refused(names: str, nodes: list[str], share: float, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        plan(parse_nemesis(names), nodes, 1, 20 * SECOND_NS, down_nodes_max=share)


def test_two_nodes_still_get_the_shapes_there_are() -> None:
    schedule = plan(parse_nemesis("partition"), ["n1", "n2"], 1, 60 * SECOND_NS)
    assert {e.value["shape"] for e in schedule.entries if e.value} <= set(families()["partition"].variants) - {
        "ring",
        "bridge",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_limit_ns": 0}, "time_limit_ns: 0 is not positive"),
        ({"time_limit_ns": 5, "interval_ns": -1}, "interval_ns: -1 is not positive"),
        ({"time_limit_ns": 5, "down_nodes_max": 1.5}, "down_nodes_max: 1.5 is not a share"),
    ],
)
def test_nonsense_numbers(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(STANDARD, NODES, 1, **arguments)  # type: ignore[arg-type]


def test_no_choices_no_faults() -> None:
    assert plan([], NODES, 1, SECOND_NS).entries == ()


@pytest.mark.parametrize("names", ["kill", "pause,kill", "pause,kill,loss,clock,slow"])
def test_about_one_family_has_a_fault_at_a_time_whatever_their_number(names: str) -> None:
    choices = parse_nemesis(names)
    wanted = fault_planner.usual_share(len(choices))
    assert wanted == min(0.3, 1 / len(choices))
    schedule = plan(choices, NODES, 7, 600 * SECOND_NS)
    in_force_ns = sum(schedule.entries[w[-1]].time_ns - schedule.entries[w[0]].time_ns for w in schedule.windows())
    assert in_force_ns / (600 * SECOND_NS) == pytest.approx(wanted * len(choices), rel=0.1)


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share: .* is not between 0 and 1"):
        plan(STANDARD, NODES, 1, SECOND_NS, share=share)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_no_fault_is_in_force_during_the_calm(share: float) -> None:
    limit_ns = 60 * SECOND_NS
    for seed in range(10):
        start_ns, end_ns = fault_planner.calm(seed, limit_ns, share)
        assert end_ns - start_ns == limit_ns * share
        schedule = plan(EVERYTHING, NODES, seed, limit_ns, calm_share=share)
        check(schedule)
        for window in schedule.windows():
            first, last = schedule.entries[window[0]], schedule.entries[window[-1]]
            assert last.time_ns <= start_ns or first.time_ns >= end_ns


def test_without_a_calm_nothing_changes() -> None:
    assert fault_planner.calm(7, 60 * SECOND_NS, 0.0)[0] == fault_planner.calm(7, 60 * SECOND_NS, 0.0)[1]
    assert plan(EVERYTHING, NODES, 7, 60 * SECOND_NS, calm_share=0.0) == plan(EVERYTHING, NODES, 7, 60 * SECOND_NS)
    with pytest.raises(ValueError, match="calm_share"):
        plan(EVERYTHING, NODES, 7, 60 * SECOND_NS, calm_share=1.0)


def test_flapping_cuts_the_same_links_several_times() -> None:
    schedule = plan(parse_nemesis("partition:flapping"), NODES, 2, 20 * SECOND_NS)
    spans: dict[str, list[str]] = {}
    for entry in schedule.entries:
        if entry.f == "start-partition":
            spans.setdefault(repr(entry.value["grudge"]), []).append(entry.f)
    assert all(len(starts) >= 2 for starts in spans.values())
    fs = [entry.f for entry in schedule.entries]
    assert fs == ["start-partition", "stop-partition"] * (len(fs) // 2)


def test_choices_survive_a_round_trip_through_their_names() -> None:
    schedule = plan(EVERYTHING, NODES, 1, 60 * SECOND_NS)
    assert parse_nemesis(list(schedule.choices)) == EVERYTHING
    needed = registry.choices_of(schedule.entries, NODES)
    assert {choice.name for choice in needed} <= {choice.name for choice in EVERYTHING}
