"""The examples of docs/histories.md, and `themis check` on what a shell hands it."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from harness.cli import run_command
from histories import Format, load

PAGE = (Path(__file__).parents[2] / "docs/histories.md").read_text()
EXAMPLES = dict(re.findall(r"```(\S+)\n(.*?)```", PAGE, re.DOTALL))
_SERIALIZABLE = ("--workload", "rw-register", "--consistency-models", "strong-session-serializable")
QUESTIONS = {"kv-log": ("--model", "kv"), "sessions": _SERIALIZABLE, "dbcop": _SERIALIZABLE}


@pytest.mark.parametrize("format", get_args(Format))
def test_the_example_of_each_format_is_read_as_one_and_valid(
    tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history"
    path.write_text(EXAMPLES[format])
    loaded = load(path)
    assert loaded.format == format
    assert len(loaded.history) >= 5
    question = QUESTIONS.get(format, ("--model", "cas-register"))
    assert run_command(["check", str(path), *question]) == 0
    assert "VALID" in capsys.readouterr().out


def test_an_answer_that_does_not_fit_makes_the_example_invalid(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(EXAMPLES["jsonl"].replace('"read", "value": 1', '"read", "value": 3'))
    assert run_command(["check", str(path), "--model", "register"]) == 1


def test_the_python_example_runs(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES["python"])
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=paths, check=True, timeout=60)


def test_every_field_of_an_op_and_every_format_is_on_the_page() -> None:
    from histories import Op

    for name in (*Op.__struct_fields__, *get_args(Format)):
        assert f"`{name}`" in PAGE or f"({name})" in PAGE, name


@pytest.mark.parametrize("is_packed", [False, True])
def test_check_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_packed: bool
) -> None:
    data = EXAMPLES["jsonl"].encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(data) if is_packed else data)))
    assert run_command(["check", "-", "--model", "register"]) == 0
    assert "standard input" in capsys.readouterr().out


def test_check_reads_a_packed_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(EXAMPLES["jsonl"].encode()))
    assert run_command(["check", str(path), "--model", "register"]) == 0
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(EXAMPLES["jsonl"].encode(), mtime=0)[:-9], "the gzip data is damaged"),
        (b"\x7fELF\0\0\0", "binary data, not a history"),
        (b'{"type": "invoke", "process": 0, "f": "read"}\n', '{"themis-history": 1} was due'),
    ],
)
def test_check_refuses_in_words_what_is_no_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run_command(["check", "-", "--model", "register"]) == 254
    told = capsys.readouterr()
    assert words in told.err
    assert "standard input" in told.err
    assert told.out == ""
