"""Targets outside the project: what is asked of them before a run, how their clients' calls end, and what tells them from cores."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from checkers.verdict import Validity
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.linux import faketime, requirements
from harness.environments.linux.executor import ExecutorFailed, Ran
from harness.environments.real import node_access
from harness.environments.real.labelled_processes import Ended
from harness.environments.real.node_access import ProgramAccess, ProgramCaller
from harness.errors import UsageError
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.outside import TARGET, OutsideTarget
from targets import registry
from targets.node import main as node_main
from targets.session import Call, Outcome
from targets.target import Address, CoreTarget, Program
from targets.timekeeping import Reading

NODES = ("n1", "n2")
MODULE = "harness.tests.outside:TARGET"
WRITE, READ = Call("write", 1, 2), Call("read", 1)


def deployment(target: OutsideTarget = TARGET, *, moves_clocks: bool = True) -> Deployment:
    return Deployment(
        run_id="test",
        directory=Path(),
        target=target,
        options=target.option_type(),
        bugs=frozenset(),
        nodes=NODES,
        seed=1,
        moves_clocks=moves_clocks,
    )


# --- how calls end ----------------------------------------------------------------------------------------------------


class Client:
    """Implements ProgramClient: does what it is told."""

    def __init__(self, act: Callable[[Call], Coroutine[Any, Any, Outcome]]) -> None:
        self.act = act
        self.is_closed = False

    async def call(self, call: Call, node: str) -> Outcome:
        return await self.act(call)

    async def close(self) -> None:
        self.is_closed = True


def ended(call: Call, act: Callable[[Call], Coroutine[Any, Any, Outcome]]) -> Outcome:
    async def ask() -> Outcome:
        outcome, node = await ProgramCaller(TARGET, Client(act), timeout_s=0.05).call(call, 1, "n2")
        assert node == "n2"
        return outcome

    return asyncio.run(ask())


def raising(error: Exception) -> Callable[[Call], Coroutine[Any, Any, Outcome]]:
    async def act(call: Call) -> Outcome:
        raise error

    return act


async def silent(call: Call) -> Outcome:
    await asyncio.sleep(60)
    raise AssertionError("it was to be cancelled")


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (silent, "timeout"),
        (raising(ConnectionResetError("reset")), ["ConnectionResetError", "reset"]),
        (raising(EOFError("closed")), ["EOFError", "closed"]),
    ],
)
def test_a_call_without_an_answer_may_have_happened_unless_it_is_a_read(
    act: Callable[[Call], Coroutine[Any, Any, Outcome]], why: object
) -> None:
    assert ended(WRITE, act) == Outcome("info", 2, why)
    assert ended(READ, act) == Outcome("fail", None, why)


def test_what_the_client_says_is_what_counts() -> None:
    async def refused(call: Call) -> Outcome:
        return Outcome("fail", call.value, "refused")

    assert ended(WRITE, refused) == Outcome("fail", 2, "refused")


def test_a_mistake_in_a_client_stops_the_run() -> None:
    with pytest.raises(KeyError):
        ended(WRITE, raising(KeyError("mistake")))


def test_the_client_is_closed_with_its_caller() -> None:
    async def close() -> None:
        await caller.close()

    client = Client(silent)
    caller = ProgramCaller(TARGET, client, 1)
    asyncio.run(close())
    assert client.is_closed


# --- statuses ---------------------------------------------------------------------------------------------------------


class Answering(OutsideTarget):
    """Its nodes answer by their ports."""

    def __init__(self, answers: Mapping[int, Mapping[str, Any] | Exception | None]) -> None:
        self.answers = answers

    async def status(self, address: Address) -> Mapping[str, Any]:
        answer = self.answers[address.port]
        if answer is None:
            await asyncio.sleep(60)
            raise AssertionError("it was to be cancelled")
        if isinstance(answer, Exception):
            raise answer
        return answer


def answering(*answers: Mapping[str, Any] | Exception | None) -> ProgramAccess:
    addresses = {f"n{port}": Address("127.0.0.1", port) for port in range(1, len(answers) + 1)}
    target = Answering(dict(enumerate(answers, start=1)))
    made = node_access.access_to(
        deployment(target),
        ORIGIN,
        addresses,
        lambda: dict.fromkeys(addresses, "running"),
        lambda node: f"log of {node}",
    )
    assert isinstance(made, ProgramAccess)
    return made


ORIGIN = Reading(10**18, 0)


def test_the_statuses_are_of_the_nodes_that_answer_in_time() -> None:
    made = answering({"role": "home"}, OSError("refused"), EOFError(), ValueError("no JSON"), None, {"role": "passer"})
    assert made.statuses() == {"n1": {"role": "home"}, "n6": {"role": "passer"}}
    assert made.primary() == "n1"


def test_the_clocks_are_of_the_nodes_that_tell_theirs() -> None:
    made = answering({"clock_ns": ORIGIN.true_ns() + 5 * 10**9}, {"role": "passer"}, {"clock_ns": "noon"}, OSError())
    found = made.clocks(["n1", "n2", "n3", "n4"])
    assert set(found) == {"n1"}
    assert found["n1"][0] == pytest.approx(5 * 10**9, abs=10**8)


def test_a_program_that_ends_by_itself_leaves_the_run_undecided_whatever_its_status() -> None:
    """Those of our own nodes mean that a core raised (4), or halted by its rule (3)."""
    made = answering({})
    for status in (0, 3, 4, -11):
        verdict = made.findings([Ended("n1", 1, status)])["nodes"]
        assert verdict.validity is Validity.UNKNOWN
        assert "n1 ended by itself" in verdict.reason
        assert "log of n1" in verdict.reason
    assert made.findings([])["nodes"].validity is Validity.VALID


# --- what a machine must have -----------------------------------------------------------------------------------------


class Machine:
    """Runs nothing, and answers by the first word."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def run(self, argv: Sequence[str]) -> Ran:
        self.asked.append(argv[0])
        if argv[0] not in self.answers:
            raise ExecutorFailed(f"the command {argv[0]} is not installed")
        code, text = self.answers[argv[0]]
        return Ran(tuple(argv), code, text.encode() if not code else b"", text.encode() if code else b"")


