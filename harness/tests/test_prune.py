"""Old runs go when they are asked to, and nothing else does; what nodes kept on their disks is packed, or gone."""

from __future__ import annotations

import datetime
import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from checkers import Validity, Verdict
from harness.cli import run_command
from harness.run.sinks import FolderSink
from harness.spec import RunSpec
from harness.store import node_data, prune
from harness.store.runs import HarnessFailure, Result, RunDirectory, Store, write_json

NOW = datetime.datetime(2026, 3, 10, 12, 0, tzinfo=datetime.UTC)
RUNS = {  # Name, time -> verdict.
    ("a", "20260301T000000.000Z"): Validity.VALID,
    ("a", "20260309T000000.000Z"): Validity.INVALID,
    ("a", "20260310T110000.000Z"): Validity.VALID,
    ("b", "20260305T000000.000Z"): Validity.UNKNOWN,
    ("b", "20260306T000000.000Z"): None,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The runs above; `latest` leads to the newest of each name, and the store's to the newest of all."""
    store = Store(tmp_path / "store")
    for (name, time), validity in sorted(RUNS.items(), key=lambda item: item[0][1]):
        run = RunDirectory(store.root / name / time)
        (run.nodes / "n1").mkdir(parents=True)
        write_json(run.spec, RunSpec())
        run.history.write_bytes(b"x" * 100_000)
        if validity is not None:
            write_json(run.verdict, Result(Verdict(validity)))
        if validity is not Validity.VALID:
            (run.nodes / "n1" / node_data.ARCHIVE).write_bytes(b"y" * 50_000)
        store.point("latest", run)
    return store


def titles(store: Store) -> set[str]:
    return {f"{run.path.parent.name}/{run.path.name[4:8]}" for run in store.runs()}


ALL = {"a/0301", "a/0309", "a/0310", "b/0305", "b/0306"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (prune.Choice(older_than_s=86_400), {"a/0301", "a/0309", "b/0305", "b/0306"}),
        (prune.Choice(older_than_s=5 * 86_400), {"a/0301", "b/0305"}),
        (prune.Choice(beyond_newest=1), {"a/0301", "a/0309", "b/0305"}),
        (prune.Choice(beyond_newest=0), ALL),
        (prune.Choice(endings=frozenset({"valid"})), {"a/0301", "a/0310"}),
        (prune.Choice(endings=frozenset({"unknown", "unfinished"})), {"b/0305", "b/0306"}),
        (prune.Choice(older_than_s=86_400, beyond_newest=2, endings=frozenset({"valid"})), {"a/0301"}),
        (prune.Choice(only_data=True), {"a/0309", "b/0305", "b/0306"}),
    ],
)
def test_a_run_goes_when_it_meets_everything(store: Store, choice: prune.Choice, expected: set[str]) -> None:
    chosen = prune.choose(store, choice, NOW)
    assert {f"{one.title[:2]}{one.title[6:10]}" for one in chosen} == expected
    assert [one.run.path.name for one in chosen] == sorted(one.run.path.name for one in chosen)
    assert all(one.size_bytes >= (50_000 if choice.only_data else 100_000) for one in chosen)


def test_by_default_it_only_says_what_would_go_and_how_much_that_frees(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["prune", "--keep", "1", "--store", str(store.root)]) == 0
    told = capsys.readouterr().out
    assert "would remove 3 runs" in told
    assert "--yes" in told
    assert "kB" in told
    assert titles(store) == ALL


def test_with_yes_it_does_it_and_the_links_lead_to_what_is_left(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_command(["prune", "--verdict", "valid", "--verdict", "unfinished", "--yes", "--store", str(store.root)])
        == 0
    )
    assert "removed 3 runs" in capsys.readouterr().out
    assert titles(store) == {"a/0309", "b/0305"}
    for link, run in (("latest", "a/20260309"), ("a/latest", "a/20260309"), ("b/latest", "b/20260305")):
        assert run in str((store.root / link).resolve())
    assert run_command(["prune", "--keep", "0", "--yes", "--store", str(store.root)]) == 0
    assert list(store.root.iterdir()) == []


def test_only_the_data_goes(store: Store) -> None:
    assert run_command(["prune", "--data", "--verdict", "invalid", "--yes", "--store", str(store.root)]) == 0
    assert titles(store) == ALL
    assert len(list(store.root.glob("*/2026*/nodes/n1/data.tar.gz"))) == 2


