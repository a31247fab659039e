"""Turns a spec's names into the objects of a run, and refuses everything that cannot work before anything is started."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random

import msgspec

from checkers import invariants
from checkers.vacuity import VacuityThresholds
from harness.environments import fault_table
from harness.environments import registry as environments
from harness.environments.base import Deployment, Environment
from harness.errors import UsageError, module_of_file, unknown_name
from harness.generators.script import Script
from harness.generators.script import check as check_script
from harness.run import served
from harness.spec import RunSpec, typed_options
from harness.workloads import claims
from harness.workloads import registry as workloads
from harness.workloads.base import Workload, WorkloadContext
from harness.workloads.claims import ClaimChecker
from histories.units import NS_PER_S
from nemesis import fault_planner, schedule
from nemesis.capabilities import Cluster
from nemesis.family import Family
from nemesis.faults.disk import CRASHES
from nemesis.outside import BadFamily
from nemesis.registry import FaultChoice, Unavailable, UnknownFault, available, families, parse_nemesis
from nemesis.schedule import BadSchedule, Schedule
from targets import registry as targets
from targets.target import CoreTarget, Target
from targets.topology import Topology


class Plan(msgspec.Struct, frozen=True):
    """A run with every name resolved and every option typed.

    saved: the schedule to replay; None when faults are planned from the seed. script: the clients' ops; None when the workload
    makes them. outside_model: where that schedule leaves the
    target's fault model, in words (only with --beyond-model).
    """

    spec: RunSpec
    target: Target
    target_options: msgspec.Struct
    workload: Workload
    workload_options: msgspec.Struct
    environment: Callable[[Deployment], Environment]
    choices: tuple[FaultChoice, ...]
    saved: Schedule | None
    thresholds: VacuityThresholds
    checkers: tuple[ClaimChecker, ...]
    outside_model: tuple[str, ...] = ()
    script: Script | None = None

    @property
    def topology(self) -> Topology:
        """Which node plays which role and holds which shard."""
        return self.target.topology(self.spec.nodes, self.target_options)

    @property
    def claimed_model(self) -> str:
        """The consistency model that the target claims under its options."""
        return claimed_model(self.target, self.target_options, self.workload, self.workload_options)

    @property
    def folder(self) -> str:
        """The folder of its runs below the store: the spec's name, or the target's and the workload's own names."""
        words = (self.target.name, self.workload.name, *self.spec.bugs)
        return self.spec.name or re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).lstrip(".-")[:100]

    @property
    def claim(self) -> str:
        """The consistency model that the history is checked for: what the target claims, or what the spec asks for."""
        return self.spec.consistency or self.claimed_model

    @property
    def asks_for_faults(self) -> bool:
        """Whether the run was asked for any fault, due in its time or not."""
        return bool(self.choices) or (self.saved is not None and bool(self.saved.choices))

    @property
    def moves_clocks(self) -> bool:
        """Whether a fault of this run moves clocks."""
        return any(needs_clocks(choice) for choice in self.choices)

    @property
    def loses_unsynced(self) -> bool:
        """Whether a fault of this run makes disks lose what was not synced, or some of it."""
        return any(needs_disk_kind(choice, CRASHES) for choice in self.choices)

    @property
    def context(self) -> WorkloadContext:
        """The run as its workload sees it."""
        return WorkloadContext(
            options=self.workload_options,
            nodes=self.spec.nodes,
            concurrency=self.spec.concurrency,
            claim=self.claim,
            states_max=self.spec.check_states,
            check_time_limit_s=self.spec.check_time_limit_s,
        )

    def rng(self, component: str) -> Random:
        """The component's own random numbers, from the seed: one more draw in one component changes nothing in another."""
        return Random(f"{self.spec.seed}/{component}")

    def faults(self, cluster: Cluster) -> tuple[list[FaultChoice], Schedule]:
        """The choices that `cluster` can do, and their schedule. Raises UsageError when the cluster lacks what a fault needs."""
        spec, model = self.spec, self.target.fault_model_under(self.target_options)
        try:
            choices = available(cluster, self.choices, f"environment {spec.env}")
        except Unavailable as error:
            raise UsageError(f"{error}{remedies(cluster, spec.env, error.refused)}") from error
        if self.saved is not None:
            return choices, self.saved
        try:
            return choices, fault_planner.plan(
                choices,
                spec.nodes,
                spec.seed,
                int(spec.time_limit_s * NS_PER_S),
                interval_ns=int(spec.interval_s * NS_PER_S),
                share=spec.fault_share,
                calm_share=spec.calm_share,
                survives=model.survives,
                down_nodes_max=model.down_nodes_max,
                beyond_model=spec.beyond_model,
                roles=roles_of(self.topology),
            )
        except Unavailable as error:
            raise UsageError(str(error)) from error


