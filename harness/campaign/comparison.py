"""The CAP trade-off as numbers: the same workload, faults and seeds on several targets, each in its modes.

For each subject: what share of operations each side of a partition served, how soon it served again after a heal, how long
operations took, and the strongest consistency model that every run kept, with the run that refutes the next stronger one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from checkers import timelines
from checkers.availability import availability
from checkers.evidence import Availability
from checkers.verdict import Validity, Verdict, guarded
from harness.errors import UsageError
from harness.run import plan
from harness.spec import RunSpec
from harness.store.runs import Result
from harness.workloads import claims, registry
from harness.workloads.base import WorkloadContext
from histories.history import History
from targets.target import System

WORKLOAD = "shared-registers"
MODE_OPTIONS = ("mode", "reads")
"""The options of a target whose values are its modes, where their type lists the values."""
LADDER = (
    "linearizable",
    "sequential",
    "causal",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
    "convergent",
)
"""From the strongest. None of the four session guarantees implies another, so they are a rung together."""
GUARANTEES = ("read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads")
RUNGS: Mapping[str, tuple[str, ...]] = {
    "linearizable": ("linearizable",),
    "sequential": ("sequential",),
    "causal": ("causal",),
    "session guarantees": GUARANTEES,
    "convergent": ("convergent",),
}
STATES_MAX = 100_000


class Subject(msgspec.Struct, frozen=True):
    """A target in one mode. options: of the target. name: such as "raft reads=log"."""

    name: str
    target: str
    options: Mapping[str, Any]


class Share(msgspec.Struct):
    """Operations that were asked, and those of them that ended ok."""

    ok: int = 0
    total: int = 0

    @property
    def value(self) -> float | None:
        """None where nothing was asked."""
        return self.ok / self.total if self.total else None


class Compared(msgspec.Struct):
    """What the runs of one subject add up to.

    sides: "majority" and "minority" -> what they served while partitions that cut the nodes in two were in force. latencies_ns:
    of all operations that ended ok. messages_count: between nodes, requests and answers; 0 where nobody counted them, None where
    nodes removed some. verdicts: model -> seed -> verdict. claims_broken, undecided: seed -> why the verdict of the run itself is
    INVALID or UNKNOWN. harness: the reasons why runs were not whole.
    """

    subject: Subject
    claimed: str
    runs: int = 0
    overall: Share = msgspec.field(default_factory=Share)
    sides: dict[str, Share] = msgspec.field(default_factory=lambda: {"majority": Share(), "minority": Share()})
    recoveries_ns: list[int] = msgspec.field(default_factory=list)
    recoveries_ns_by_fault: dict[str, list[int]] = msgspec.field(default_factory=dict)
    unrecovered: int = 0
    latencies_ns: list[int] = msgspec.field(default_factory=list)
    messages_count: int | None = 0
    verdicts: dict[str, dict[int, Verdict]] = msgspec.field(default_factory=dict)
    commands: dict[int, str] = msgspec.field(default_factory=dict)
    claims_broken: dict[int, str] = msgspec.field(default_factory=dict)
    undecided: dict[int, str] = msgspec.field(default_factory=dict)
    harness: list[str] = msgspec.field(default_factory=list)

    @property
    def messages_per_op(self) -> float | None:
        """Messages between nodes for each operation that ended ok; None where nobody counted them all."""
        return self.messages_count / self.overall.ok if self.messages_count and self.overall.ok else None

    def validity(self, model: str) -> Validity:
        """The worst of the runs; UNKNOWN where there were none."""
        found = [verdict.validity for verdict in self.verdicts.get(model, {}).values()]
        return max(found, key=lambda validity: validity.badness, default=Validity.UNKNOWN)

    def strongest(self) -> tuple[str, str, int | None, str]:
        """The strongest rung that every run kept ("none": not one), and a model of the next stronger rung, the seed of a run that
        did not keep that, and why. Without a stronger one: "", None, ""."""
        stronger: tuple[str, int | None, str] = ("", None, "")
        for rung, models in RUNGS.items():
            if all(self.validity(model) is Validity.VALID for model in models):
                return rung, *stronger
            worst = max(models, key=lambda model: self.validity(model).badness)
            found: list[tuple[int | None, Verdict]] = [*self.verdicts.get(worst, {}).items()]
            nothing = None, Verdict.unknown("not checked")
            seed, verdict = max(found, key=lambda item: item[1].validity.badness, default=nothing)
            word = "undecided: " if verdict.validity is Validity.UNKNOWN else ""
            stronger = worst, seed, f"{word}{verdict.reason}"
        return "none", *stronger

    def kept(self) -> tuple[str, ...]:
        """The strongest rung that every run kept and, where that is below the session guarantees, those of them that every run
        kept all the same."""
        rung = self.strongest()[0]
        if rung not in ("convergent", "none"):
            return (rung,)
        guarantees = tuple(model for model in GUARANTEES if self.validity(model) is Validity.VALID)
        return guarantees or (rung,) if rung == "none" else (rung, *guarantees)

    def as_data(self) -> dict[str, Any]:
        """For JSON: plain data, times in ns."""
        strongest, next_stronger, seed, why = self.strongest()
        return {
            "subject": self.subject.name,
            "target": self.subject.target,
            "options": dict(self.subject.options),
            "claims": self.claimed,
            "runs": self.runs,
            "ok_share": self.overall.value,
            "ok_share_by_side": {side: share.value for side, share in self.sides.items()},
            "ops_by_side": {side: share.total for side, share in self.sides.items()},
            "recovery_ns_mean": sum(self.recoveries_ns) // len(self.recoveries_ns) if self.recoveries_ns else None,
            "recovery_ns_mean_by_fault": self.recovery_ns_by_fault(),
            "recovery_ns_max": max(self.recoveries_ns, default=None),
            "unrecovered_count": self.unrecovered,
            "latency_ns": {"p50": self.latency_ns(0.5), "p99": self.latency_ns(0.99)},
            "messages_per_op": self.messages_per_op,
            "strongest_model": strongest,
            "kept": list(self.kept()),
            "refuted": {
                "model": next_stronger,
                "seed": seed,
                "reason": why,
                "command": "" if seed is None else self.commands[seed],
            },
            "models": {model: self.validity(model).value for model in LADDER},
            "claims_broken": {str(seed): reason for seed, reason in self.claims_broken.items()},
            "undecided": {str(seed): reason for seed, reason in self.undecided.items()},
            "harness": self.harness,
        }

    def recovery_ns_by_fault(self) -> dict[str, int]:
        """Fault -> the mean time from its heal to the first operation that was served, over all runs."""
        return {name: sum(each) // len(each) for name, each in sorted(self.recoveries_ns_by_fault.items())}

    def latency_ns(self, quantile: float) -> int | None:
        """None where no operation ended ok."""
        return int(np.quantile(self.latencies_ns, quantile, method="higher")) if self.latencies_ns else None


def subjects(text: str, option_type: type[msgspec.Struct], modes: Sequence[Mapping[str, Any]] = ()) -> list[Subject]:
    """What `text` names: a target and, behind a colon, options ("gossip:mode=causal"). Without options, every mode of the
    target: `modes`, or the values of its option."""
    target, _, options = text.partition(":")
    if options:
        pairs = [pair.partition("=")[::2] for pair in options.split(",")]
        given = dict(pairs)
        if twice := [name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place])]:
            raise UsageError(f"{text}: {twice[0]} is given twice; compare two modes as two subjects")
        return [Subject(f"{target} {options}", target, given)]
    if modes:
        return [Subject(" ".join((target, *_pairs(mode))), target, mode) for mode in modes]
    hints = get_type_hints(option_type)
    for name in MODE_OPTIONS:
        if get_origin(hints.get(name)) is Literal:
            return [Subject(f"{target} {name}={value}", target, {name: value}) for value in get_args(hints[name])]
    return [Subject(target, target, {})]


def _pairs(options: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]


def spec_for(base: RunSpec, subject: Subject, target: System) -> RunSpec:
    """The run of the subject. Raises UsageError for an unknown workload, and where the target has no interface for it."""
    interface = plan.find_workload(base.workload).interface
    if interface not in target.interfaces:
        has = ", ".join(sorted(target.interfaces))
        raise UsageError(
            f"{subject.target} has no interface {interface!r} for the workload {base.workload}; it has {has}"
        )
    return msgspec.structs.replace(base, target=subject.target, target_options=dict(subject.options))


def take(compared: Compared, spec: RunSpec, result: Result, history: History, command: str) -> None:
    """Count one run in."""
    compared.runs += 1
    compared.commands[spec.seed] = command
    if result.harness:
        compared.harness.append(f"seed {spec.seed}: {result.harness[0].error}")
    match result.verdict.validity:
        case Validity.INVALID:
            compared.claims_broken[spec.seed] = result.verdict.reason
        case Validity.UNKNOWN:
            compared.undecided[spec.seed] = result.verdict.reason
    compared.latencies_ns += [
        done.time - invoked.time
        for invoked, done in history.pairs()
        if invoked.is_client and done is not None and done.type == "ok"
    ]
    _count_served(compared, availability(history), len(spec.nodes))
    for model, check in models_of(spec, history):
        compared.verdicts.setdefault(model, {})[spec.seed] = guarded(model, check)


def _count_served(compared: Compared, verdict: Verdict, nodes_count: int) -> None:
    """A side is the majority where it holds more than half of all nodes; partitions without such a side are passed over."""
    found = verdict.evidence_of(Availability)
    compared.overall.ok += found.overall.ok_count
    compared.overall.total += found.overall.total_count
    for window in found.windows:
        if window.lifted_ns is not None:
            if window.recovery_ns is None:
                compared.unrecovered += 1
            else:
                compared.recoveries_ns.append(window.recovery_ns)
                compared.recoveries_ns_by_fault.setdefault(window.name.partition(":")[0], []).append(window.recovery_ns)
        if len(window.sides) < 2 or 2 * len(window.sides[0].nodes) <= nodes_count:
            continue
        for number, side in enumerate(window.sides):
            share = compared.sides["minority" if number else "majority"]
            share.ok += side.served.ok_count
            share.total += side.served.total_count


def models_of(spec: RunSpec, history: History) -> Iterator[tuple[str, Callable[[], Verdict]]]:
    """A check for each model of LADDER."""
    workload = registry.find(spec.workload)
    context = WorkloadContext(
        None,
        spec.nodes,
        spec.concurrency,
        states_max=spec.check_states or STATES_MAX,
        check_time_limit_s=spec.check_time_limit_s,
    )
    rows: Sequence[claims.ClaimChecker] = claims.rows_for(workload)
    for model in LADDER:
        row = next((row for row in rows if row.claim == model), None)
        if row is not None:
            yield model, partial(timelines.checked, row.name, row.check, history, context)
