"""Clusters of Raft cores in random weather: figure 3 holds, what was acknowledged survives, what is wrong is found."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from targets.core import Core, Effect, Event, Persist, Send
from targets.machines.kv import KvCommand
from targets.raft.options import RaftOptions
from targets.raft.records import Append, HardState
from targets.raft.target import RaftTarget
from targets.session import Call
from targets.tests.cluster import CALM, Cluster, S, Weather
from targets.tests.raft_observer import Observer, Violation, check_clients

decode = msgspec.json.Decoder(KvCommand).decode

STORM = Weather()
DEPOSED = Weather(0.0, 0.0, 0.0, 0.0, fault_gap_ms_max=500, faults=("depose",))
"""Whoever leads is cut off, again and again."""

LATE = msgspec.structs.replace(
    DEPOSED, late_probability=0.1, late_ms_max=2500.0, fault_gap_ms_max=700, faults=("depose", "depose", "heal")
)
"""Leaders are cut off and come back, while messages arrive across several elections."""

LONELY: dict[str, Any] = {"nodes_count": 3, "attacked_s": 10.0, "options": RaftOptions(check_quorum=False)}
"""A leader that is cut off goes on leading, and one answer of another node is a majority for it."""

OFTEN: dict[str, Any] = {"nodes_count": 3, "attacked_s": 6.0, "options": RaftOptions(snapshot_entries=3)}
"""A snapshot after every third entry: whoever was away for a moment is sent one."""

SLOW_DISK = Weather(sync_ms_max=100.0)


def run(
    seed: int,
    weather: Weather = STORM,
    bugs: Sequence[str] = (),
    options: RaftOptions | None = None,
    target: RaftTarget | None = None,
    attacked_s: float = 3.0,
    nodes_count: int = 5,
) -> Cluster:
    """A cluster after `attacked_s` of weather and clients, healed, converged and checked. Raises Violation."""
    observer = Observer()
    cluster = Cluster(target or RaftTarget(), seed, nodes_count, options, bugs, weather, observer)
    written = 0

    def call(rng: random.Random) -> Call:
        nonlocal written
        written += 1
        key = rng.choice(("x", "y"))
        match rng.choices(("read", "write", "cas"), (45, 40, 15)):
            case ["write"]:
                return Call("write", key, written)
            case ["cas"]:
                return Call("cas", key, [written - rng.randint(1, 6), written])
        return Call("read", key)

    cluster.clients(8, call, int(attacked_s * S))
    cluster.run(attacked_s * S)
    cluster.stop_attacks()
    for name, node in cluster.nodes.items():
        if node.halted is not None:
            raise Violation(f"halted: {name}, {node.halted}")
    cluster.run(1.2 * S)  # Every client has its outcome by then.
    if not cluster.run_until(lambda: cluster.leader() is not None, 3 * S):
        raise Violation("liveness: no leader")
    last = cluster.call(Call("write", "z", -1), cluster.leader() or "n1")
    if not cluster.run_until(lambda: last.outcome is not None and converged(cluster), 3 * S):
        raise Violation("liveness: no convergence")
    if last.outcome is None or last.outcome.type != "ok":
        raise Violation(f"liveness: {last}")
    check_clients(cluster.attempts, [digest for _, digest in observer.log], decode)
    return cluster


def statuses(cluster: Cluster) -> list[dict[str, Any]]:
    """Of all nodes that run."""
    return [node.core.status() for node in cluster.nodes.values() if node.core is not None]


def converged(cluster: Cluster) -> bool:
    """Every node has the same log, and has applied all of it."""
    found = {(s["applied_index"], s["log_length"], s["last_log_term"]) for s in statuses(cluster)}
    return len(statuses(cluster)) == len(cluster.nodes) and len(found) == 1 and all(a == b for a, b, _ in found)


def find(seeds: range, **arguments: Any) -> Violation | None:
    """The first violation over `seeds`; None when there is none."""
    for seed in seeds:
        try:
            run(seed, **arguments)
        except Violation as violation:
            return violation
    return None


# --- the healthy core -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_figure_3_and_clients_in_a_storm() -> None:
    served = 0
    for seed in range(25):
        cluster = run(seed)
        served += sum(a.outcome is not None and a.outcome.type == "ok" for a in cluster.attempts)
    assert served > 25 * 100, "runs in which nothing succeeds prove nothing"


@pytest.mark.long
@pytest.mark.parametrize("seeds", [range(1000, 1200), pytest.param(range(1000, 6000), marks=pytest.mark.soak)])
def test_figure_3_and_clients_in_many_storms(seeds: range) -> None:
    for seed in seeds:
        run(seed)


@pytest.mark.parametrize(
    "options",
    [
        RaftOptions(reads="log"),
        RaftOptions(pre_vote=False),
        RaftOptions(check_quorum=False),
        RaftOptions(entries_per_message_max=1),
        RaftOptions(heartbeat_ms=20, election_ms_min=30, election_ms_max=60),
    ],
    ids=["reads=log", "no-pre-vote", "no-check-quorum", "one-entry-a-message", "short-timeouts"],
)
@pytest.mark.long
def test_options_change_nothing_about_safety(options: RaftOptions) -> None:
    for seed in range(5):
        run(seed, options=options)


@pytest.mark.parametrize("nodes_count", [1, 2, 3, 4, 7])
@pytest.mark.long
def test_clusters_of_other_sizes(nodes_count: int) -> None:
    for seed in range(3):
        run(seed, nodes_count=nodes_count)


def test_leaders_that_are_cut_off_again_and_again() -> None:
    for seed in range(10):
        run(seed, weather=DEPOSED)


def test_messages_that_arrive_in_a_later_leadership_of_their_sender() -> None:
    for seed in range(3):
        run(seed, weather=LATE, **LONELY)


def test_messages_that_take_longer_than_a_heartbeat() -> None:
    """Answers come after later heartbeats were sent; entries and rejections must get through all the same."""
    slow = msgspec.structs.replace(STORM, delay_ms_max=150.0)
    patient = RaftOptions(election_ms_min=500, election_ms_max=1000)
    for seed in range(5):
        run(seed, weather=slow, options=patient, attacked_s=6.0)


FINGERPRINT = """
import hashlib
from targets.tests.test_raft_safety import run
print(hashlib.sha256("".join(str(attempt) for attempt in run(7).attempts).encode()).hexdigest())
"""


@pytest.mark.real
def test_the_same_seed_gives_the_same_run_whatever_the_hash_seed() -> None:
    found = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", FINGERPRINT], env=environment, capture_output=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop()) == 65


def test_a_calm_cluster_elects_once_and_fails_nothing() -> None:
    cluster = run(1, weather=CALM)
    late = [a.outcome for a in cluster.attempts if a.invoked_ns > S and a.outcome is not None]
    assert len(late) > 100
    assert {str(outcome.error) for outcome in late if outcome.type != "ok"} == {"cas-mismatch"}
    assert {status["term"] for status in statuses(cluster)} == {1}


# --- the bug zoo ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bug", "weather", "properties", "scene"),
    [
        ("stale-read", STORM, {"stale"}, {}),
        ("reply-before-commit", STORM, {"lost", "stale"}, {}),
        ("volatile-log", STORM, {"election-safety", "leader-completeness", "log-matching", "state-machine-safety"}, {}),
        ("vote-twice", STORM, {"election-safety"}, {}),
        ("commit-by-count", DEPOSED, {"leader-completeness", "state-machine-safety"}, {}),
        ("stale-append-reply-counted", LATE, {"stale"}, LONELY),
        ("snapshot-loses-suffix", STORM, {"leader-completeness", "state-machine-safety"}, OFTEN),
    ],
)
@pytest.mark.long
def test_each_bug_breaks_a_property_that_it_must_break(
    bug: str, weather: Weather, properties: set[str], scene: dict[str, Any]
) -> None:
    violation = find(range(60), bugs=[bug], weather=weather, **scene)
    assert violation is not None
    assert str(violation).partition(":")[0] in properties


# --- mutants of the healthy core --------------------------------------------------------------------------------------


class Mutant:
    """A core whose effects are tampered with."""

    def __init__(self, core: Core, mutate: Callable[[Sequence[Effect]], Sequence[Effect]]) -> None:
        self._core = core
        self._mutate = mutate

    def step(self, now_ns: int, event: Event) -> Sequence[Effect]:
        return self._mutate(self._core.step(now_ns, event))

    def status(self) -> dict[str, Any]:
        return self._core.status()


class MutantTarget(RaftTarget):
    def __init__(self, mutate: Callable[[Sequence[Effect]], Sequence[Effect]]) -> None:
        self._mutate = mutate

    def core(self, *arguments: Any) -> Mutant:  # type: ignore[override]
        return Mutant(super().core(*arguments), self._mutate)


def without_hard_state(effects: Sequence[Effect]) -> Sequence[Effect]:
    return [e for e in effects if not (isinstance(e, Persist) and isinstance(e.record, HardState))]


def without_followers_entries(effects: Sequence[Effect]) -> Sequence[Effect]:
    return [e for e in effects if not (isinstance(e, Persist) and isinstance(e.record, Append) and e.token is None)]


def sent_before_persisted(effects: Sequence[Effect]) -> Sequence[Effect]:
    swapped = list(effects)
    for i, (effect, behind) in enumerate(itertools.pairwise(effects)):
        if isinstance(effect, Persist) and isinstance(behind, Send):
            swapped[i : i + 2] = [behind, effect]
    return swapped


@pytest.mark.parametrize("mutate", [without_hard_state, without_followers_entries, sent_before_persisted])
def test_a_persist_that_is_removed_or_comes_too_late_is_found(
    mutate: Callable[[Sequence[Effect]], Sequence[Effect]],
) -> None:
    assert find(range(60), weather=SLOW_DISK, target=MutantTarget(mutate)) is not None


def test_the_healthy_core_bears_the_weather_that_finds_mutants() -> None:
    assert find(range(10), weather=SLOW_DISK) is None
