"""`themis new target`: what it writes works as it is, and is of the house's style."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import run_command
from harness.scaffold.write import new_target

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
@pytest.mark.real
def test_a_new_target_passes_its_own_test_at_once(tmp_path: Path) -> None:
    assert run_command(["new", "target", "my_store", "--directory", str(tmp_path)]) == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_store_target"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


def test_what_it_writes_is_formatted_and_free_of_lint(tmp_path: Path) -> None:
    new_target("a_name", tmp_path)
    for check in (["check", "--extend-ignore", "T201,I001"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), "a_name_target"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [("9x", "cannot be the name"), ("class", "cannot be the name"), ("a-b", "'a-b' cannot be"), ("../x", "cannot be")],
)
def test_a_name_that_is_none_is_refused(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["new", "target", name, "--directory", str(tmp_path)]) == 254
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine_target").mkdir()
    assert run_command(["new", "target", "mine", "--directory", str(tmp_path)]) == 254
    assert "is there already" in capsys.readouterr().err
    assert not list((tmp_path / "mine_target").iterdir())