def prepare(
    spec: RunSpec, schedule_file: Path | None = None, saved: Schedule | None = None, script: Script | None = None
) -> Plan:
    """The plan of `spec`. Its faults come from `saved` or `schedule_file`, or else are planned from the seed later. The clients do
    the ops of `script`, or else what the workload says.

    Raises UsageError that says what is wrong and what to do.
    """
    target = find_target(spec.target)
    target_options = typed_options(f"target {spec.target}", spec.target_options, target.option_type)
    for bug in spec.bugs:
        if bug not in target.bugs:
            raise unknown_name(f"bug of {spec.target}", bug, target.bugs)
    workload = find_workload(spec.workload)
    workload_options = typed_options(f"workload {spec.workload}", spec.workload_options, workload.option_type)
    if workload.interface not in target.interfaces:
        raise UsageError(
            f"the workload {spec.workload} needs a target with the interface {workload.interface!r}; "
            f"{spec.target} has {', '.join(sorted(target.interfaces))}"
        )
    check_interface(spec.target, target, workload.interface)
    check_options(spec, target, target_options, workload.interface)
    served.check_commands(
        spec.target,
        target,
        workload,
        workload_options,
        script,
        fitting=lambda: fitting_workloads(spec, target, target_options),
    )
    check_rules(spec.target, target, target_options)
    claimed = claimed_model(target, target_options, workload, workload_options)
    claimed_by = "--consistency asks for" if spec.consistency else f"{spec.target} claims"
    chosen = claims.choose_checkers(spec.consistency or claimed, workload, claimed_by=claimed_by)
    checkers = claims.with_extra(chosen, [claims.find_checker(name) for name in spec.checkers])
    try:
        environment = environments.find(spec.env)
    except LookupError:
        raise unknown_name("environment", spec.env, environments.names()) from None
    if saved is None and schedule_file is not None:
        saved = load_schedule(schedule_file, spec)
    outside: list[str] = []
    try:
        topology = target.topology(spec.nodes, target_options)
    except ValueError as error:
        raise UsageError(f"options of {spec.target} that do not fit the cluster: {error}") from error
    if saved is None:
        choices = parse_faults(spec, topology)
    else:
        choices = saved.fault_choices()
        model = target.fault_model_under(target_options)
        outside = schedule.outside_model(saved, model.survives, model.down_nodes_max)
        if outside and not spec.beyond_model:
            raise UsageError(
                f"the schedule leaves the fault model of {spec.target}: {'; '.join(outside)}; "
                "--beyond-model runs it all the same"
            )
        digest = hashlib.sha256(msgspec.json.encode(saved, order="sorted")).hexdigest()
        spec = msgspec.structs.replace(spec, schedule_digest=digest)
    if script is not None:
        check_script(script, spec.concurrency, "the script")
        spec = msgspec.structs.replace(spec, script_digest=hashlib.sha256(msgspec.json.encode(script)).hexdigest())
    return Plan(
        spec=spec,
        target=target,
        target_options=target_options,
        workload=workload,
        workload_options=workload_options,
        environment=environment,
        choices=tuple(choices),
        saved=saved,
        thresholds=typed_options("vacuity", spec.vacuity, VacuityThresholds),
        checkers=checkers,
        outside_model=tuple(outside),
        script=script,
    )


def claimed_model(
    target: Target, target_options: msgspec.Struct, workload: Workload, workload_options: msgspec.Struct
) -> str:
    """The consistency model that the target claims under its options for what the workload issues."""
    is_txn = "txn" in served.issued(workload, workload_options)
    transactions = target.transaction_model(target_options) if is_txn else None
    return transactions or target.claimed_model(workload.interface, target_options)


def check_interface(name: str, target: Target, interface: str) -> None:
    """Raises UsageError for an interface that the target offers but cannot serve, because its machine does not load."""
    if not isinstance(target, CoreTarget):
        return
    try:
        target.formats(interface)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"the target {name} cannot serve the interface {interface!r}: {error}") from error