def test_links_that_lead_nowhere_are_mended(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    newest = store.find("20260310")
    store.point("current", newest)
    subprocess.run(["rm", "-r", newest.path], check=True)
    assert run_command(["prune", "--older-than", "52w", "--yes", "--store", str(store.root)]) == 0
    told = capsys.readouterr().out
    assert told.count("led nowhere: mended") == 4
    for link in ("latest", "current", "a/latest", "a/current"):
        assert (store.root / link).resolve().name.startswith("20260309")


def refuse(number: int) -> Any:
    def refused(*arguments: Any, **_: Any) -> None:
        raise OSError(number, os.strerror(number), os.fspath(arguments[0]))

    return refused


def test_what_could_not_be_removed_is_not_told_as_removed(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("unlink", "rmdir"):
        monkeypatch.setattr(os, name, refuse(errno.EROFS))
    assert run_command(["prune", "--verdict", "invalid", "--yes", "--store", str(store.root)]) == 255
    told = capsys.readouterr()
    assert "removed 0 runs, 0 B" in told.out
    assert "left alone: it could not be removed" in told.out
    assert "not removed: a/20260309T000000.000Z" in told.err
    assert titles(store) == ALL


def test_data_that_cannot_be_removed_is_told_in_words(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", refuse(errno.EROFS))
    assert run_command(["prune", "--data", "--yes", "--store", str(store.root)]) == 255
    told = capsys.readouterr()
    assert "removed the data of 0 runs" in told.out
    assert told.err.startswith("themis: the harness failed: not removed: ")
    assert told.err.count("Read-only file system") == 3


def test_links_that_cannot_be_mended_are_told_in_words(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["rm", "-r", store.find("20260310").path], check=True)
    monkeypatch.setattr(Path, "symlink_to", refuse(errno.EROFS))
    assert run_command(["prune", "--older-than", "52w", "--yes", "--store", str(store.root)]) == 255
    told = capsys.readouterr()
    assert "mended" not in told.out
    assert "not removed: links: [Errno 30] Read-only file system" in told.err


def test_what_somebody_else_removes_meanwhile_is_no_problem(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    [one] = prune.choose(store, prune.Choice(endings=frozenset({"invalid"})), NOW)
    usual = os.unlink

    def at_the_same_time(*arguments: Any, **more: Any) -> None:
        usual(*arguments, **more)
        usual(*arguments, **more)

    monkeypatch.setattr(os, "unlink", at_the_same_time)
    assert prune.remove(store, one) is None


def test_json_says_the_same(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["prune", "--keep", "1", "--json", "--store", str(store.root)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"] is False
    assert [run["verdict"] for run in told["runs"]] == ["valid", "unknown", "invalid"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say which runs"),
        (("--older-than", "7"), "90m, 12h, 7d, 2w"),
        (("--older-than", "-1d"), "90m, 12h, 7d, 2w"),
        (("--keep", "-1"), "--keep"),
        (("--verdict", "good"), "unfinished"),
        (("--keep", "1", "--store", "/nowhere/at/all"), "there is no store"),
    ],
)
def test_bad_input_is_refused_in_words(
    store: Store, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run_command(["prune", "--store", str(store.root), *arguments]) == 254
    assert words in capsys.readouterr().err
    assert titles(store) == ALL


HOLD = """
import sys
from pathlib import Path
from harness.store.runs import RunDirectory
RunDirectory(Path(sys.argv[1])).hold()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.real
def test_a_run_that_goes_on_is_never_touched_and_one_that_was_killed_is(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = store.find("20260306")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, run.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder.stdout, holder.stdin:
        assert holder.stdout.readline() == b"held\n"
        assert run.is_held()
        assert run_command(["prune", "--keep", "0", "--yes", "--store", str(store.root)]) == 0
        assert "left alone: it is running" in capsys.readouterr().out
        assert titles(store) == {"b/0306"}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert not run.is_held()
    assert run_command(["prune", "--keep", "0", "--yes", "--store", str(store.root)]) == 0
    assert titles(store) == set()


def test_a_run_whose_processes_are_left_is_not_touched(store: Store) -> None:
    run = store.find("20260306")
    [one] = prune.choose(store, prune.Choice(endings=frozenset({"unfinished"})), NOW, {run.run_id})
    assert prune.remove(store, one) == one.in_use == "its processes are still there"
    assert run.spec.is_file()


# --- data directories ---------------------------------------------------------------------------------------------------


def kept_after(store: Store, result: Result, *, keep_data: bool = False) -> RunDirectory:
    """A run with two nodes' data, one of them empty, that came to this result."""
    sink = FolderSink.create(store, RunSpec(), "x", keep_data=keep_data)
    for node in ("n1", "n2"):
        (sink.run.nodes / node / "data" / "wal").mkdir(parents=True)
        (sink.run.nodes / node / "node.log").write_text("listens")
    (sink.run.nodes / "n1/data/wal/0").write_bytes(b"\0" * 100_000)
    (sink.run.nodes / "n2/data/wal").rmdir()
    os.mkfifo(sink.run.nodes / "n1/data/pipe")
    (sink.run.nodes / "n1/data/link").symlink_to("wal/0")
    assert sink.run.is_held()
    sink.keep(result)
    assert not sink.run.is_held()
    assert not list(sink.run.nodes.glob("*/data"))
    assert {path.name for path in sink.run.nodes.glob("*/node.log")} == {"node.log"}
    return sink.run


GOOD = Result(Verdict(Validity.VALID))
BAD = (
    Result(Verdict(Validity.INVALID)),
    Result(Verdict(Validity.UNKNOWN)),
    Result(Verdict(Validity.VALID), harness=(HarnessFailure("heal", "it would not"),)),
)


def test_data_of_a_good_run_is_not_kept(tmp_path: Path) -> None:
    run = kept_after(Store(tmp_path), GOOD)
    assert not list(run.nodes.glob("*/data*"))
    assert run.read_result() == GOOD


@pytest.mark.parametrize(("result", "keep_data"), [*((result, False) for result in BAD), (GOOD, True)])
def test_data_is_kept_packed_after_a_failure_or_when_asked_for(tmp_path: Path, result: Result, keep_data: bool) -> None:
    run = kept_after(Store(tmp_path), result, keep_data=keep_data)
    [archive] = run.nodes.glob("*/data*")
    assert archive.name == "data.tar.gz"
    assert archive.stat().st_size < 10_000
    with tarfile.open(archive) as tar:
        assert {member.name for member in tar} == {"data", "data/wal", "data/wal/0", "data/link"}
        wal = tar.extractfile("data/wal/0")
        assert wal is not None
        assert len(wal.read()) == 100_000


def test_what_cannot_be_packed_stays_and_the_verdict_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_data, "pack", full)
    sink = FolderSink.create(Store(tmp_path), RunSpec(), "x")
    (sink.run.nodes / "n1/data").mkdir(parents=True)
    (sink.run.nodes / "n1/data/wal").write_text("x")
    sink.keep(BAD[0])
    assert (sink.run.nodes / "n1/data/wal").is_file()
    assert sink.run.read_result() == BAD[0]


@pytest.mark.parametrize(("flags", "expected"), [((), 0), (("--keep-data",), 3)])
@pytest.mark.real
@pytest.mark.long
def test_the_flag_keeps_them(tmp_path: Path, flags: tuple[str, ...], expected: int) -> None:
    calm = ("--nodes", "3", "--time-limit", "1", "--seed", "1", "--client-timeout", "20", "--vacuity", "ok_min=1")
    assert run_command(["test", "--env", "local", *calm, "--store", str(tmp_path), *flags]) in (0, 2)
    run = Store(tmp_path).find("latest")
    result = run.read_result()
    assert result is not None
    kept = 3 if result.verdict.validity is not Validity.VALID else expected
    assert len(list(run.nodes.glob("*/data.tar.gz"))) == kept
    assert not list(run.nodes.glob("*/data"))


# --- names --------------------------------------------------------------------------------------------------------------


def test_the_folder_of_a_target_by_module_and_variable_has_the_targets_own_name(tmp_path: Path) -> None:
    assert run_command(
        [
            "test",
            "--env",
            "sim",
            "--time-limit",
            "1",
            "--target",
            "targets.raft.target:TARGET",
            "--store",
            str(tmp_path),
        ]
    ) in (0, 2)
    assert (tmp_path / "raft-register" / "latest").exists()


@pytest.mark.parametrize("name", ["latest", "current", "a/b", ".."])
def test_a_name_that_cannot_be_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_command(["test", "--env", "sim", "--name", name, "--store", str(tmp_path)]) == 254
    assert "--name" in capsys.readouterr().err
