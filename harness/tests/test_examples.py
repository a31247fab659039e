"""The examples of docs/cores.md and docs/workloads.md, tried as a stranger would: outside the packages, by their own lines only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
INTERFACES = {"register": "kv", "append": "kv"} | {
    name: name for name in ("counter", "set", "queue", "stack", "priority-queue", "lock")
}


def themis_test(*flags: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`themis test`, started in the folder of the examples. path: one more folder to import from."""
    return subprocess.run(
        [sys.executable, "-m", "harness", "test", *flags],
        cwd=EXAMPLES,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=100,
    )


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """The example of a core."""
    return themis_test("--target", "primary_backup:TARGET", *flags)


@pytest.mark.real
@pytest.mark.parametrize("workload", INTERFACES)
@pytest.mark.long
def test_the_example_replicates_every_machine(workload: str) -> None:
    flags = ("--env", "sim", "--workload", workload, "--nemesis", "partition,kill,pause,loss", "--time-limit", "8")
    ended = run(*flags, "--seeds", "1..3", "--keep-failures", "0")
    assert ended.returncode == 0, ended.stdout + ended.stderr


LOCAL = pytest.param("local", marks=[pytest.mark.long, pytest.mark.real])
"""Real nodes for a while: what the simulation tells in a second."""


@pytest.mark.real
@pytest.mark.parametrize("env", ["sim", LOCAL, pytest.param("netns", marks=pytest.mark.linux)])
def test_the_example_is_valid_and_its_bug_is_found(env: str, tmp_path: Path) -> None:
    flags: tuple[str, ...] = (
        "--env",
        env,
        "--nodes",
        "3",
        "--nemesis",
        "partition:backup,kill:backup",
        "--nemesis-interval",
        "2",
    )
    flags = (*flags, "--time-limit", "6", "--seed", "1", "--store", str(tmp_path))
    healthy = run(*flags)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    broken = run(*flags, "--bug", "stale-read")
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "read of key" in broken.stdout


def test_the_example_stays_as_short_as_the_docs_say() -> None:
    lines = (EXAMPLES / "primary_backup.py").read_text().splitlines()
    assert sum(1 for line in lines if line.strip()) <= 120


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the machine and the workload as an installed distribution, whose entry points are those of the page."""
    page = (ROOT / "docs" / "workloads.md").read_text()
    block = page.partition("[options.entry_points]\n")[2].partition("```")[0]
    points = re.sub(r"^(\S+) =$", r"[\1]", block, flags=re.MULTILINE).replace("    ", "")
    metadata = tmp_path / "max_register-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: max-register\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(points)
    shutil.copy(EXAMPLES / "max_register.py", tmp_path)
    return tmp_path


@pytest.mark.real
@pytest.mark.parametrize("env", ["sim", LOCAL])
@pytest.mark.long
def test_a_new_machine_and_workload_take_files_of_their_own_and_one_line_each(env: str, site: Path) -> None:
    flags: tuple[str, ...] = (
        "--workload",
        "max-register",
        "--env",
        env,
        "--nemesis",
        "partition",
        "--nemesis-interval",
        "2",
    )
    flags = (*flags, "--time-limit", "6", "--seed", "1", "--store", str(site / "store"))
    healthy = themis_test(*flags, path=site)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    broken = themis_test(*flags, "--bug", "stale-read", path=site)
    assert broken.returncode == 1, broken.stdout + broken.stderr
