"""A damaged file is the problem of its own run: `list` names it and goes on, `analyze` mends it where the history is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from checkers import Validity
from harness.cli import run_command
from harness.report import summary
from harness.run.check import analyze, check_traces
from harness.run.execute import run_into
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.store.runs import RunDirectory, Store, write_atomically, write_json
from harness.store.traces import read_traces
from harness.tests.command import themis_process
from histories import jsonl
from nemesis.family import Entry
from nemesis.schedule import Schedule, encode

SPEC = RunSpec(
    env="sim", nodes=("n1", "n2", "n3"), concurrency=4, time_limit_s=1.0, quiet_s=0.1, seed=1, nemesis=("partition",)
)
DEEP = b"[" * 100_000
DAMAGES = {"empty": b"", "cut": b'{"ver', "binary": b"\xff\xfe\x00\x01", "deep": DEEP, "a list": b"[]\n"}
FILES = ("spec.json", "schedule.json", "verdict.json", "findings.json", "history.jsonl", "nodes/n1/trace.jsonl")


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two VALID runs."""
    root = tmp_path_factory.mktemp("master") / "store"
    for name in ("good", "other"):
        _, result = run_into(Store(root), prepare(msgspec.structs.replace(SPEC, name=name)))
        assert result.verdict.validity is Validity.VALID
    return root


@pytest.fixture
def store(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "store", symlinks=True))


def run_of(store: Path) -> RunDirectory:
    return Store(store).find(str(next((store / "good").glob("2*"))))


def listed(store: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    capsys.readouterr()
    assert run_command(["list", "--json", "--store", str(store)]) == 0
    return {entry["name"]: entry for entry in msgspec.json.decode(capsys.readouterr().out)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_list_names_the_file_and_shows_every_other_run(
    file: str, damage: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_of(store).path / file).write_bytes(DAMAGES[damage])
    rows = listed(store, capsys)
    assert rows["other"] | {"reason": ""} == rows["other"], "valid, and nothing is said of it"
    assert (rows["other"]["verdict"], rows["other"]["damage"]) == ("valid", "")
    is_nothing_yet = file.endswith("trace.jsonl") and damage in ("empty", "cut", "binary", "deep")
    assert (file in rows["good"]["damage"]) != is_nothing_yet, "a node's last line may be cut anywhere"
    assert run_command(["list", "--store", str(store)]) == 0
    assert len(capsys.readouterr().out) < 1_000


def without_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:10], lines[10][:-5] + b"\n", *lines[11:]]


