"""A plan refuses what does not fit the target's fault model, unless the user asks for it."""

from __future__ import annotations

import msgspec
import pytest

from harness.errors import UsageError
from harness.run.plan import prepare
from harness.spec import RunSpec
from nemesis.family import Entry
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3")
SPEC = RunSpec(env="sim", nodes=NODES)
WIPE = Entry(1, "damage-disk", {"kind": "wipe", "nodes": ["n1"], "parameters": {}})
KILL = Entry(1, "kill", ["n1"])


def saved(entry: Entry) -> Schedule:
    return Schedule(nodes=NODES, entries=(entry,))


def test_a_saved_schedule_outside_the_fault_model_runs_only_when_asked_for() -> None:
    with pytest.raises(
        UsageError, match=r"leaves the fault model of raft: disk:wipe; --beyond-model runs it all the same"
    ):
        prepare(SPEC, saved=saved(WIPE))
    beyond = msgspec.structs.replace(SPEC, beyond_model=True)
    assert prepare(beyond, saved=saved(WIPE)).outside_model == ("disk:wipe",)


def test_a_saved_schedule_inside_the_fault_model_is_part_of_the_spec() -> None:
    plan = prepare(SPEC, saved=saved(KILL))
    assert plan.outside_model == ()
    assert plan.saved == saved(KILL)
    assert plan.spec.schedule_digest != prepare(SPEC).spec.schedule_digest == ""
