"""The store: names, links, atomic files, and what it says when it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from checkers import Verdict
from harness.errors import UsageError
from harness.run import check
from harness.run.execute import run_into
from harness.run.plan import prepare
from harness.spec import RunSpec, decode_spec
from harness.store.runs import (
    HarnessFailure,
    NewerResult,
    Result,
    RunDirectory,
    Store,
    UnusableResult,
    write_atomically,
    write_json,
)
from harness.tests.command import SIM, assert_refused, themis
from targets.tests.power_loss import Disk


def test_a_run_gets_a_folder_of_its_own_and_links_lead_to_it_once_it_exists(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = store.create(RunSpec(), "raft-register"), store.create(RunSpec(), "raft-register")
    assert first.path != second.path
    assert first.path.parent.name == "raft-register"
    assert not (store.root / "current").is_symlink()
    store.point("current", second)
    assert (store.root / "current").resolve() == second.path
    assert (store.root / "raft-register" / "current").resolve() == second.path
    assert second.read_spec() == RunSpec()


def test_latest_is_found_by_link_by_path_and_by_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.create(RunSpec(), "raft-register-stale-read")
    store.point("latest", run)
    for text in ("latest", str(run.path), run.path.name, f"raft-register-stale-read/{run.path.name}"):
        assert store.find(text).path == run.path


def test_a_run_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run 'nowhere'"):
        Store(tmp_path).find("nowhere")


def test_a_text_that_fits_two_runs_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, _ = store.create(RunSpec(), "raft-register"), store.create(RunSpec(), "raft-register")
    with pytest.raises(UsageError, match="fits 2 runs"):
        store.find(first.path.name[:8])


def test_a_file_is_replaced_whole_and_who_reads_the_old_one_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    write_atomically(path, b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_survives_a_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    disk = Disk(run, monkeypatch)
    for number, content in enumerate((b"first", b"second")):
        write_atomically(run / "verdict.json", content)
        left = disk.after_power_loss(tmp_path / f"left-{number}")
        assert {path.name: path.read_bytes() for path in left.iterdir()} == {"verdict.json": content}


def test_a_store_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written.*--store"):
        Store(tmp_path / "file").create(RunSpec(), "raft-register")


def test_runs_lists_each_once_although_links_lead_to_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.create(RunSpec(), "raft-register")
    store.point("latest", run)
    assert [found.path.name for found in store.runs()] == [run.path.name]


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["verdict.json"]


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_result() is None
    result = Result(Verdict.invalid("lost"), run_id="a", harness=(HarnessFailure("heal", "stuck"),), counts={"ok": 3})
    write_json(run.verdict, result)
    assert run.read_result() == result


@pytest.mark.parametrize(
    "content",
    [
        '{"version": 2, "verdict": {"validity": "perhaps"}}',
        '{"verdict": {"validity": "valid"}}',
        '{"version": 1}',
        "{",
        "[" * 100_000,
    ],
)
def test_a_damaged_or_older_verdict_says_how_to_write_it_anew(tmp_path: Path, content: str) -> None:
    run = RunDirectory(tmp_path)
    run.verdict.write_text(content)
    with pytest.raises(UnusableResult, match="themis analyze"):
        run.read_result()


def test_a_newer_verdict_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.verdict.write_text('{"version": 3, "verdict": {"validity": "sure"}}')
    with pytest.raises(NewerResult, match="of version 3, and this themis reads version 2"):
        run.read_result()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not JSON"),
        (b'{"version": 99}', "reads spec version 1"),
        (b'{"nodes": []}', "nodes: 0 of them"),
        (b'{"nodes": ["a", "a"]}', "names one node twice"),
        (b'{"nodes": ["a b"]}', "no host name"),
        (b'{"rate_hz": -1}', "rate: -1 is not between"),
        (b'{"concurrency": "many"}', "concurrency"),
        (b'{"colour": "red"}', "colour"),
        (b'{"name": "../up"}', "folder name"),
    ],
)
def test_a_spec_that_cannot_be_run_names_the_file_the_field_and_the_rule(text: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        decode_spec(text, "spec.json")
    assert "spec.json" in str(caught.value)


def test_a_refused_run_leaves_nothing_and_moves_no_link(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(UsageError):
        run_into(store, prepare(RunSpec(env="sim", env_options={"transport": "pigeon"})))
    assert list(store.runs()) == []
    assert not (store.root / "current").is_symlink()


def test_a_store_may_be_in_a_folder_whose_name_is_no_text() -> None:
    place = Path(os.fsdecode(b"/stores/\xff"))
    ids = {RunDirectory(store / "raft-register" / "1").run_id for store in (place, place / "other")}
    assert len(ids) == 2
    assert all(label.isascii() for label in ids), "it is the label of what the run makes in the kernel"


def test_a_store_in_a_folder_that_may_not_be_listed_takes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    usual = os.open

    def refused(path: Any, *arguments: Any, **more: Any) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refused)
    assert Store(tmp_path / "store").create(RunSpec(), "x").read_spec() == RunSpec()


def test_a_store_whose_name_is_not_utf_8_takes_runs_and_shows_them(tmp_path: Path) -> None:
    store = os.fsdecode(os.fsencode(tmp_path) + b"/not \xff utf8")
    ran = themis(*SIM, "--bug", "stale-read", "--nemesis", "partition,kill", "--store", store)
    assert ran.returncode == 1, ran.stderr
    for command in (("report", "latest"), ("prune", "--keep", "0"), ("list",)):
        told = themis(*command, "--store", store)
        assert told.returncode == 0, told.stderr


def test_a_run_that_goes_on_is_not_analyzed(tmp_path: Path) -> None:
    """It would write a verdict on a part over the one of the whole run."""
    run, _ = run_into(Store(tmp_path), prepare(RunSpec(env="sim", time_limit_s=0.3, quiet_s=0.1)), is_watched=False)
    before = run.verdict.read_bytes()
    run.hold()
    assert_refused(themis("analyze", "latest", "--store", tmp_path), "the run still goes on")
    assert run.verdict.read_bytes() == before
    run.release()
    assert themis("analyze", "latest", "--store", tmp_path).returncode in (0, 2)


def test_a_violation_that_analyze_finds_dominates_a_disk_that_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    assert themis(*SIM, "--bug", "stale-read", "--nemesis", "partition,kill", "--store", tmp_path).returncode == 1
    monkeypatch.setattr(check, "write_json", refused)
    told = themis("analyze", "latest", "--store", tmp_path)
    assert told.returncode == 1, told.stderr
    assert "INVALID" in told.stdout
    assert "harness failure in keep" in told.stdout
    assert "Read-only file system; the verdict on the disk is as before" in told.stdout
