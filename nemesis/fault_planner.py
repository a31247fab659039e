"""Plans from the seed which fault strikes when. The plan is data, and planning is pure.

Each family has a stream of its own and knows nothing of the others: quiet, a fault, quiet, a fault, ... until shortly before the
time limit, so that its last fault is healed by then. Two things couple the families: the number of nodes that a fault model allows
to be down at once, and the usual share of the time that each family has, which shrinks with their number. At a given share, one
family more or less changes nothing in the others (unless too many nodes would be down).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import NamedTuple

from histories.units import NS_PER_S
from nemesis.capabilities import NodeId
from nemesis.family import Family, Planned, Window
from nemesis.registry import FaultChoice, Unavailable, families, within_model
from nemesis.schedule import Schedule, down_limit

INTERVAL_NS = 5_000_000_000
WINDOWS_WANTED = 4
"""A run too short for so many intervals has shorter ones."""
FIRST_QUIET = (0.1, 0.4)
"""The share of the interval before the first fault, uniform."""
SPREAD = (0.6, 1.4)
"""A fault, and the quiet after it, last so many times their mean, uniform; together they make one interval on the mean."""
SHARE_MAX = 0.3
IN_FORCE_MEAN = 1.0
"""A family has a fault in force for at most that share of the time, and no more families than that at a time, on the mean: with
more at once most ops fail whatever the system does, and bugs are found later. docs/faults.md has the figures."""
HEALED_BY = 0.95
"""The share of the time limit by which the last fault has ended: clients still run, and see the cluster heal."""
CALM_BY = 0.6
"""The share of the places for a calm at which it may begin: faults that fall behind their schedule delay it, and it still comes."""
FAULT_MIN = 0.3
"""A last fault that would get less than this of the mean length is left out."""


def plan(
    choices: Sequence[FaultChoice],
    nodes: Sequence[NodeId],
    seed: int | str,
    time_limit_ns: int,
    *,
    interval_ns: int = INTERVAL_NS,
    share: float | None = None,
    calm_share: float = 0.0,
    survives: Collection[str] | None = None,
    down_nodes_max: float = 1.0,
    beyond_model: bool = False,
    roles: Mapping[str, tuple[NodeId, ...]] | None = None,
) -> Schedule:
    """Faults of every choice over the whole run, each ended before `time_limit_ns`.

    interval_ns: mean time between two faults of one family. share: of the time, that each family has a fault in force; None:
        usual_share of the choices. calm_share: of the run, in one stretch, in which no fault is in force. survives,
        down_nodes_max: the target's fault model (names of faults; the share of nodes that may be down at once); survives=None: it
        survives all. beyond_model drops both. roles: the target's, with the nodes of each.

    Raises ValueError for a time limit or an interval that is not positive, and Unavailable for a choice that is outside
    the model or takes more nodes than there are.
    """
    for name, value_ns in (("time_limit_ns", time_limit_ns), ("interval_ns", interval_ns)):
        if value_ns <= 0:
            raise ValueError(f"{name}: {value_ns} is not positive")
    if survives is not None and not beyond_model:
        choices = within_model(choices, survives)
    ordered = tuple(sorted(nodes))
    limit = len(ordered) if beyond_model else down_limit(len(ordered), down_nodes_max)
    interval_ns = min(interval_ns, math.ceil(time_limit_ns / WINDOWS_WANTED))
    share = usual_share(len(choices)) if share is None else share
    if not 0 < share < 1:
        raise ValueError(f"share: {share:g} is not between 0 and 1")
    if not 0 <= calm_share < 1:
        raise ValueError(f"calm_share: {calm_share:g} is not between 0 and 1")
    pace = _Pace(time_limit_ns, interval_ns, share, calm(seed, time_limit_ns, calm_share))
    streams = [
        _Stream(choice, ordered, Random(f"{seed}/nemesis/{choice.name}"), limit, pace, roles or {})
        for choice in choices
    ]
    planned = _fill(streams, limit, len(ordered))
    return Schedule(
        nodes=tuple(nodes),
        entries=tuple(sorted((e for fault in planned for e in fault.entries), key=lambda entry: entry.time_ns)),
        seed=seed,
        choices=tuple(name for choice in choices for name in choice.names),
        time_limit_ns=time_limit_ns,
        beyond_model=beyond_model,
    )


def _fill(streams: Sequence[_Stream], limit: int, node_count: int) -> list[Planned]:
    """Plans a fault for each time of each stream, unless more than `limit` nodes would be down at once.

    When there is little room, the streams with the fewest faults so far go first in each round.
    """
    planned: list[Planned] = []
    counts = [0] * len(streams)
    down: list[tuple[int, int, int]] = []
    """(start_ns, end_ns, count) of the faults so far that take nodes down."""
    for number in range(max((len(stream.times_ns) for stream in streams), default=0)):
        for i in sorted(range(len(streams)), key=lambda i: (counts[i], i)):
            if number >= len(streams[i].times_ns):
                continue
            start_ns, end_ns = streams[i].times_ns[number]
            # With room for all nodes nothing needs counting: the same node may be taken down twice.
            taken = sum(count for a, b, count in down if a < end_ns and start_ns < b) if limit < node_count else 0
            fault = streams[i].next(start_ns, end_ns, limit - taken)
            if fault is not None:
                planned.append(fault)
                counts[i] += 1
                down.append((start_ns, end_ns, fault.down_count))
    return planned


class _Stream:
    """The faults of one choice, one after another; each variant comes once before any comes again."""

    def __init__(
        self,
        choice: FaultChoice,
        nodes: tuple[NodeId, ...],
        rng: Random,
        limit: int,
        pace: _Pace,
        roles: Mapping[str, tuple[NodeId, ...]],
    ) -> None:
        self.family: Family = families()[choice.name]
        self.nodes = nodes
        self.roles = roles
        self.rng = rng
        self.times_ns = _times(rng, pace)
        self.bag: list[str] = []
        scratch = Window(nodes, Random(0), 0, NS_PER_S, limit, roles)
        self.variants = []
        reasons: list[str] = []
        for variant in choice.variants or ("",):
            name = f"{choice.name}:{variant}" if variant else choice.name
            if len(nodes) < self.family.nodes_min(variant):
                reasons.append(f"{name} needs at least {self.family.nodes_min(variant)} nodes, not {len(nodes)}")
            elif self.family.plan(variant, scratch) is None:
                reasons.append(f"{name} takes more than the {limit} of {len(nodes)} nodes that may be down at once")
            else:
                self.variants.append(variant)
        if reasons and (choice.explicit or not self.variants):
            raise Unavailable(f"the fault {reasons[0]}")

    def next(self, start_ns: int, end_ns: int, down_nodes_max: int) -> Planned | None:
        """The next fault, of the first variant in the bag that there is room for; None when there is room for none."""
        if not self.bag:
            self.bag = list(self.variants)
            self.rng.shuffle(self.bag)
        # A window has an rng of its own: how much one fault draws moves none of the later ones.
        window = Window(self.nodes, Random(self.rng.getrandbits(64)), start_ns, end_ns, down_nodes_max, self.roles)
        for variant in [*self.bag, *self.variants]:
            planned = self.family.plan(variant, window)
            if planned is not None:
                if variant in self.bag:
                    self.bag.remove(variant)
                return planned
        return None


def usual_share(family_count: int) -> float:
    """The share of the time that each of so many families has a fault in force, where nobody asked for another."""
    return min(SHARE_MAX, IN_FORCE_MEAN / max(1, family_count))


class _Pace(NamedTuple):
    """When faults of one family strike: the length of the run, the mean time between two of them, the share of it that they are
    in force, and the stretch without any: its start and its end, alike where there is none."""

    time_limit_ns: int
    interval_ns: int
    share: float
    calm_ns: tuple[int, int]


def calm(seed: int | str, time_limit_ns: int, calm_share: float) -> tuple[int, int]:
    """Start and end of the stretch without faults: that share of the run, placed by the seed. Both are alike for a share of 0."""
    length_ns = int(time_limit_ns * calm_share)
    latest_ns = max(0.0, time_limit_ns * HEALED_BY - length_ns) * CALM_BY
    return (start_ns := int(latest_ns * Random(f"{seed}/calm").random())), start_ns + length_ns


def _times(rng: Random, pace: _Pace) -> list[tuple[int, int]]:
    """(start, end) of each fault of one family: apart from each other, the last one ended by HEALED_BY of the run."""
    healed_ns = int(pace.time_limit_ns * HEALED_BY)
    least_ns = pace.interval_ns * FAULT_MIN * pace.share
    found: list[tuple[int, int]] = []
    start_ns = int(pace.interval_ns * rng.uniform(*FIRST_QUIET))
    while start_ns + least_ns < healed_ns:
        end_ns = min(healed_ns, start_ns + int(pace.interval_ns * _spread(rng, pace.share)))
        found += _around((start_ns, end_ns), pace.calm_ns)
        start_ns = end_ns + int(pace.interval_ns * _spread(rng, 1 - pace.share))
    return found


def _around(fault_ns: tuple[int, int], calm_ns: tuple[int, int]) -> list[tuple[int, int]]:
    """What is left of a fault outside the calm: all of it, its part before, its part behind, both, or nothing."""
    (start_ns, end_ns), (calm_start_ns, calm_end_ns) = fault_ns, calm_ns
    if calm_start_ns == calm_end_ns:
        return [fault_ns]
    parts = ((start_ns, min(end_ns, calm_start_ns)), (max(start_ns, calm_end_ns), end_ns))
    return [(first_ns, last_ns) for first_ns, last_ns in parts if first_ns < last_ns]


def _spread(rng: Random, mean: float) -> float:
    low, high = SPREAD
    return rng.uniform(low * mean, high * mean)
