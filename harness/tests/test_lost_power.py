"""Losses of power find what syncs a write-ahead log lacks: mistakes planted in a copy of the tree, in runs of `local`.

By hand and in `make soak`; needs /dev/fuse, and root or fuse3.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("histories", "checkers", "nemesis", "targets", "harness")
RUNS_MAX = 5
SYNC = "            os.fdatasync(self._file)\n"
MISTAKES = {
    "no append is synced": "            pass\n",
    "two of three appends are not synced": (
        "            self._count = getattr(self, '_count', 0) + 1\n"
        "            if self._count % 3 == 0:\n"
        "                os.fdatasync(self._file)\n"
    ),
    "the directory is synced in place of the file": "            _sync_directory(self.path.parent)\n",
    "small frames are not synced": "            if len(frame) > 150:\n                os.fdatasync(self._file)\n",
}
"""Name -> what stands in targets/wal.py in place of SYNC."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def one_run(tree: Path, store: Path, seed: int) -> dict[str, Any]:
    """What `themis test --json` of the tree says of a run of Raft under losses of power."""
    words = "test --env local --target raft --nodes 3 --rate 60 --time-limit 12 --json"
    faults = ["--nemesis", "kill,disk:lose-unsynced,disk:torn-write", "--seed", str(seed), "--store", str(store)]
    ended = subprocess.run(
        [sys.executable, "-m", "harness", *words.split(), *faults],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    return data


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_missing_sync_is_found_within_five_runs(mistake: str, tmp_path: Path) -> None:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    log = tmp_path / "targets" / "wal.py"
    assert log.read_text().count(SYNC) == 1, "the mistake has to follow the code"
    log.write_text(log.read_text().replace(SYNC, MISTAKES[mistake]))
    codes = []
    for seed in range(1, RUNS_MAX + 1):
        codes.append(one_run(tmp_path, tmp_path / "store", seed)["exit_code"])
        if codes[-1] == 1:
            return
    raise AssertionError(f"{mistake}: {RUNS_MAX} runs ended with {codes}")


def test_the_log_as_it_is_survives_them(tmp_path: Path) -> None:
    codes = [one_run(ROOT, tmp_path, seed)["exit_code"] for seed in range(1, RUNS_MAX + 1)]
    assert set(codes) <= {0, 2}, "on a busy machine a short run may be vacuous"
    assert 0 in codes
