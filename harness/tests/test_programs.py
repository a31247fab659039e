"""Targets outside the project: what is asked of them before a run, how their clients' calls end, and what tells them from cores."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from docker.errors import APIError, ImageNotFound

from checkers.verdict import Validity
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.docker import image
from harness.environments.real import faketime, node_access, requirements
from harness.environments.real.executor import ExecutorFailed, Ran
from harness.environments.real.labelled_processes import Ended
from harness.environments.real.node_access import ProgramAccess, ProgramCaller
from harness.errors import HarnessError, UsageError
from harness.run import execute, node_logs, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.outside import TARGET, OutsideTarget
from targets import registry
from targets.node import main as node_main
from targets.session import Call, Outcome
from targets.target import Address, CoreTarget, Place, Ports, Program
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

    async def status(self, node: Ports) -> Mapping[str, Any]:
        answer = self.answers[node["client"].port]
        if answer is None:
            await asyncio.sleep(60)
            raise AssertionError("it was to be cancelled")
        if isinstance(answer, Exception):
            raise answer
        return answer


def answering(*answers: Mapping[str, Any] | Exception | None) -> ProgramAccess:
    addresses = {f"n{port}": {"client": Address("127.0.0.1", port)} for port in range(1, len(answers) + 1)}
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


class Shaped(Answering):
    """Its only node gives this as its status, or raises it."""

    def __init__(self, answer: Any) -> None:
        super().__init__({1: answer})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("x" * 1000, r"the status of n1 is 'xxx.*x\.\.\., a str; `status` of outside must return a mapping"),
        (["home"], r"the status of n1 is \['home'\], a list"),
        (TypeError("'NoneType' object is not subscriptable"), r"the status of n1 raised TypeError: 'NoneType' object"),
    ],
)
def test_a_status_of_a_wrong_shape_is_said_as_that(answer: Any, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as raised:
        answering(answer).answering(["n1"], 5)
    assert len(str(raised.value)) < 500


def test_a_node_that_is_silent_is_said_with_what_asking_gave_and_what_status_must_do() -> None:
    made = answering(ConnectionRefusedError("nobody listens"))
    assert made.answering(["n1"], 0) == frozenset()
    said = made.why_silent("n1", 0)
    assert "nobody listens" in said
    assert "without a quorum" in said
    assert "log of n1" in said


def test_a_primary_that_cannot_be_told_is_said_with_the_statuses() -> None:
    with pytest.raises(HarnessError, match=r"primary of outside raised KeyError: 'role', given the statuses \{'n1'"):
        answering({"rolle": "home"}).primary()


# --- what a program does beside serving -------------------------------------------------------------------------------


def place() -> Place:
    at = {"client": Address("127.0.0.1", 1), "peer": Address("127.0.0.1", 2)}
    return Place("n1", at, {"n1": at}, "/config", "/data", "/log", "python3", "1")


class Acting(OutsideTarget):
    """Its files and its step are given."""

    after_up_timeout_s = 0.2

    def __init__(self, files: Mapping[str, Any] | None = None, step: Callable[[], Any] = lambda: None) -> None:
        self._files = files or {}
        self._step = step

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        return self._files

    def after_up(self, places: Mapping[str, Place], options: msgspec.Struct) -> Any:
        return self._step()


def acting(target: Acting) -> ProgramAccess:
    made = node_access.access_to(deployment(target), ORIGIN, {}, dict, lambda node: f"log of {node}")
    assert isinstance(made, ProgramAccess)
    return made


def test_files_lie_below_the_configuration_directory() -> None:
    assert acting(Acting({"conf.d/a.toml": "x = 1"})).files(place()) == {"/config/conf.d/a.toml": "x = 1"}


@pytest.mark.parametrize("files", [{"/etc/passwd": ""}, {"../data/x": ""}, {"": "x"}, {"a": b"bytes"}])
def test_a_file_that_would_lie_elsewhere_is_refused(files: Mapping[str, Any]) -> None:
    with pytest.raises(HarnessError, match=r"files of outside: .* is not a path below config_dir and a text"):
        acting(Acting(files)).files(place())


async def fails() -> None:
    raise ValueError("no quorum")


async def hangs() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (fails, "after_up of outside raised ValueError: no quorum"),
        (lambda: int("x"), "after_up of outside raised ValueError: invalid literal"),
        (hangs, r"after_up of outside did not end within 0\.2 s \(its after_up_timeout_s\)"),
        (lambda: threading.Event().wait(5), "after_up of outside did not end within"),
    ],
)
def test_a_step_that_fails_or_hangs_ends_the_run_with_what_the_nodes_said(step: Callable[[], Any], said: str) -> None:
    with pytest.raises(HarnessError, match=rf"(?s){said}.*the log of n1 ends:\nlog of n1"):
        acting(Acting(step=step)).after_up({"n1": place()})


def test_the_clocks_are_of_the_nodes_that_tell_theirs() -> None:
    made = answering({"clock_ns": ORIGIN.true_ns() + 5 * 10**9}, {"role": "passer"}, {"clock_ns": "noon"}, OSError())
    found = made.clocks(["n1", "n2", "n3", "n4"])
    assert set(found) == {"n1"}
    assert found["n1"][0] == pytest.approx(5 * 10**9, abs=10**8)


def test_a_program_that_ends_by_itself_leaves_the_run_undecided_whatever_its_status() -> None:
    """Those of our own nodes mean that a core raised (4), or halted by its rule (3)."""
    made = answering({})
    for status in (0, 3, 4, -11):
        verdict = made.findings([Ended("n1", 1, status)], ())["nodes"]
        assert verdict.validity is Validity.UNKNOWN
        assert "n1 ended by itself" in verdict.reason
        assert "log of n1" in verdict.reason
    assert made.findings([], ())["nodes"].validity is Validity.VALID


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


class Versioned(OutsideTarget):
    """It must be new, and its client needs a package."""

    install = "apt-get install outside"
    version = r"outside v(\d+)\.(\d+)"
    version_min: Sequence[int] = (3, 4)
    library: Sequence[str] = ("no_such_package", "themis-consistency[outside]")


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("outside v3.3\n", r"n1: outside 3\.3 is too old, it must be 3\.4 or newer: apt-get install outside"),
        ("inside\n", r"n1: `python3 --version` printed no version of outside: 'inside'; apt-get install outside"),
    ],
)
def test_a_program_of_a_wrong_version_is_refused(printed: str, said: str) -> None:
    with pytest.raises(EnvironmentUnavailable, match=said):
        requirements.find_program(Versioned(), Machine(python3=(0, printed)).run, "n1")


def test_versions_are_compared_part_by_part() -> None:
    assert requirements.find_program(Versioned(), Machine(python3=(0, "outside v3.10")).run, "n1") == "3.10"


def test_a_client_whose_library_is_missing_is_refused_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        EnvironmentUnavailable, match=r"no_such_package, .*: pip install 'themis-consistency\[outside\]'"
    ):
        requirements.admit(deployment(Versioned()), Machine(python3=(0, "outside v3.5")).run, "n1")


class Logging(OutsideTarget):
    log_alarms: Sequence[str] = ("^panic: ",)


def test_the_logs_of_a_program_are_looked_at_and_no_link_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "nodes" / "n1"
    folder.mkdir(parents=True)
    (folder / "node.log").write_text("started\n")
    (tmp_path / "else.log").write_text("panic: not of the node\n")
    (folder / "link.log").symlink_to(tmp_path / "else.log")
    assert node_logs.verdicts(Logging(), tmp_path, NODES)["logs"].validity is Validity.VALID
    (folder / "server.log").write_bytes(b"\xff\npanic: gone\n")
    assert node_logs.verdicts(Logging(), tmp_path, NODES)["logs"].reason == "n1 logged: panic: gone"
    (folder / "core.12").touch()
    assert "core dump" in node_logs.verdicts(Logging(), tmp_path, NODES)["logs"].reason
    assert node_logs.verdicts(TARGET, tmp_path, NODES) == {}


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


def test_there_is_an_image_for_each_set_of_packages() -> None:
    names = {image.wanted(), image.wanted(["etcd-server"]), image.wanted(["etcd-server", "curl"])}
    assert len(names) == 3
    assert image.wanted(["curl", "etcd-server", "curl"]) in names
    with pytest.raises(EnvironmentUnavailable, match="packages: 'etcd; reboot' is no name of a Debian package"):
        image.wanted(["etcd; reboot"])


class NoRegistry:
    """A Docker engine that has the base of one set of packages, and whose registry does not answer."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.images = self

    def get(self, name: str) -> str:
        if name not in self.names:
            raise ImageNotFound(name)
        return name

    def pull(self, name: str) -> None:
        raise APIError("no route to the registry")


