"""Swarm testing (Groce et al., ISSTA 2012): each seed of a sweep draws a scenario of its own, because one scenario, however long,
never shows what another shows at once.

What the spec leaves at its default is drawn; what differs from the default stays as it is. The spec of a seed says all that was
drawn, and its command line runs it again without any swarm. What each draw is for:

    nodes           2 to 7: even numbers have majorities of more than half and one, and 2 nodes stop with either
    faults          a few of the families: a fault that is always there hides what needs its absence
    interval, share rare and long faults for slow recoveries, dense ones for races
    calm            a stretch without faults, so that every run serves for a while and what came before it shows: what was lost in
                    the storm is read, members that were away catch up, and even the densest faults prove something
    rate, clients   an idle cluster has old entries and late commitments, a busy one has batches and queues
    mix             reads find what is stale, writes make what can be lost, cas tells both; few values make equal ones meet
    transport       datagrams are lost and overtake each other; streams hold packets back and deliver them late
    time-out        short ones make retries and indeterminate ops, long ones keep clients waiting through an election
    target          what the target itself says is worth drawing (`swarm_options`), such as batch sizes, timers, and leases; where
                    these bear no wrong clock, or only one that drifts, no other clock is drawn
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from msgspec.structs import replace

from harness.environments import fault_table
from harness.run import plan
from harness.spec import RunSpec, typed_options
from nemesis.registry import Unavailable, UnknownFault, families, parse_nemesis, within_model
from targets.target import FaultModel, Target

NODES = (2, 3, 3, 3, 4, 5, 5, 5, 6, 7)
RATES_HZ = (20.0, 30.0, 100.0, 100.0, 200.0)
CONCURRENCIES = (3, 5, 10, 20)
INTERVALS_S = (0.5, 1.0, 2.0, 4.0)
INTERVAL_S_MIN = 0.25
"""Denser faults fall behind their schedule, several families together, and then the calm comes late or not at all."""
FAULT_SHARES = (None, 0.1, 0.3, 0.5, 0.7)
CALM_SHARES = (0.2, 0.2, 0.3, 0.5)
CALM_S_MIN = 4.0
"""What was late when the calm began arrives within it, a leader is elected, and clients do some of each op; half of a short run."""
CLIENT_TIMEOUTS_S = (0.5, 1.0, 2.0, 5.0)
MIXES: dict[str, tuple[dict[str, Any], ...]] = {
    "register": (
        {},
        {"read": 10, "write": 2, "cas": 0},
        {"read": 3, "write": 6, "cas": 0},
        {"read": 4, "write": 1, "cas": 5},
        {"read": 4, "write": 4, "cas": 2, "values": "small"},
    ),
}
"""Workload -> options that are worth drawing together."""
FAMILIES_MAX = 5
"""Families of faults in one run: with many more at once nothing is served, and such a run proves nothing."""
ATTEMPTS_MIN = 400
"""Of a short run in which members change while little gets through, a few hundred ops of one kind may all fail: each of 266
cas found another value than it expected. Whether the run served at all is asked as of any other."""
TRIES_MAX = 20
"""So often are the target's options drawn until it survives with them what the spec names; then its defaults stay."""
BRIEF = frozenset({"membership", "moment", "transfer"})
"""They last an instant or a round trip, which no op of a client may meet, or wait for a moment that may not come."""
LASTING = frozenset({"disk/full", "restore/cluster", "restore/node"})
"""Not drawn unless named: a node whose disk was full halts and stays down, so that its own clients are never served again. A
restore takes back what the other faults were there to endanger."""


