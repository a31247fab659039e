"""A simulated run as one value, what it fails with, and the ways to make it smaller."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from checkers import Validity
from harness.environments.sim.environment import collecting_seldom
from harness.errors import UsageError
from harness.generators.script import Script, recorded
from harness.report.anomaly import anomaly_classes
from harness.report.failure import failures
from harness.report.summary import counted
from harness.run import plan
from harness.run.execute import execute
from harness.run.sinks import MemorySink
from harness.spec import RunSpec
from histories.history import History
from histories.units import NS_PER_S
from nemesis import schedule
from nemesis.family import Entry
from nemesis.schedule import BadSchedule, Schedule

CHECK_TIME_LIMIT_S = 5.0
"""Of a case whose spec sets none: one that takes longer to check is no simpler."""

TIME_LIMIT_S_MIN = 0.1
"""What a spec allows."""


class Case(msgspec.Struct, frozen=True):
    """Everything that decides a simulated run: its spec, the faults and the clients' ops."""

    spec: RunSpec
    faults: Schedule
    script: Script

    @property
    def threads(self) -> tuple[int, ...]:
        """The clients that do something."""
        return tuple(sorted({op.thread for op in self.script.ops}))

    @property
    def size(self) -> str:
        """How large it is, in words."""
        return (
            f"{counted(len(self.script.ops), 'client op')} by {counted(len(self.threads), 'client')}, "
            f"{counted(len(self.faults.entries), 'fault op')}, {counted(len(self.spec.nodes), 'node')}, "
            f"{self.spec.time_limit_s:.3g} s"
        )


class Failed(msgspec.Struct, frozen=True):
    """How a case failed.

    classes: of its anomalies, the first checker's first. words: of the first one. failed_ns: when it showed; None when that is not
    known. key: the one concerned. shown: (time_ns, f) of the invocations that show it.
    """

    case: Case
    classes: tuple[str, ...]
    words: str
    failed_ns: int | None = None
    key: Any = None
    shown: frozenset[tuple[int, str]] = frozenset()


def recorded_case(spec: RunSpec, planned: Schedule, history: History) -> Case:
    """A run that had no script as a case: what its clients asked for, and its faults when they really began. A fault op waits for
    the one before it and is done when somebody looks, which is at other moments where a script tells the clients what to do.

    A main phase that waited for late faults went on longer than the spec says: that of the case is as long as it really was.
    """
    main_phase_ns = _main_phase_ns(int(spec.time_limit_s * NS_PER_S), planned, history)
    return Case(
        replace(spec, time_limit_s=max(spec.time_limit_s, main_phase_ns / NS_PER_S)),
        as_it_happened(history, planned, main_phase_ns),
        recorded(history, spec.concurrency, main_phase_ns),
    )


def _main_phase_ns(limit_ns: int, planned: Schedule, history: History) -> int:
    """When the main phase was over: at its limit, or when something was still begun after it, at the heal, or else at the end."""
    faults_count = len(as_it_happened(history, planned, sys.maxsize).entries)
    begun = [op for op in history.nemesis() if op.type == "invoke"]
    heals = begun[faults_count:]
    end_ns = heals[0].time if heals else max((op.time for op in history), default=0) + 1
    is_longer = any(limit_ns <= op.time < end_ns for op in history if op.type == "invoke")
    return end_ns if is_longer else limit_ns


def as_it_happened(history: History, planned: Schedule, main_phase_ns: int) -> Schedule:
    """The schedule with the times at which its fault ops were really begun; those that were not are gone, and so are the heals."""
    begun = [op for op in history.nemesis() if op.type == "invoke"]
    asked = [(entry.f, entry.value) for entry in planned.entries]
    entries = []
    for op, what in zip(begun, asked, strict=False):
        if (op.f, op.value) != what or op.time >= main_phase_ns:
            break
        entries.append(Entry(op.time, op.f, op.value))
    return replace(planned, entries=tuple(entries))


