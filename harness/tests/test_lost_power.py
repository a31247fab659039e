"""Losses of power find mistakes in what a node does with its disk: planted in a copy of the tree, in runs of `local`.

By hand and in `make soak`; needs /dev/fuse, and root or fuse3.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.soak.disk_mistakes import INVALID, MISTAKES, ROOT, Mistake, one_run, planted

RUNS_MAX = 5


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mistake", [each for each in MISTAKES if not each.missed], ids=lambda each: each.name)
def test_a_mistake_is_found_within_five_runs(mistake: Mistake, tmp_path: Path) -> None:
    planted(mistake, tmp_path / "tree")
    codes = []
    for seed in range(1, RUNS_MAX + 1):
        codes.append(one_run(tmp_path / "tree", tmp_path / "store", seed, mistake.options, 20.0)["exit_code"])
        if codes[-1] == INVALID:
            return
    raise AssertionError(f"{mistake.name}: {RUNS_MAX} runs ended with {codes}")


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_log_as_it_is_survives_them(tmp_path: Path) -> None:
    codes = [one_run(ROOT, tmp_path, seed)["exit_code"] for seed in range(1, RUNS_MAX + 1)]
    assert set(codes) <= {0, 2}, "on a busy machine a short run may be vacuous"
    assert 0 in codes


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.name)
def test_the_text_of_a_mistake_stands_in_the_code(mistake: Mistake) -> None:
    assert (ROOT / mistake.file).read_text().count(mistake.text) == 1
