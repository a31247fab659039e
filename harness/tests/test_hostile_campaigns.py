"""Something else lies in the place of a campaign's file, or a line in one is damaged: no command waits for ever, and each that
needs the file names it."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path

import msgspec
import pytest

from harness.campaign.pages import CampaignPages
from harness.cli import run_command
from harness.errors import UNKNOWN, USAGE, VALID
from harness.report.serve.listing import Listing
from harness.run.execute import run_into
from harness.run.plan import prepare
from harness.spec import RunSpec
from harness.store.runs import RunDirectory, Store
from harness.tests.test_hostile_files import SHAPES, ended

CAMPAIGN = """
seeds: 1..2
jobs: 1
shrink: ""
run: {env: sim, time-limit: 0.5, nodes: 3, quiet-period: 0.1, nemesis: partition}
require: {unknown-share: 1, ok-share: 0}
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one campaign that is done."""
    root = tmp_path_factory.mktemp("master")
    (root / "campaign.yaml").write_text(CAMPAIGN)
    assert run_command(["campaign", "run", str(root / "campaign.yaml"), "--store", str(root / "store")]) == VALID
    return root / "store"


@pytest.fixture
def store(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "store", symlinks=True))


def folder_of(store: Path) -> Path:
    return next((store / "campaigns" / "campaign").glob("2*"))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("file", ["campaign.json", "results.jsonl", "shrunk.jsonl", "lessons.jsonl"])
@pytest.mark.long
def test_something_else_in_the_place_of_a_file(
    file: str, shape: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_of(store) / file
    place.unlink(missing_ok=True)
    SHAPES[shape][0](place)
    is_missing = shape in ("a link to nowhere", "a huge file")  # In neither is a line that can be read.
    commands = {"report": file != "lessons.jsonl", "bundle": file != "lessons.jsonl", "resume": True}
    if is_missing:
        del commands["resume"]  # It runs what nothing is known of, and writes.
    for command, reads in commands.items():
        more = ("--output", tmp_path / "packed.zip") if command == "bundle" else ()
        code, told = ended(capsys, "campaign", command, "campaign", "--store", store, *more)
        if reads and (not is_missing or file == "campaign.json"):
            assert code == USAGE, (command, told)
            assert file in told or file == "campaign.json"
        else:
            assert code in (VALID, UNKNOWN), (command, told)
            assert command != "bundle" or (f"left out: {place}" in " ".join(told.split())) == (shape == "a huge file")
    assert len(list(CampaignPages(store).rows())) <= 1


def test_an_outcome_of_a_combination_that_is_none_is_left_out(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = folder_of(store) / "results.jsonl"
    first = msgspec.json.decode(results.read_bytes().splitlines()[0])
    with results.open("ab") as file:
        for cell in (99, -1):
            file.write(msgspec.json.encode(first | {"cell": cell, "validity": "invalid"}) + b"\n")
    for command in ("report", "resume"):
        code, told = ended(capsys, "campaign", command, "campaign", "--store", store)
        assert code == VALID, told


def test_a_bundle_holds_files_and_no_links_or_pipes(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder_of(store) / "link").symlink_to(tmp_path / "secret")
    SHAPES["a pipe"][0](folder_of(store) / "pipe")
    code, told = ended(capsys, "campaign", "bundle", "campaign", "--store", store, "--output", tmp_path / "packed.zip")
    assert code == VALID, told
    names = {Path(name).name for name in zipfile.ZipFile(tmp_path / "packed.zip").namelist()}
    assert {"campaign.json", "report.md"} <= names
    assert not names & {"link", "pipe"}


def test_a_bundle_names_its_files_whatever_they_are_called_and_how_old_they_are(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(os.fsdecode(bytes(folder_of(store)) + b"/not\xffutf8")).write_bytes(b"")
    os.utime(folder_of(store) / "campaign.json", (0, 0))
    code, told = ended(capsys, "campaign", "bundle", "campaign", "--store", store, "--output", tmp_path / "packed.zip")
    assert code == VALID, told
    names = {Path(name).name for name in zipfile.ZipFile(tmp_path / "packed.zip").namelist()}
    assert {"campaign.json", "not\\xffutf8"} <= names


def test_a_bundle_that_cannot_be_written_leaves_what_was_there(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "packed.zip").write_bytes(b"before")
    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    code, told = ended(capsys, "campaign", "bundle", "campaign", "--store", store, "--output", tmp_path / "packed.zip")
    assert code == USAGE
    assert "No space left" in told
    assert {path.name for path in tmp_path.iterdir()} == {"store", "packed.zip"}
    assert (tmp_path / "packed.zip").read_bytes() == b"before"


@pytest.mark.parametrize("file", ["verdict.json", "spec.json", "history.jsonl", "script.json"])
def test_a_pipe_in_a_run_stops_neither_the_server_nor_a_replay(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = RunSpec(env="sim", nodes=("n1", "n2", "n3"), concurrency=3, time_limit_s=0.3, quiet_s=0.1, seed=1)
    run, _ = run_into(Store(tmp_path), prepare(spec), is_watched=False)
    if file == "script.json":
        write = msgspec.structs.replace(run.read_spec(), script_digest="0" * 64)
        run.spec.write_bytes(msgspec.json.encode(write))
    place = run.path / file
    place.unlink(missing_ok=True)
    SHAPES["a pipe"][0](place)
    rows = Listing(Store(tmp_path)).rows()
    assert [row.time for row in rows] == [RunDirectory(run.path).path.name]
    code, told = ended(capsys, "replay", run.path)
    assert code == (VALID if file == "verdict.json" else USAGE), told
    assert file in told or code == VALID
