"""Soaks of many seeds: they go on where they ended, and say what was not VALID."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.run import plan
from harness.soak import seeds, state_file, twopc
from harness.spec import RunSpec
from harness.zoo.twopc import STANDARD


def short(mode: str, seed: int) -> RunSpec:
    """A run of half a virtual second; in mode broken with a bug that shows at once."""
    base = replace(STANDARD.base, seed=seed, time_limit_s=0.5)
    return replace(base, bugs=("commit-without-all-votes",)) if mode == "broken" else base


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert seeds.soak(state, {"append": 2}, short)
    first, _ = state_file.read(state, seeds.Ended)
    assert (first.mode, first.seed, first.validity) == ("append", 1, "valid")
    state.write_bytes(state.read_bytes()[:-9])
    assert state_file.read(state, seeds.Ended) == [first]
    assert seeds.soak(state, {"append": 2}, short)
    again = state_file.read(state, seeds.Ended)
    assert [each.seed for each in again] == [1, 2]
    assert again[0] == first


def test_modes_get_as_far_as_each_other() -> None:
    done = [seeds.Ended("a", 1, "valid", "", 0.1)]
    assert list(seeds.rest(done, {"a": 2, "b": 3})) == [("b", 1), ("a", 2), ("b", 2), ("b", 3)]


def test_what_is_not_valid_is_told_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not seeds.soak(tmp_path / "state", {"broken": 1}, short)
    told = capsys.readouterr().out
    assert "invalid: invariants: atomic-commitment" in told
    assert "--bug commit-without-all-votes" in told
    assert not seeds.soak(tmp_path / "state", {"broken": 1}, short)
    assert "1 broken invalid" in capsys.readouterr().out


@pytest.mark.parametrize("mode", twopc.BASES)
def test_each_mode_of_transactions_is_checked_as_strict_serializable(mode: str) -> None:
    spec = twopc.spec_of(mode, 7)
    assert spec.seed == 7
    assert set(spec.nemesis) == {"partition", "kill", "pause", "loss", "clock"}
    assert plan.prepare(spec).claim == "linearizable"
