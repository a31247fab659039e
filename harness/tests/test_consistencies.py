"""`themis check --consistency`, and its names given to `--model`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import run_command
from histories import jsonl
from histories.builder import h

BACK = (
    "p0 invoke write x=1 | p0 ok write x=1 | p0 invoke write x=2 | p0 ok write x=2"
    "| p1 invoke read x= | p1 ok read x=2 | p1 invoke read x= | p1 ok read x=1"
)


def check(tmp_path: Path, text: str, *options: str) -> int:
    path = tmp_path / "history.jsonl"
    jsonl.write(path, h(text))
    return run_command(["check", str(path), *options])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--consistency", "monotonic-reads"), 1),
        (("--model", "monotonic-reads"), 1),
        (("--consistency", "read-your-writes"), 0),
        (("--model", "causal"), 1),
        (("--checker", "causal"), 1),
        (("--consistency", "sequential"), 1),
        (("--consistency", "sequential", "--model", "register"), 1),
        (("--consistency", "linearizable", "--model", "register"), 1),
        (("--consistency", "sequential", "--model", "counter"), 254),
        (("--consistency", "causal", "--model", "register"), 254),
        (("--consistency", "linearizable"), 254),
        (("--consistency", "causel"), 254),
        (("--consistency", "causal", "--initial", "{"), 254),
        (("--consistency", "causal", "--checker", "causal"), 254),
        (("--consistency", "causal", "--checker", "monotonic-reads"), 1),
    ],
)
def test_exit_codes(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    assert check(tmp_path, BACK, *options) == code


def test_what_is_there_at_first(tmp_path: Path) -> None:
    text = "p0 invoke read x= | p0 ok read x=0 | p0 invoke write x=1 | p0 ok write x=1"
    for name in ("causal", "monotonic-reads", "sequential"):
        assert check(tmp_path, text, "--consistency", name, "--initial", "0") == 0
    assert check(tmp_path, text, "--consistency", "causal") == 1


def test_a_misspelt_name_is_answered_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, BACK, "--consistency", "causel") == 254
    assert "did you mean 'causal'" in capsys.readouterr().err


def test_a_model_of_transactions_is_answered_with_how_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, BACK, "--consistency", "serializable") == 254
    assert "--workload list-append --consistency-models serializable" in capsys.readouterr().err


LONG_FORK = "w 0 0\nw 1 0\n=====\nw 0 1\n-----\nr 0 1\nr 1 0\n=====\nw 1 1\n-----\nr 1 1\nr 0 0\n"
READ_ATOMIC_ALONE = "w 0 1\n-----\nw 0 2\n=====\nr 0 2\nw 1 1\n=====\nr 0 1\nr 1 1\n"
WRITE = '{"write": true, "variable": 0, "value": 1}'
READ = '{"write": false, "variable": 0, "value": %d}'
NULL = '{"write": false, "variable": 1, "value": null}'
DBCOP = '[[{"events": [%s], "success": true}, {"events": [%s], "success": true}]]'


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("fork.txt", LONG_FORK, 0),
        ("atomic.txt", READ_ATOMIC_ALONE, 1),
        ("own.json", DBCOP % (WRITE, READ % 1), 0),
        ("first.json", DBCOP % (READ % 0, WRITE), 0),
        ("back.json", DBCOP % (WRITE, READ % 0), 1),
        ("null.json", DBCOP % (f"{READ % 0}, {NULL}", WRITE), 0),
        (
            "aborted.json",
            '[[{"events": [["w", 0, 1]], "committed": false}], [{"events": [["r", 0, 1]], "committed": true}]]',
            1,
        ),
    ],
)
def test_sessions_without_times(tmp_path: Path, name: str, text: str, code: int) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert run_command(["check", str(path), "--model", "causal"]) == code
    assert run_command(["check", str(path), "--consistency", "sequential"]) == 254