def run_case(case: Case, wanted: str = "") -> Failed | None:
    """Run the case in memory; None when nothing is wrong with it, or it cannot be run. wanted: the class of anomaly whose checker's
    words are told, where several failed."""
    spec = case.spec
    if spec.check_time_limit_s is None:
        spec = replace(spec, check_time_limit_s=CHECK_TIME_LIMIT_S)
    sink = MemorySink(f"seed-{spec.seed}")
    try:
        schedule.check(case.faults)
        prepared = plan.prepare(spec, saved=case.faults, script=case.script)
        with collecting_seldom():
            result = execute(prepared, sink)
    except (UsageError, BadSchedule):
        return None
    if result.verdict.validity is not Validity.INVALID:
        return None
    found = failures(result, sink.history(), spec)
    checker = wanted.partition("/")[0]
    first = next((each for each in found if each.validity is Validity.INVALID and each.checker == checker), found[0])
    return Failed(
        case,
        anomaly_classes(result),
        first.words,
        first.time_ns,
        first.key,
        frozenset((op.invoked_ns, op.f) for op in first.ops),
    )


def first_failure(case: Case, wanted: str, seeds_count: int) -> Failed | None:
    """How the case fails with an anomaly of the class `wanted`, under its own seed or else under one of `seeds_count` - 1 others;
    None: it does not."""
    others = (seed for seed in range(seeds_count) if seed != case.spec.seed)
    for seed in (case.spec.seed, *islice(others, seeds_count - 1)):
        failed = run_case(replace(case, spec=replace(case.spec, seed=seed)), wanted)
        if failed is not None and wanted in failed.classes:
            return failed
    return None


def until(case: Case, end_ns: int) -> Case:
    """The case without all that is due at `end_ns` or later, and without final ops."""
    return Case(
        replace(case.spec, time_limit_s=max(TIME_LIMIT_S_MIN, end_ns / NS_PER_S)),
        replace(case.faults, entries=tuple(entry for entry in case.faults.entries if entry.time_ns < end_ns)),
        case.script.only(lambda op: op.time_ns < end_ns and not op.is_final),
    )


def squeezed(case: Case, factor: float) -> Case:
    """The case with every time multiplied by `factor`."""
    return Case(
        replace(case.spec, time_limit_s=max(TIME_LIMIT_S_MIN, case.spec.time_limit_s * factor)),
        replace(
            case.faults,
            entries=tuple(replace(entry, time_ns=int(entry.time_ns * factor)) for entry in case.faults.entries),
        ),
        Script(ops=tuple(replace(op, time_ns=int(op.time_ns * factor)) for op in case.script.ops)),
    )


def with_fewer_clients(case: Case, nodes: tuple[str, ...] | None = None) -> Case:
    """The case on `nodes` (None: those that it has) with no more clients than do something, each still at its node.

    Clients of a node that is gone go to the others in turn.
    """
    nodes = case.spec.nodes if nodes is None else nodes
    clients_at: list[int] = [0] * len(nodes)
    renamed: dict[int, int] = {}
    for thread in case.threads:
        node = case.spec.nodes[thread % len(case.spec.nodes)]
        place = nodes.index(node) if node in nodes else thread % len(nodes)
        renamed[thread] = place + len(nodes) * clients_at[place]
        clients_at[place] += 1
    # A multiple of the nodes: a client that is replaced under a new number stays at its node.
    concurrency = len(nodes) * max(1, *clients_at)
    return Case(
        replace(case.spec, nodes=nodes, concurrency=concurrency),
        replace(case.faults, nodes=nodes),
        Script(ops=tuple(replace(op, thread=renamed[op.thread]) for op in case.script.ops)),
    )


def without_node(case: Case, node: str) -> Case:
    """The case on a cluster that never had `node`. Faults that were about it alone are gone."""
    nodes = tuple(name for name in case.spec.nodes if name != node)
    entries = (replace(entry, value=_without(entry.value, node)) for entry in case.faults.entries)
    faults = replace(case.faults, entries=tuple(entry for entry in entries if not _is_empty(entry)))
    options = {name: _without_named(value, node) for name, value in case.spec.env_options.items()}
    case = replace(case, faults=faults, spec=replace(case.spec, env_options=options))
    return with_fewer_clients(case, nodes)


def _without_named(value: Any, node: str) -> Any:
    """An option of the environment without what it says of the node, or of a link from or to it."""
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if node not in str(name).split(">")}


def _without(value: Any, node: str) -> Any:
    """The value of a fault op without the node, wherever it is named."""
    if isinstance(value, dict):
        return {key: _without(each, node) for key, each in value.items() if key != node}
    if isinstance(value, list | tuple):
        return [_without(each, node) for each in value if each != node]
    return value


def _is_empty(entry: Entry) -> bool:
    """Whether the fault op is about no node any more."""
    return entry.value in ([], {}) or (isinstance(entry.value, dict) and entry.value.get("grudge") == {})