def test_without_a_registry_the_packages_are_in_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(image, "_bootstrap", lambda _, name, __, packages: made.append((name, tuple(packages))))
    engine: Any = NoRegistry("themis-base:bookworm")
    assert image._base(engine, lambda _: None, ()) == ("themis-base:bookworm", True)
    assert made == []
    name, is_offline = image._base(engine, lambda _: None, ("etcd-server",))
    assert name.startswith("themis-base:bookworm-")
    assert is_offline
    assert made == [(name, ("etcd-server",))]


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
        ValueError,
        match=r"it is no Program \(targets\.target\), for it lacks after_up, .*argv, .*asks_libc_for_time, .*",
    ):
        registry.find("pathlib:Path")
    with pytest.raises(UsageError, match="cannot be loaded: it is no Program"):
        plan.find_target("pathlib:Path")


def themis_script(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the console script `themis`, whose own folder and not the current one is on sys.path."""
    argv = [sys.executable, "-P", "-c", "from harness.cli import main; main()", *arguments]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)


def test_a_target_is_looked_for_in_the_current_directory_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from harness.tests.outside import OutsideTarget\nTARGET = OutsideTarget()\n")
    ended = themis_script(tmp_path, "test", "--target", "mine:TARGET", "--env", "sim")
    assert ended.returncode == 254
    assert "has no core" in ended.stderr, "it was loaded"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 +", "SyntaxError"),
        ("raise KeyError('lost')", "broken: KeyError: 'lost'"),
        ("import nothing_like_it", "No module named 'nothing_like_it'"),
        ("", "module 'broken' has no attribute 'TARGET'"),
        ("TARGET = 3", "it is no Program"),
    ],
)
@pytest.mark.long
def test_a_target_that_does_not_load_is_said_in_one_message(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    ended = themis_script(tmp_path, "test", "--target", "broken:TARGET")
    assert ended.returncode == 254
    assert ended.stderr.startswith("themis: the target broken:TARGET cannot be loaded: ")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_themis_node_runs_no_program(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--target", MODULE, "--id", "n1", "--listen", "127.0.0.1:1", "--data-dir", "/nowhere"]
    with contextlib.suppress(SystemExit):
        assert node_main(argv) == 254
    assert re.search("has no core", capsys.readouterr().err)
