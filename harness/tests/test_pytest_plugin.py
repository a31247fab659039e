"""The pytest plugin, as a project outside the tree uses it: in a pytest of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "primary_backup.py"
TESTS = """
import pytest
from harness.errors import UsageError

FLAGS = {"target": "primary_backup:TARGET", "nemesis": "partition", "nodes": 3, "time_limit": 5}

def test_healthy(themis):
    result = themis.run(**FLAGS)
    assert result.counts["ok"] > 10

def test_broken(themis):
    themis.run(**FLAGS, seed=7, bug="stale-read")

def test_misspelt(themis):
    with pytest.raises(UsageError, match="did you mean 'workload'"):
        themis.run(worklod="register")

def test_that_proves_nothing(themis):
    themis.run(**FLAGS, vacuity={"ok_min": 1_000_000})
"""

MISTAKES = """
import pytest

def test_flag(themis):
    themis.run(worklod="register")

def test_target(themis):
    themis.run(target="nosuch")

def test_option(themis):
    themis.run(target="raft", target_option={"reads": "x"})

def test_load(themis):
    themis.run(target="nosuch:TARGET")

def test_value(themis):
    themis.run(target="raft", time_limit=0)
"""


@pytest.mark.real
def test_a_mistake_in_a_test_is_told_at_its_line_without_frames_of_the_harness(tmp_path: Path) -> None:
    (tmp_path / "test_mistakes.py").write_text(MISTAKES)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
    ran = subprocess.run([*words, "--themis-env", "sim"], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = ran.stdout
    assert "5 failed" in said
    assert said.count("E       harness.errors.UsageError: ") == 5
    assert "time-limit: 0 is not between 0.1 and" in said
    assert "unknown flag 'worklod'; did you mean 'workload'?" in said
    assert ">       themis.run(worklod=" in said
    assert "reads is 'x'; it must be one of" in said
    assert "the target nosuch:TARGET cannot be loaded: No module named 'nosuch'" in said
    for frame in ("pytest_plugin.py", "plan.py", "spec.py", "registry.py", "The above exception", "During handling"):
        assert frame not in said


@pytest.mark.real
@pytest.mark.long
def test_a_project_outside_the_tree_tests_its_store(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    (tmp_path / "test_store.py").write_text(TESTS)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--themis-seed", "5"]
    ran = subprocess.run([*words, "--themis-store", "kept"], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = ran.stdout
    assert "2 failed, 2 passed" in said
    assert "INVALID  linearizable: read of key" in said
    assert "again: themis test --env sim --target primary_backup:TARGET" in said
    assert "--bug stale-read" in said
    assert "--seed 5" in said, "the option comes before what the test says"
    assert "UNKNOWN  vacuity" in said
    assert "Traceback" not in said
    folders = sorted(path.name for path in (tmp_path / "kept").iterdir() if path.is_dir() and not path.is_symlink())
    assert folders == ["test_broken", "test_healthy", "test_that_proves_nothing"]


@pytest.mark.long
@pytest.mark.real
def test_ctrl_c_in_a_run_ends_the_session_and_is_no_green_test(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("""
import signal

def test_one(themis, monkeypatch):
    import harness.run.execute as module
    perform = module.perform

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return perform(*arguments)

    monkeypatch.setattr(module, "perform", interrupted)
    themis.run(target="raft", time_limit=1)

def test_two():
    print("went on")
""")
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "test_mine.py"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "SIGINT in the midst of" in ended.stdout
    assert "went on" not in ended.stdout
