"""The command as its user meets it: exit codes, bad input, stored runs, sweeps. As a process where that could make a difference."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run_command
from harness.environments.leftovers import processes_of_run
from harness.tests.broken_target import MODULE as BROKEN
from harness.tests.command import SIM, assert_refused, command_of, every_command, themis, themis_process


def test_a_valid_run_exits_0_and_keeps_everything(tmp_path: Path) -> None:
    ended = themis_process(*SIM, "--nemesis", "partition,kill", "--store", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    run = (tmp_path / "latest").resolve()
    names = {path.name for path in run.iterdir()}
    assert {"spec.json", "schedule.json", "history.jsonl", "verdict.json", "themis.log", "nodes"} <= names
    assert json.loads((run / "verdict.json").read_bytes())["verdict"]["validity"] == "valid"


def test_a_violation_exits_1_and_inspect_says_which_read_in_words(tmp_path: Path) -> None:
    ended = themis_process(*SIM, "--nemesis", "partition", "--bug", "stale-read", "--store", tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    told = themis("inspect", "latest", "--store", tmp_path)
    assert told.returncode == 0
    assert "INVALID" in told.stdout
    assert "read" in told.stdout
    assert "possible before it" in told.stdout
    assert ">> p" in told.stdout


def test_a_run_that_tested_nothing_exits_2_and_says_vacuous(tmp_path: Path) -> None:
    ended = themis(*SIM, "--rate", "1", "--vacuity", "ok_min=1000", "--store", tmp_path)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "vacuous" in ended.stdout


@pytest.mark.real
def test_a_harness_failure_exits_255_and_is_told_beside_the_verdict(tmp_path: Path) -> None:
    ended = themis_process("test", "--target", BROKEN, "--time-limit", "1", "--store", tmp_path)
    assert ended.returncode == 255, ended.stdout + ended.stderr
    assert "harness failure" in ended.stdout
    run = (tmp_path / "latest").resolve()
    assert json.loads((run / "verdict.json").read_bytes())["harness"]
    assert not processes_of_run(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tset",), ("did you mean 'test'",)),
        (("test", "--target", "raftt"), ("unknown target 'raftt'", "did you mean 'raft'")),
        (("test", "--target", "no.such.module:Name"), ("no.such.module",)),
        (("test", "--workload", "registr"), ("did you mean 'register'",)),
        (("test", "--env", "dokcer"), ("unknown environment 'dokcer'",)),
        (("test", "--env", "lcoal"), ("did you mean 'local'",)),
        (("test", "--nemesis", "partitoin"), ("did you mean 'partition'",)),
        (("test", "--bug", "stale-reed"), ("did you mean 'stale-read'",)),
        (("test", "-o", "read=log"), ("did you mean 'reads'",)),
        (("test", "-o", "reads=sideways"), ("reads", "sideways")),
        (("test", "-w", "ops_per_key=many"), ("ops_per_key",)),
        (("test", "--vacuity", "ok=1"), ("ok_min",)),
        (("test", "--vacuity", "ok_min=few"), ("ok_min=few",)),
        (("test", "--nodes", "0"), ("--nodes",)),
        (("test", "--nodes", "n1,n1"), ("one node twice",)),
        (("test", "--concurrency", "-3"), ("--concurrency",)),
        (("test", "--rate", "-1"), ("--rate",)),
        (("test", "--rate", "nan"), ("--rate",)),
        (("test", "--time-limit", "0"), ("--time-limit",)),
        (("test", "--time-limit", "soon"), ("--time-limit",)),
        (("test", "--seed", "-1"), ("--seed",)),
        (("test", "--test-count", "0"), ("--test-count",)),
        (("test", "--schedule", "nowhere.json"), ("nowhere.json",)),
        (("test", "--env", "sim", "--seeds", "9..1"), ("reversed",)),
        (("test", "--seeds", "1..3"), ("--env sim",)),
        (("test", "--env", "sim", "--seeds", "5"), ("1..5", "5..5")),
        (("test", "--env", "sim", "--seeds", ""), ("--seeds",)),
        (("test", "--env", "sim", "--seeds", "1..3", "--seed", "4"), ("--seed", "one of the two")),
        (("test", "--env", "sim", "--seeds", "1..3", "--test-count", "4"), ("--test-count", "one of the two")),
        (
            ("test", "--env", "sim", "--seeds", "1..3", "--store", "/dev/null/store"),
            ("/dev/null is no folder", "--store DIR"),
        ),
        (("test", "--env", "sim", "--seeds", "1..3", "--keep-failures", "-1"), ("--keep-failures", "x>=0")),
        (("test", "--env", "sim", "--keep-failures", "1"), ("--keep-failures", "add --seeds")),
        (("test", "--env", "sim", "--jobs", "2"), ("--jobs", "--seeds")),
        (("test", "--env", "sim", "--time-limit", "nan"), ("--time-limit", "nan")),
        (("test", "--env", "sim", "--rate", "inf"), ("--rate", "inf")),
        (("test", "--env", "sim", "--nemesis-interval", "0"), ("--nemesis-interval", "0.05 and 86400")),
        (("test", "--env", "sim", "--quiet-period", "nan"), ("--quiet-period", "nan")),
        (("test", "--env", "sim", "--check-time-limit", "nan"), ("--check-time-limit", "nan")),
        (("test", "--env", "sim", "--check-time-limit", "-1"), ("--check-time-limit", "-1")),
        (("analyze", "latest", "--check-time-limit", "nan"), ("--check-time-limit", "nan")),
        (("check", "x", "--model", "register", "--time-limit", "nan"), ("--time-limit", "nan")),
        (("test", "--colour", "red"), ("--colour",)),
        (("test", "--leave-running"), ("--env docker",)),
        (("test", "--username", "me"), ("--env ssh",)),
        (("check", "nowhere.jsonl", "--model", "register"), ("nowhere.jsonl",)),
        (("inspect", "nothing"), ("no run 'nothing'",)),
        (("analyze", "nothing"), ("no run 'nothing'",)),
        (("replay", "nothing"), ("no run 'nothing'",)),
        (("node", "raft"), ("--id",)),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_clear_message_and_254(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(themis(*arguments, cwd=tmp_path), *words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unwritable_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(themis(*SIM, "--store", tmp_path / "file" / "below"), "cannot be written", "--store")


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("{", ("not JSON",)),
        ('{"version": 1, "entries": [{"time_ns": 1, "f": "start-partitoin"}]}', ("entry 0", "start-partition")),
        ('{"version": 1, "entries": [{"time_ns": 1, "f": "kill", "value": ["n9"]}]}', ("entry 0", "n9")),
        ('{"version": 1, "entries": [{"time_ns": -1, "f": "kill", "value": ["n1"]}]}', ("entry 0", "negative")),
        ('{"version": 7, "entries": []}', ("version 7",)),
    ],
)
def test_a_schedule_that_cannot_be_run_names_the_entry(tmp_path: Path, schedule: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(schedule)
    assert_refused(themis(*SIM, "--schedule", path, "--store", tmp_path / "store"), "schedule.json", *words)


def test_a_spec_of_another_version_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "raft-register" / "20260101T000000.000Z"
    run.mkdir(parents=True)
    (run / "spec.json").write_text('{"version": 99}')
    assert_refused(themis("replay", run, "--store", tmp_path), "version")


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by\x1b zero"), MemoryError(), OSError(28, "No space left on device"), SystemExit(1)]
)
def test_no_crash_of_any_command_ends_with_a_verdicts_code(
    words: tuple[str, ...], error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of(words)

    def crash(**_: Any) -> int:
        raise error

    monkeypatch.setattr(command, "callback", crash)
    monkeypatch.setattr(command, "params", [])
    assert run_command(words) == 255
    told = capsys.readouterr().err
    assert type(error).__name__ in told
    assert len(told.splitlines()) == 1, "no traceback"
    assert "\x1b" not in told
    monkeypatch.setenv("THEMIS_DEBUG", "1")
    assert run_command(words) == 255
    assert "Traceback" in capsys.readouterr().err


def test_a_simulated_run_replays_byte_by_byte(tmp_path: Path) -> None:
    assert themis(*SIM, "--nemesis", "partition,kill,pause", "--store", tmp_path).returncode == 0
    ended = themis("replay", "latest", "--store", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the same, byte by byte" in ended.stdout


def test_analyze_gives_the_verdict_of_the_run_again(tmp_path: Path) -> None:
    assert themis(*SIM, "--bug", "stale-read", "--nemesis", "partition", "--store", tmp_path).returncode == 1
    (tmp_path / "latest" / "verdict.json").unlink()
    assert themis("analyze", "latest", "--store", tmp_path).returncode == 1
    listed = json.loads(themis("list", "--json", "--store", tmp_path).stdout)
    assert [entry["verdict"] for entry in listed] == ["invalid"]


def test_a_run_that_was_killed_is_the_latest_and_can_be_analyzed(tmp_path: Path) -> None:
    arguments = ("--env", "sim", "--time-limit", "100000", "--store", str(tmp_path))
    run = subprocess.Popen([sys.executable, "-m", "harness", "test", *arguments], stderr=subprocess.DEVNULL)
    history = tmp_path / "latest" / "history.jsonl"
    try:
        deadline = time.monotonic() + 60
        while not (history.exists() and history.stat().st_size > 10_000):
            assert time.monotonic() < deadline, "the run did not begin"
            assert run.poll() is None
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    ended = themis("analyze", "raft-register/latest", "--store", tmp_path)
    assert ended.returncode in (0, 2), ended.stdout + ended.stderr
    assert "interrupted" in ended.stdout


def test_a_verdict_of_another_version_is_refused_or_written_anew(tmp_path: Path) -> None:
    assert themis(*SIM, "--store", tmp_path).returncode == 0
    verdict = (tmp_path / "latest" / "verdict.json").resolve()
    result = json.loads(verdict.read_bytes())
    verdict.write_text(json.dumps(result | {"version": 99}))
    for command in ("inspect", "analyze"):
        assert_refused(themis(command, "latest", "--store", tmp_path), "version 99", "this themis reads version 2")
    assert themis("list", "--store", tmp_path).stdout.startswith("unreadable")
    verdict.write_text(json.dumps({"verdict": {"validity": "valid", "evidence": {"windows": []}}}))
    assert_refused(themis("inspect", "latest", "--store", tmp_path), "older version 1", "themis analyze")
    assert themis("analyze", "latest", "--store", tmp_path).returncode == 0
    anew = json.loads(verdict.read_bytes())
    assert anew["version"] == 2
    assert not anew["interrupted"], "it had ended, and only its verdict could not be read"


def test_a_replay_that_differs_is_a_failure_of_the_harness_and_no_verdict(tmp_path: Path) -> None:
    assert themis(*SIM, "--store", tmp_path).returncode == 0
    assert themis("replay", "latest", "--store", tmp_path).returncode == 0
    history = tmp_path / "latest" / "history.jsonl"
    history.write_bytes(history.read_bytes().replace(b'"type":"ok"', b'"type":"fail"', 1))
    ended = themis("replay", "latest", "--store", tmp_path)
    assert ended.returncode == 255, ended.stdout + ended.stderr
    assert "NOT the same" in ended.stdout


def test_a_sweep_names_the_command_that_reproduces_each_failure(tmp_path: Path) -> None:
    sweep = (*SIM[:-2], "--bug", "stale-read", "--nemesis", "partition", "--seeds", "1..3", "--fail-fast")
    ended = themis(*sweep, "--keep-failures", "0", cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert not list(tmp_path.iterdir()), "nothing was to be kept"
    command = next(line.strip() for line in ended.stdout.splitlines() if line.strip().startswith("themis test"))
    again = themis(*command.split()[1:], "--store", tmp_path)
    assert again.returncode == 1, again.stdout + again.stderr


def test_a_sweep_explains_the_first_invalid_seed(tmp_path: Path) -> None:
    sweep = (*SIM[:-2], "--bug", "stale-read", "--nemesis", "partition", "--seeds", "1..2")
    ended = themis(*sweep, "--store", tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.count("in words:") == 1
    explained = ended.stdout.partition("seed 1, in words:")[2]
    assert "promised: linearizable" in explained
    assert ">> p" in explained


@pytest.mark.real
def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = themis_process("node", "raft", "--id", "n1", "--listen", f"127.0.0.1:{port}", "--data-dir", tmp_path)
    assert_refused(ended, str(port), "in use")


def test_a_target_in_the_current_directory_is_found_by_the_installed_command(tmp_path: Path) -> None:
    (tmp_path / "my_target.py").write_text("from targets.raft.target import TARGET as MINE\n")
    # As a console script: the directory of the script, not the current one, is on the path.
    environment = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = ["test", "--env", "sim", "--target", "my_target:MINE", "--time-limit", "1", "--store", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[1:] = {arguments!r}; from harness.cli import main; main()"],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
        env=environment,
    )
    assert ended.returncode in (0, 2), ended.stdout + ended.stderr
    assert (tmp_path / "raft-register" / "latest").exists()
