"""A workload whose ops the target does not serve is refused by the plan; and each workload says truly which ops it issues."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from harness import generators as gen
from harness.errors import UsageError
from harness.generators.script import Script, ScriptedOp
from harness.generators.simulate import Ending, simulate
from harness.run import served
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.tests.command import assert_refused, themis
from harness.tests.test_workloads import NODES, Replica, context, history_of
from harness.workloads import registry
from targets import registry as targets
from targets.target import Formats

SPEC = RunSpec(env="sim", nodes=NODES)


def refusal(script: Script | None = None, **fields: Any) -> str:
    with pytest.raises(UsageError) as caught:
        prepare(msgspec.structs.replace(SPEC, **fields), script=script)
    return str(caught.value)


def test_the_default_workload_is_refused_for_gossip_with_the_way_out() -> None:
    told = refusal(target="gossip")
    assert "the workload register asks for cas, which gossip does not serve" in told
    assert "it has append, delete, read, write. To do without: --workload-option cas=0. Workloads" in told
    assert told.endswith("can serve: counter, set, shared-counters, shared-registers, shared-sets, unique-ids")
    assert (
        prepare(msgspec.structs.replace(SPEC, target="gossip", workload_options={"cas": 0})).workload.name == "register"
    )


def test_the_workloads_that_are_named_fit_the_targets_options() -> None:
    assert refusal(target="gossip", target_options={"mode": "quorum"}).endswith("can serve: shared-registers")


@pytest.mark.parametrize(
    ("target", "can"), [("etcd", "register, set"), ("redis", "register, set"), ("zookeeper", "queue, register")]
)
@pytest.mark.parametrize(("workload", "op"), [("append", "append"), ("txn-append", "txn"), ("txn-register", "txn")])
def test_what_a_workload_cannot_do_without_is_no_way_out(target: str, can: str, workload: str, op: str) -> None:
    told = refusal(env="local", target=target, workload=workload)
    assert (
        f"asks for {op}, which {target} does not serve: of the interface 'kv' it has cas, read, write. Workloads"
        in told
    )
    assert can in told
    assert "=0" not in told


def test_the_command_ends_before_anything_starts(tmp_path: Path) -> None:
    ended = themis("test", "--target", "gossip", "--env", "sim", "--store", tmp_path / "store")
    assert_refused(ended, "--workload-option cas=0")
    assert not (tmp_path / "store").exists()


def test_under_a_script_its_ops_count() -> None:
    write, cas = (
        ScriptedOp(time_ns=0, thread=0, f=f, key=1, value=value) for f, value in (("write", 1), ("cas", [1, 2]))
    )
    spec = msgspec.structs.replace(SPEC, target="gossip")
    assert prepare(spec, script=Script(ops=(write,))).script is not None
    assert refusal(Script(ops=(write, cas)), target="gossip").startswith("the script asks for cas, which gossip")


def test_every_workload_that_each_target_is_told_to_serve_is_planned() -> None:
    for target in ("raft", "2pc", "gossip"):
        spec = msgspec.structs.replace(SPEC, target=target, workload="shared-registers")
        told = prepare(spec)
        assert not served.unserved(told.target, told.workload, told.workload_options)


def test_a_target_with_requests_of_another_shape_is_not_judged() -> None:
    class Named(msgspec.Struct):
        f: str

    for request in (Any, dict, Named, msgspec.Struct):
        assert Formats(request=request, reply=Any, record=Any).commands is None


def test_targets_on_a_machine_serve_all_of_it() -> None:
    raft = targets.find("raft")
    assert (served.served(raft, "kv") or frozenset()) >= {"read", "write", "cas", "append", "txn"}


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_a_workload_says_which_ops_it_issues(name: str) -> None:
    workload = registry.find(name)
    said = served.issued(workload, context(name).options)
    if workload.interface == "ids":
        run = gen.clients(gen.limit(20, workload.generator(context(name), Random(1))))
        history = simulate(run, lambda op: Ending(value=1), concurrency=6, nodes=NODES)
        assert {op.f for op in history} == said
    else:
        assert {op.f for op in history_of(name, Replica(workload.interface), 200)} == said


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("register", {"cas": 0}),
        ("register", {"cas": 0, "read": 0}),
        ("set", {"remove": 0, "contains": 0}),
        ("stack", {"peek": 0}),
        ("priority-queue", {"peek": 0}),
        ("shared-sets", {"remove": 0}),
        ("shared-counters", {"subtract": 0}),
    ],
)
def test_an_op_whose_weight_is_0_is_not_issued(name: str, options: dict[str, int]) -> None:
    workload = registry.find(name)
    issued = {op.f for op in history_of(name, Replica(workload.interface), 200, **options)}
    assert issued == served.issued(workload, context(name, **options).options)
