"""What is known of a stored run's faults and ops, so that it can be run again: its plan, and its schedule where that was lost.

A run that planned its faults from the seed rests in its calm, and gives up faults that are late for too long. A run that was given
its schedule does neither (harness.run.phases). So a simulated run that planned them plans them again, or it is not the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from harness.environments import registry as environments
from harness.errors import UsageError
from harness.run.phases import due
from harness.run.plan import Plan, prepare
from harness.run.sinks import MemorySink
from harness.run.stage import Stage, prepare_stage
from harness.spec import RunSpec
from harness.store.runs import RunDirectory
from histories.history import History
from histories.op import Op
from histories.units import NS_PER_S
from nemesis.family import Entry
from nemesis.registry import choices_of, family_of, final_ops
from nemesis.schedule import Schedule, encode


def plan_again(run: RunDirectory, spec: RunSpec) -> Plan:
    """The plan that does the stored run again. spec: the run's own, or one that differs in what its nodes write.

    Raises FileNotFoundError and BadSchedule as `RunDirectory.read_schedule` does, and UsageError.
    """
    saved = run.read_schedule()
    script = run.read_script(spec.concurrency) if spec.script_digest else None
    stage = planned_stage(spec)
    is_planned = stage is not None and encode(stage.faults) == encode(saved)
    return prepare(spec, saved=None if is_planned else saved, script=script)


def planned_stage(spec: RunSpec) -> Stage | None:
    """A simulated run whose faults are planned from the seed, with them. None where the run was given its schedule, and where time
    is real: its machines may offer other faults today, and be slower."""
    if spec.schedule_digest:
        return None
    try:
        plan = prepare(spec)
        return prepare_stage(plan, MemorySink("again")) if environments.find(spec.env).is_virtual else None
    except UsageError:
        return None


def schedule_anew(spec: RunSpec, history: History) -> tuple[Schedule, str]:
    """The schedule of the run of `spec` that recorded `history`, and what it was made of, in words.

    The final heals are no part of it: every run does them by itself. Raises UsageError where the nemesis did something that is not
    known here.
    """
    asked = [op for op in history.nemesis() if op.type == "invoke"]
    stage = planned_stage(spec)
    if stage is not None and _did(stage, asked):
        return stage.faults, "planned from the run's seed once more"
    try:
        return _recorded(spec, asked), "from what the nemesis was asked to do"
    except ValueError as error:
        raise UsageError(f"the schedule cannot be made anew from the history: {error}") from error


def _did(stage: Stage, asked: Sequence[Op]) -> bool:
    """Whether the nemesis was asked to do what was planned, as far as the run got."""
    strikes = [(f, _as_json(value)) for _, f, value in due(stage.plan, stage.faults)]
    heals = [(f, _as_json(value)) for f, value in final_ops(stage.choices)]
    struck = [(op.f, op.value) for op in asked[: len(asked) - _heals_count(asked, heals, stage.plan.spec)]]
    return struck == strikes[: len(struck)]


def _recorded(spec: RunSpec, asked: Sequence[Op]) -> Schedule:
    """What the nemesis was asked to do in the main phase, each op when it began."""
    limit_ns = int(spec.time_limit_s * NS_PER_S)
    last_ns = max(0, limit_ns - 1)  # What was late and began after the limit was due before it.
    everything = [Entry(min(op.time, last_ns), op.f, op.value) for op in asked]
    choices = choices_of(everything, spec.nodes)
    heals = [(f, _as_json(value)) for f, value in final_ops(choices)]
    entries = everything[: len(everything) - _heals_count(asked, heals, spec)]
    # A family of which nothing was due in time is healed all the same. An entry at the limit is not done, and says so.
    struck = {family_of(entry.f).name for entry in entries}
    entries += [Entry(limit_ns, f, value) for f, value in heals if family_of(f).name not in struck]
    return Schedule(nodes=spec.nodes, entries=tuple(entries), beyond_model=spec.beyond_model)


def _heals_count(asked: Sequence[Op], heals: Sequence[tuple[str, Any]], spec: RunSpec) -> int:
    """How many of these ops, the last ones, are final heals: all of them; or the first few, where the run was cut off meanwhile,
    which is believed only of what began after the time limit."""
    told = [(op.f, op.value) for op in asked]
    for count in range(min(len(heals), len(told)), 0, -1):
        began_ns = asked[-count].time
        if told[-count:] == list(heals[:count]) and (count == len(heals) or began_ns >= spec.time_limit_s * NS_PER_S):
            return count
    return 0


def _as_json(value: Any) -> Any:
    """As a history has it: a plan that was never read from a file may hold tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
