"""The store: names, links, atomic files, and what it says when it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkers import Verdict
from harness.errors import UsageError
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