def test_a_program_that_is_not_there_is_refused_with_how_it_is_had() -> None:
    with pytest.raises(EnvironmentUnavailable, match=r"n1: outside is not installed .*: apt-get install python3"):
        requirements.admit(deployment(), Machine().run, "n1")
    broken = Machine(python3=(127, "no such thing\nreally"))
    with pytest.raises(EnvironmentUnavailable, match=r"`python3 --version` ends with status 127: really"):
        requirements.admit(deployment(), broken.run, "n1")


def test_libfaketime_is_looked_for_only_where_clocks_are_moved() -> None:
    machine = Machine(python3=(0, "Python 3"), find=(0, "/usr/lib/libfaketime.so.1\n"))
    assert requirements.admit(deployment(moves_clocks=False), machine.run, "n1") == requirements.Admission()
    assert machine.asked == ["python3"]
    assert requirements.admit(deployment(), machine.run, "n1").library == "/usr/lib/libfaketime.so.1"


def test_without_libfaketime_it_is_admitted_but_its_clock_is_not_moved() -> None:
    found = requirements.admit(deployment(), Machine(python3=(0, "Python 3"), find=(0, "")).run, "n1")
    assert not found.library
    assert found.lacking.endswith("apt-get install libfaketime")


def test_nothing_is_asked_of_a_machine_for_a_core() -> None:
    raft = registry.find("raft")
    core = Deployment("test", Path(), raft, raft.option_type(), frozenset(), NODES, 1, moves_clocks=True)
    assert requirements.admit(core, Machine().run, "n1") == requirements.Admission()


def spec(**more: Any) -> RunSpec:
    return RunSpec(target=MODULE, nodes=NODES, **more)


@pytest.mark.parametrize(
    ("nemesis", "moves_clocks"), [("kill", False), ("clock:drift", True), ("partition,clock", True), ("none", False)]
)
def test_a_run_says_beforehand_whether_it_moves_clocks(nemesis: str, moves_clocks: bool) -> None:
    assert plan.prepare(spec(nemesis=tuple(nemesis.split(",")))).moves_clocks is moves_clocks


def test_a_clock_fault_is_refused_before_the_run_where_libfaketime_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faketime, "FOLDERS", (str(tmp_path),))
    prepared = plan.prepare(spec(env="local", nemesis=("clock",), concurrency=2))
    with pytest.raises(UsageError, match=r"(?s)local: it has no clocks.*apt-get install libfaketime"):
        execute.run_into(Store(tmp_path / "store"), prepared)
    assert not list((tmp_path / "store").glob("*/*/nodes"))


def test_the_simulation_refuses_what_has_no_core(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target 'outside' has no core"):
        execute.run_into(Store(tmp_path), plan.prepare(spec(env="sim", concurrency=2)))


# --- what tells them apart --------------------------------------------------------------------------------------------


def test_a_program_is_found_as_a_core_is_and_told_from_it() -> None:
    assert registry.find(MODULE) is TARGET
    kinds = {
        name: [kind for kind in (CoreTarget, Program) if isinstance(registry.find(name), kind)]
        for name in (MODULE, "raft", "targets.tests.echo:TARGET")
    }
    assert kinds == {MODULE: [Program], "raft": [CoreTarget], "targets.tests.echo:TARGET": [CoreTarget]}


def test_what_is_no_target_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(
        ValueError, match=r"it is no Program \(targets\.target\), for it lacks argv, .*asks_libc_for_time, .*"
    ):
        registry.find("pathlib:Path")
    with pytest.raises(UsageError, match="cannot be loaded: it is no Program"):
        plan.find_target("pathlib:Path")


def test_themis_node_runs_no_program(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--target", MODULE, "--id", "n1", "--listen", "127.0.0.1:1", "--data-dir", "/nowhere"]
    with contextlib.suppress(SystemExit):
        assert node_main(argv) == 254
    assert re.search("has no core", capsys.readouterr().err)