def drawn(spec: RunSpec, seed: int) -> RunSpec:
    """The spec of this seed: concrete, and no swarm itself. Raises UsageError for a target that there is not."""
    usual, rng = RunSpec(), Random(f"{seed}/swarm")
    target = plan.find_target(spec.target)

    def free(field: str, choices: Sequence[Any]) -> Any:
        """Drawn whether it is used or not: what one field is fixed to moves no other."""
        found, now = rng.choice(choices), getattr(spec, field)
        return found if now == getattr(usual, field) else now

    count = rng.choice(NODES)
    options = _options(target, spec, seed)
    nemesis = _part(spec.nemesis or _survived(target, options), Random(f"{seed}/swarm/faults"))
    if any(":" in name for name in spec.nemesis) or "membership" in nemesis:
        count = max(3, count)  # A shape may need a third node, and so does a cluster that loses a member.
    nodes = spec.nodes if spec.nodes != usual.nodes else tuple(f"n{number}" for number in range(1, count + 1))
    transport = {"transport": rng.choice(("datagram", "stream"))} if spec.env == "sim" else {}
    env_options = transport | spec.env_options
    if env_options.get("transport") == "stream":  # Who receives a stream throws away what comes twice.
        nemesis = tuple(dict.fromkeys("reorder" if name == "duplicate" else name for name in nemesis))
    mix = rng.choice(MIXES.get(spec.workload, ({},)))
    return replace(
        spec,
        swarm=False,
        seed=seed,
        nodes=nodes,
        nemesis=nemesis,
        interval_s=free("interval_s", INTERVALS_S),
        fault_share=free("fault_share", FAULT_SHARES),
        calm_share=free("calm_share", [max(share, min(0.5, CALM_S_MIN / spec.time_limit_s)) for share in CALM_SHARES]),
        rate_hz=free("rate_hz", RATES_HZ),
        concurrency=free("concurrency", CONCURRENCIES),
        client_timeout_s=free("client_timeout_s", CLIENT_TIMEOUTS_S),
        env_options=env_options,
        workload_options=spec.workload_options or mix,
        target_options=options,
        vacuity={"attempts_min": ATTEMPTS_MIN} | spec.vacuity,
    )


def _options(target: Target, spec: RunSpec, seed: int) -> dict[str, Any]:
    """Options of the target under which it survives the faults that the spec names."""
    for number in range(TRIES_MAX):
        rng = Random(f"{seed}/swarm/target" + (f"/{number}" if number else ""))
        options = dict(target.swarm_options(rng)) | spec.target_options
        if spec.beyond_model or _bears(_model(target, options), spec.nemesis):
            return options
    return dict(spec.target_options)


def _bears(model: FaultModel, nemesis: Sequence[str]) -> bool:
    try:
        within_model(parse_nemesis(nemesis), model.survives)
    except Unavailable:
        return False
    except UnknownFault:  # Whoever plans the run knows the roles of the target, or says what is wrong.
        pass
    return True


def _model(target: Target, options: dict[str, Any]) -> FaultModel:
    return target.fault_model_under(typed_options(f"target {target.name}", options, target.option_type))


def _part(names: Sequence[str], rng: Random) -> tuple[str, ...]:
    """At least one of these and at most FAMILIES_MAX, in their order. Where only brief ones were drawn, one more that is none:
    without other faults some moments never come (nobody lags), and a run that no fault meets proves nothing."""
    kept = set(rng.sample(range(len(names)), rng.randint(1, min(FAMILIES_MAX, len(names)))))
    others = [number for number, name in enumerate(names) if name.partition(":")[0] not in BRIEF]
    if others and kept.isdisjoint(others):
        kept.add(rng.choice(others))
    return tuple(name for number, name in enumerate(names) if number in kept)


def _survived(target: Target, options: dict[str, Any]) -> tuple[str, ...]:
    """The faults that the target claims to survive with these options and that the simulation can do, as the command line names
    them."""
    found = []
    for name in sorted(_model(target, options).survives - LASTING):
        family, _, variant = name.partition("/")
        if family in families() and "sim" in fault_table.environments_with(families()[family], variant):
            found.append(name.replace("/", ":"))
    return tuple(found)