def fitting_workloads(spec: RunSpec, target: Target, target_options: msgspec.Struct) -> list[str]:
    """The names of the workloads that the target can serve under these options, and whose histories can be checked for its
    claim."""
    names = []
    for name in workloads.names():
        try:
            workload = find_workload(name)
            if workload.interface not in target.interfaces:
                continue
            check_interface(spec.target, target, workload.interface)
            check_options(spec, target, target_options, workload.interface)
            options = typed_options(f"workload {name}", {}, workload.option_type)
            claim = spec.consistency or claimed_model(target, target_options, workload, options)
            claims.choose_checkers(claim, workload, claimed_by=spec.target)
        except UsageError:
            continue
        if not served.unserved(target, workload, options):
            names.append(name)
    return names


def check_options(spec: RunSpec, target: Target, options: msgspec.Struct, interface: str) -> None:
    """Raises UsageError for options that do not fit the cluster, such as quorums that it does not have."""
    if not isinstance(target, CoreTarget):
        return
    try:
        target.core(spec.nodes[0], spec.nodes, options, frozenset(spec.bugs), Random(0), interface)
    except ValueError as error:
        raise UsageError(f"the options of {spec.target} do not fit a cluster of {len(spec.nodes)}: {error}") from error


def check_rules(name: str, target: Target, options: msgspec.Struct) -> None:
    """Raises UsageError for an invariant that the target names and that cannot be loaded."""
    for rule in target.invariants_under(options):
        try:
            invariants.find(rule)
        except LookupError:
            raise unknown_name(f"invariant of the target {name}", rule, invariants.names()) from None
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(f"the invariant {rule} of the target {name} cannot be loaded: {error}") from error


def remedies(cluster: Cluster, env: str, refused: tuple[Family, str] | None) -> str:
    """What this environment's machines lack for the fault, where the environment knows it, and which other environments can do
    it."""
    if refused is None:
        return ""
    family, variant = refused
    needs = family.needs(variant)
    needed = set(needs.capabilities)
    lines: list[str] = []
    # Environments of machines say what they looked for and did not find.
    if "clocks" in needed:
        lines += getattr(cluster, "clocks_lacking", ())
    if needed & {"links", "packets"}:
        lines += getattr(cluster, "lacking", ())
    if set(CRASHES) & set(needs.disk_kinds):
        lines += getattr(cluster, "disks_lacking", ())
    if others := [name for name in fault_table.environments_with(family, variant) if name != env]:
        lines.append(f"environments that can, some given what docs/faults.md says: {', '.join(others)}")
    return "".join(f"\n  {line}" for line in lines)


def needs_clocks(choice: FaultChoice) -> bool:
    """Whether a variant of this choice needs the capability clocks."""
    family = families()[choice.name]
    return any("clocks" in family.needs(variant).capabilities for variant in choice.variants or ("",))


def needs_disk_kind(choice: FaultChoice, kinds: Collection[str]) -> bool:
    """Whether a variant of this choice needs one of these kinds of disks."""
    family = families()[choice.name]
    return any(set(kinds) & set(family.needs(variant).disk_kinds) for variant in choice.variants or ("",))


def parse_faults(spec: RunSpec, topology: Topology) -> list[FaultChoice]:
    """The faults that the spec names; some names may contain a role. Raises UsageError with the nearest known name."""
    try:
        return parse_nemesis(spec.nemesis, topology.roles)
    except (UnknownFault, BadFamily) as error:
        raise UsageError(f"--nemesis: {error}") from error


def roles_of(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Role -> its nodes, sorted."""
    return {role: topology.nodes_of_role(role) for role in topology.roles}


def load_schedule(path: Path, spec: RunSpec) -> Schedule:
    """The schedule in `path`, checked against the spec's nodes."""
    try:
        return schedule.load(path, spec.nodes)
    except BadSchedule as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"the schedule {path} cannot be read: {error.strerror or error}") from error


def find_target(name: str) -> Target:
    """The target called `name`, or at package.module:Name. Raises UsageError."""
    try:
        return targets.find(name)
    except LookupError:
        raise unknown_name("target", name, targets.names(), own="package.module:Name") from None
    except ImportError as error:
        raise UsageError(
            f"the target {name} cannot be loaded: {error} (modules are looked for in the current directory too)"
            f"{module_of_file(name)}"
        ) from error
    except ValueError as error:
        raise UsageError(f"the target {name} cannot be loaded: {error}") from error


def find_workload(name: str) -> Workload:
    """The workload called `name`, or at package.module:Name. Raises UsageError."""
    try:
        return workloads.find(name)
    except LookupError:
        raise unknown_name("workload", name, workloads.names(), own="package.module:Name") from None
    except Exception as error:  # What a module raises while it is loaded can be anything.
        why = str(error) or type(error).__name__
        raise UsageError(f"the workload {name} cannot be loaded: {why}{module_of_file(name)}") from error