@pytest.mark.parametrize("target", ["raft", "paxos"])
@pytest.mark.parametrize(
    ("damage", "is_killed"),
    [
        pytest.param(lambda lines: [], False, id="empty"),
        pytest.param(without_a_line, False, id="a line that cannot be read"),
        pytest.param(lambda lines: lines[: len(lines) // 2], True, id="killed when two of three nodes were behind"),
    ],
)
def test_what_is_missing_of_simulated_traces_breaks_no_rule(
    target: str, damage: Callable[[list[bytes]], list[bytes]], is_killed: bool, tmp_path: Path
) -> None:
    run, _ = run_into(Store(tmp_path), prepare(msgspec.structs.replace(SPEC, target=target)))
    for node in ("n2", "n3"):
        trace = run.nodes / node / "trace.jsonl"
        trace.write_bytes(b"".join(damage(trace.read_bytes().splitlines(keepends=True))))
    if is_killed:
        run.verdict.unlink()
        run.findings.unlink()
    result = analyze(Store(tmp_path), run, run.read_spec())
    invariants = result.verdict.parts["invariants"]
    assert invariants.validity is (Validity.UNKNOWN if is_killed else Validity.VALID), "the live run's own word stays"
    assert is_killed == ("have a gap: the run was cut off" in invariants.reason)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES[:4])
@pytest.mark.long
def test_analyze_mends_it(file: str, damage: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(store)
    whole = (run.path / file).read_bytes()
    (run.path / file).write_bytes(DAMAGES[damage])
    assert run_command(["analyze", str(run.path), "--store", str(store)]) == 0
    told = capsys.readouterr().err
    assert file in told or file == "findings.json"
    assert len(told) < 2_000
    if file != "findings.json":
        assert run.damages() == []
        assert isinstance(msgspec.json.decode((run.path / file).read_bytes()), type(msgspec.json.decode(whole)))
    if file == "spec.json":
        assert run.read_spec() == RunDirectory(run.path).read_spec()
        assert (run.path / file).read_bytes() == whole
    assert run_command(["replay", str(run.path), "--store", str(store)]) == 0, "the same bytes, with what was mended"


NO_SPECS = {
    "nothing": {},
    "a version": {"version": 99},
    "a schedule": {"version": 1, "nodes": ["n1"], "entries": []},
    "another shape": {"nodes": 3},
}


@pytest.mark.parametrize("content", NO_SPECS)
def test_analyze_mends_a_spec_that_is_json_and_no_spec(
    content: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(store)
    whole, damaged = run.spec.read_bytes(), msgspec.json.encode(NO_SPECS[content])
    run.spec.write_bytes(damaged)
    assert run_command(["replay", str(run.path), "--store", str(store)]) == 254
    assert "spec.json: " in capsys.readouterr().err
    assert run_command(["analyze", str(run.path), "--store", str(store)]) == 0
    assert "written anew from the header of history.jsonl" in capsys.readouterr().err
    assert run.spec.read_bytes() == whole
    assert run.spec.with_name("spec.json.damaged").read_bytes() == damaged


def test_a_spec_that_the_header_has_no_better_copy_of_is_left_alone(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(store)
    header, rest = run.history.read_bytes().split(b"\n", 1)
    run.history.write_bytes(msgspec.json.encode(msgspec.json.decode(header) | {"spec": {}}) + b"\n" + rest)
    run.spec.write_bytes(b"{}")
    assert run_command(["analyze", str(run.path), "--store", str(store)]) == 254
    told = capsys.readouterr().err
    assert "spec.json" in told
    assert "the history's header has no copy to write it anew from" in told
    assert run.spec.read_bytes() == b"{}"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_history_that_cannot_be_read_is_named_and_takes_no_verdict_with_it(
    damage: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(store)
    run.history.write_bytes(DAMAGES[damage])
    before = run.verdict.read_bytes()
    for command in ("analyze", "inspect"):
        assert run_command([command, str(run.path), "--store", str(store)]) == 254
        assert "history.jsonl" in capsys.readouterr().err
    assert run.verdict.read_bytes() == before


def test_what_only_the_live_run_knew_outlives_its_verdict(store: Path) -> None:
    run = run_of(store)
    findings = msgspec.json.decode(run.findings.read_bytes())
    findings["verdicts"]["nodes"] = {"validity": "invalid", "checker": "nodes", "reason": "the core of n1 raised"}
    write_json(run.findings, findings)
    for damage in (lambda: run.verdict.write_bytes(b"{"), run.verdict.unlink):
        damage()
        assert run_command(["analyze", str(run.path), "--store", str(store)]) == 1


@pytest.mark.parametrize("command", ["replay", "analyze"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec: spec.pop("target"), "target is missing"),
        (lambda spec: spec.pop("seed"), "seed is missing"),
        (lambda spec: spec.update(time_limit_s=-1), "time-limit: -1"),
        (lambda spec: spec.update(time_limit_s=1e300), "time-limit: 1e+300"),
        (lambda spec: spec.update(rate_hz=-0.5), "rate: -0.5"),
        (lambda spec: spec.update(seed=2**70), "seed"),
        (lambda spec: spec.update(check_time_limit_s=-1), "check-time-limit"),
        (lambda spec: spec.update(check_states=-1), "check-states"),
        (lambda spec: spec.update(vacuity={"ok_min": -1}), "ok_min"),
        (lambda spec: spec.update(name="latest"), "latest"),
        (lambda spec: spec.update(name="../up"), "../up"),
        (lambda spec: spec.update(nodes="n1"), "nodes"),
        (lambda spec: spec.update(colour="red"), "colour"),
        (lambda spec: spec.update(version=2), "version 2"),
    ],
)
def test_a_spec_that_somebody_changed_is_refused_with_the_field_and_not_replaced(
    command: str,
    change: Callable[[dict[str, object]], object],
    words: str,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(store)
    spec = msgspec.json.decode(run.spec.read_bytes())
    change(spec)
    run.spec.write_bytes(msgspec.json.encode(spec))
    assert run_command([command, str(run.path), "--store", str(store)]) == 254
    told = capsys.readouterr().err
    assert words in told
    assert "spec.json" in told
    assert msgspec.json.decode(run.spec.read_bytes()) == spec


# --- replays ------------------------------------------------------------------------------------------------------------

BUSY = msgspec.structs.replace(SPEC, interval_s=0.3, time_limit_s=2.0, nemesis=("partition", "kill"))
GIVEN = Schedule(
    nodes=SPEC.nodes,
    entries=(
        Entry(100_000_000, "start-partition", {"grudge": {"n1": ["n2", "n3"]}}),
        Entry(200_000_000, "kill", ["n2"]),
        Entry(400_000_000, "stop-partition", None),
        Entry(5_000_000_000, "pause", ["n1"]),
    ),
)
"""The last of these is never due, but its family is healed."""
RUNS: dict[str, tuple[RunSpec, Schedule | None]] = {
    "planned": (BUSY, None),
    "planned, and ended early by a broken rule": (msgspec.structs.replace(BUSY, bugs=("volatile-log",), seed=3), None),
    "planned, with a calm that late faults reach": (
        msgspec.structs.replace(
            BUSY, interval_s=0.2, time_limit_s=3.0, calm_share=0.3, nemesis=("restore", "kill"), beyond_model=True
        ),
        None,
    ),
    "planned, and later than the limit": (
        msgspec.structs.replace(
            BUSY, interval_s=0.2, time_limit_s=3.0, nemesis=("membership", "restore"), beyond_model=True
        ),
        None,
    ),
    "given": (SPEC, GIVEN),
    "given, and later than the limit": (
        msgspec.structs.replace(BUSY, time_limit_s=1.0, beyond_model=True),
        Schedule(
            nodes=SPEC.nodes,
            entries=(
                Entry(800_000_000, "take-backup", None),
                Entry(900_000_000, "restore", {"shape": "cluster", "nodes": list(SPEC.nodes)}),
                Entry(900_000_000, "stop-restore", None),
                Entry(910_000_000, "restore", {"shape": "cluster", "nodes": list(SPEC.nodes)}),
                Entry(920_000_000, "stop-restore", None),
            ),
        ),
    ),
}


@pytest.mark.parametrize("damage", ["missing", "cut"])
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.long
def test_a_replay_is_the_same_byte_by_byte_before_and_after_the_schedule_is_made_anew(
    name: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, given = RUNS[name]
    run, result = run_into(Store(tmp_path), prepare(spec, saved=given), is_watched=False)
    before = run.schedule.read_bytes()
    assert run_command(["replay", str(run.path)]) == 0
    if damage == "missing":
        run.schedule.unlink()
    else:
        run.schedule.write_bytes(DAMAGES[damage])
    capsys.readouterr()
    assert run_command(["analyze", str(run.path)]) == summary.code(result)
    assert "schedule.json" in capsys.readouterr().err
    assert run_command(["replay", str(run.path)]) == 0, capsys.readouterr().out
    if given is None:
        assert run.schedule.read_bytes() == before


def test_a_history_of_another_run_is_judged_and_its_messages_are_not_shown(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(SPEC, time_limit_s=5.0, rate_hz=100.0, bugs=("stale-read",))
    (run, _), (other, result) = (run_into(Store(tmp_path), prepare(spec), is_watched=False) for spec in (SPEC, broken))
    assert result.verdict.validity is Validity.INVALID
    shutil.copy(other.path / "history.jsonl", run.path)
    ended = themis_process("analyze", run.path, "--store", tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert f"the messages of {run.path} cannot be shown: NotReplayed: the second run is not the same" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (run.path / "report.html").exists()


def test_a_replay_does_the_faults_of_a_schedule_that_somebody_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = run_into(Store(tmp_path), prepare(BUSY), is_watched=False)
    faults = run.read_schedule()
    write_atomically(run.schedule, encode(faults.without(0, 1)))
    assert run_command(["replay", str(run.path)]) == 255
    assert "NOT the same" in capsys.readouterr().out


def test_rules_are_not_kept_where_nobody_knows_what_a_node_did(store: Path) -> None:
    """Somebody removed the node's folder while the run went on."""
    plan, records = prepare(SPEC), list(read_traces(run_of(store).nodes))
    rules = plan.target.invariants_under(plan.target_options)
    assert check_traces(rules, records, SPEC.nodes, {}).validity is Validity.VALID
    for node in SPEC.nodes:
        verdict = check_traces(rules, [record for record in records if record.node != node], SPEC.nodes, {})
        assert verdict.validity is Validity.UNKNOWN
        assert f"no record of {node} is in the traces" in verdict.reason


# --- power loss -------------------------------------------------------------------------------------------------------


def cuts(path: Path) -> Iterator[int]:
    """How much of the file's last write is there, at every byte."""
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last, len(whole) + 1):
        path.write_bytes(whole[:length])
        yield length - last


def test_a_history_cut_at_any_byte_of_its_last_write_is_read_without_that_op(store: Path) -> None:
    run = run_of(store)
    whole = jsonl.read(run.history).history
    size = len(run.history.read_bytes())
    for _ in cuts(run.history):
        loaded = jsonl.read(run.history)
        is_whole = len(run.history.read_bytes()) >= size - 1
        assert len(loaded.history) == len(whole) - (not is_whole)


@pytest.mark.parametrize("name", ["spec.json", "verdict.json", "findings.json"])
def test_an_atomic_write_that_ends_at_any_point_leaves_what_was_there(
    name: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine stops at each step of a write."""
    run = run_of(store)
    path = run.path / name
    before = path.read_bytes()

    class PowerLoss(BaseException):
        pass

    def stop(*_arguments: object, **_more: object) -> None:
        raise PowerLoss

    for step in ("fsync", "replace", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, stop)
            # What lies beside it stays there when the power fails.
            patch.setattr(Path, "unlink", lambda *_arguments, **_more: None)
            with pytest.raises(PowerLoss):
                write_atomically(path, b'{"half')
        assert path.read_bytes() == before, step
        assert run.damages() == [], "what a write left half done is nobody's file"
    synced: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
        write_atomically(path, before)
    assert [Path(place).name.startswith(f".{name}") for place in synced] == [True, False], "the file, then its folder"
    assert synced[1] == str(run.path)


# --- who may read it, and names -----------------------------------------------------------------------------------------


def modes(store: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"folders": set(), "files": set()}
    for path in (store, *store.rglob("*")):
        if not path.is_symlink():
            found["folders" if path.is_dir() else "files"].add(path.stat().st_mode & 0o777)
    return found


@pytest.mark.parametrize(("flags", "expected"), [((), (0o700, 0o600)), (("--share",), (0o755, 0o644))])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_their_owners_unless_shared(
    flags: tuple[str, ...], expected: tuple[int, int], umask: int, tmp_path: Path
) -> None:
    store = tmp_path / "below" / "store"
    calm = ("--env", "sim", "--time-limit", "0.5", "--seed", "1", "--nodes", "3", "--store", str(store))
    before = os.umask(umask)
    try:
        assert run_command(["test", *calm, *flags]) in (0, 2)
        assert run_command(["analyze", "latest", "--store", str(store)]) in (0, 2)
    finally:
        os.umask(before)
    assert modes(store) == {"folders": {expected[0]}, "files": {expected[1]}}


@pytest.mark.parametrize("name", ["latest", "current", "", ".", "..", "a/b", "../a", "/tmp/a", "-a", "a\n", "a" * 65])
def test_a_name_that_is_no_folder_name_is_refused_and_nothing_is_made(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert run_command(["test", "--env", "sim", f"--name={name}", "--store", str(store)]) == 254
    assert "name" in capsys.readouterr().err
    assert not store.exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_refused_run_leaves_no_link_and_no_folder(is_new: bool, store: Path, tmp_path: Path) -> None:
    """It is refused late, by the environment."""
    root = tmp_path / "new" / "store" if is_new else store
    before = sorted(root.rglob("*")) if root.exists() else []
    refused = ["test", "--env", "sim", "-e", "transport=pigeon", "--nemesis", "partition", "--store", str(root)]
    assert run_command(refused) == 254
    assert (sorted(root.rglob("*")) if root.exists() else []) == before
    assert root.exists() != is_new
    assert not (tmp_path / "new").exists()
